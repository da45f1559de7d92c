// exact poll/select bits for pipe hang-up states
// Reported in: nanovms/nanos#1649, gramineproject/graphene#1600, emscripten-core/emscripten#27298, tokio-rs/mio#1350
// Linux: empty+no writers: POLLHUP only; data+no writers: POLLIN|POLLHUP; write end, no readers, room: POLLOUT|POLLERR;
// full: POLLERR only; select() marks an EOF pipe readable
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	CHECK(pollfd1(p[0], POLLIN, 0) == 0);
	CHECK(write(p[1], "a", 1) == 1);
	CHECK(pollfd1(p[0], POLLIN, 0) == POLLIN);
	close(p[1]);
	CHECK(pollfd1(p[0], POLLIN, 0) == (POLLIN | POLLHUP));
	CHECK(pollfd1(p[0], 0, 0) == POLLHUP);
	char c;
	CHECK(read(p[0], &c, 1) == 1);
	CHECK(pollfd1(p[0], POLLIN, 0) == POLLHUP);
	CHECK(read(p[0], &c, 1) == 0);
	fd_set r;
	FD_ZERO(&r);
	FD_SET(p[0], &r);
	struct timeval tv = {0, 0};
	CHECK(select(p[0] + 1, &r, 0, 0, &tv) == 1 && FD_ISSET(p[0], &r));
	close(p[0]);
	CHECK(!pipe2(p, O_NONBLOCK));
	close(p[0]);
	CHECK(pollfd1(p[1], POLLOUT, 0) == (POLLOUT | POLLERR));
	CHECK(pollfd1(p[1], 0, 0) == POLLERR);
	close(p[1]);
	CHECK(!pipe2(p, O_NONBLOCK));
	static char b[65536];
	while (write(p[1], b, sizeof b) > 0) {
	}
	close(p[0]);
	CHECK(pollfd1(p[1], POLLOUT, 0) == POLLERR);
	fd_set w;
	FD_ZERO(&w);
	FD_SET(p[1], &w);
	tv.tv_sec = 0;
	CHECK(select(p[1] + 1, 0, &w, 0, &tv) == 1 && FD_ISSET(p[1], &w));
	return 0;
}
