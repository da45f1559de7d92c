// Ends of threads, and what depends on them: who joins, who waits for a lock, a signal, a pipe's end or a child's parent.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAY(what, ok) (printf("%s: %s\n", what, (ok) ? "yes" : "no"), fflush(stdout))
#define THREADS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
// within waits for a condition, ten seconds at most: it sleeps in between.
#define WITHIN(cond) ({ double end_ = now() + 10000; while (!(cond) && now() < end_) usleep(1000); (cond); })
// spins waits for a condition without a system call.
#define SPINS(cond) ({ double end_ = now() + 10000; while (!(cond) && now() < end_) ; (cond); })

static int tasks(void) {
	int n = 0;
	DIR *d = opendir("/proc/self/task");
	for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
	closedir(d);
	return n;
}
static void *nothing(void *arg) { return arg; }
static pthread_t start(void *(*fn)(void *), void *arg) {
	pthread_t t;
	if (pthread_create(&t, 0, fn, arg)) exit(9);
	return t;
}

// raw starts a thread without C's runtime: fn runs on stack and ends by exit(2); word is cleared.
static int raw(int (*fn)(void *), void *arg, char *stack, size_t size, int flags, volatile int *word) {
	return clone(fn, stack + size, flags, arg, word, 0, word);
}
static char stacks[4][64 << 10] __attribute__((aligned(4096)));
static int status7(void *arg) { return 7; }

static void joins(void) {
	int wrong = 0;
	for (long i = 0; i < 300; i++) {
		void *got;
		pthread_join(start(nothing, (void *)i), &got);
		wrong += got != (void *)i;
	}
	SAY("300 threads are joined one by one", !wrong);
	pthread_t all[60];
	for (int i = 0; i < 60; i++) all[i] = start(nothing, 0);
	for (int i = 0; i < 60; i++) pthread_join(all[i], 0);
	SAY("60 threads at once", WITHIN(tasks() == 1));
	volatile int word = 1;
	int tid = raw(status7, 0, stacks[0], sizeof stacks[0], THREADS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID, &word);
	SAY("the word of who has no C library is cleared", SPINS(word == 0) && tid > 0);
	SAY("then the number is nobody's", WITHIN(syscall(SYS_tgkill, getpid(), tid, 0) == -1 && errno == ESRCH));
	word = 0;
	tid = raw(status7, 0, stacks[0], sizeof stacks[0], THREADS, 0);
	SAY("nobody waits for one without a word", WITHIN(syscall(SYS_tgkill, getpid(), tid, 0) == -1 && errno == ESRCH));
	int failed = 0;
	for (int i = 0; i < 3000; i++) {
		pthread_t t;
		if (pthread_create(&t, 0, nothing, 0)) failed++;
		else pthread_join(t, 0);
	}
	SAY("3000 in a row find room", !failed);
}

static void *burn(void *arg) {
	struct timespec t;
	volatile uint64_t n = 0;
	do {
		for (int i = 0; i < 100000; i++) n += i;
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	} while (t.tv_sec == 0 && t.tv_nsec < 200000000);
	return 0;
}
static void counted(void) {
	struct rusage a, b;
	getrusage(RUSAGE_SELF, &a);
	pthread_join(start(burn, 0), 0);
	getrusage(RUSAGE_SELF, &b);
	double d = (b.ru_utime.tv_sec - a.ru_utime.tv_sec + b.ru_stime.tv_sec - a.ru_stime.tv_sec) * 1e3 +
		(b.ru_utime.tv_usec - a.ru_utime.tv_usec + b.ru_stime.tv_usec - a.ru_stime.tv_usec) / 1e3;
	SAY("the time of a thread that has ended counts", d > 150);
}

static pthread_mutex_t lock;
static void *keeps(void *arg) {
	pthread_mutex_lock(&lock);
	return 0;
}
static volatile int at_lock;
static void *waits(void *arg) {
	at_lock = 1;
	return (void *)(long)pthread_mutex_lock(&lock);
}
static volatile int leave_lock;
static void *keeps_till(void *arg) {
	pthread_mutex_lock(&lock);
	at_lock = 0;
	while (!leave_lock) usleep(1000);
	return 0;
}
static void locks(const char *kind, int protocol) {
	char what[100];
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setprotocol(&a, protocol);
	pthread_mutex_init(&lock, &a);
	pthread_join(start(keeps, 0), 0);
	snprintf(what, sizeof what, "%s: its owner's end is told", kind);
	SAY(what, pthread_mutex_lock(&lock) == EOWNERDEAD);
	pthread_mutex_consistent(&lock);
	pthread_mutex_unlock(&lock);
	// Who waits already gets it, though nobody joins the owner or makes another call.
	leave_lock = 0;
	at_lock = 1;
	pthread_t owner = start(keeps_till, 0);
	WITHIN(at_lock == 0);
	pthread_t waiter = start(waits, 0);
	WITHIN(at_lock == 1);
	usleep(50000);
	leave_lock = 1;
	void *got = 0;
	pthread_join(waiter, &got);
	snprintf(what, sizeof what, "%s: and to who waits", kind);
	SAY(what, got == (void *)EOWNERDEAD);
	pthread_join(owner, 0);
}

static volatile int hits, stop;
static void hit(int s) { __sync_fetch_and_add(&hits, 1); }
// churns goes on when it makes no thread: so does clone(2) when the process is about to end.
static void *churns(void *arg) {
	for (;;) {
		pthread_t t;
		if (!pthread_create(&t, 0, nothing, 0)) pthread_join(t, 0);
	}
}
// takes is the only thread that takes SIGUSR1.
static void *takes(void *arg) {
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &s, 0);
	return 0;
}
static void *churns_takers(void *arg) {
	while (!stop) pthread_join(start(takes, 0), 0);
	return 0;
}
static void signals(void) {
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &s, 0);
	signal(SIGUSR1, hit);
	hits = stop = 0;
	pthread_t t = start(churns_takers, 0);
	int lost = 0;
	for (int i = 0; i < 200 && !lost; i++) {
		int before = hits;
		kill(getpid(), SIGUSR1);
		lost += !WITHIN(hits > before);
	}
	stop = 1;
	pthread_join(t, 0);
	SAY("a signal finds a thread while threads come and go", !lost);
	pthread_sigmask(SIG_UNBLOCK, &s, 0);
}

static int fds[2];
static volatile int word_own;
static int own_files(void *arg) {
	syscall(SYS_unshare, CLONE_FILES);
	syscall(SYS_close, fds[0]);
	word_own = 2;
	while (word_own == 2) ;
	return 0;
}
static int only_writer(void *arg) {
	while (word_own == 1) ;
	return 0;
}
static void files(void) {
	char c;
	pipe(fds);
	volatile int word = 1;
	word_own = 0;
	raw(own_files, 0, stacks[0], sizeof stacks[0], THREADS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID, &word);
	SPINS(word_own == 2);
	close(fds[1]);
	word_own = 3;
	SAY("files that were the thread's alone are closed at its end", read(fds[0], &c, 1) == 0);
	close(fds[0]);
	pipe(fds);
	word_own = 1;
	raw(only_writer, 0, stacks[1], sizeof stacks[1], THREADS & ~CLONE_FILES, 0);
	close(fds[1]);
	word_own = 3;
	SAY("and copies that it began with", read(fds[0], &c, 1) == 0);
	close(fds[0]);
	SPINS(word == 0);
}

static int to_parent[2];
static void *parents(void *arg) {
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		write(to_parent[1], "x", 1);
		for (;;) ;
	}
	char c;
	read(to_parent[0], &c, 1);
	return 0;
}
static void deaths(void) {
	int st;
	pipe(to_parent);
	pthread_join(start(parents, 0), 0);
	SAY("a child hears of the end of the thread that made it", wait(&st) > 0 && WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
}

static int ends_group(void *arg) {
	usleep(20000);
	syscall(SYS_exit_group, 5);
	return 0;
}
static int says_and_ends(void *arg) {
	usleep(20000);
	return 3;
}
static int runs_true(void *arg) {
	char *argv[] = {"true", 0}, *env[] = {0};
	execve("/bin/true", argv, env);
	syscall(SYS_exit_group, 9);
	return 0;
}
static void groups(void) {
	int st;
	struct { const char *what; int (*fn)(void *); int want; } cases[] = {
		{"a thread goes on when the first has ended", says_and_ends, -1}, {"and may end the process", ends_group, 5}, {"or execute a program", runs_true, 0},
	};
	for (int i = 0; i < 3; i++) {
		double t = now();
		pid_t pid = fork();
		if (!pid) {
			raw(status7, 0, stacks[1], sizeof stacks[1], THREADS, 0);
			raw(cases[i].fn, 0, stacks[0], sizeof stacks[0], THREADS, 0);
			syscall(SYS_exit, 4);
		}
		waitpid(pid, &st, 0);
		SAY(cases[i].what, WIFEXITED(st) && (cases[i].want < 0 ? now() - t > 15 : WEXITSTATUS(st) == cases[i].want));
	}
	int bad = 0;
	for (int i = 0; i < 30; i++) {
		pid_t pid = fork();
		if (!pid) {
			start(churns, 0);
			start(churns, 0);
			usleep(1000 + i * 100);
			if (i % 3 == 0) _exit(i);
			if (i % 3 == 1) raise(SIGKILL);
			execl("/bin/sh", "sh", "-c", "exit $0", i % 2 ? "1" : "2", (char *)0);
		}
		waitpid(pid, &st, 0);
		if (i % 3 == 1) bad += !WIFSIGNALED(st) || WTERMSIG(st) != SIGKILL;
		else bad += !WIFEXITED(st) || WEXITSTATUS(st) != (i % 3 == 0 ? i : i % 2 ? 1 : 2);
	}
	SAY("processes end and execute while their threads come and go", !bad);
	pid_t pid = fork();
	if (!pid) {
		start(churns, 0);
		churns(0);
	}
	bad = 0;
	for (int i = 0; i < 20; i++) {
		kill(pid, SIGSTOP);
		bad += waitpid(pid, &st, WUNTRACED) != pid || !WIFSTOPPED(st);
		kill(pid, SIGCONT);
		bad += waitpid(pid, &st, WCONTINUED) != pid || !WIFCONTINUED(st);
		usleep(2000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &st, 0);
	SAY("and stop and go on", !bad);
}

int main(void) {
	alarm(100);
	joins();
	counted();
	locks("robust lock", PTHREAD_PRIO_NONE);
	locks("robust lock with inheritance", PTHREAD_PRIO_INHERIT);
	signals();
	files();
	deaths();
	groups();
	return 0;
}
