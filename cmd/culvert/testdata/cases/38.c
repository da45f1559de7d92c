// epoll_ctl from another thread wakes a waiter already inside epoll_wait
// Reported in: cloudius-systems/osv#331, rcore-os/tgoskits#1848
// Linux: ADD of a ready fd, ADD then later write, and MOD that makes an fd match, all wake the sleeping waiter
#include "case.h"

static int e, got;
static struct epoll_event o[4];
static void *w(void *a) {
	(void)a;
	got = epoll_wait(e, o, 4, 10000);
	return 0;
}
int main(void) {
	int p[2];
	CHECK(!pipe(p));
	e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 5};
	pthread_t t;
	char c;
	for (int mode = 0; mode < 3; mode++) {
		got = -2;
		CHECK(write(p[1], "x", 1) == 1);
		if (mode == 1) CHECK(read(p[0], &c, 1) == 1);
		if (mode == 2) {
			ev.events = 0;
			CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
		}
		CHECK(!pthread_create(&t, 0, w, 0));
		ms(150);
		CHECK(got == -2);
		double s = now();
		ev.events = EPOLLIN;
		CHECK(!epoll_ctl(e, mode == 2 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p[0], &ev));
		if (mode == 1) {
			ms(100);
			CHECK(got == -2);
			CHECK(write(p[1], "y", 1) == 1);
		}
		pthread_join(t, 0);
		CHECK(got == 1 && o[0].data.u32 == 5 && now() - s < 5000);
		CHECK(read(p[0], &c, 1) == 1);
		CHECK(!epoll_ctl(e, EPOLL_CTL_DEL, p[0], 0));
	}
	return 0;
}
