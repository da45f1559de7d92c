// CPU time accounting: advances while spinning, not while sleeping
// Reported in: microsoft/WSL#9139
// Linux: 200 ms sleep adds < 100 ms CPU; busy loop until 150 ms of CPU finishes, with getrusage/times/clock() roughly
// equal; ITIMER_PROF/SIGPROF ticks fire during CPU use
#include "case.h"

static volatile int ticks;
static void h(int s) {
	(void)s;
	ticks++;
}
int main(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	double c0 = t.tv_sec * 1e3 + t.tv_nsec / 1e6;
	int e = epoll_create1(0);
	struct epoll_event ev;
	for (int i = 0; i < 20; i++) epoll_wait(e, &ev, 1, 10);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	double c1 = t.tv_sec * 1e3 + t.tv_nsec / 1e6;
	CHECK(c1 - c0 < 100);
	signal(SIGPROF, h);
	struct timeval iv = {0, 10000};
	struct {
		struct timeval a, b;
	} it = {iv, iv};
	CHECK(!syscall(SYS_setitimer, 2, &it, 0));
	double w = now(), c;
	do {
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
		c = t.tv_sec * 1e3 + t.tv_nsec / 1e6;
	} while (c < c1 + 150 && now() - w < 15000);
	CHECK(c >= c1 + 150 && now() - w >= 100);
	memset(&it, 0, sizeof it);
	syscall(SYS_setitimer, 2, &it, 0);
	CHECK(ticks >= 3);
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	double ru = (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e3 + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e3;
	CHECK(ru > c - 60 && ru < c + 200);
	double k = clock() / 1e3;
	CHECK(k >= c && k < c + 200);
	return 0;
}
