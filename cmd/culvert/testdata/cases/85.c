// sleeps: never short, reasonably accurate, absolute variants exact
// Reported in: google/gvisor#7775; related: microsoft/WSL#3210, Solo5/solo5#533
// Linux: 1 ms nanosleep x50 each >= 1 ms and median < 10 ms; ABSTIME in the past returns at once; ABSTIME future wakes
// not before; bad nsec: EINVAL; futex/cond timeouts not early
#include "case.h"

static int cmp(const void *a, const void *b) {
	double x = *(double *)a - *(double *)b;
	return x < 0 ? -1 : x > 0;
}
int main(void) {
	double d[50];
	struct timespec t = {0, 1000000}, n;
	for (int i = 0; i < 50; i++) {
		double s = now();
		CHECK(!nanosleep(&t, 0));
		d[i] = now() - s;
		CHECK(d[i] >= 1.0);
	}
	qsort(d, 50, sizeof *d, cmp);
	CHECK(d[25] < 10);
	clock_gettime(CLOCK_MONOTONIC, &n);
	double s = now();
	n.tv_sec -= 1;
	CHECK(!clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &n, 0));
	CHECK(now() - s < 200);
	clock_gettime(CLOCK_MONOTONIC, &n);
	n.tv_nsec += 20000000;
	if (n.tv_nsec >= 1000000000) {
		n.tv_sec++;
		n.tv_nsec -= 1000000000;
	}
	CHECK(!clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &n, 0));
	CHECK(now() >= n.tv_sec * 1e3 + n.tv_nsec / 1e6);
	t.tv_nsec = 1000000000;
	CHECK(nanosleep(&t, 0) == -1 && errno == EINVAL);
	t.tv_nsec = 0;
	t.tv_sec = 0;
	CHECK(!nanosleep(&t, 0));
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	pthread_mutex_lock(&m);
	clock_gettime(CLOCK_REALTIME, &n);
	n.tv_nsec += 30000000;
	if (n.tv_nsec >= 1000000000) {
		n.tv_sec++;
		n.tv_nsec -= 1000000000;
	}
	s = now();
	int r;
	while ((r = pthread_cond_timedwait(&c, &m, &n)) == 0) {
	}
	CHECK(r == ETIMEDOUT && now() - s >= 29);
	return 0;
}
