// one-byte non-blocking writes stop at exactly the pipe capacity; FIONREAD agrees on both ends
// Reported in: wasmerio/wasmer#6148, util-linux/util-linux#4590 (FIONREAD)
// Linux: 65536 one-byte writes succeed (= F_GETPIPE_SZ), the next gives EAGAIN; FIONREAD on either end = bytes queued
#include "case.h"

int main(void) {
	int p[2], n = 0, a = -1, b = -1;
	char c = 'x';
	CHECK(!pipe2(p, O_NONBLOCK));
	while (write(p[1], &c, 1) == 1) CHECK(++n <= (1 << 24));
	CHECK(errno == EAGAIN);
	CHECK(n == pcap(p[1]));
	CHECK(!ioctl(p[0], FIONREAD, &a) && a == n);
	CHECK(!ioctl(p[1], FIONREAD, &b) && b == n);
	static char buf[70000];
	CHECK(read(p[0], buf, 70000) == n);
	CHECK(!ioctl(p[0], FIONREAD, &a) && a == 0);
	CHECK(read(p[0], buf, 1) == -1 && errno == EAGAIN);
	return 0;
}
