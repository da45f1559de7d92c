// a pipe end only ever reports its own direction; POLLRDHUP never appears on pipes
// Reported in: gramineproject/graphene#1717, gramineproject/gramine#1073
// Linux: read end: IN/HUP only; write end: OUT/ERR only; wrong-direction read/write is EBADF
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	int e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.fd = p[0]}, o[4];
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	CHECK(epoll_wait(e, o, 4, 50) == 0);
	CHECK(write(p[1], "a", 1) == 1);
	CHECK(epoll_wait(e, o, 4, 50) == 1 && o[0].events == EPOLLIN);
	CHECK(pollfd1(p[1], POLLIN | POLLOUT | POLLRDHUP, 0) == POLLOUT);
	close(p[1]);
	CHECK(epoll_wait(e, o, 4, 50) == 1 && o[0].events == (EPOLLIN | EPOLLHUP));
	CHECK(write(p[0], "x", 1) == -1 && errno == EBADF);
	CHECK(!pipe(p));
	char c;
	CHECK(read(p[1], &c, 1) == -1 && errno == EBADF);
	return 0;
}
