// Futexes with priority inheritance: every answer and every word is printed. A thread's number in a word is shown by name.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
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
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

#define P FUTEX_PRIVATE_FLAG
static long fu(void *w, int op, long val, void *t, void *w2, long val3) { return syscall(SYS_futex, w, op, val, t, w2, val3); }
static const char *e(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }

struct waiter {
	pthread_t thread;
	uint32_t *word, *word2;
	int op, val, keep;
	struct timespec *until;
	long ret;
	int err, tid, order;
};
static int orders, owner;
static struct waiter *known[8];
static const char *word(uint32_t w) {
	static char text[4][64];
	static int n;
	char *t = text[n++ % 4];
	const char *who = w & FUTEX_TID_MASK ? "other" : "free";
	if ((w & FUTEX_TID_MASK) == getpid()) who = "main";
	for (int i = 0; i < 8; i++)
		if (known[i] && known[i]->tid == (w & FUTEX_TID_MASK)) who = (char *[]){"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"}[i];
	snprintf(t, 64, "%s%s%s", who, w & FUTEX_WAITERS ? "+waiters" : "", w & FUTEX_OWNER_DIED ? "+died" : "");
	return t;
}
static void *waits(void *arg) {
	struct waiter *w = arg;
	__atomic_store_n(&w->tid, gettid(), __ATOMIC_SEQ_CST);
	w->ret = fu(w->word, w->op, w->val, w->until, w->word2, 0);
	w->err = errno;
	w->order = __atomic_add_fetch(&orders, 1, __ATOMIC_SEQ_CST);
	if (w->keep) return 0; // dies with the lock, if it has it
	if (!w->ret) {
		usleep(20000);
		uint32_t *l = w->word2 ? w->word2 : w->word;
		if (__sync_bool_compare_and_swap(l, w->tid, 0)) return 0;
		w->ret = fu(l, FUTEX_UNLOCK_PI | (w->op & P), 0, 0, 0, 0);
		w->err = errno;
	}
	return 0;
}
static void start(int i, struct waiter *w) {
	known[i] = w;
	w->tid = 0;
	pthread_create(&w->thread, 0, waits, w);
	while (!__atomic_load_n(&w->tid, __ATOMIC_SEQ_CST)) usleep(1000);
	for (int k = 0; k < 2000; k++) {
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
}
static void end(int i) {
	struct waiter *w = known[i];
	pthread_join(w->thread, 0);
	errno = w->err;
	printf("  t%d: %s, number %d\n", i, e(w->ret), w->order);
}

static uint32_t lock, cond;
// said prints what a call returned, and the lock's word after it.
static void said(const char *what, long r) { printf("%s: %s", what, e(r)); printf(" %s", word(lock)); }
static void plain(int flag) {
	lock = 0;
	printf("unlock free: %s", e(fu(&lock, FUTEX_UNLOCK_PI | flag, 0, 0, 0, 0)));
	said(" lock", fu(&lock, FUTEX_LOCK_PI | flag, 0, 0, 0, 0));
	printf(" again: %s", e(fu(&lock, FUTEX_LOCK_PI | flag, 0, 0, 0, 0)));
	printf(" try: %s", e(fu(&lock, FUTEX_TRYLOCK_PI | flag, 0, 0, 0, 0)));
	said(" unlock", fu(&lock, FUTEX_UNLOCK_PI | flag, 0, 0, 0, 0)); printf("\n");
	said("try", fu(&lock, FUTEX_TRYLOCK_PI | flag, 0, 0, 0, 0));
	lock = FUTEX_OWNER_DIED;
	said(", after a death", fu(&lock, FUTEX_LOCK_PI | flag, 0, 0, 0, 0));
	lock = 999999;
	said(", nobody's", fu(&lock, FUTEX_LOCK_PI | flag, 0, 0, 0, 0));
	lock = 0;
	printf(", null: %s", e(fu(0, FUTEX_LOCK_PI | flag, 0, 0, 0, 0)));
	printf(", unaligned: %s", e(fu((char *)&lock + 1, FUTEX_LOCK_PI | flag, 0, 0, 0, 0)));
	printf(", bad time: %s", e(fu(&lock, FUTEX_LOCK_PI | flag, 0, &(struct timespec){0, -1}, 0, 0)));
	printf(", clock: %s\n", e(fu(&lock, FUTEX_LOCK_PI | flag | FUTEX_CLOCK_REALTIME, 0, 0, 0, 0)));
	// Threads queue up.
	fu(&lock, FUTEX_LOCK_PI | flag, 0, 0, 0, 0);
	orders = 0;
	static struct waiter w[3];
	for (int i = 0; i < 3; i++) {
		w[i] = (struct waiter){.word = &lock, .op = (i == 1 ? FUTEX_LOCK_PI2 : FUTEX_LOCK_PI) | flag};
		start(i, &w[i]);
	}
	printf("three wait: %s; the owner tries: %s\n", word(lock), e(fu(&lock, FUTEX_TRYLOCK_PI | flag, 0, 0, 0, 0)));
	printf("unlock: %s", e(fu(&lock, FUTEX_UNLOCK_PI | flag, 0, 0, 0, 0)));
	printf(" not mine: %s\n", e(fu(&lock, FUTEX_UNLOCK_PI | flag, 0, 0, 0, 0)));
	for (int i = 0; i < 3; i++) end(i);
	printf("at last: %s\n", word(lock));
	memset(known, 0, sizeof known);
}
static void timeouts(void) {
	lock = 1; // somebody's: pid 1 in a VM is this program, so take another
	pid_t child = fork();
	if (!child) { pause(); _exit(0); }
	lock = child;
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec--;
	said("late", fu(&lock, FUTEX_LOCK_PI | P, 0, &t, 0, 0));
	lock = child;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += 20000000;
	if (t.tv_nsec > 999999999) t.tv_sec++, t.tv_nsec -= 1000000000;
	said(", soon", fu(&lock, FUTEX_LOCK_PI2 | P, 0, &t, 0, 0));
	printf(", try: %s\n", e(fu(&lock, FUTEX_TRYLOCK_PI | P, 0, 0, 0, 0)));
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
}
static volatile int hits;
static void hit(int s) { hits++; }
static void interrupted(void) {
	lock = getpid();
	struct sigaction a = {.sa_handler = hit};
	sigaction(SIGUSR1, &a, 0);
	static struct waiter w;
	w = (struct waiter){.word = &lock, .op = FUTEX_LOCK_PI | P};
	start(0, &w);
	pthread_kill(w.thread, SIGUSR1);
	while (!hits) usleep(1000);
	usleep(20000);
	printf("a signal does not end the wait: %d\n", w.order == 0 || orders == 0);
	fu(&lock, FUTEX_UNLOCK_PI | P, 0, 0, 0, 0);
	end(0);
}
static void deaths(void) {
	lock = getpid();
	static struct waiter w[2];
	orders = 0;
	for (int i = 0; i < 2; i++) {
		w[i] = (struct waiter){.word = &lock, .op = FUTEX_LOCK_PI | P, .keep = i == 0};
		start(i, &w[i]);
	}
	fu(&lock, FUTEX_UNLOCK_PI | P, 0, 0, 0, 0);
	pthread_join(w[0].thread, 0); // which dies with the lock
	pthread_join(w[1].thread, 0);
	printf("inherited from the dead: %d %d, %s\n", (int)w[0].ret, (int)w[1].ret, word(lock));
	// A process that is killed.
	uint32_t *sh = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = fork();
	if (!child) { fu(sh, FUTEX_LOCK_PI, 0, 0, 0, 0); pause(); _exit(0); }
	while (!__atomic_load_n(sh, __ATOMIC_SEQ_CST)) usleep(1000);
	w[0] = (struct waiter){.word = sh, .op = FUTEX_LOCK_PI, .keep = 1};
	start(0, &w[0]);
	kill(child, SIGKILL);
	pthread_join(w[0].thread, 0);
	printf("from a killed process: %d %s\n", (int)w[0].ret, word(*sh));
	waitpid(child, 0, 0);
	memset(known, 0, sizeof known);
}
static void requeues(void) {
	cond = 5, lock = getpid();
	printf("same word: %s", e(fu(&cond, FUTEX_WAIT_REQUEUE_PI | P, 5, 0, &cond, 0)));
	printf(", other value: %s", e(fu(&cond, FUTEX_WAIT_REQUEUE_PI | P, 6, 0, &lock, 0)));
	printf(", late: %s", e(fu(&cond, FUTEX_WAIT_REQUEUE_PI | P, 5, &(struct timespec){1, 0}, &lock, 0)));
	printf(", wake two: %s", e(fu(&cond, FUTEX_CMP_REQUEUE_PI | P, 2, (void *)1, &lock, 5)));
	printf(", other value: %s", e(fu(&cond, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &lock, 6)));
	printf(", nobody waits: %ld\n", fu(&cond, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)5, &lock, 5));
	static struct waiter w[3];
	orders = 0;
	for (int i = 0; i < 3; i++) {
		w[i] = (struct waiter){.word = &cond, .op = FUTEX_WAIT_REQUEUE_PI | P, .val = 5, .word2 = &lock};
		start(i, &w[i]);
	}
	printf("moved %ld", fu(&cond, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &lock, 5));
	printf(": %s", word(lock));
	printf(" then %ld", fu(&cond, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)10, &lock, 5));
	usleep(20000);
	printf(" woken %d\n", orders);
	fu(&lock, FUTEX_UNLOCK_PI | P, 0, 0, 0, 0);
	for (int i = 0; i < 3; i++) end(i);
	printf("at last: %s\n", word(lock));
	w[0] = (struct waiter){.word = &cond, .op = FUTEX_WAIT_REQUEUE_PI | P, .val = 5, .word2 = &lock};
	start(0, &w[0]);
	printf("to a free lock: %ld\n", fu(&cond, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &lock, 5));
	end(0);
}

// What the C library makes of it.
static pthread_mutex_t mutex;
static long counter;
static void *adds(void *arg) {
	for (int i = 0; i < 30; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		if (i % 10 == 0) sched_yield();
		pthread_mutex_unlock(&mutex);
	}
	return 0;
}
static void *dies(void *arg) { pthread_mutex_lock(&mutex); return 0; }
static void library(void) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	printf("protocol: %d", pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
	printf(" init: %d\n", pthread_mutex_init(&mutex, &a));
	pthread_t t[4];
	for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, adds, 0);
	for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
	printf("counted: %ld\n", counter);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&mutex, &a);
	pthread_create(&t[0], 0, dies, 0);
	pthread_join(t[0], 0);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	printf("owner died: %d", pthread_mutex_lock(&mutex) == EOWNERDEAD);
	printf(" consistent: %d", pthread_mutex_consistent(&mutex));
	printf(" again: %d", pthread_mutex_lock(&mutex) == EDEADLK);
	printf(" unlock: %d", pthread_mutex_unlock(&mutex));
	printf(" and again: %d %d\n", pthread_mutex_timedlock(&mutex, &now), pthread_mutex_unlock(&mutex));
}

int main(void) {
	setvbuf(stdout, 0, _IONBF, 0);
	plain(P);
	plain(0);
	timeouts();
	interrupted();
	deaths();
	requeues();
	library();
	return 0;
}
