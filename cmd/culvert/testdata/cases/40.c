// EPOLLEXCLUSIVE rules
// Reported in: nanovms/nanos#1508 (constant defined wrong); related: linux-test-project/ltp#860
// Linux: ADD with EXCLUSIVE works; MOD with EXCLUSIVE (or of an exclusive entry): EINVAL; EXCLUSIVE|ONESHOT: EINVAL;
// EXCLUSIVE on an epoll target: EINVAL; at least one of two waiters wakes
#include "case.h"

static int ep[2], hits;
static void *w(void *a) {
	struct epoll_event o;
	if (epoll_wait(ep[(long)a], &o, 1, 1500) == 1) __sync_fetch_and_add(&hits, 1);
	return 0;
}
int main(void) {
	int p[2];
	CHECK(!pipe(p));
	struct epoll_event ev = {.events = EPOLLIN | (1u << 28)}, x = {.events = EPOLLIN};
	pthread_t t[2];
	CHECK(EPOLLEXCLUSIVE == 1u << 28);
	ep[0] = epoll_create1(0);
	ep[1] = epoll_create1(0);
	CHECK(!epoll_ctl(ep[0], EPOLL_CTL_ADD, p[0], &ev) && !epoll_ctl(ep[1], EPOLL_CTL_ADD, p[0], &ev));
	CHECK(epoll_ctl(ep[0], EPOLL_CTL_MOD, p[0], &ev) == -1 && errno == EINVAL);
	CHECK(epoll_ctl(ep[0], EPOLL_CTL_MOD, p[0], &x) == -1 && errno == EINVAL);
	int e2 = epoll_create1(0);
	CHECK(epoll_ctl(e2, EPOLL_CTL_ADD, ep[0], &ev) == -1 && errno == EINVAL);
	ev.events |= EPOLLONESHOT;
	CHECK(epoll_ctl(e2, EPOLL_CTL_ADD, p[0], &ev) == -1 && errno == EINVAL);
	for (long i = 0; i < 2; i++) pthread_create(&t[i], 0, w, (void *)i);
	ms(200);
	CHECK(write(p[1], "x", 1) == 1);
	for (int i = 0; i < 2; i++) pthread_join(t[i], 0);
	CHECK(hits >= 1);
	return 0;
}
