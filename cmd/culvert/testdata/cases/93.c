// process churn leaks nothing: 300 fork+pipe+wait and 60 fork+exec cycles
// Reported in: related: kata-containers/kata-containers#13564, kata-containers/kata-containers#2198,
// buildbuddy-io/buildbuddy#5466, google/gvisor#13952 Linux: every child reaped with its status, pids positive and
// distinct while alive, no children left, last 100 cycles not much slower than the first 100
#include "case.h"

int main(int argc, char **argv) {
	if (argc > 1) return atoi(argv[1]);
	double t[3];
	int p[2], s;
	for (int r = 0; r < 3; r++) {
		t[r] = now();
		for (int i = 0; i < 100; i++) {
			CHECK(!pipe(p));
			pid_t k = fork();
			CHECK(k >= 0);
			if (!k) {
				close(p[0]);
				int me = getpid();
				CHECK(write(p[1], &me, sizeof me) == sizeof me);
				_exit(i & 127);
			}
			close(p[1]);
			int id, x;
			CHECK(read(p[0], &id, sizeof id) == sizeof id && id == k);
			CHECK(read(p[0], &x, 1) == 0);
			close(p[0]);
			s = reap(k);
			CHECK(WIFEXITED(s) && WEXITSTATUS(s) == (i & 127));
		}
		t[r] = now() - t[r];
	}
	CHECK(t[2] < t[0] * 5 + 500);
	for (int i = 0; i < 60; i++) {
		char a[8];
		snprintf(a, 8, "%d", i);
		pid_t k = vfork();
		if (!k) {
			execl("/proc/self/exe", "self", a, (char *)0);
			_exit(127);
		}
		s = reap(k);
		CHECK(WIFEXITED(s) && WEXITSTATUS(s) == i);
	}
	pid_t ks[40];
	for (int i = 0; i < 40; i++) {
		ks[i] = fork();
		if (!ks[i]) {
			pause();
			_exit(0);
		}
		for (int j = 0; j < i; j++) CHECK(ks[i] != ks[j]);
	}
	for (int i = 0; i < 40; i++) kill(ks[i], SIGKILL);
	for (int i = 0; i < 40; i++) {
		s = reap(ks[i]);
		CHECK(WTERMSIG(s) == SIGKILL);
	}
	CHECK(waitpid(-1, &s, WNOHANG) == -1 && errno == ECHILD);
	return 0;
}
