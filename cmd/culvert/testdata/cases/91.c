// what exec keeps: ignored signals, mask and pending signals stay; handlers reset; alarm survives
// Reported in: nodejs/node#13662, rust-lang/rust#25784, openjdk/jdk#26615, aws-greengrass/aws-greengrass-lite#818
// Linux: SIG_IGN inherited by exec, handlers become SIG_DFL, blocked mask and pending set inherited, alarm(2) keeps
// running; fork clears pending and alarms; SigIgn/SigBlk in /proc/self/status agree
#include "case.h"

static void h(int s) {
	(void)s;
}
int main(int argc, char **argv) {
	struct sigaction a;
	sigset_t m;
	sigemptyset(&m);
	if (argc > 1) {
		sigaction(SIGPIPE, 0, &a);
		CHECK(a.sa_handler == SIG_IGN);
		sigaction(SIGUSR1, 0, &a);
		CHECK(a.sa_handler == SIG_DFL);
		sigprocmask(SIG_BLOCK, 0, &m);
		CHECK(sigismember(&m, SIGUSR2) && !sigismember(&m, SIGUSR1));
		sigpending(&m);
		CHECK(sigismember(&m, SIGUSR2));
		CHECK(alarm(0) > 0);
		char b[8192];
		int f = open("/proc/self/status", O_RDONLY), n = read(f, b, 8191);
		CHECK(n > 0);
		b[n] = 0;
		unsigned long ig, bl;
		char *x = strstr(b, "SigIgn:"), *y = strstr(b, "SigBlk:");
		CHECK(x && y && sscanf(x, "SigIgn: %lx", &ig) == 1 && sscanf(y, "SigBlk: %lx", &bl) == 1);
		CHECK((ig >> (SIGPIPE - 1) & 1) && (bl >> (SIGUSR2 - 1) & 1));
		pid_t k = fork();
		if (!k) {
			sigpending(&m);
			CHECK(!sigismember(&m, SIGUSR2));
			CHECK(alarm(0) == 0);
			sigaction(SIGPIPE, 0, &a);
			CHECK(a.sa_handler == SIG_IGN);
			_exit(0);
		}
		CHECK(reap(k) == 0);
		return 0;
	}
	for (int s = 1; s < 32; s++) {
		if (s == SIGKILL || s == SIGSTOP) continue;
		sigaction(s, 0, &a);
		CHECK(a.sa_handler == SIG_DFL);
	} /* fresh program: nothing ignored */
	sigprocmask(SIG_BLOCK, 0, &m);
	for (int s = 1; s < 65; s++) CHECK(sigismember(&m, s) != 1);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, h);
	signal(SIGUSR2, h);
	sigaddset(&m, SIGUSR2);
	sigprocmask(SIG_BLOCK, &m, 0);
	raise(SIGUSR2);
	alarm(30);
	execl("/proc/self/exe", argv[0], "again", (char *)0);
	return 99;
}
