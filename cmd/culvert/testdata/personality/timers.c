// Timers: all notifications, overruns, values that come back, errors; sleeps.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *e(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }
static long create(int clock, struct sigevent *ev, int *id) { return syscall(SYS_timer_create, clock, ev, id); }
static long settime(int id, int flags, long ns, long every, struct itimerspec *old) {
	struct itimerspec it = {{every / 1000000000, every % 1000000000}, {ns / 1000000000, ns % 1000000000}};
	return syscall(SYS_timer_settime, id, flags, &it, old);
}
static long overrun(int id) { return syscall(SYS_timer_getoverrun, id); }
#define MS 1000000L

static volatile int hits;
static siginfo_t got;
static void note(int s, siginfo_t *i, void *u) { hits++; got = *i; }
static volatile int tid, otherhits;
static void other(int s, siginfo_t *i, void *u) { otherhits += gettid() == tid; }
static volatile int stop;
static void *thread(void *arg) {
	tid = gettid();
	while (!stop) usleep(1000);
	return 0;
}
static void threaded(union sigval v) { hits = v.sival_int; }

int main(void) {
	setvbuf(stdout, 0, _IONBF, 0);
	struct sigaction a = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &a, 0);
	sigaction(SIGALRM, &a, 0);
	int id;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 55};
	printf("create %s", e(create(CLOCK_MONOTONIC, &ev, &id)));
	printf(", set %s", e(settime(id, 0, 20 * MS, 0, 0)));
	for (int i = 0; i < 100 && !hits; i++) usleep(10000);
	printf(", hits %d code %d value %d timer %d overrun %d\n", hits, got.si_code, got.si_value.sival_int, got.si_timerid == id, got.si_overrun);
	struct itimerspec left;
	printf("after it %s", e(syscall(SYS_timer_gettime, id, &left)));
	printf(" %ld %ld", left.it_value.tv_nsec, left.it_interval.tv_nsec);
	settime(id, 0, 50000 * MS, 7 * MS, 0);
	settime(id, 0, 60000 * MS, 8 * MS, &left);
	printf(", old %d %ld", left.it_value.tv_sec <= 50 && left.it_value.tv_sec > 5, left.it_interval.tv_nsec);
	settime(id, 0, 0, 9 * MS, &left);
	syscall(SYS_timer_gettime, id, &left);
	printf(", disarmed %ld %ld\n", left.it_value.tv_nsec, left.it_interval.tv_nsec);

	// Overruns, while the signal is blocked.
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, 0);
	settime(id, 0, 10 * MS, 10 * MS, 0);
	usleep(120000);
	struct timespec zero = {0, 0};
	siginfo_t i;
	printf("overruns: took %d", sigtimedwait(&s, &i, &zero) == SIGUSR1);
	printf(" code %d some %d same %d", i.si_code, i.si_overrun >= 5, overrun(id) == i.si_overrun);
	settime(id, 0, 0, 0, 0);
	while (sigtimedwait(&s, &i, &zero) > 0) {}
	// One that is in the past.
	printf(", past %s", e(settime(id, TIMER_ABSTIME, 1, 1000 * MS, 0)));
	printf(" took %d many %d\n", sigtimedwait(&s, &i, &(struct timespec){1, 0}) == SIGUSR1, i.si_overrun >= 0);
	settime(id, 0, 1, 0, 0);
	usleep(20000);
	printf("delete %s", e(syscall(SYS_timer_delete, id)));
	printf(" again %s", e(syscall(SYS_timer_delete, id)));
	printf(" get %s", e(syscall(SYS_timer_gettime, id, &left)));
	printf(" set %s", e(settime(id, 0, 1, 0, 0)));
	printf(" overrun %s\n", e(overrun(id)));
	while (sigtimedwait(&s, &i, &zero) > 0) {}
	sigprocmask(SIG_UNBLOCK, &s, 0);

	// Other notifications.
	ev.sigev_notify = SIGEV_NONE;
	create(CLOCK_REALTIME, &ev, &id);
	settime(id, 0, 5 * MS, 5 * MS, 0);
	hits = 0;
	usleep(30000);
	syscall(SYS_timer_gettime, id, &left);
	printf("none: hits %d left %d interval %ld\n", hits, left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 5 * MS, left.it_interval.tv_nsec);
	syscall(SYS_timer_delete, id);
	pthread_t t;
	pthread_create(&t, 0, thread, 0);
	while (!tid) usleep(1000);
	struct sigaction o = {.sa_sigaction = other, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR2, &o, 0);
	ev = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
	ev._sigev_un._tid = tid;
	printf("thread: %s", e(create(CLOCK_MONOTONIC, &ev, &id)));
	settime(id, 0, 5 * MS, 5 * MS, 0);
	for (int k = 0; k < 200 && otherhits < 3; k++) usleep(10000);
	printf(" hits %d\n", otherhits >= 3);
	syscall(SYS_timer_delete, id);
	stop = 1;
	pthread_join(t, 0);
	ev._sigev_un._tid = 999999;
	printf("nobody %s", e(create(CLOCK_MONOTONIC, &ev, &id)));
	ev = (struct sigevent){.sigev_notify = 9, .sigev_signo = SIGUSR1};
	printf(", kind %s", e(create(CLOCK_MONOTONIC, &ev, &id)));
	ev = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
	printf(", signal %s", e(create(CLOCK_MONOTONIC, &ev, &id)));
	ev.sigev_signo = 0;
	printf(" %s", e(create(CLOCK_MONOTONIC, &ev, &id)));
	printf(", clock %s", e(create(77, 0, &id)));
	printf(" %s", e(create(CLOCK_MONOTONIC_RAW, 0, &id)));
	printf(" %s", e(create(CLOCK_MONOTONIC_COARSE, 0, &id)));
	printf(", address %s", e(create(CLOCK_MONOTONIC, 0, (void *)8)));
	printf(" %s\n", e(create(CLOCK_MONOTONIC, (void *)8, &id)));
	printf("default %s", e(create(CLOCK_BOOTTIME, 0, &id)));
	hits = 0;
	printf(" bad time %s", e(settime(id, 0, -1, 0, 0)));
	printf(" null %s", e(syscall(SYS_timer_settime, id, 0, 0, 0)));
	settime(id, 0, 5 * MS, 0, 0);
	for (int k = 0; k < 100 && !hits; k++) usleep(10000);
	printf(" hits %d signo %d value %d\n", hits, got.si_signo, got.si_value.sival_int == id);
	timer_t lt;
	ev = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = threaded, .sigev_value.sival_int = 99};
	timer_create(CLOCK_MONOTONIC, &ev, &lt);
	timer_settime(lt, 0, &(struct itimerspec){{0, 0}, {0, 5 * MS}}, 0);
	for (int k = 0; k < 100 && hits != 99; k++) usleep(10000);
	printf("SIGEV_THREAD %d\n", hits);
	timer_delete(lt);

	// Interval timers.
	struct itimerval it = {{0, 20000}, {0, 20000}}, old;
	hits = 0;
	setitimer(ITIMER_REAL, &it, 0);
	while (hits < 3) pause();
	printf("itimer: code %d", got.si_code);
	it = (struct itimerval){{0, 0}, {100, 0}};
	setitimer(ITIMER_REAL, &it, &old);
	printf(" old %ld %d", old.it_interval.tv_usec, old.it_value.tv_usec <= 20000);
	getitimer(ITIMER_REAL, &old);
	printf(" now %d %ld", old.it_value.tv_sec <= 100 && old.it_value.tv_sec > 20, old.it_interval.tv_usec);
	unsigned before = alarm(50), then = alarm(0);
	printf(" alarm %d %d", before <= 100 && before > 20, then <= 50 && then > 5);
	printf(" %u", alarm(0));
	printf(" bad %s", e(setitimer(9, &it, 0)));
	it.it_value.tv_usec = 1000000;
	printf(" %s", e(setitimer(ITIMER_REAL, &it, 0)));
	printf(" %s", e(syscall(SYS_setitimer, ITIMER_REAL, 0, &old)));
	printf(" %s\n", e(syscall(SYS_getitimer, 0, 8)));
	alarm(100);
	int st;
	if (!fork()) {
		getitimer(ITIMER_REAL, &old);
		_exit(old.it_value.tv_sec == 0 ? alarm(200), execl("/proc/self/exe", "timers", "exec", NULL) : 1);
	}
	wait(&st);
	printf("a child has none: %d\n", WEXITSTATUS(st));

	// Sleeps.
	struct timespec r, t0, t1;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	t1 = t0;
	t1.tv_nsec += 30 * MS;
	if (t1.tv_nsec >= 1000000000) t1.tv_sec++, t1.tv_nsec -= 1000000000;
	printf("absolute %d", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t1, 0));
	clock_gettime(CLOCK_MONOTONIC, &t0);
	printf(" not early %d", t0.tv_sec > t1.tv_sec || t0.tv_sec == t1.tv_sec && t0.tv_nsec >= t1.tv_nsec);
	printf(", past %d", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &(struct timespec){1, 0}, 0));
	printf(", bad %d", clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 1000000000}, 0));
	printf(" %d", clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){-1, 0}, 0));
	printf(" %d", clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &(struct timespec){0, 0}, 0));
	printf(" %d", clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &(struct timespec){0, 0}, 0));
	printf(" %d", clock_nanosleep(99, 0, &(struct timespec){0, 0}, 0));
	printf(" %s", e(syscall(SYS_nanosleep, 8, 0)));
	struct itimerval soon = {{0, 0}, {0, 20000}};
	setitimer(ITIMER_REAL, &soon, 0);
	printf(", interrupted %s", e(nanosleep(&(struct timespec){5, 0}, &r)));
	printf(" %d", r.tv_sec < 5);
	setitimer(ITIMER_REAL, &soon, 0);
	printf(", to the memory that is not there %s\n", e(syscall(SYS_nanosleep, &(struct timespec){5, 0}, 8)));
	return 0;
}
__attribute__((constructor)) static void executed(int argc, char **argv) {
	if (argc < 2) return;
	struct itimerval it;
	getitimer(ITIMER_REAL, &it);
	_exit(it.it_value.tv_sec > 100 ? 42 : 2); // exec keeps an interval timer
}
