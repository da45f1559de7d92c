// timerfd: EAGAIN when not expired or unarmed, past absolute time fires at once, counts accumulate
// Reported in: microsoft/WSL#4414, microsoft/WSL#3091, microsoft/WSL#3210
// Linux: unarmed: EAGAIN, not readable; abs in the past: readable immediately; 10 ms interval after ~100 ms reads >= 5
// once; disarm clears readiness; blocking read sleeps until expiry
#include "case.h"

int main(void) {
	int f = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	CHECK(f >= 0);
	uint64_t v;
	struct itimerspec z = {0}, it = {0}, cur;
	CHECK(read(f, &v, 8) == -1 && errno == EAGAIN);
	CHECK(pollfd1(f, POLLIN, 20) == 0);
	it.it_value.tv_nsec = 1;
	CHECK(!timerfd_settime(f, TFD_TIMER_ABSTIME, &it, 0));
	CHECK(pollfd1(f, POLLIN, 2000) == POLLIN);
	CHECK(read(f, &v, 8) == 8 && v == 1);
	CHECK(read(f, &v, 8) == -1 && errno == EAGAIN);
	it.it_value.tv_nsec = it.it_interval.tv_nsec = 10000000;
	CHECK(!timerfd_settime(f, 0, &it, 0));
	ms(105);
	CHECK(read(f, &v, 8) == 8 && v >= 5 && v < 1000);
	CHECK(!timerfd_gettime(f, &cur) && cur.it_interval.tv_nsec == 10000000 && cur.it_value.tv_nsec <= 10000000);
	ms(30);
	CHECK(pollfd1(f, POLLIN, 0) == POLLIN);
	CHECK(!timerfd_settime(f, 0, &z, 0));
	CHECK(pollfd1(f, POLLIN, 30) == 0);
	CHECK(read(f, &v, 4) == -1 && errno == EINVAL);
	int b = timerfd_create(CLOCK_REALTIME, 0);
	memset(&it, 0, sizeof it);
	it.it_value.tv_nsec = 50000000;
	double t = now();
	CHECK(!timerfd_settime(b, 0, &it, 0));
	CHECK(read(b, &v, 8) == 8 && v == 1);
	CHECK(now() - t >= 49);
	return 0;
}
