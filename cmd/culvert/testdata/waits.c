// Waits that ring 0 serves: epoll_wait, poll and eventfds, with time-outs, signals, stops, files that only the shim
// knows, nesting, faults and threads. Prints what differs from Linux, else "all well".
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int fails;
#define CHECK(c) \
	do { \
		if (!(c)) { \
			printf("line %d: %s (errno %d)\n", __LINE__, #c, errno); \
			fails++; \
		} \
	} while (0)

static volatile int caught;
static void handler(int sig) { caught++; }

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void alarm_ms(int ms) {
	struct itimerval it = {{0, 0}, {0, ms * 1000}};
	setitimer(ITIMER_REAL, &it, 0);
}

static void add(int ep, int fd, unsigned events) {
	struct epoll_event e = {.events = events, .data.fd = fd};
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0);
}

// later runs a piece of code in a child after some milliseconds.
#define LATER(ms, code) \
	do { \
		if (!fork()) { \
			usleep((ms) * 1000); \
			code; \
			_exit(0); \
		} \
	} while (0)

static int ep, p[2];
static struct epoll_event es[8];
static char buf[8];

static void timeouts(void) {
	struct pollfd pf = {p[0], POLLIN, 0};
	struct timespec ts = {0, 15000000};
	for (int i = 0; i < 3; i++) {
		long long t = now();
		CHECK(epoll_wait(ep, es, 8, 30) == 0 && now() - t >= 30000000);
		t = now();
		CHECK(poll(&pf, 1, 20) == 0 && now() - t >= 20000000);
		t = now();
		CHECK(syscall(441, ep, es, 8, &ts, 0, 8) == 0 && now() - t >= 15000000);
	}
}

static void signals(void) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	struct pollfd pf = {p[0], POLLIN, 0};
	sigaction(SIGALRM, &sa, 0);
	alarm_ms(30);
	CHECK(epoll_wait(ep, es, 8, -1) == -1 && errno == EINTR && caught == 1);
	alarm_ms(30);
	CHECK(poll(&pf, 1, -1) == -1 && errno == EINTR && caught == 2);
	alarm_ms(30);
	CHECK(poll(&pf, 1, 10000) == -1 && errno == EINTR && caught == 3);
	alarm_ms(30);
	CHECK(ppoll(&pf, 1, 0, 0) == -1 && errno == EINTR && caught == 4);
	int ev = eventfd(0, 0);
	uint64_t v = 5;
	LATER(60, write(ev, &v, 8));
	alarm_ms(30);
	v = 0;
	CHECK(read(ev, &v, 8) == 8 && v == 5 && caught == 5); // started again
	wait(0);
	// A stop and SIGCONT: poll goes on with the time that was left, epoll_wait does not.
	long long t = now();
	LATER(30, kill(getppid(), SIGSTOP); usleep(30000); kill(getppid(), SIGCONT));
	CHECK(poll(&pf, 1, 150) == 0 && now() - t >= 150000000);
	wait(0);
	LATER(30, kill(getppid(), SIGSTOP); usleep(30000); kill(getppid(), SIGCONT));
	CHECK(epoll_wait(ep, es, 8, 3000) == -1 && errno == EINTR);
	wait(0);
	sigset_t m;
	sigfillset(&m);
	caught = 0;
	alarm_ms(20);
	CHECK(epoll_pwait(ep, es, 8, 60, &m) == 0 && caught == 1);
	// A process that waits can be killed.
	int st;
	pid_t c = fork();
	if (!c)
		epoll_wait(ep, es, 8, -1);
	usleep(20000);
	kill(c, SIGKILL);
	CHECK(wait(&st) == c && WTERMSIG(st) == SIGKILL);
	c = fork();
	if (!c)
		poll(&pf, 1, -1);
	usleep(20000);
	kill(c, SIGTERM);
	CHECK(wait(&st) == c && WTERMSIG(st) == SIGTERM);
}

// mixed: a timerfd and a socket beside a pipe.
static void mixed(void) {
	int sv[2], tf = timerfd_create(CLOCK_MONOTONIC, 0);
	socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
	add(ep, tf, EPOLLIN);
	add(ep, sv[0], EPOLLIN);
	struct itimerspec its = {{0, 0}, {0, 20000000}};
	timerfd_settime(tf, 0, &its, 0);
	CHECK(epoll_wait(ep, es, 8, -1) == 1 && es[0].data.fd == tf && read(tf, buf, 8) == 8);
	CHECK(epoll_wait(ep, es, 8, 0) == 0);
	LATER(10, write(sv[1], "x", 1); write(p[1], "12345678", 8));
	for (int n = 0; n < 2; n++)
		CHECK(epoll_wait(ep, es, 1, -1) == 1 && read(es[0].data.fd, buf, 8) > 0);
	wait(0);
	CHECK(epoll_wait(ep, es, 8, 0) == 0);
	// What is always ready does not hide the socket.
	int always = eventfd(1, 0), seen = 0;
	add(ep, always, EPOLLIN);
	write(sv[1], "y", 1);
	for (int i = 0; i < 4 && !seen; i++) {
		CHECK(epoll_wait(ep, es, 1, -1) == 1);
		seen = es[0].data.fd == sv[0];
	}
	CHECK(seen);
	read(sv[0], buf, 1);
	close(always);
	// Nested, woken by the pipe and by the socket.
	int top = epoll_create1(0);
	add(top, ep, EPOLLIN);
	CHECK(epoll_wait(top, es, 8, 0) == 0);
	LATER(20, write(p[1], "12345678", 8));
	CHECK(epoll_wait(top, es, 8, -1) == 1 && epoll_wait(ep, es, 8, 0) == 1);
	read(p[0], buf, 8);
	wait(0);
	CHECK(epoll_wait(top, es, 8, 0) == 0);
	LATER(20, write(sv[1], "z", 1));
	CHECK(epoll_wait(top, es, 8, -1) == 1 && read(sv[0], buf, 1) == 1);
	wait(0);
	CHECK(epoll_wait(top, es, 8, 10) == 0);
}

static void faults(void) {
	void *ro = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *fresh = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	write(p[1], "12345678", 8);
	CHECK(epoll_wait(ep, ro, 8, 0) == -1 && errno == EFAULT);
	CHECK(epoll_wait(ep, fresh, 8, 0) == 1); // the event was kept
	read(p[0], buf, 8);
}

static void polls(void) {
	int q[2];
	pipe(q);
	struct pollfd f[3] = {{q[0], POLLIN, 0}, {-1, POLLIN, 77}, {q[1], POLLOUT, 0}};
	CHECK(poll(f, 3, -1) == 1 && f[0].revents == 0 && f[1].revents == 0 && f[2].revents == POLLOUT);
	close(q[1]);
	f[2].fd = -3;
	CHECK(poll(f, 3, -1) == 1 && f[0].revents == POLLHUP);
	close(q[0]);
	CHECK(poll(f, 1, -1) == 1 && f[0].revents == POLLNVAL);
	pipe(q);
	LATER(20, close(q[0]));
	close(q[1]);
	f[0].fd = q[0];
	CHECK(poll(f, 1, -1) == 1 && f[0].revents == POLLHUP); // the last writer went
	close(q[0]);
	wait(0);
}

static void descriptions(void) {
	int q[2], x = epoll_create1(0);
	pipe(q);
	add(x, q[0], EPOLLIN);
	int d = dup(q[0]);
	close(q[0]);
	write(q[1], "a", 1);
	CHECK(epoll_wait(x, es, 8, 0) == 1);
	close(d);
	CHECK(epoll_wait(x, es, 8, 0) == 0);
}

static volatile int total;

static void *waiter(void *arg) {
	int x = *(int *)arg;
	for (;;) {
		struct epoll_event e;
		uint64_t v;
		if (epoll_wait(x, &e, 1, -1) != 1)
			continue;
		if (e.data.fd < 0)
			return 0;
		if (read(e.data.fd, &v, 8) == 8)
			__sync_fetch_and_add(&total, v);
	}
}

static void threads(void) {
	unsigned mode[4] = {EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLEXCLUSIVE, EPOLLIN};
	int evs[4], x = epoll_create1(0);
	pthread_t th[6];
	for (int i = 0; i < 4; i++)
		add(x, evs[i] = eventfd(0, EFD_NONBLOCK | (i == 3 ? EFD_SEMAPHORE : 0)), mode[i]);
	for (int i = 0; i < 6; i++)
		pthread_create(&th[i], 0, waiter, &x);
	for (int i = 0; i < 4000; i++) {
		uint64_t one = 1;
		CHECK(write(evs[i & 3], &one, 8) == 8);
		if (i % 50 == 0)
			sched_yield();
	}
	for (int i = 0; i < 20000 && total < 4000; i++)
		usleep(1000);
	CHECK(total == 4000);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = -1};
	epoll_ctl(x, EPOLL_CTL_ADD, eventfd(1, 0), &e);
	for (int i = 0; i < 6; i++)
		pthread_join(th[i], 0);
}

int main(void) {
	setvbuf(stdout, 0, _IONBF, 0);
	pipe(p);
	ep = epoll_create1(0);
	add(ep, p[0], EPOLLIN);
	timeouts();
	signals();
	mixed();
	faults();
	polls();
	descriptions();
	threads();
	if (!fails)
		puts("all well");
	return fails != 0;
}
