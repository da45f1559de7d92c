// epoll_ctl / epoll_wait errno matrix
// Reported in: cloudius-systems/osv#971 (Go 1.9.2), occlum/occlum#1490, sysprog21/elfuse#332, php/php-src#23805,
// rust-lang/miri#3836, microsoft/mystikos#1143 Linux: regular file, directory, /dev/null: EPERM; second ADD: EEXIST;
// MOD/DEL of absent: ENOENT; bad target: EBADF; epfd not epoll: EINVAL; maxevents<=0: EINVAL
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	int e = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN}, o[2];
	char n[64];
	snprintf(n, 64, "/tmp/ep36.%d", getpid());
	int f = open(n, O_RDWR | O_CREAT, 0600), d = open("/tmp", O_RDONLY | O_DIRECTORY), z = open("/dev/null", O_RDWR);
	unlink(n);
	CHECK(epoll_ctl(e, EPOLL_CTL_ADD, f, &ev) == -1 && errno == EPERM);
	CHECK(epoll_ctl(e, EPOLL_CTL_ADD, d, &ev) == -1 && errno == EPERM);
	CHECK(epoll_ctl(e, EPOLL_CTL_ADD, z, &ev) == -1 && errno == EPERM);
	CHECK(pollfd1(f, POLLIN | POLLOUT, 0) == (POLLIN | POLLOUT));
	CHECK(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev) == -1 && errno == ENOENT);
	CHECK(epoll_ctl(e, EPOLL_CTL_DEL, p[0], &ev) == -1 && errno == ENOENT);
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	CHECK(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev) == -1 && errno == EEXIST);
	CHECK(epoll_ctl(e, EPOLL_CTL_ADD, 999, &ev) == -1 && errno == EBADF);
	CHECK(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &ev) == -1 && errno == EINVAL);
	CHECK(epoll_ctl(e, 77, p[0], &ev) == -1 && errno == EINVAL);
	CHECK(epoll_wait(e, o, 0, 0) == -1 && errno == EINVAL);
	CHECK(epoll_wait(e, o, -1, 0) == -1 && errno == EINVAL);
	CHECK(epoll_wait(p[0], o, 1, 0) == -1 && errno == EINVAL);
	CHECK(epoll_create1(12345) == -1 && errno == EINVAL);
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(syscall(SYS_epoll_wait, e, (void *)8, 1, 0) == -1 && errno == EFAULT);
	CHECK(epoll_wait(e, o, 1, 0) == 1);
	return 0;
}
