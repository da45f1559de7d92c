// poll/select/epoll_wait/nanosleep return EINTR even with SA_RESTART; nanosleep reports the remainder
// Reported in: FlareCoding/StelluxOS#168, shadow/shadow#1974, oven-sh/bun#34780
// Linux: each returns -1/EINTR promptly; nanosleep rem is about what is left; clock_nanosleep likewise returns EINTR
#include "case.h"

static volatile int hits;
static void h(int s) {
	(void)s;
	hits++;
}
static pid_t kick(pid_t me) {
	pid_t k = fork();
	if (!k) {
		ms(150);
		kill(me, SIGUSR1);
		_exit(0);
	}
	return k;
}
int main(void) {
	struct sigaction a = {.sa_handler = h, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &a, 0);
	pid_t me = getpid(), k;
	int e = epoll_create1(0);
	struct epoll_event ev;
	struct timespec t = {5, 0}, r = {0, 0};
	struct timeval tv = {5, 0};
	k = kick(me);
	CHECK(poll(0, 0, 5000) == -1 && errno == EINTR);
	reap(k);
	k = kick(me);
	CHECK(select(0, 0, 0, 0, &tv) == -1 && errno == EINTR);
	reap(k);
	k = kick(me);
	CHECK(epoll_wait(e, &ev, 1, 5000) == -1 && errno == EINTR);
	reap(k);
	k = kick(me);
	CHECK(nanosleep(&t, &r) == -1 && errno == EINTR);
	CHECK(r.tv_sec == 4 || (r.tv_sec == 3 && r.tv_nsec > 500000000));
	reap(k);
	k = kick(me);
	CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &r) == EINTR);
	reap(k);
	k = kick(me);
	CHECK(pause() == -1 && errno == EINTR);
	reap(k);
	CHECK(hits == 6);
	return 0;
}
