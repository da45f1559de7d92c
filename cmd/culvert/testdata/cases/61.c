// ppoll/epoll_pwait/pselect swap the signal mask atomically
// Reported in: related: rcore-os/tgoskits#1925 (interrupted poll), nanvix/nanvix#2695 (sigsuspend/EINTR)
// Linux: a pending blocked signal unblocked by the call's mask interrupts at once with EINTR, handler runs, mask
// restored; a call whose mask keeps it blocked just times out
#include "case.h"

static volatile int hits;
static void h(int s) {
	(void)s;
	hits++;
}
int main(void) {
	struct sigaction a = {.sa_handler = h};
	sigaction(SIGUSR1, &a, 0);
	sigset_t m, none, cur;
	sigemptyset(&none);
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigprocmask(SIG_BLOCK, &m, 0);
	struct timespec t5 = {5, 0}, t0 = {0, 50000000};
	int e = epoll_create1(0);
	struct epoll_event ev;
	for (int i = 0; i < 4; i++) {
		raise(SIGUSR1);
		CHECK(hits == i);
		double t = now();
		if (i == 0) {
			CHECK(ppoll(0, 0, &t0, &m) == 0);
			CHECK(hits == 0);
			CHECK(ppoll(0, 0, &t5, &none) == -1 && errno == EINTR);
		}
		if (i == 1) CHECK(epoll_pwait(e, &ev, 1, 5000, &none) == -1 && errno == EINTR);
		if (i == 2) CHECK(pselect(0, 0, 0, 0, &t5, &none) == -1 && errno == EINTR);
		if (i == 3) CHECK(sigsuspend(&none) == -1 && errno == EINTR);
		CHECK(hits == i + 1 && now() - t < 2000);
		sigprocmask(SIG_BLOCK, 0, &cur);
		CHECK(sigismember(&cur, SIGUSR1));
	}
	raise(SIGUSR1);
	siginfo_t si;
	CHECK(sigtimedwait(&m, &si, &t5) == SIGUSR1 && hits == 4);
	CHECK(sigtimedwait(&m, &si, &t0) == -1 && errno == EAGAIN);
	return 0;
}
