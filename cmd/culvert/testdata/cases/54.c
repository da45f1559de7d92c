// SIGCHLD ignored (or SA_NOCLDWAIT): children are auto-reaped and wait() blocks until all are gone, then ECHILD
// Reported in: sysprog21/elfuse#218; related: ramr/go-reaper#23, buildbuddy-io/buildbuddy#5466
// Linux: SIG_IGN: wait() sleeps until the last child exits then -1/ECHILD; pid vanishes (kill 0 -> ESRCH); SIG_DFL
// restores zombies
#include "case.h"

// gone reports whether the process vanishes: Linux wakes those who wait a moment before it takes the number away.
static int gone(pid_t k) {
	for (double t = now(); now() - t < 1000; ms(1))
		if (kill(k, 0) == -1 && errno == ESRCH) return 1;
	return 0;
}

int main(void) {
	int s;
	struct sigaction a = {.sa_handler = SIG_IGN};
	sigaction(SIGCHLD, &a, 0);
	for (int mode = 0; mode < 2; mode++) {
		pid_t k = fork();
		if (!k) {
			ms(250);
			_exit(1);
		}
		double t = now();
		CHECK(wait(&s) == -1 && errno == ECHILD);
		CHECK(now() - t > 150);
		CHECK(gone(k));
		a.sa_handler = SIG_DFL;
		a.sa_flags = SA_NOCLDWAIT;
		sigaction(SIGCHLD, &a, 0);
	}
	a.sa_flags = 0;
	sigaction(SIGCHLD, &a, 0);
	pid_t k = fork();
	if (!k) _exit(2);
	ms(100);
	CHECK(kill(k, 0) == 0);
	s = reap(k);
	CHECK(WEXITSTATUS(s) == 2);
	CHECK(kill(k, 0) == -1 && errno == ESRCH);
	return 0;
}
