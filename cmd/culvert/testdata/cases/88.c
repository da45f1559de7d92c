// poll() corner cases: negative fds, POLLNVAL, duplicates, regular files, unknown bits
// Reported in: rcore-os/tgoskits#1925, microsoft/WSL#611
// Linux: fd<0 ignored with revents=0; closed fd: immediate POLLNVAL counted; same fd twice counted twice; regular file
// always POLLIN|POLLOUT; nfds=0 sleeps; POLLRDNORM/POLLWRNORM mirrored on request; nfds > RLIMIT: EINVAL
#include "case.h"

int main(void) {
	int p[2], q[2];
	CHECK(!pipe(p) && !pipe(q));
	close(q[0]);
	int bad = q[0];
	CHECK(write(p[1], "x", 1) == 1);
	struct pollfd f[5] = {{-1, POLLIN, 99},
						  {p[0], POLLIN, 99},
						  {p[0], POLLIN | POLLRDNORM, 99},
						  {bad, POLLIN, 99},
						  {p[1], POLLOUT | POLLWRNORM, 99}};
	CHECK(poll(f, 5, -1) == 4);
	CHECK(f[0].revents == 0 && f[1].revents == POLLIN && f[2].revents == (POLLIN | POLLRDNORM) &&
		  f[3].revents == POLLNVAL && f[4].revents == (POLLOUT | POLLWRNORM));
	fd_set r;
	FD_ZERO(&r);
	FD_SET(bad, &r);
	struct timeval tv = {0, 0};
	CHECK(select(bad + 1, &r, 0, 0, &tv) == -1 && errno == EBADF);
	char c;
	CHECK(read(p[0], &c, 1) == 1);
	f[3].fd = -77;
	f[4].fd = -2;
	double t = now();
	CHECK(poll(f, 5, 100) == 0);
	CHECK(now() - t >= 99);
	for (int i = 0; i < 5; i++) CHECK(f[i].revents == 0);
	int z = open("/proc/self/exe", O_RDONLY);
	CHECK(pollfd1(z, POLLIN, 0) == POLLIN);
	CHECK(pollfd1(p[0], POLLPRI, 0) == 0);
	CHECK(poll(0, 1, 0) == -1 && errno == EFAULT);
	struct rlimit rl = {64, 64};
	CHECK(!setrlimit(RLIMIT_NOFILE, &rl));
	static struct pollfd big[100];
	for (int i = 0; i < 100; i++) big[i].fd = -1;
	CHECK(poll(big, 100, 0) == -1 && errno == EINVAL);
	return 0;
}
