// signalfd: readable for blocked signals, usable from another thread's epoll_wait
// Reported in: rcore-os/tgoskits#1848, rcore-os/tgoskits#1925
// Linux: blocked signal => POLLIN/EPOLLIN, read gives siginfo with sender pid; empty + NONBLOCK: EAGAIN; short buffer:
// EINVAL; SIGCHLD via signalfd works with waitpid
#include "case.h"

static int e;
static void *w(void *a) {
	struct epoll_event o;
	return (void *)(long)(epoll_wait(e, &o, 1, 5000) + 0 * (long)a);
}
int main(void) {
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigaddset(&m, SIGCHLD);
	sigprocmask(SIG_BLOCK, &m, 0);
	int f = signalfd(-1, &m, SFD_NONBLOCK | SFD_CLOEXEC);
	CHECK(f >= 0);
	struct signalfd_siginfo si;
	void *r;
	pthread_t t;
	CHECK(read(f, &si, sizeof si) == -1 && errno == EAGAIN);
	CHECK(read(f, &si, 4) == -1 && errno == EINVAL);
	e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, f, &ev));
	CHECK(!pthread_create(&t, 0, w, 0));
	ms(150);
	kill(getpid(), SIGUSR1);
	pthread_join(t, &r);
	CHECK((long)r == 1);
	CHECK(read(f, &si, sizeof si) == sizeof si && si.ssi_signo == SIGUSR1 && si.ssi_pid == (unsigned)getpid());
	CHECK(pollfd1(f, POLLIN, 0) == 0);
	pid_t k = fork();
	if (!k) _exit(42);
	CHECK(pollfd1(f, POLLIN, 5000) == POLLIN);
	CHECK(read(f, &si, sizeof si) == sizeof si && si.ssi_signo == SIGCHLD && si.ssi_pid == (unsigned)k &&
		  si.ssi_status == 42);
	int s = reap(k);
	CHECK(WIFEXITED(s) && WEXITSTATUS(s) == 42);
	return 0;
}
