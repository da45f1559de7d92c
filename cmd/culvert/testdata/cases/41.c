// poll/epoll time-outs: never early, never rounded to 0, huge values do not overflow
// Reported in: tokio-rs/mio#1615, oven-sh/bun#34780, cloudius-systems/osv#1427, wasmerio/wasmer#5481, libuv/libuv#354
// Linux: epoll_wait(20) and poll(20) wait >= 20 ms; epoll_pwait2/ppoll with 300 us waits >= 300 us; bad tv_nsec:
// EINVAL; INT_MAX really blocks
#include "case.h"

static int e;
static volatile int ret = -2;
static void *w(void *a) {
	struct epoll_event o;
	(void)a;
	ret = epoll_wait(e, &o, 1, 0x7fffffff);
	return 0;
}
int main(void) {
	int p[2];
	CHECK(!pipe(p));
	e = epoll_create1(0);
	struct epoll_event o;
	double t;
	for (int i = 0; i < 5; i++) {
		t = now();
		CHECK(epoll_wait(e, &o, 1, 20) == 0);
		t = now() - t;
		CHECK(t >= 19.99 && t < 2000);
	}
	t = now();
	CHECK(poll(0, 0, 20) == 0);
	t = now() - t;
	CHECK(t >= 19.99 && t < 2000);
	struct timeval tv = {0, 20000};
	t = now();
	CHECK(select(0, 0, 0, 0, &tv) == 0);
	CHECK(now() - t >= 19.99);
	struct timespec ts = {0, 300000};
	t = now();
	CHECK(ppoll(0, 0, &ts, 0) == 0);
	CHECK(now() - t >= 0.3);
	ts.tv_nsec = 1000000000;
	CHECK(ppoll(0, 0, &ts, 0) == -1 && errno == EINVAL);
#ifdef SYS_epoll_pwait2
	struct {
		int64_t s, n;
	} k = {0, 300000};
	t = now();
	int r = syscall(SYS_epoll_pwait2, e, &o, 1, &k, 0, 8);
	if (r < 0) CHECK(errno == ENOSYS);
	else {
		CHECK(r == 0 && now() - t >= 0.3);
		k.n = 1000000000;
		CHECK(syscall(SYS_epoll_pwait2, e, &o, 1, &k, 0, 8) == -1 && errno == EINVAL);
	}
#endif
	t = now();
	CHECK(epoll_wait(e, &o, 1, 0) == 0);
	CHECK(now() - t < 500);
	pthread_t th;
	pthread_create(&th, 0, w, 0);
	ms(300);
	CHECK(ret == -2);
	struct epoll_event ev = {.events = EPOLLOUT};
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[1], &ev));
	pthread_join(th, 0);
	CHECK(ret == 1);
	return 0;
}
