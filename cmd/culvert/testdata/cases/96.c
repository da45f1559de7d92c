// all 64 signals can be caught; real-time signals queue in order with their values
// Reported in: golang/go#24656, golang/go#33746 (qemu-user remapped RT signals)
// Linux: rt_sigaction works for 1..64 except KILL/STOP (EINVAL); 5 queued SIGRTMIN+3 deliver 5 times in FIFO order, 5
// SIGUSR1 merge to 1; lower RT number first; si_code/si_value/si_pid right
#include "case.h"

static int seq[32], val[32], nseq, codes;
static void h(int s, siginfo_t *i, void *u) {
	(void)u;
	if (nseq < 32) {
		seq[nseq] = s;
		val[nseq++] = i->si_value.sival_int;
	}
	if (i->si_code == SI_QUEUE && i->si_pid == getpid()) codes++;
}
int main(void) {
	struct {
		void *h;
		unsigned long f;
		void *r;
		unsigned long m;
	} ka, old;
	for (int s = 1; s <= 64; s++) {
		memset(&ka, 0, sizeof ka);
		long r = syscall(SYS_rt_sigaction, s, 0, &old, 8);
		CHECK(!r);
		r = syscall(SYS_rt_sigaction, s, &old, 0, 8);
		if (s == 9 || s == 19) CHECK(r == -1 && errno == EINVAL);
		else CHECK(!r);
	}
	CHECK(syscall(SYS_rt_sigaction, 65, 0, &old, 8) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_rt_sigaction, 10, 0, &old, 4) == -1 && errno == EINVAL);
	struct sigaction a = {.sa_sigaction = h, .sa_flags = SA_SIGINFO};
	int R = SIGRTMIN;
	sigfillset(&a.sa_mask);
	sigaction(SIGUSR1, &a, 0);
	sigaction(R + 3, &a, 0);
	sigaction(R + 5, &a, 0);
	sigaction(SIGRTMAX, &a, 0);
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigaddset(&m, R + 3);
	sigaddset(&m, R + 5);
	sigaddset(&m, SIGRTMAX);
	sigprocmask(SIG_BLOCK, &m, 0);
	union sigval v;
	v.sival_int = 900;
	CHECK(!sigqueue(getpid(), SIGRTMAX, v));
	for (int i = 0; i < 5; i++) {
		v.sival_int = i;
		CHECK(!sigqueue(getpid(), R + 5, v));
		v.sival_int = 100 + i;
		CHECK(!sigqueue(getpid(), R + 3, v));
		v.sival_int = 7;
		CHECK(!sigqueue(getpid(), SIGUSR1, v));
	}
	sigprocmask(SIG_UNBLOCK, &m, 0);
	CHECK(nseq == 12 && codes == 12);
	CHECK(seq[0] == SIGUSR1 && val[0] == 7);
	for (int i = 0; i < 5; i++)
		CHECK(seq[1 + i] == R + 3 && val[1 + i] == 100 + i && seq[6 + i] == R + 5 && val[6 + i] == i);
	CHECK(seq[11] == SIGRTMAX && val[11] == 900);
	timer_t t;
	struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = R + 3, .sigev_value.sival_int = 77};
	CHECK(!timer_create(CLOCK_MONOTONIC, &se, &t));
	struct itimerspec it = {{0, 0}, {0, 20000000}};
	CHECK(!timer_settime(t, 0, &it, 0));
	double s = now();
	while (nseq < 13 && now() - s < 5000) usleep(1000);
	CHECK(nseq == 13 && val[12] == 77 && now() - s >= 19);
	CHECK(!timer_delete(t));
	return 0;
}
