// EPOLLET on eventfd: each write re-triggers although the counter was never read
// Reported in: microsoft/WSL#2462, shadow/shadow#2673, nanovms/nanos#1508, nanovms/nanos#1560, libuv/libuv#4400,
// rcore-os/tgoskits#2235 Linux: N writes, one wait after each: N events; with IN|OUT interest the event after a write
// carries IN|OUT
#include "case.h"

int main(void) {
	int f = eventfd(0, EFD_NONBLOCK), e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET}, o[4];
	uint64_t v = 1;
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, f, &ev));
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	for (int i = 0; i < 5; i++) {
		CHECK(write(f, &v, 8) == 8);
		CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == EPOLLIN);
		CHECK(epoll_wait(e, o, 4, 30) == 0);
	}
	ev.events = EPOLLIN | EPOLLOUT | EPOLLET;
	CHECK(!epoll_ctl(e, EPOLL_CTL_MOD, f, &ev));
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == (EPOLLIN | EPOLLOUT));
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	CHECK(write(f, &v, 8) == 8);
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == (EPOLLIN | EPOLLOUT));
	CHECK(read(f, &v, 8) == 8 && v == 6);
	return 0;
}
