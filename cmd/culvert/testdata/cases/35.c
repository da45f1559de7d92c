// same description may be registered through two fds; fd reuse after close is not EEXIST
// Reported in: nanovms/nanos#1178, gramineproject/gramine#340 (dup/close/re-add discussion), piscisaureus/wepoll#16
// Linux: ADD(fd) and ADD(dup(fd)) both succeed and both report; after close of the only fd, a new file on the same
// number ADDs fine; ADD/DEL/ADD works
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	int e = epoll_create1(0), d = dup(p[0]);
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = p[0]}, o[4];
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	ev.data.fd = d;
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, d, &ev));
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(epoll_wait(e, o, 4, 1000) == 2 && o[0].data.fd + o[1].data.fd == p[0] + d);
	CHECK(!epoll_ctl(e, EPOLL_CTL_DEL, d, 0));
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].data.fd == p[0]);
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, d, &ev));
	int num = p[0];
	close(d);
	close(p[0]);
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	for (int i = 0; i < 200; i++) {
		int q[2];
		CHECK(!pipe(q));
		CHECK(q[0] == num || i);
		ev.data.fd = q[0];
		CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, q[0], &ev));
		CHECK(write(q[1], "y", 1) == 1);
		CHECK(epoll_wait(e, o, 4, 1000) == 1);
		close(q[0]);
		close(q[1]);
		CHECK(epoll_wait(e, o, 4, 0) == 0);
	}
	return 0;
}
