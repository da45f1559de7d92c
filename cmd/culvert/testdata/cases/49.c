// CLOEXEC status pipe: closed by a successful exec, kept by a failed one
// Reported in: related: metalbear-co/mirrord#3154 (vfork emulated with a CLOEXEC pipe), oven-sh/bun#28047 (errpipe
// CLOEXEC) Linux: after exec ok: parent reads EOF while the child still runs; after exec failure: child can still write
// errno into the pipe
#include "case.h"

int main(int argc, char **argv) {
	if (argc > 1) {
		CHECK(fcntl(atoi(argv[1]), F_GETFD) == -1 && errno == EBADF);
		CHECK(fcntl(atoi(argv[2]), F_GETFD) == 0);
		ms(400);
		return 0;
	}
	int p[2], q[2], e = 0, s;
	CHECK(!pipe2(p, O_CLOEXEC) && !pipe(q));
	pid_t k = fork();
	if (!k) {
		execl("/nonexistent", "x", (char *)0);
		e = errno;
		CHECK(write(p[1], &e, sizeof e) == sizeof e);
		_exit(1);
	}
	close(p[1]);
	CHECK(read(p[0], &e, sizeof e) == sizeof e && e == ENOENT);
	CHECK(read(p[0], &e, 1) == 0);
	reap(k);
	close(p[0]);
	CHECK(!pipe2(p, O_CLOEXEC));
	char a[16], b[16];
	snprintf(a, 16, "%d", p[1]);
	snprintf(b, 16, "%d", q[1]);
	k = fork();
	if (!k) {
		execl("/proc/self/exe", argv[0], a, b, (char *)0);
		_exit(99);
	}
	close(p[1]);
	CHECK(read(p[0], &e, sizeof e) == 0);
	CHECK(waitpid(k, &s, WNOHANG) == 0);
	CHECK(reap(k) == 0);
	return 0;
}
