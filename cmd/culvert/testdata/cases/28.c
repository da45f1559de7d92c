// EPOLLET on a pipe: every write is a new edge even when old data is unread
// Reported in: dart-lang/sdk#40589, realm/realm-core#4507, linux-test-project/ltp#860 (kernel 5.5 regression, fixed
// in 5.14) Linux: write, event; no second event without activity; another write without reading: event again; a partial
// read alone is not an edge
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe2(p, O_NONBLOCK));
	int e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET}, o[4];
	char b[8];
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	for (int i = 0; i < 5; i++) {
		CHECK(write(p[1], "abcd", 4) == 4);
		CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == EPOLLIN);
		CHECK(epoll_wait(e, o, 4, 30) == 0);
	}
	CHECK(read(p[0], b, 3) == 3);
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	CHECK(write(p[1], "z", 1) == 1);
	CHECK(epoll_wait(e, o, 4, 1000) == 1);
	close(p[1]);
	CHECK(epoll_wait(e, o, 4, 1000) == 1 && o[0].events == (EPOLLIN | EPOLLHUP));
	CHECK(epoll_wait(e, o, 4, 30) == 0);
	return 0;
}
