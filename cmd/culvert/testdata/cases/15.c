// F_SETPIPE_SZ returns the granted size, rounds up to a power-of-two pages, refuses to shrink below the contents
// Reported in: microsoft/WSL#1012, microsoft/mystikos#852, bytecodealliance/rustix#1163, python/cpython#21921 (and the
// follow-up gh-110465 it mentions) Linux: set(5000)->8192, both ends read back 8192, capacity really changes, EBUSY on
// shrink with data, grow keeps data, non-pipe: EBADF
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe2(p, O_NONBLOCK));
	static char b[300000];
	CHECK(fcntl(p[1], F_GETPIPE_SZ) >= 4096);
	CHECK(fcntl(p[1], F_SETPIPE_SZ, 4096) == 4096);
	CHECK(write(p[1], b, 10000) == 4096);
	CHECK(read(p[0], b, 10000) == 4096);
	CHECK(fcntl(p[0], F_SETPIPE_SZ, 5000) == 8192);
	CHECK(fcntl(p[0], F_GETPIPE_SZ) == 8192 && fcntl(p[1], F_GETPIPE_SZ) == 8192);
	memset(b, 7, sizeof b);
	CHECK(write(p[1], b, 10000) == 8192);
	CHECK(fcntl(p[1], F_SETPIPE_SZ, 4096) == -1 && errno == EBUSY);
	CHECK(fcntl(p[1], F_SETPIPE_SZ, 1 << 18) == 1 << 18);
	CHECK(write(p[1], b, 300000) == (1 << 18) - 8192);
	memset(b, 0, sizeof b);
	int got = 0;
	ssize_t n;
	while ((n = read(p[0], b + got, sizeof b - got)) > 0) got += n;
	CHECK(got == 1 << 18 && b[0] == 7 && b[got - 1] == 7);
	int z = open("/dev/null", O_RDWR);
	CHECK(fcntl(z, F_GETPIPE_SZ) == -1 && errno == EBADF);
	return 0;
}
