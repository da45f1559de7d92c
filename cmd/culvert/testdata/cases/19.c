// O_NONBLOCK belongs to the open file description: shared by dup and fork, not by the other pipe end; FD_CLOEXEC is per
// fd Reported in: related: nanovms/nanos#940, nanvix/nanvix#2587 (O_NONBLOCK kept per fd-table entry) Linux: F_SETFL
// through a dup or in a forked child is visible to all sharers; peer end unchanged; dup clears FD_CLOEXEC
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe2(p, O_CLOEXEC));
	int d = dup(p[0]);
	CHECK(!(fcntl(d, F_GETFD) & FD_CLOEXEC) && (fcntl(p[0], F_GETFD) & FD_CLOEXEC));
	pid_t k = fork();
	if (!k) {
		setnb(d);
		_exit(0);
	}
	CHECK(reap(k) == 0);
	CHECK(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(d, F_GETFL) & O_NONBLOCK);
	CHECK(!(fcntl(p[1], F_GETFL) & O_NONBLOCK));
	char c;
	CHECK(read(p[0], &c, 1) == -1 && errno == EAGAIN);
	CHECK((fcntl(p[0], F_GETFL) & O_ACCMODE) == O_RDONLY && (fcntl(p[1], F_GETFL) & O_ACCMODE) == O_WRONLY);
	int on = 0;
	CHECK(!ioctl(d, FIONBIO, &on));
	CHECK(!(fcntl(p[0], F_GETFL) & O_NONBLOCK));
	int e = fcntl(p[0], F_DUPFD_CLOEXEC, 100);
	CHECK(e >= 100 && (fcntl(e, F_GETFD) & FD_CLOEXEC));
	return 0;
}
