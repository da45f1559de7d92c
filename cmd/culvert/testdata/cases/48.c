// clone3 works or says ENOSYS; bad arguments give EINVAL; glibc fallback stays usable
// Reported in: google/gvisor#8585, google/gvisor#9152, google/gvisor#12557, DynamoRIO/dynamorio#5903
// Linux: short struct: EINVAL; unknown flag: EINVAL; flags=0 forks (or ENOSYS everywhere); afterwards
// fork/vfork/system() still work
#include "case.h"

struct ca {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
static void *th(void *a) {
	return a;
}
int main(void) {
	struct ca a = {.exit_signal = SIGCHLD};
	long r = syscall(435, &a, sizeof a);
	if (r == 0) _exit(9);
	if (r < 0) CHECK(errno == ENOSYS);
	else {
		int s = reap(r);
		CHECK(WIFEXITED(s) && WEXITSTATUS(s) == 9);
		CHECK(syscall(435, &a, 8) == -1 && errno == EINVAL);
		a.flags = 1ull << 50;
		CHECK(syscall(435, &a, sizeof a) == -1 && errno == EINVAL);
		a.flags = CLONE_VM | CLONE_VFORK | 1ull << 47;
		CHECK(syscall(435, &a, sizeof a) == -1 && errno == EINVAL);
		a.flags = CLONE_SIGHAND;
		CHECK(syscall(435, &a, sizeof a) == -1 && errno == EINVAL);
	}
	pid_t k = vfork();
	if (!k) _exit(4);
	int s = reap(k);
	CHECK(WEXITSTATUS(s) == 4);
	struct sigaction sa = {.sa_handler = SIG_IGN};
	CHECK(!sigaction(SIGUSR2, &sa, 0));
	pthread_t t;
	void *v;
	CHECK(!pthread_create(&t, 0, th, &s) && !pthread_join(t, &v) && v == &s);
	return 0;
}
