// signal latency: threads parked in futex, epoll_wait, select, pipe read, nanosleep react at once
// Reported in: sysprog21/elfuse#378
// Linux: median pthread_kill-to-handler time well under 20 ms in every kind of wait
#include "case.h"

static volatile double hit;
static void h(int s) {
	(void)s;
	hit = now();
}
static volatile int ready, quit;
static int kind, ef, pp[2], word;
static void *w(void *a) {
	(void)a;
	struct epoll_event ev;
	char c;
	ready = 1;
	while (!quit) {
		struct timespec t = {1, 0};
		struct timeval tv = {1, 0};
		if (kind == 0) syscall(SYS_futex, &word, 0, 0, &t, 0, 0);
		else if (kind == 1) epoll_wait(ef, &ev, 1, 1000);
		else if (kind == 2) select(0, 0, 0, 0, &tv);
		else if (kind == 3) (void)!read(pp[0], &c, 1);
		else if (kind == 4) nanosleep(&t, 0);
		else if (kind == 5) syscall(SYS_futex, &word, 0, 0, 0, 0, 0);
		else epoll_wait(ef, &ev, 1, -1);
	}
	return 0;
}
static int cmp(const void *a, const void *b) {
	double x = *(double *)a - *(double *)b;
	return x < 0 ? -1 : x > 0;
}
int main(void) {
	struct sigaction a = {.sa_handler = h};
	sigaction(SIGUSR1, &a, 0);
	CHECK(!pipe(pp));
	ef = epoll_create1(0);
	double d[9];
	for (kind = 0; kind < 7; kind++) {
		pthread_t t;
		ready = quit = 0;
		CHECK(!pthread_create(&t, 0, w, 0));
		while (!ready) ms(1);
		for (int i = 0; i < 9; i++) {
			ms(20);
			hit = 0;
			double s = now();
			CHECK(!pthread_kill(t, SIGUSR1));
			while (hit == 0) {
				CHECK(now() - s < 3000);
				usleep(100);
			}
			d[i] = hit - s;
		}
		quit = 1;
		pthread_kill(t, SIGUSR1);
		ms(5);
		pthread_kill(t, SIGUSR1);
		pthread_join(t, 0);
		qsort(d, 9, sizeof *d, cmp);
		CHECK(d[4] < 20);
	}
	return 0;
}
