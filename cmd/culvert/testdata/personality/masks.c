// rt_sigprocmask and rt_sigaction by themselves: arguments, what is stored where, and what becomes of signals that wait. All
// calls are raw, since the C library hides some of it.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef uint64_t set;
struct act {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	set mask;
};
#define BIT(s) (1UL << ((s) - 1))
static const char *e(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }
static long mask(int how, const void *s, void *old, long size) { return syscall(SYS_rt_sigprocmask, how, s, old, size); }
static long action(int s, const void *a, void *old, long size) { return syscall(SYS_rt_sigaction, s, a, old, size); }
static set now(void) {
	set s = 0x5555;
	mask(99, 0, &s, 8); // "how" does not matter without a set
	return s;
}
static atomic_int got[65];
static void count(int s) { got[s]++; }
static struct act caught; // with the C library's restorer
static void catch(int s, int flags) {
	struct sigaction a = {.sa_handler = count};
	sigaction(s, &a, 0);
	action(s, 0, &caught, 8);
	struct act b = caught;
	b.flags |= flags;
	action(s, &b, 0, 8);
}
static void reset(void) {
	set none = 0;
	mask(SIG_SETMASK, &none, 0, 8);
	struct act d = {0};
	for (int s = 1; s <= 64; s++) action(s, &d, 0, 8), got[s] = 0;
}

static void masks(void) {
	set s = BIT(SIGUSR1), old = 7;
	printf("sizes: %s", e(mask(SIG_BLOCK, &s, &old, 4)));
	printf(" %s %s, old %lx, now %lx\n", e(mask(SIG_BLOCK, &s, &old, 16)), e(mask(SIG_BLOCK, &s, &old, 0)), old, now());
	int hows[] = {SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK, 3, -1};
	for (int i = 0; i < 5; i++) {
		s = BIT(SIGUSR1) | BIT(SIGHUP) << i, old = 7;
		const char *r = e(mask(hows[i], &s, &old, 8));
		printf("how %d: %s old %lx now %lx\n", hows[i], r, old, now());
	}
	s = 0, mask(SIG_SETMASK, &s, 0, 8);
	printf("how with high bits: %ld", syscall(SYS_rt_sigprocmask, 0x700000002L, &s, 0L, 8L));
	printf(" none: %s\n", e(mask(SIG_BLOCK, 0, 0, 8)));
	s = ~0UL, mask(SIG_SETMASK, &s, 0, 8);
	printf("all: %lx\n", now());
	s = 0, mask(SIG_SETMASK, &s, 0, 8);
	// Addresses.
	char *m = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(m + 4096, 4096, PROT_READ);
	munmap(m + 8192, 4096);
	set *bad[] = {(set *)(m + 8192), (set *)(m + 8192 - 4), (set *)(m + 4096), (set *)(m + 4096 - 4), (set *)(m + 4096 - 8),
		(set *)(m + 3), (set *)8, (set *)0x7ffffffffff8, (set *)0x800000000000, (set *)0xffffffffffffff00};
	for (int i = 0; i < 10; i++) {
		set zero = 0;
		s = BIT(SIGUSR2), mask(SIG_SETMASK, &s, 0, 8);
		s = BIT(SIGUSR1), old = 7;
		const char *a = e(mask(SIG_BLOCK, bad[i], &old, 8));
		printf("address %d: read %s old %lx now %lx;", i, a, old, now());
		const char *b = e(mask(SIG_BLOCK, &s, bad[i], 8));
		printf(" write %s now %lx\n", b, now());
		mask(SIG_SETMASK, &zero, 0, 8);
		memset(m, 0, 4096);
	}
	s = BIT(SIGUSR1), mask(SIG_SETMASK, &s, 0, 8);
	s = BIT(SIGUSR2), mask(SIG_BLOCK, &s, &s, 8);
	printf("one set for both: %lx now %lx\n", s, now());
	// A fresh page for the old mask, and a file's.
	set *fresh = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mask(SIG_BLOCK, 0, fresh + 5, 8);
	printf("fresh page: %lx\n", fresh[5]);
	if (!fork()) {
		printf("child: %lx", now());
		fresh[5] = 1, mask(SIG_BLOCK, 0, fresh + 5, 8);
		printf(" %lx\n", fresh[5]);
		fflush(stdout);
		_exit(0);
	}
	wait(0);
	printf("parent: %lx\n", fresh[5]);
	munmap(m, 8192), reset();
}

static void actions(void) {
	struct act a = {count, 0, 0, BIT(SIGHUP)}, o = {(void *)1, 1, (void *)1, 1};
	printf("sizes: %s %s\n", e(action(SIGUSR1, &a, &o, 4)), e(action(SIGUSR1, &a, &o, 128)));
	int n[] = {0, -1, 65, 1 << 30, SIGKILL, SIGSTOP};
	for (int i = 0; i < 6; i++) {
		printf("signal %d: set %s", n[i], e(action(n[i], &a, 0, 8)));
		const char *r = e(action(n[i], 0, &o, 8));
		printf(" get %s %p %lx\n", r, (void *)o.handler, o.flags);
	}
	printf("high bits: %ld\n", syscall(SYS_rt_sigaction, 0x100000000L + SIGUSR1, 0L, &o, 8L));
	a.flags = ~0UL, a.mask = ~0UL, a.restorer = (void *)0x1234;
	printf("set %s", e(action(SIGUSR1, &a, &o, 8)));
	printf(" old %p %lx %p %lx;", (void *)o.handler, o.flags, (void *)o.restorer, o.mask);
	action(SIGUSR1, 0, &o, 8);
	printf(" now %d %lx %p %lx\n", o.handler == count, o.flags, (void *)o.restorer, o.mask);
	printf("nothing: %s\n", e(action(SIGUSR1, 0, 0, 8)));
	// The old action in the place of the new one, or overlapping it.
	struct { struct act a; long more[4]; } b;
	for (int d = 0; d <= 4; d++) {
		memset(&b, 0, sizeof b);
		b.a = (struct act){(void *)(0x1000L + d), 0, (void *)0x77, 3};
		struct act *place = (void *)((long *)&b + d);
		const char *r = e(action(SIGUSR1, &b.a, place, 8));
		printf("overlap %d: %s %lx", d, r, ((long *)place)[2]);
		action(SIGUSR1, 0, &o, 8);
		printf(" now %lx\n", (long)o.handler);
	}
	char *m = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(m + 4096, 4096, PROT_READ);
	munmap(m + 8192, 4096);
	char *bad[] = {m + 8192, m + 8192 - 16, m + 4096, m + 4096 - 16, m + 4096 - 32, m + 3, (char *)8, (char *)0x7fffffffffe0,
		(char *)0x7ffffffffff0, (char *)0x800000000000, (char *)0xffffffffffffff00};
	for (int i = 0; i < 11; i++) {
		a = (struct act){(void *)0x5000, 0, 0, 0}, action(SIGUSR2, &a, 0, 8);
		const char *r = e(action(SIGUSR2, bad[i], &o, 8));
		action(SIGUSR2, 0, &o, 8);
		printf("address %d: read %s now %p;", i, r, (void *)o.handler);
		a = (struct act){(void *)0x6000, 0, 0, 0};
		r = e(action(SIGUSR2, &a, bad[i], 8));
		action(SIGUSR2, 0, &o, 8);
		printf(" write %s now %p;", r, (void *)o.handler);
		printf(" get %s\n", e(action(SIGUSR2, 0, bad[i], 8)));
		memset(m, 0, 4096);
	}
	struct act *fresh = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	a = (struct act){(void *)0x7000, 0, 0, 0}, action(SIGUSR2, &a, fresh + 3, 8);
	printf("fresh page: %p\n", (void *)fresh[3].handler);
	// Children have copies; a program that is executed keeps what is ignored.
	if (!fork()) {
		a = (struct act){(void *)0x8000, 0, 0, 0}, action(SIGUSR2, &a, &o, 8);
		printf("child: %p\n", (void *)o.handler);
		fflush(stdout);
		_exit(0);
	}
	wait(0);
	action(SIGUSR2, 0, &o, 8);
	printf("parent: %p\n", (void *)o.handler);
	munmap(m, 8192), reset();
}

// Signals that wait while masks and actions change.
static void waiting(void) {
	set s = BIT(SIGUSR1) | BIT(SIGCHLD) | BIT(SIGRTMIN), p;
	catch(SIGUSR1, 0), catch(SIGRTMIN, 0);
	mask(SIG_BLOCK, &s, 0, 8);
	raise(SIGUSR1), raise(SIGUSR1), raise(SIGRTMIN), raise(SIGRTMIN);
	printf("blocked: %d %d;", got[SIGUSR1], got[SIGRTMIN]);
	mask(SIG_UNBLOCK, &s, 0, 8);
	printf(" unblocked: %d %d\n", got[SIGUSR1], got[SIGRTMIN]);
	// An action that ignores throws away what waits, one that does not leaves it.
	struct act dfl = {0}, ign = {(void *)1};
	mask(SIG_BLOCK, &s, 0, 8);
	raise(SIGUSR1), raise(SIGCHLD);
	action(SIGUSR1, &dfl, 0, 8), action(SIGCHLD, &dfl, 0, 8);
	syscall(SYS_rt_sigpending, &p, 8L), printf("default: %lx;", p);
	action(SIGUSR1, &ign, 0, 8);
	syscall(SYS_rt_sigpending, &p, 8L), printf(" ignored: %lx;", p);
	raise(SIGUSR1); // blocked, so it waits, ignored or not
	syscall(SYS_rt_sigpending, &p, 8L), printf(" sent: %lx;", p);
	catch(SIGUSR1, SA_RESETHAND);
	mask(SIG_UNBLOCK, &s, 0, 8);
	action(SIGUSR1, 0, &caught, 8);
	printf(" caught: %d, then %p\n", got[SIGUSR1], (void *)caught.handler);
	// Unblocking what kills.
	if (!fork()) {
		mask(SIG_BLOCK, &s, 0, 8);
		raise(SIGUSR1);
		mask(SIG_UNBLOCK, &s, 0, 8);
		_exit(3);
	}
	int st;
	wait(&st);
	printf("killed: %d\n", WTERMSIG(st));
	reset();
}

// A thread that blocks what another may take.
static pthread_barrier_t bar;
static atomic_int stop, taken[3];
static __thread int me;
static void by(int s) { taken[me]++; }
static void *taker(void *a) {
	me = (int)(long)a;
	set s = BIT(SIGUSR1);
	mask(SIG_BLOCK, &s, 0, 8);
	pthread_barrier_wait(&bar); // the signal is sent
	pthread_barrier_wait(&bar);
	if (me == 2) mask(SIG_UNBLOCK, &s, 0, 8);
	pthread_barrier_wait(&bar);
	return 0;
}
static void threads(void) {
	struct sigaction a = {.sa_handler = by};
	set s = BIT(SIGUSR1);
	pthread_t t[2];
	sigaction(SIGUSR1, &a, 0);
	mask(SIG_BLOCK, &s, 0, 8);
	pthread_barrier_init(&bar, 0, 3);
	for (long i = 0; i < 2; i++) pthread_create(t + i, 0, taker, (void *)(i + 1));
	pthread_barrier_wait(&bar);
	kill(getpid(), SIGUSR1);
	pthread_barrier_wait(&bar);
	pthread_barrier_wait(&bar);
	for (int i = 0; i < 2; i++) pthread_join(t[i], 0);
	printf("taken by %d %d %d\n", taken[0], taken[1], taken[2]);
	reset();
}

// Threads that block and unblock all the time, while signals come that are counted: none is lost or taken while blocked.
enum { SENT = 100 };
static __thread volatile int blocked;
static atomic_int wrong, all;
static void counted(int s) {
	if (blocked) wrong++;
	all++;
}
static void *flip(void *a) {
	set s = BIT(SIGRTMIN + 1);
	while (!stop) {
		mask(SIG_BLOCK, &s, 0, 8);
		blocked = 1;
		for (volatile int i = 0; i < 20; i++);
		blocked = 0;
		mask(SIG_UNBLOCK, &s, 0, 8);
	}
	return 0;
}
static void *alter(void *a) {
	struct sigaction b = {.sa_handler = counted}, c = {.sa_handler = counted, .sa_flags = SA_RESTART};
	while (!stop) sigaction(SIGRTMIN + 1, &b, 0), sigaction(SIGRTMIN + 1, &c, 0);
	return 0;
}
static void storm(void) {
	struct sigaction a = {.sa_handler = counted};
	sigaction(SIGRTMIN + 1, &a, 0);
	pthread_t t[3];
	pthread_create(t, 0, flip, 0), pthread_create(t + 1, 0, flip, 0), pthread_create(t + 2, 0, alter, 0);
	set s = BIT(SIGRTMIN + 1);
	mask(SIG_BLOCK, &s, 0, 8);
	union sigval v = {0};
	for (int i = 0; i < SENT; i++) {
		if (i & 1) pthread_sigqueue(t[i / 2 % 2], SIGRTMIN + 1, v);
		else while (sigqueue(getpid(), SIGRTMIN + 1, v) < 0) sched_yield();
		if (i % 16 == 0) sched_yield();
	}
	while (all < SENT) sched_yield();
	stop = 1;
	for (int i = 0; i < 3; i++) pthread_join(t[i], 0);
	printf("sent %d, taken %d, while blocked %d\n", SENT, all, wrong);
	reset();
}

// Two processes with one table of actions, and one memory.
static char stack[65536];
static int shares(void *a) {
	struct act b = {(void *)0x9000, 0, 0, 0};
	action(SIGUSR2, &b, 0, 8);
	set s = BIT(SIGHUP);
	mask(SIG_BLOCK, &s, 0, 8);
	return 0;
}
static void sharing(void) {
	struct act o;
	int st, flags[] = {CLONE_VM | CLONE_SIGHAND | SIGCHLD, CLONE_VM | SIGCHLD};
	for (int i = 0; i < 2; i++) {
		int pid = clone(shares, stack + sizeof stack, flags[i], 0);
		waitpid(pid, &st, 0);
		action(SIGUSR2, 0, &o, 8);
		printf("shared %d: %p, mask %lx\n", !i, (void *)o.handler, now());
		reset();
	}
}

int main(void) {
	setvbuf(stdout, 0, _IOLBF, 0);
	masks(), actions(), waiting(), threads(), storm(), sharing();
	return 0;
}
