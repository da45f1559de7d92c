// 64 processes: a token goes around a ring of pipes; many write into one pipe, and one into many; and what signalfd and timerfd
// say through epoll.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 64 };

static void reap(void) {
	int st, bad = 0;
	while (wait(&st) > 0) bad += st != 0;
	if (bad) printf("%d failed\n", bad);
}

static void ring(int rounds) {
	int p[N][2];
	for (int i = 0; i < N; i++) pipe(p[i]);
	for (int i = 1; i < N; i++) {
		if (fork()) continue;
		for (int j = 0; j < N; j++) {
			if (j != i) close(p[j][0]);
			if (j != (i + 1) % N) close(p[j][1]);
		}
		uint64_t v;
		while (read(p[i][0], &v, 8) == 8) v = v * 31 + i, write(p[(i + 1) % N][1], &v, 8);
		_exit(0);
	}
	uint64_t v = 1;
	for (int i = 0; i < rounds; i++) if (write(p[1][1], &v, 8) != 8 || read(p[0][0], &v, 8) != 8) puts("broken");
	printf("ring: %llx\n", (unsigned long long)v);
	for (int i = 0; i < N; i++) close(p[i][0]), close(p[i][1]);
	reap();
}

// fan: N writers into one pipe, whose records go on to N readers by the record's number, and back as sums.
static void fan(int each) {
	int in[2], back[2], out[N][2];
	pipe(in), pipe(back);
	for (int i = 0; i < N; i++) pipe(out[i]);
	for (int i = 0; i < N; i++) {
		if (!fork()) {
			close(in[0]);
			for (int k = 0; k < each; k++) {
				uint32_t rec[8] = {i, k, i * 1000 + k};
				if (write(in[1], rec, sizeof rec) != sizeof rec) _exit(1);
			}
			_exit(0);
		}
		if (!fork()) {
			close(in[0]), close(in[1]);
			for (int j = 0; j < N; j++) {
				close(out[j][1]);
				if (j != i) close(out[j][0]);
			}
			uint64_t sum[2] = {i, 0};
			uint32_t rec[8];
			while (read(out[i][0], rec, sizeof rec) == sizeof rec) sum[1] = sum[1] + rec[2];
			write(back[1], sum, sizeof sum);
			_exit(0);
		}
	}
	close(in[1]), close(back[1]);
	uint32_t rec[8], last[N];
	memset(last, 0xff, sizeof last);
	int n = 0;
	while (read(in[0], rec, sizeof rec) == sizeof rec) {
		if (rec[1] != last[rec[0]] + 1) printf("writer %d: record %d after %d\n", rec[0], rec[1], last[rec[0]]);
		last[rec[0]] = rec[1];
		write(out[(rec[0] + rec[1]) % N][1], rec, sizeof rec);
		n++;
	}
	for (int i = 0; i < N; i++) close(out[i][1]);
	uint64_t sum[2], all[N], total = 0;
	while (read(back[0], sum, sizeof sum) == sizeof sum) all[sum[0]] = sum[1];
	for (int i = 0; i < N; i++) total = total * 31 + all[i];
	printf("fan: %d records, %llx\n", n, (unsigned long long)total);
	reap();
}

static long now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void show(const char *what, int ep, int ms) {
	struct epoll_event e[4];
	int n = epoll_wait(ep, e, 4, ms);
	printf("%s:", what);
	for (int i = 0; i < n; i++) printf(" %x of %d", e[i].events, e[i].data.fd);
	puts(n < 0 ? " failed" : "");
}

static void clocks(void) {
	sigset_t set;
	sigemptyset(&set), sigaddset(&set, SIGUSR1), sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int sfd = signalfd(-1, &set, SFD_NONBLOCK), tfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), ep = epoll_create1(0), level = epoll_create1(0);
	struct epoll_event e = {EPOLLIN | EPOLLET, {.fd = 1}};
	epoll_ctl(ep, EPOLL_CTL_ADD, sfd, &e);
	e.data.fd = 2, epoll_ctl(ep, EPOLL_CTL_ADD, tfd, &e);
	e.events = EPOLLIN, epoll_ctl(level, EPOLL_CTL_ADD, tfd, &e);
	e.data.fd = 1, epoll_ctl(level, EPOLL_CTL_ADD, sfd, &e);
	show("at first", ep, 0);
	raise(SIGUSR1);
	show("a signal", ep, 1000), show("no edge", ep, 0), show("level", level, 0);
	raise(SIGUSR1);
	for (int i = 0; i < 3; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i + 5});
	show("more signals", ep, 1000);
	struct signalfd_siginfo si[8];
	ssize_t n = read(sfd, si, sizeof si);
	for (int i = 0; i < n / (int)sizeof si[0]; i++) printf("  signal %d, value %d\n", si[i].ssi_signo, si[i].ssi_int);
	printf("read again: %s\n", read(sfd, si, sizeof si) < 0 ? strerrorname_np(errno) : "?");
	show("none left", level, 0);
	struct itimerspec once = {.it_value = {0, 1000000}}, often = {{0, 8000000}, {0, 8000000}}, off = {0};
	uint64_t v = 0;
	timerfd_settime(tfd, 0, &once, NULL);
	show("a timer", ep, 5000), show("no edge", ep, 0), show("level", level, 0);
	n = read(tfd, &v, 8);
	printf("%zd read, %llu times\n", n, (unsigned long long)v);
	printf("read again: %s\n", read(tfd, &v, 8) < 0 ? strerrorname_np(errno) : "?");
	show("none left", level, 0);
	long before = now_ms(), after;
	timerfd_settime(tfd, 0, &often, NULL);
	after = now_ms();
	show("periodic", ep, 5000);
	usleep(80000);
	show("no edge, or it rests", level, 0);
	// As often as the time says that passed at least and at most. Without high-resolution timers Linux takes no shorter period than a
	// tick of 4 ms for what it is.
	long least = (now_ms() - after) / 8 - 1;
	n = read(tfd, &v, 8);
	long most = (now_ms() - before) / 8 + 1;
	printf("%zd read, %s\n", n, (long)v < least ? "too few" : (long)v > most ? "too many" : "as often as it should");
	show("next edge", ep, 5000);
	timerfd_settime(tfd, 0, &off, NULL);
	show("off", level, 0);
	printf("read: %s\n", read(tfd, &v, 8) < 0 ? strerrorname_np(errno) : "?");
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	ring(argc > 1 ? atoi(argv[1]) : 30);
	fan(argc > 2 ? atoi(argv[2]) : 30);
	clocks();
}
