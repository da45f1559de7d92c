// EPOLLERR/EPOLLHUP are delivered even with events = 0
// Reported in: h2o/h2o#603, rust-lang/miri#3811, nim-lang/Nim#1990
// Linux: events=0 still yields HUP on the read end after writers left and ERR on the write end after readers left;
// poll(events=0) likewise
#include "case.h"

int main(void) {
	int p[2], q[2];
	CHECK(!pipe(p) && !pipe(q));
	int e = epoll_create1(0);
	struct epoll_event ev = {.events = 0, .data.u64 = 0x1122334455667788}, o[4];
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	close(p[1]);
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == EPOLLHUP && o[0].data.u64 == 0x1122334455667788);
	CHECK(!epoll_ctl(e, EPOLL_CTL_DEL, p[0], 0));
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, q[1], &ev));
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	close(q[0]);
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == EPOLLERR);
	return 0;
}
