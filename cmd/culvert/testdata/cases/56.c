// orphans are re-parented to the nearest PR_SET_CHILD_SUBREAPER ancestor; PDEATHSIG fires
// Reported in: google/gvisor#2323, kata-containers/runtime#1170 (agent not a subreaper -> zombies)
// Linux: grandchild's getppid() becomes the subreaper, which can wait() for it; PR_SET_PDEATHSIG delivered when the
// parent dies
#include "case.h"

int main(void) {
	int p[2], on = 0, s;
	CHECK(!pipe(p));
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	CHECK(!prctl(PR_GET_CHILD_SUBREAPER, &on) && on == 1);
	pid_t me = getpid(), k = fork(), g;
	if (!k) {
		if (!(g = fork())) {
			while (getppid() != me) ms(5);
			CHECK(write(p[1], "r", 1) == 1);
			_exit(23);
		}
		CHECK(write(p[1], &g, sizeof g) == sizeof g);
		_exit(0);
	}
	CHECK(read(p[0], &g, sizeof g) == sizeof g);
	CHECK(waitpid(k, &s, 0) == k && s == 0);
	CHECK(waitpid(g, &s, 0) == g && WEXITSTATUS(s) == 23);
	k = fork();
	if (!k) {
		if (!(g = fork())) {
			prctl(PR_SET_PDEATHSIG, SIGUSR1);
			CHECK(write(p[1], &g, 1) == 1);
			for (;;) pause();
		}
		for (;;) pause();
	}
	char c;
	CHECK(read(p[0], &c, 1) == 1);
	CHECK(c == 'r' && read(p[0], &c, 1) == 1);
	kill(k, SIGKILL);
	reap(k);
	CHECK(wait(&s) > 0 && WIFSIGNALED(s) && WTERMSIG(s) == SIGUSR1);
	return 0;
}
