// clocks never go backwards across threads, vDSO/libc and raw syscalls
// Reported in: google/gvisor#8118 (AMD), kontainapp/km#611 (TSC reset), cloudius-systems/osv#164, google/gvisor#7775
// Linux: shared maximum never decreases (1 us slack across threads) for libc and SYS_clock_gettime mixed;
// REALTIME-MONOTONIC offset stable; rdtsc monotonic per thread
#include "case.h"

static volatile uint64_t mx;
static volatile int stop, bad;
static uint64_t g(int raw) {
	struct timespec t;
	if (raw) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	else clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void *th(void *a) {
	uint64_t last = 0;
	for (long i = 0; !stop; i++) {
		uint64_t s = mx;
		__sync_synchronize();
		uint64_t v = g((i + (long)a) & 1);
		if (v < last) bad |= 1;
		if (v + 1000 < s) bad |= 2;
		last = v;
		while (s < v && !__sync_bool_compare_and_swap(&mx, s, v)) s = mx;
	}
	return 0;
}
int main(void) {
	pthread_t t[4];
	for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, th, (void *)i);
	struct timespec r, m;
	clock_gettime(CLOCK_REALTIME, &r);
	clock_gettime(CLOCK_MONOTONIC, &m);
	double o1 = r.tv_sec - m.tv_sec + (r.tv_nsec - m.tv_nsec) / 1e9;
	CHECK(r.tv_sec > 1600000000 && r.tv_sec < 4102444800);
	ms(1500);
	clock_gettime(CLOCK_REALTIME, &r);
	clock_gettime(CLOCK_MONOTONIC, &m);
	double o2 = r.tv_sec - m.tv_sec + (r.tv_nsec - m.tv_nsec) / 1e9;
	stop = 1;
	for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
	CHECK(bad == 0);
	CHECK(o2 - o1 < 0.2 && o1 - o2 < 0.2);
	return 0;
}
