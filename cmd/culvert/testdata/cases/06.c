// SIGPIPE kills by default; ignored or handled gives EPIPE
// Reported in: google/gvisor#2105, google/gvisor#161, QuarkContainer/Quark#464
// Linux: default: wait status = killed by SIGPIPE (shell 141); SIG_IGN: -1/EPIPE; handler: runs once per failing call,
// call returns EPIPE; same for writev
#include "case.h"

static volatile int hits;
static void h(int s) {
	(void)s;
	hits++;
}
int main(void) {
	int p[2];
	CHECK(!pipe(p));
	close(p[0]);
	pid_t c;
	if (!(c = fork())) {
		signal(SIGPIPE, SIG_DFL);
		(void)!write(p[1], "x", 1);
		_exit(3);
	}
	int s = reap(c);
	CHECK(WIFSIGNALED(s) && WTERMSIG(s) == SIGPIPE);
	signal(SIGPIPE, SIG_IGN);
	CHECK(write(p[1], "x", 1) == -1 && errno == EPIPE);
	signal(SIGPIPE, h);
	CHECK(write(p[1], "x", 1) == -1 && errno == EPIPE && hits == 1);
	struct iovec v = {"yy", 2};
	CHECK(writev(p[1], &v, 1) == -1 && errno == EPIPE && hits == 2);
	sigset_t m, pend;
	sigemptyset(&m);
	sigaddset(&m, SIGPIPE);
	sigprocmask(SIG_BLOCK, &m, 0);
	CHECK(write(p[1], "x", 1) == -1 && errno == EPIPE && hits == 2);
	sigpending(&pend);
	CHECK(sigismember(&pend, SIGPIPE));
	return 0;
}
