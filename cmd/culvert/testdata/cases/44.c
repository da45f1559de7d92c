// eventfd semantics: semaphore mode, overflow, blocking, size checks
// Reported in: microsoft/WSL#452, microsoft/WSL#1654, wasmerio/wasmer#6145, zephyrproject-rtos/zephyr#28236,
// gramineproject/gramine#1728 Linux: semaphore read returns 1 each; write that would exceed 2^64-2: EAGAIN (or blocks
// until a read); write 2^64-1: EINVAL; short buffers: EINVAL; POLLOUT clear at max
#include "case.h"

static int g;
static volatile int done;
static void *w(void *a) {
	uint64_t v = 5;
	(void)a;
	CHECK(write(g, &v, 8) == 8);
	done = 1;
	return 0;
}
int main(void) {
	int s = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK), f = eventfd(3, EFD_NONBLOCK);
	CHECK(s >= 0 && f >= 0);
	uint64_t v = 4, m = -2ull, x = -1ull;
	CHECK(write(s, &v, 8) == 8);
	for (int i = 0; i < 4; i++) {
		v = 0;
		CHECK(read(s, &v, 8) == 8 && v == 1);
	}
	CHECK(read(s, &v, 8) == -1 && errno == EAGAIN);
	CHECK(pollfd1(f, POLLIN | POLLOUT, 0) == (POLLIN | POLLOUT));
	CHECK(read(f, &v, 8) == 8 && v == 3);
	CHECK(pollfd1(f, POLLIN | POLLOUT, 0) == POLLOUT);
	CHECK(write(f, &x, 8) == -1 && errno == EINVAL);
	CHECK(read(f, &v, 4) == -1 && errno == EINVAL);
	CHECK(write(f, &v, 4) == -1 && errno == EINVAL);
	CHECK(write(f, &m, 8) == 8);
	CHECK(pollfd1(f, POLLIN | POLLOUT, 0) == POLLIN);
	v = 1;
	CHECK(write(f, &v, 8) == -1 && errno == EAGAIN);
	v = 0;
	CHECK(write(f, &v, 8) == 8);
	g = eventfd(0, 0);
	CHECK(write(g, &m, 8) == 8);
	pthread_t t;
	pthread_create(&t, 0, w, 0);
	ms(150);
	CHECK(!done);
	CHECK(read(g, &v, 8) == 8 && v == m);
	pthread_join(t, 0);
	CHECK(read(g, &v, 8) == 8 && v == 5);
	return 0;
}
