// EPOLLONESHOT disarms everything (HUP too) until MOD; MOD on a ready fd fires at once
// Reported in: cloudius-systems/osv#413, wingo/fibers#19, wingo/fibers#38
// Linux: one event, then silence even for new data and for writer close; MOD re-arms and immediately reports current
// state
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	int e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT}, o[4];
	char c;
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	CHECK(write(p[1], "a", 1) == 1);
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == EPOLLIN);
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	CHECK(write(p[1], "b", 1) == 1);
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	CHECK(!epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev));
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == EPOLLIN);
	close(p[1]);
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	CHECK(read(p[0], &c, 1) == 1 && read(p[0], &c, 1) == 1);
	CHECK(!epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev));
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == EPOLLHUP);
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	CHECK(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev) == -1 && errno == EEXIST);
	return 0;
}
