// EPOLLRDHUP / HUP on stream socketpairs
// Reported in: cloudius-systems/osv#1239 (nginx start-up probe), google/gvisor#7331 (Postgres client)
// Linux: peer SHUT_WR: IN|RDHUP (no HUP); peer close: IN|RDHUP|HUP (+OUT if asked); RDHUP only when asked for
#include "case.h"

int main(void) {
	int s[2], e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLET | EPOLLIN | EPOLLRDHUP}, o[2];
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, s[0], &ev));
	CHECK(epoll_wait(e, o, 2, 20) == 0);
	CHECK(!shutdown(s[1], SHUT_WR));
	CHECK(epoll_wait(e, o, 2, 1000) == 1 && o[0].events == (EPOLLIN | EPOLLRDHUP));
	close(s[1]);
	CHECK(epoll_wait(e, o, 2, 1000) == 1 && o[0].events == (EPOLLIN | EPOLLRDHUP | EPOLLHUP));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ev.events = EPOLLIN | EPOLLOUT;
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, s[0], &ev));
	close(s[1]);
	int f = 0, n = epoll_wait(e, o, 2, 1000);
	for (int i = 0; i < n; i++) f |= o[i].events == (EPOLLIN | EPOLLOUT | EPOLLHUP);
	CHECK(f);
	char c;
	CHECK(read(s[0], &c, 1) == 0);
	signal(SIGPIPE, SIG_IGN);
	CHECK(write(s[0], "x", 1) == -1 && errno == EPIPE);
	CHECK(send(s[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
	return 0;
}
