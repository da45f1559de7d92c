// wake-up stress: edge-triggered pipe ping-pong and eventfd wakers across threads and processes
// Reported in: nanovms/nanos#1669, occlum/ngo#246; related: google/gvisor#9816 (long epoll_wait delays)
// Linux: 5000 ET round trips between two processes and 5000 eventfd wake-ups between threads finish well within the
// time-out
#include "case.h"

static int ef, back;
static void *wk(void *a) {
	int e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	(void)a;
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, ef, &ev));
	uint64_t one = 1;
	for (int i = 0; i < 5000; i++) {
		CHECK(epoll_wait(e, &ev, 1, 10000) == 1);
		CHECK(write(back, &one, 8) == 8);
	}
	return 0;
}
static void loop(int r, int w, int n) {
	int e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	char c;
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, r, &ev));
	for (int i = 0; i < n;) {
		CHECK(epoll_wait(e, &ev, 1, 10000) == 1);
		while (i < n && read(r, &c, 1) == 1) {
			i++;
			CHECK(write(w, &c, 1) == 1);
		}
		CHECK(i == n || errno == EAGAIN);
	}
}
int main(void) {
	int a[2], b[2];
	CHECK(!pipe2(a, O_NONBLOCK) && !pipe2(b, O_NONBLOCK));
	double t = now();
	pid_t k = fork();
	if (!k) {
		loop(a[0], b[1], 5000);
		_exit(0);
	}
	CHECK(write(a[1], "p", 1) == 1);
	loop(b[0], a[1], 4999);
	char c;
	while (read(b[0], &c, 1) != 1) CHECK(poll(&(struct pollfd){b[0], POLLIN, 0}, 1, 10000) == 1);
	CHECK(reap(k) == 0);
	CHECK(now() - t < 20000);
	ef = eventfd(0, EFD_NONBLOCK);
	back = eventfd(0, 0);
	pthread_t th;
	CHECK(!pthread_create(&th, 0, wk, 0));
	uint64_t v = 1;
	for (int i = 0; i < 5000; i++) {
		v = 1;
		CHECK(write(ef, &v, 8) == 8);
		CHECK(read(back, &v, 8) == 8 && v == 1);
	}
	pthread_join(th, 0);
	return 0;
}
