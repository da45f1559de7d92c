// pidfd: poll on exit, waitid(P_PIDFD), send_signal, or clean ENOSYS
// Reported in: google/gvisor#5839, golang/go#69259 (and #68976: qemu-user 7.2), golang/go#62654,
// containerd/containerd#12181 Linux: pidfd_open child: not readable while alive, POLLIN (with zombie) after exit,
// blocked poll wakes; waitid(P_PIDFD) reaps; send_signal works then ESRCH; bad pid ESRCH
#include "case.h"

int main(void) {
	pid_t k = fork();
	if (!k)
		for (;;) pause();
	int f = syscall(434, k, 0);
	siginfo_t si;
	memset(&si, 0, sizeof si);
	if (f < 0) {
		CHECK(errno == ENOSYS);
		kill(k, SIGKILL);
		reap(k);
		return 0;
	}
	CHECK(fcntl(f, F_GETFD) & FD_CLOEXEC);
	CHECK(pollfd1(f, POLLIN, 50) == 0);
	pid_t j = fork();
	if (!j) {
		ms(200);
		CHECK(!syscall(424, f, SIGTERM, 0, 0));
		_exit(0);
	}
	double t = now();
	CHECK(pollfd1(f, POLLIN, 10000) & POLLIN);
	CHECK(now() - t > 100);
	int e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, f, &ev) && epoll_wait(e, &ev, 1, 1000) == 1);
	CHECK(!waitid(3, f, &si, WEXITED) && si.si_pid == k && si.si_code == CLD_KILLED && si.si_status == SIGTERM);
	CHECK(syscall(424, f, 0, 0, 0) == -1 && errno == ESRCH);
	CHECK(waitid(3, f, &si, WEXITED) == -1 && errno == ECHILD);
	CHECK(reap(j) == 0);
	CHECK(syscall(434, k, 0) == -1 && (errno == ESRCH || errno == EINVAL));
	char c;
	CHECK(read(f, &c, 1) == -1 && errno == EINVAL);
	return 0;
}
