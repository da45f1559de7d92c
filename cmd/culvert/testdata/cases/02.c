// O_NONBLOCK write of n <= PIPE_BUF is all-or-EAGAIN, never short
// Reported in: asterinas/asterinas#1554 (and PR #1559)
// Linux: every write of <= 4096 bytes returns the full count or -1/EAGAIN
#include "case.h"

int main(void) {
	int p[2], ok = 0;
	CHECK(!pipe2(p, O_NONBLOCK));
	char b[4096] = {0};
	for (int n = 511;;) {
		ssize_t r = write(p[1], b, n);
		if (r < 0) {
			CHECK(errno == EAGAIN);
			break;
		}
		CHECK(r == n);
		ok++;
	}
	CHECK(ok >= 100);
	CHECK(write(p[1], b, 4096) == -1 && errno == EAGAIN);
	struct iovec v[3] = {{b, 2000}, {b, 1000}, {b, 1096}};
	CHECK(writev(p[1], v, 3) == -1 && errno == EAGAIN);
	return 0;
}
