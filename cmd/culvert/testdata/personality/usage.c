// CPU time and what getrusage tells, timers on CPU time, and RLIMIT_CPU. Bounds are loose: machines differ in speed, and
// may be busy.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double clk(clockid_t id) {
	struct timespec t;
	if (clock_gettime(id, &t)) return -1;
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
static double ms(struct timeval t) { return t.tv_sec * 1e3 + t.tv_usec / 1e3; }
static struct rusage use(int who) {
	struct rusage r;
	getrusage(who, &r);
	return r;
}
static double user(int who) { return ms(use(who).ru_utime); }
static double sys(int who) { return ms(use(who).ru_stime); }
#define SAY(what, ok) printf("%s: %s\n", what, (ok) ? "yes" : "no")

static volatile uint64_t sink;
// turns burns processor time and makes no system call.
static void turns(int n) {
	for (int i = 0; i < n * 1000; i++) sink += i;
}
// burn spends at least n ms of the thread's processor time, nearly all of it as user.
static void burn(int n) {
	double end = clk(CLOCK_THREAD_CPUTIME_ID) + n;
	while (clk(CLOCK_THREAD_CPUTIME_ID) < end) turns(1000);
}

static volatile sig_atomic_t hits[65];
static void count(int s) { hits[s]++; }
static volatile int stop;
static void *spin(void *arg) {
	while (!stop) turns(10);
	return 0;
}

static void split(void) {
	double u = user(RUSAGE_SELF), s = sys(RUSAGE_SELF), c = clk(CLOCK_PROCESS_CPUTIME_ID);
	burn(300);
	SAY("300 ms of user time are user time", user(RUSAGE_SELF) - u > 200 && user(RUSAGE_SELF) - u > 2 * (sys(RUSAGE_SELF) - s));
	SAY("the clock says the same", clk(CLOCK_PROCESS_CPUTIME_ID) - c > 200);
	s = sys(RUSAGE_SELF);
	struct stat st;
	for (double end = clk(CLOCK_MONOTONIC) + 200; clk(CLOCK_MONOTONIC) < end;) stat("/usr/bin/env", &st);
	SAY("system calls are system time", sys(RUSAGE_SELF) - s > 10);
	u = user(RUSAGE_SELF) + sys(RUSAGE_SELF);
	usleep(1000000);
	SAY("sleep is none", user(RUSAGE_SELF) + sys(RUSAGE_SELF) - u < 500);
	struct rusage r = use(RUSAGE_THREAD), p = use(RUSAGE_SELF);
	// Linux divides each sum by its own count of ticks, so only the sums are comparable.
	SAY("one thread is the process", ms(p.ru_utime) + ms(p.ru_stime) > ms(r.ru_utime) + ms(r.ru_stime) - 1);
	double a = 0, last = 0;
	int back = 0;
	for (int i = 0; i < 300; i++) {
		a = user(RUSAGE_SELF) + sys(RUSAGE_SELF);
		back += a < last - 0.0015; // two values, each rounded down to a microsecond
		last = a;
	}
	SAY("never less", !back);
	struct tms t;
	times(&t);
	p = use(RUSAGE_SELF);
	SAY("times agrees", labs((long)(ms(p.ru_utime) / 10) - t.tms_utime) < 10 && labs((long)(ms(p.ru_stime) / 10) - t.tms_stime) < 10);
}

static void threads(void) {
	pthread_t th;
	clockid_t id;
	pthread_create(&th, 0, spin, 0);
	pthread_getcpuclockid(th, &id);
	double a = clk(id), p = clk(CLOCK_PROCESS_CPUTIME_ID), own = clk(CLOCK_THREAD_CPUTIME_ID);
	for (int i = 0; i < 100 && clk(id) < a + 100; i++) usleep(20000);
	SAY("a thread that makes no call gets older", clk(id) >= a + 100);
	SAY("and the process with it", clk(CLOCK_PROCESS_CPUTIME_ID) >= p + 95);
	own = clk(CLOCK_THREAD_CPUTIME_ID) - own;
	SAY("but not this thread", clk(CLOCK_PROCESS_CPUTIME_ID) - p - own >= 95);
	stop = 1;
	pthread_join(th, 0);
	SAY("its time stays the process's", clk(CLOCK_PROCESS_CPUTIME_ID) >= p + 95);
	for (int i = 0; i < 200 && clk(id) != -1; i++) usleep(5000); // a thread is joined a little before it is gone
	SAY("and its clock is gone", clk(id) == -1 && errno == EINVAL);
}

static void children(void) {
	struct tms t0, t1;
	times(&t0);
	double u = user(RUSAGE_CHILDREN);
	pid_t pid = fork();
	if (!pid) {
		burn(200);
		char *m = mmap(0, 24 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(m, 1, 24 << 20);
		_exit(0);
	}
	SAY("a child's clock can be read", clk((~pid << 3) | 2) >= 0);
	usleep(100000);
	SAY("before it is waited for it does not count", user(RUSAGE_CHILDREN) == u);
	struct rusage r;
	wait4(pid, 0, 0, &r);
	times(&t1);
	SAY("wait4 tells its time", ms(r.ru_utime) > 100);
	SAY("then it counts", user(RUSAGE_CHILDREN) - u > 100 && t1.tms_cutime - t0.tms_cutime >= 10);
	SAY("its memory", r.ru_maxrss > 23 << 10 && use(RUSAGE_CHILDREN).ru_maxrss > 23 << 10);
}

static void counts(void) {
	struct rusage a = use(RUSAGE_SELF), b;
	char *m = mmap(0, 500 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(m, 500 * 4096, MADV_NOHUGEPAGE);
	for (int i = 0; i < 500; i++) m[i * 4096] = 1;
	b = use(RUSAGE_SELF);
	SAY("500 pages are 500 faults", b.ru_minflt - a.ru_minflt >= 490 && b.ru_minflt - a.ru_minflt < 700);
	a = use(RUSAGE_THREAD);
	for (int i = 0; i < 40; i++) usleep(5000);
	b = use(RUSAGE_THREAD);
	SAY("40 sleeps are 40 switches", b.ru_nvcsw - a.ru_nvcsw >= 30 && b.ru_nvcsw - a.ru_nvcsw < 400);
	SAY("swaps, messages and signals are not counted", !b.ru_nswap && !b.ru_msgsnd && !b.ru_msgrcv && !b.ru_nsignals);
	errno = 0;
	SAY("no such usage", getrusage(5, &a) == -1 && errno == EINVAL);
}

// timed arms a timer on CPU time by itimer and burns until its signal comes.
static void timed(const char *name, int which, int signo) {
	struct itimerval it = {{0, 50000}, {0, 50000}}, none = {};
	signal(signo, count);
	hits[signo] = 0;
	setitimer(which, &it, 0);
	for (double end = clk(CLOCK_MONOTONIC) + 20000; hits[signo] < 3 && clk(CLOCK_MONOTONIC) < end;) turns(1000);
	setitimer(which, &none, 0);
	SAY(name, hits[signo] >= 3);
}
static void posix(const char *name, clockid_t id) {
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec it = {{0, 50000000}, {0, 50000000}}, left;
	timer_t t;
	signal(SIGUSR1, count);
	hits[SIGUSR1] = 0;
	int r = timer_create(id, &ev, &t);
	r |= timer_settime(t, 0, &it, 0);
	for (double end = clk(CLOCK_MONOTONIC) + 20000; hits[SIGUSR1] < 3 && clk(CLOCK_MONOTONIC) < end;) turns(1000);
	r |= timer_gettime(t, &left);
	SAY(name, r == 0 && hits[SIGUSR1] >= 3 && left.it_value.tv_sec == 0 && left.it_interval.tv_nsec == 50000000);
	timer_delete(t);
}

static void limit(void) {
	pid_t pid = fork();
	if (!pid) {
		signal(SIGXCPU, count);
		setrlimit(RLIMIT_CPU, &(struct rlimit){1, 9});
		while (!hits[SIGXCPU]) turns(1000);
		struct rlimit l;
		getrlimit(RLIMIT_CPU, &l);
		SAY("SIGXCPU after a second", user(RUSAGE_SELF) + sys(RUSAGE_SELF) > 500);
		SAY("the limit moves on", l.rlim_cur >= 2 && l.rlim_max == 9);
		fflush(stdout);
		setrlimit(RLIMIT_CPU, &(struct rlimit){2, 2});
		for (;;) turns(1000);
	}
	int status;
	waitpid(pid, &status, 0);
	SAY("SIGKILL at the hard limit", WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	fflush(stdout);
	if (!(pid = fork())) {
		setrlimit(RLIMIT_CPU, &(struct rlimit){1, RLIM_INFINITY});
		if (!fork()) for (;;) turns(1000); // the limit is inherited, the time is not
		wait(&status);
		_exit(WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
	waitpid(pid, &status, 0);
	SAY("SIGXCPU ends a child", WEXITSTATUS(status) == SIGXCPU);
}

int main(void) {
	setvbuf(stdout, 0, _IOLBF, 0);
	split();
	threads();
	children();
	counts();
	timed("ITIMER_VIRTUAL", ITIMER_VIRTUAL, SIGVTALRM);
	timed("ITIMER_PROF", ITIMER_PROF, SIGPROF);
	posix("timer of the thread", CLOCK_THREAD_CPUTIME_ID);
	posix("timer of the process", CLOCK_PROCESS_CPUTIME_ID);
	limit();
	return 0;
}
