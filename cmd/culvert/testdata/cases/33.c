// nested epoll: readiness propagates and clears; loops and deep nesting are refused
// Reported in: google/gvisor#6427 (PR #6428), nanovms/nanos#2074, occlum/occlum#1490
// Linux: inner ready => outer EPOLLIN, poll() on inner too; inner consumed => outer quiet; new event => ready again;
// add self: EINVAL; cycle: ELOOP; too deep: ELOOP (EINVAL on some kernels)
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	int a = epoll_create1(0), b = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN}, o[4];
	char c;
	CHECK(!epoll_ctl(a, EPOLL_CTL_ADD, p[0], &ev) && !epoll_ctl(b, EPOLL_CTL_ADD, a, &ev));
	for (int i = 0; i < 3; i++) {
		CHECK(epoll_wait(b, o, 4, 20) == 0 && pollfd1(a, POLLIN, 0) == 0);
		CHECK(write(p[1], "x", 1) == 1);
		CHECK(epoll_wait(b, o, 4, 1000) == 1 && o[0].events == EPOLLIN);
		CHECK(pollfd1(a, POLLIN, 0) == POLLIN);
		CHECK(epoll_wait(a, o, 4, 0) == 1);
		CHECK(read(p[0], &c, 1) == 1);
	}
	pid_t k = fork();
	if (!k) {
		ms(150);
		(void)!write(p[1], "x", 1);
		_exit(0);
	} /* wake a sleeping outer waiter */
	CHECK(epoll_wait(b, o, 4, 5000) == 1);
	CHECK(reap(k) == 0);
	CHECK(epoll_ctl(a, EPOLL_CTL_ADD, a, &ev) == -1 && errno == EINVAL);
	CHECK(epoll_ctl(a, EPOLL_CTL_ADD, b, &ev) == -1 && errno == ELOOP);
	int prev = epoll_create1(0), i;
	for (i = 0; i < 10; i++) {
		int nx = epoll_create1(0);
		if (epoll_ctl(nx, EPOLL_CTL_ADD, prev, &ev)) {
			CHECK(errno == ELOOP || errno == EINVAL);
			break;
		}
		prev = nx;
	}
	CHECK(i >= 3 && i < 10);
	return 0;
}
