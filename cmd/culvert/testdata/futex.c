// Futexes: every answer is printed, so that Linux's and the VM's can be compared. argv[1] is how often the contended
// parts at the end do what they do; their output does not depend on it.
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long fu(void *w, int op, long val, void *t, void *w2, long val3) { return syscall(SYS_futex, w, op, val, t, w2, val3); }
static void say(const char *what, long r) {
	printf("%s: %ld %s\n", what, r, r < 0 ? strerrorname_np(errno) : "");
}

// A waiter, its way to wait and the order in which it came back.
struct waiter {
	pthread_t thread;
	int *word, op, val;
	unsigned bits;
	long nsec; // of a relative time-out, 0 is none
	long ret;
	int err, tid, order;
};
static int orders;
static void *waits(void *arg) {
	struct waiter *w = arg;
	struct timespec ts = {w->nsec / 1000000000, w->nsec % 1000000000};
	w->tid = gettid();
	w->ret = fu(w->word, w->op, w->val, w->nsec ? &ts : 0, 0, w->bits);
	w->err = errno;
	w->order = __atomic_add_fetch(&orders, 1, __ATOMIC_SEQ_CST);
	return 0;
}
// joined is ended for one of several that were woken together.
static void joined(const char *name, struct waiter *w) {
	pthread_join(w->thread, 0);
	printf("  %s: %ld\n", name, w->ret);
}
// asleep waits until the thread's state is S.
static void asleep(struct waiter *w) {
	while (!__atomic_load_n(&w->tid, __ATOMIC_SEQ_CST)) usleep(1000);
	for (int i = 0; i < 2000; i++) {
		char name[64], text[256] = "";
		snprintf(name, sizeof name, "/proc/self/task/%d/stat", w->tid);
		FILE *f = fopen(name, "r");
		if (!f) return;
		fgets(text, sizeof text, f);
		fclose(f);
		char *p = strrchr(text, ')');
		if (p && p[2] == 'S') break;
		usleep(1000);
	}
	usleep(20000);
}
static void start(struct waiter *w, int *word, int op, int val, unsigned bits, long nsec) {
	*w = (struct waiter){.word = word, .op = op, .val = val, .bits = bits, .nsec = nsec};
	pthread_create(&w->thread, 0, waits, w);
	asleep(w);
}
static void ended(const char *name, struct waiter *w) {
	pthread_join(w->thread, 0);
	printf("  %s: %ld %s, order %d\n", name, w->ret, w->ret < 0 ? strerrorname_np(w->err) : "", w->order);
}

static void plain(void) {
	static int a = 5, b = 6, c = 7;
	struct waiter w[4];
	char *gone = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int *fresh = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(gone, 4096);
	say("another value", fu(&a, FUTEX_WAIT_PRIVATE, 4, 0, 0, 0));
	say("a page never touched", fu(fresh, FUTEX_WAIT_PRIVATE, 4, 0, 0, 0));
	say("unmapped", fu(gone, FUTEX_WAIT_PRIVATE, 4, 0, 0, 0));
	say("wake unmapped", fu(gone, FUTEX_WAKE_PRIVATE, 4, 0, 0, 0));
	say("unaligned", fu((char *)&a + 2, FUTEX_WAIT_PRIVATE, 4, 0, 0, 0));
	say("wake unaligned", fu((char *)&a + 2, FUTEX_WAKE_PRIVATE, 4, 0, 0, 0));
	say("kernel address", fu((void *)-8L, FUTEX_WAIT_PRIVATE, 4, 0, 0, 0));
	say("wake of a kernel address", fu((void *)-8L, FUTEX_WAKE_PRIVATE, 4, 0, 0, 0));
	say("no bits", fu(&a, FUTEX_WAIT_BITSET_PRIVATE, 5, 0, 0, 0));
	say("wake no bits", fu(&a, FUTEX_WAKE_BITSET_PRIVATE, 5, 0, 0, 0));
	say("realtime wake", fu(&a, FUTEX_WAKE_PRIVATE | FUTEX_CLOCK_REALTIME, 5, 0, 0, 0));
	say("nobody", fu(&a, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0));
	for (int i = 0; i < 4; i++) start(&w[i], &a, FUTEX_WAIT_PRIVATE, 5, 0, 0);
	say("wake of a shared futex", fu(&a, FUTEX_WAKE, 10, 0, 0, 0));
	say("wake one", fu(&a, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0));
	ended("first", &w[0]);
	say("wake 0", fu(&a, FUTEX_WAKE_PRIVATE, 0, 0, 0, 0));
	ended("second", &w[1]);
	say("wake all", fu(&a, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0));
	pthread_join(w[2].thread, 0), pthread_join(w[3].thread, 0);
	// Bitsets, and time-outs that do not come.
	start(&w[0], &a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 5, 1, 0);
	start(&w[1], &a, FUTEX_WAIT_BITSET_PRIVATE, 5, 6, 0);
	start(&w[2], &a, FUTEX_WAIT_PRIVATE, 5, 0, 100000000000);
	say("bit 2", fu(&a, FUTEX_WAKE_BITSET_PRIVATE, 1, 0, 0, 2));
	ended("with bits", &w[1]);
	say("bit 3", fu(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, 0, 0, 8));
	ended("with a time-out", &w[2]);
	say("any", fu(&a, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0));
	ended("with bit 1", &w[0]);
	// Requeues move waiters of all kinds.
	start(&w[0], &a, FUTEX_WAIT_PRIVATE, 5, 0, 0);
	start(&w[1], &a, FUTEX_WAIT_PRIVATE, 5, 0, 100000000000);
	start(&w[2], &a, FUTEX_WAIT_PRIVATE, 5, 0, 0);
	start(&w[3], &b, FUTEX_WAIT_PRIVATE, 6, 0, 0);
	say("requeue, another value", fu(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10L, &b, 99));
	say("requeue to itself", fu(&a, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)10L, &a, 5));
	say("requeue", fu(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10L, &b, 5));
	ended("woken by the requeue", &w[0]);
	say("nobody is left", fu(&a, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0));
	say("wake where they are", fu(&b, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0));
	ended("was there", &w[3]);
	say("requeue without a value", fu(&b, FUTEX_REQUEUE_PRIVATE, 0, (void *)1L, &c, 0));
	say("wake", fu(&b, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0));
	ended("moved once", &w[2]);
	say("wake", fu(&c, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0));
	ended("moved twice", &w[1]);
	// FUTEX_WAKE_OP.
	start(&w[0], &a, FUTEX_WAIT_PRIVATE, 5, 0, 0);
	start(&w[1], &b, FUTEX_WAIT_PRIVATE, 6, 0, 0);
	start(&w[2], &b, FUTEX_WAIT_PRIVATE, 6, 0, 0);
	say("wake op", fu(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1L, &b, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 5)));
	joined("first word", &w[0]);
	joined("second word", &w[1]);
	printf("  the word is %d\n", b);
	say("wake op, condition false", fu(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1L, &b, FUTEX_OP(FUTEX_OP_SET, 6, FUTEX_OP_CMP_LT, 5)));
	say("wake", fu(&b, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0));
	ended("second word", &w[2]);
	// Time-outs.
	struct timespec ts = {0, 30000000}, past = {1, 0}, bad = {0, 1000000000};
	say("time-out", fu(&a, FUTEX_WAIT_PRIVATE, 5, &ts, 0, 0));
	say("in the past", fu(&a, FUTEX_WAIT_BITSET_PRIVATE, 5, &past, 0, -1));
	say("in the past, realtime", fu(&a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 5, &past, 0, -1));
	say("in the past, another value", fu(&a, FUTEX_WAIT_BITSET_PRIVATE, 4, &past, 0, -1));
	say("bad time", fu(&a, FUTEX_WAIT_PRIVATE, 4, &bad, 0, 0));
	struct timespec from, to;
	clock_gettime(CLOCK_MONOTONIC, &from);
	to = from;
	to.tv_nsec += 40000000;
	if (to.tv_nsec >= 1000000000) to.tv_sec++, to.tv_nsec -= 1000000000;
	say("absolute", fu(&a, FUTEX_WAIT_BITSET_PRIVATE, 5, &to, 0, -1));
	clock_gettime(CLOCK_MONOTONIC, &ts);
	printf("  %s\n", (ts.tv_sec - from.tv_sec) * 1000000000 + ts.tv_nsec - from.tv_nsec >= 40000000 ? "not early" : "early");
}

// kinds: which wakes reach which waits, by the kind of memory and by FUTEX_PRIVATE_FLAG.
static void kinds(void) {
	int fd = memfd_create("words", 0);
	ftruncate(fd, 8192);
	struct {
		const char *name;
		int flags, fd;
	} memory[] = {{"private", MAP_PRIVATE | MAP_ANONYMOUS, -1}, {"shared", MAP_SHARED | MAP_ANONYMOUS, -1},
				  {"private file", MAP_PRIVATE, fd}, {"shared file", MAP_SHARED, fd}};
	for (int i = 0; i < 4; i++) {
		int *w = mmap(0, 4096, PROT_READ | PROT_WRITE, memory[i].flags, memory[i].fd, 0);
		printf("%s, untouched: %ld\n", memory[i].name, fu(w, FUTEX_WAKE, 1, 0, 0, 0));
		*w = 0;
		for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
			struct waiter a;
			start(&a, w, FUTEX_WAIT | private, 0, 0, 0);
			long other = fu(w, FUTEX_WAKE | private ^ FUTEX_PRIVATE_FLAG, 1, 0, 0, 0);
			printf("%s, flag %d: %ld by the other, %ld by its like\n", memory[i].name, private, other,
				   fu(w, FUTEX_WAKE | private, 1, 0, 0, 0));
			pthread_join(a.thread, 0);
		}
		pid_t p = fork();
		if (!p) {
			struct timespec second = {i & 1 ? 60 : 1};
			_exit(fu(w, FUTEX_WAIT, 0, &second, 0, 0) == 0);
		}
		int st = 0;
		long woken = 0;
		while (!waitpid(p, &st, WNOHANG)) {
			woken += fu(w, FUTEX_WAKE, 1, 0, 0, 0);
			usleep(1000);
		}
		printf("%s, in a child: %ld, %d\n", memory[i].name, woken, WEXITSTATUS(st));
	}
}
static void handler(int s) { (void)s; }
static void signals(void) {
	static int a = 5;
	struct waiter w;
	for (int restart = 0; restart < 2; restart++)
		for (int timeout = 0; timeout < 2; timeout++) {
			struct sigaction sa = {.sa_handler = handler, .sa_flags = restart ? SA_RESTART : 0};
			sigaction(SIGUSR1, &sa, 0);
			start(&w, &a, FUTEX_WAIT_PRIVATE, 5, 0, timeout ? 100000000000 : 0);
			pthread_kill(w.thread, SIGUSR1);
			usleep(100000);
			if (restart && !timeout) asleep(&w);
			printf("restart %d, time-out %d\n", restart, timeout);
			say("wake", fu(&a, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0));
			ended("interrupted", &w);
		}
	// Stopped and continued, it waits on.
	pid_t child = fork();
	if (!child) {
		start(&w, &a, FUTEX_WAIT_PRIVATE, 5, 0, 0);
		kill(getpid(), SIGSTOP);
		usleep(100000);
		asleep(&w); // again: it may have started anew
		say("after a stop", fu(&a, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0));
		ended("stopped", &w);
		exit(0);
	}
	int status;
	waitpid(child, &status, WUNTRACED);
	kill(child, SIGCONT);
	waitpid(child, &status, 0);
	// Killed with threads that wait.
	child = fork();
	if (!child) {
		start(&w, &a, FUTEX_WAIT_PRIVATE, 5, 0, 0);
		_exit(3);
	}
	waitpid(child, &status, 0);
	printf("status %x\n", status);
}

static int locked;
static void *dies(void *m) {
	pthread_mutex_lock(m);
	__atomic_store_n(&locked, 1, __ATOMIC_SEQ_CST);
	usleep(50000);
	return 0;
}
static void owners(void) {
	pthread_mutex_t m;
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&m, &a);
	pthread_t t;
	pthread_create(&t, 0, dies, &m);
	while (!__atomic_load_n(&locked, __ATOMIC_SEQ_CST)) usleep(1000);
	int r = pthread_mutex_lock(&m);
	printf("robust: %s\n", r == EOWNERDEAD ? "EOWNERDEAD" : "wrong");
	pthread_join(t, 0);
}

static long N = 200;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t notFull = PTHREAD_COND_INITIALIZER, notEmpty = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t bar;
static sem_t s1, s2;
static long counter, queue, got;
static void *adds(void *a) {
	for (int i = 0; i < N; i++) {
		pthread_mutex_lock(&m);
		long x = counter;
		if (i % 3 == 0) sched_yield();
		counter = x + 1;
		pthread_mutex_unlock(&m);
	}
	return a;
}
static void *produces(void *a) {
	for (int i = 0; i < N; i++) {
		pthread_mutex_lock(&m);
		while (queue >= 4) pthread_cond_wait(&notFull, &m);
		queue++;
		pthread_cond_signal(&notEmpty);
		pthread_mutex_unlock(&m);
	}
	return a;
}
static void *consumes(void *a) {
	for (int i = 0; i < N; i++) {
		pthread_mutex_lock(&m);
		while (!queue) pthread_cond_wait(&notEmpty, &m);
		queue--, got++;
		pthread_cond_broadcast(&notFull);
		pthread_mutex_unlock(&m);
	}
	return a;
}
static void *pings(void *a) {
	for (int i = 0; i < N; i++) sem_post(&s1), sem_wait(&s2);
	return a;
}
static void *pongs(void *a) {
	for (int i = 0; i < N; i++) sem_wait(&s1), sem_post(&s2);
	return a;
}
static void *meets(void *a) {
	for (int i = 0; i < N / 4; i++) pthread_barrier_wait(&bar);
	return a;
}
static void together(void *(*f)(void *), void *(*g)(void *), int n) {
	pthread_t t[8];
	for (int i = 0; i < n; i++) pthread_create(&t[i], 0, i % 2 ? g : f, 0);
	for (int i = 0; i < n; i++) pthread_join(t[i], 0);
}

int main(int argc, char **argv) {
	setvbuf(stdout, 0, _IONBF, 0);
	if (argc > 1) N = atol(argv[1]);
	else plain(), kinds(), signals(), owners();
	together(adds, adds, 4);
	printf("mutex: %s\n", counter == 4 * N ? "ok" : "wrong");
	together(produces, consumes, 4);
	printf("condition variables: %s\n", got == 2 * N && queue == 0 ? "ok" : "wrong");
	together(pings, pongs, 2);
	pthread_barrier_init(&bar, 0, 4);
	together(meets, meets, 4);
	printf("done\n");
	return 0;
}
