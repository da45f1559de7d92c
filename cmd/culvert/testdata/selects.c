// select that waits: what ends it, what it leaves in the sets and of the time. With an argument, only that many round trips of two
// processes that wait for each other.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int handled;
static void on_signal(int s) { handled++; }
static const char *name(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }
static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void later(int ms) {
	struct itimerval t = {{0, 0}, {0, ms * 1000}};
	setitimer(ITIMER_REAL, &t, 0);
}
#define LATER(ms, what) do { if (!fork()) { usleep((ms) * 1000); what; _exit(0); } } while (0)

// The C library makes pselect6 of its select.
#define select(n, i, o, e, t) ((int)syscall(SYS_select, n, i, o, e, t))

static fd_set in, out, ex;
static int fds[12], count;
// set puts descriptors that end in 0 into a set.
static void set(fd_set *s, ...) {
	__builtin_va_list l;
	__builtin_va_start(l, s);
	FD_ZERO(s);
	for (int fd; (fd = __builtin_va_arg(l, int)) > 0;) FD_SET(fd, s);
}
static int number(int fd) {
	for (int i = 0; i < count; i++) if (fds[i] == fd) return i;
	return -1;
}
static void show(const char *what, long r, int sets) {
	printf("%s: %ld %s", what, r < 0 ? -1 : r, name(r));
	fd_set *all[] = {&in, &out, &ex};
	for (int s = 0; s < sets; s++) {
		printf(" |");
		for (int i = 0; i < FD_SETSIZE; i++) if (FD_ISSET(i, all[s])) printf(" %d", number(i));
	}
	puts("");
}
static int known(int fd) { return fds[count++] = fd; }
static void nonblock(int fd) { fcntl(fd, F_SETFL, O_NONBLOCK); }

static void wakes(void) {
	int p[2], q[2], n = 64;
	char buf[65536] = {0};
	pipe(p), pipe(q);
	known(p[0]), known(p[1]), known(q[0]), known(q[1]);
	int ev = known(eventfd(0, 0)), far = known(dup2(p[0], 200)), end = known(eventfd(UINT64_MAX - 1, 0));
	set(&in, p[0], q[0], 0);
	LATER(20, write(p[1], "x", 1));
	show("read", select(n, &in, 0, 0, 0), 1), wait(0), read(p[0], buf, 1);
	// One description under two numbers, one of them in the fourth word.
	set(&in, p[0], far, q[0], 0);
	LATER(20, write(p[1], "x", 1));
	show("twice", select(201, &in, 0, 0, 0), 1), wait(0), read(p[0], buf, 1);
	// What is not below the number is not asked.
	set(&in, p[0], far, 0);
	LATER(20, write(p[1], "x", 1));
	show("up to 200", select(200, &in, 0, 0, 0), 1), wait(0), read(p[0], buf, 1);
	set(&in, ev, p[0], 0), set(&ex, ev, p[0], 0), set(&out, end, 0);
	LATER(20, uint64_t one = 1; write(ev, &one, 8));
	show("eventfd", select(n, &in, 0, &ex, 0), 1), wait(0);
	show("no exceptions", 0, 0);
	read(ev, buf, 8);
	LATER(20, uint64_t v; read(end, &v, 8));
	show("eventfd is full", (set(&in, p[0], 0), select(n, &in, &out, 0, 0)), 2), wait(0);
	nonblock(p[1]);
	while (write(p[1], buf, sizeof buf) > 0);
	set(&out, p[1], 0), set(&in, q[0], 0);
	LATER(20, for (int i = 0; i < 16; i++) read(p[0], buf, 4096));
	show("write", select(n, &in, &out, 0, 0), 2), wait(0);
	// The same set as two.
	while (write(p[1], buf, sizeof buf) > 0);
	set(&in, p[1], q[0], 0);
	LATER(20, for (int i = 0; i < 16; i++) read(p[0], buf, 4096));
	show("one set for both", select(n, &in, &in, 0, 0), 1), wait(0);
	// Ends that go.
	int pid = fork();
	if (!pid) { close(q[0]), usleep(20000); _exit(0); }
	close(q[1]);
	set(&in, q[0], 0), set(&out, q[0], 0), set(&ex, q[0], 0);
	show("hung up", select(n, &in, &out, &ex, 0), 3), wait(0);
	set(&out, q[0], 0), set(&ex, q[0], 0);
	struct timeval t = {0, 30000};
	show("hung up, but not asked", select(n, 0, &out, &ex, &t), 0);
	close(q[0]), pipe(q);
	nonblock(q[1]);
	while (write(q[1], buf, sizeof buf) > 0);
	pid = fork();
	if (!pid) { usleep(20000); _exit(0); }
	close(q[0]);
	set(&out, q[1], 0), set(&in, q[1], 0);
	show("nobody reads", select(n, &in, &out, 0, 0), 2), wait(0);
	close(q[1]);
	// Closed by another while it waits: the description goes on.
	pipe(q), fds[4] = q[0];
	set(&in, q[0], 0);
	LATER(20, write(q[1], "x", 1));
	show("before", select(n, &in, 0, 0, 0), 1), wait(0);
	close(q[0]), close(q[1]);
	// Too many files, and one that only the shim knows.
	int sv[2], many[10];
	socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
	set(&in, sv[0], p[0], 0), fds[count++] = sv[0];
	LATER(20, write(sv[1], "x", 1));
	show("socket", select(n, &in, 0, 0, 0), 1), wait(0);
	for (int m = 7; m <= 9; m++) {
		set(&in, p[0], 0);
		for (int i = 0; i < m; i++) many[i] = dup(ev), FD_SET(many[i], &in);
		LATER(20, write(p[1], "x", 1));
		show("many", select(n, &in, 0, 0, 0), 1), wait(0), read(p[0], buf, 1);
		for (int i = 0; i < m; i++) close(many[i]);
	}
}

static void times(int p) {
	for (int i = 0; i < 3; i++) {
		struct timeval t = {0, 20000};
		struct timespec s = {0, 15000000};
		long long from = now();
		set(&in, p, 0);
		show("time-out", select(p + 1, &in, 0, 0, &t), 1);
		printf("%s, left %ld.%06ld\n", now() - from >= 20000000 ? "in time" : "early", t.tv_sec, t.tv_usec);
		from = now(), set(&in, p, 0);
		show("pselect6", syscall(SYS_pselect6, p + 1, &in, 0L, 0L, &s, 0L), 1);
		printf("%s, left %ld.%09ld\n", now() - from >= 15000000 ? "in time" : "early", s.tv_sec, s.tv_nsec);
	}
	// Nothing is asked: a sleep.
	struct timeval t = {0, 20000};
	long long from = now();
	FD_ZERO(&in);
	show("asleep", select(p + 1, &in, 0, 0, &t), 1);
	show("asleep", (t.tv_usec = 20000, select(0, 0, 0, 0, &t)), 0);
	printf("%s\n", now() - from >= 40000000 ? "in time" : "early");
}

static void lefts(int r, int w) {
	char c;
	struct timeval t = {20, 0};
	struct timespec s = {20, 0};
	set(&in, r, 0);
	LATER(20, write(w, "x", 1));
	show("left of select", select(r + 1, &in, 0, 0, &t), 1), wait(0), read(r, &c, 1);
	printf("%s\n", (t.tv_sec == 19 || t.tv_sec == 18) && t.tv_usec < 1000000 ? "some time is gone" : "wrong time");
	set(&in, r, 0);
	LATER(20, write(w, "x", 1));
	show("left of pselect6", syscall(SYS_pselect6, r + 1, &in, 0L, 0L, &s, 0L), 1), wait(0), read(r, &c, 1);
	printf("%s\n", s.tv_sec == 19 || s.tv_sec == 18 ? "some time is gone" : "wrong time");
}

static void signals(int r, int w) {
	char c;
	for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
		struct sigaction sa = {.sa_handler = on_signal, .sa_flags = flags};
		sigaction(SIGALRM, &sa, 0);
		handled = 0;
		set(&in, r, 0), set(&out, r, 0), later(20);
		show("signal", select(r + 1, &in, &out, 0, 0), 2);
		struct timeval t = {10, 0};
		later(20);
		show("signal, with a time", select(r + 1, &in, 0, 0, &t), 1);
		printf("%d handled, %s\n", handled, t.tv_sec == 9 || t.tv_sec == 8 ? "some time is gone" : "wrong time");
	}
	// What is there when the signal comes counts for more; an ignored one does nothing.
	sigset_t all, none;
	signal(SIGCHLD, SIG_IGN);
	struct timeval t = {0, 150000};
	long long from = now();
	LATER(20, (void)0);
	set(&in, r, 0);
	show("ignored", select(r + 1, &in, 0, 0, &t), 1);
	printf("%s\n", now() - from >= 150000000 ? "in time" : "early");
	signal(SIGCHLD, SIG_DFL);
	// Stopped and continued it goes on with what is left.
	t = (struct timeval){0, 150000}, from = now();
	LATER(30, kill(getppid(), SIGSTOP); usleep(30000); kill(getppid(), SIGCONT));
	set(&in, r, 0);
	show("stopped", select(r + 1, &in, 0, 0, &t), 1), wait(0);
	printf("%s\n", now() - from >= 150000000 ? "in time" : "early");
	LATER(20, kill(getppid(), SIGSTOP); usleep(20000); write(w, "x", 1); kill(getppid(), SIGCONT));
	set(&in, r, 0);
	show("written while stopped", select(r + 1, &in, 0, 0, 0), 1), wait(0), read(r, &c, 1);
	// With a mask.
	sigemptyset(&none), sigemptyset(&all), sigaddset(&all, SIGALRM), sigprocmask(SIG_BLOCK, &all, 0);
	handled = 0, later(20), set(&in, r, 0);
	show("pselect", pselect(r + 1, &in, 0, 0, 0, &none), 1);
	later(20), t = (struct timeval){0, 60000};
	show("blocked", select(r + 1, &in, 0, 0, &t), 1);
	printf("%d handled\n", handled);
	sigprocmask(SIG_UNBLOCK, &all, 0);
	printf("%d handled\n", handled);
	int st, pid = fork();
	if (!pid) set(&in, r, 0), select(r + 1, &in, 0, 0, 0), _exit(0);
	usleep(20000), kill(pid, SIGTERM), wait(&st);
	printf("killed by %d\n", WTERMSIG(st));
}

// faults: sets that can be read but not stored to, and ones that are shared copy-on-write.
static void faults(int r, int w) {
	char c;
	fd_set *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FD_SET(r, m);
	LATER(20, write(w, "x", 1));
	show("copy-on-write", select(r + 1, m, 0, 0, 0), 0), wait(0), read(r, &c, 1);
	mprotect(m, 4096, PROT_READ);
	LATER(20, write(w, "x", 1));
	show("not writable", select(r + 1, m, 0, 0, 0), 0), wait(0), read(r, &c, 1);
	struct timeval *t = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	t->tv_sec = 9, mprotect(t, 4096, PROT_READ), set(&in, r, 0);
	LATER(20, write(w, "x", 1));
	show("time is not writable", select(r + 1, &in, 0, 0, t), 1), wait(0), read(r, &c, 1);
	signal(SIGALRM, on_signal), later(20);
	show("and a signal", select(r + 1, &in, 0, 0, t), 0);
}

static pthread_barrier_t bar;
static int pr;
static void *waits(void *a) {
	fd_set s;
	FD_ZERO(&s);
	FD_SET(pr, &s);
	pthread_barrier_wait(&bar);
	return (void *)(long)select(pr + 1, &s, 0, 0, 0);
}
static void threads(int r, int w) {
	pthread_t t[4];
	void *got;
	char c;
	long sum = 0;
	pr = r, pthread_barrier_init(&bar, 0, 5);
	for (int i = 0; i < 4; i++) pthread_create(t + i, 0, waits, 0);
	pthread_barrier_wait(&bar), usleep(20000), write(w, "x", 1);
	for (int i = 0; i < 4; i++) pthread_join(t[i], &got), sum += (long)got;
	printf("%ld of 4 threads\n", sum), read(r, &c, 1);
}

static void trips(int n) {
	int p[2], q[2];
	char c;
	pipe(p), pipe(q);
	if (!fork()) {
		for (int i = 0; i < n; i++) {
			set(&in, p[0], 0), select(p[0] + 1, &in, 0, 0, 0);
			read(p[0], &c, 1), write(q[1], &c, 1);
		}
		_exit(0);
	}
	for (int i = 0; i < n; i++) {
		struct timeval t = {100, 0};
		write(p[1], "x", 1);
		set(&in, q[0], p[0], 0), FD_CLR(p[0], &in), set(&out, p[0], 0);
		select(64, &in, &out, 0, &t);
		if (!FD_ISSET(q[0], &in) || FD_ISSET(p[0], &out)) puts("wrong");
		read(q[0], &c, 1);
	}
	wait(0);
	printf("%d round trips\n", n);
}

int main(int argc, char **argv) {
	setvbuf(stdout, 0, _IONBF, 0);
	if (argc > 1) return trips(atoi(argv[1])), 0;
	int p[2];
	pipe(p), known(p[0]), known(p[1]);
	times(p[0]), lefts(p[0], p[1]), signals(p[0], p[1]), faults(p[0], p[1]), threads(p[0], p[1]), wakes();
	return 0;
}
