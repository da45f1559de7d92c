// tee duplicates without consuming
// Reported in: google/gvisor#138
// Linux: tee copies up to len, source intact; EOF: 0; same pipe: EINVAL; empty with SPLICE_F_NONBLOCK: EAGAIN
#include "case.h"

int main(void) {
	int a[2], b[2];
	char x[16];
	CHECK(!pipe(a) && !pipe(b));
	CHECK(write(a[1], "payload", 7) == 7);
	CHECK(tee(a[0], b[1], 100, 0) == 7);
	CHECK(read(b[0], x, 16) == 7 && !memcmp(x, "payload", 7));
	CHECK(read(a[0], x, 3) == 3 && !memcmp(x, "pay", 3));
	CHECK(tee(a[0], b[1], 2, 0) == 2);
	CHECK(read(b[0], x, 16) == 2 && !memcmp(x, "lo", 2));
	CHECK(read(a[0], x, 16) == 4 && !memcmp(x, "load", 4));
	CHECK(tee(a[0], a[1], 1, 0) == -1 && errno == EINVAL);
	CHECK(tee(a[0], b[1], 1, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
	close(a[1]);
	CHECK(tee(a[0], b[1], 1, 0) == 0);
	return 0;
}
