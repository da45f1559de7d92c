// ignored and default-ignored signals, and SIGSTOP/SIGCONT, do not disturb a blocking pipe read
// Reported in: DynamoRIO/dynamorio#1145, tavianator/bfs#73
// Linux: read keeps blocking through SIGCHLD, SIGURG, SIGWINCH (no handler), SIG_IGN'd signals and STOP/CONT, then
// returns the data
#include "case.h"

int main(void) {
	int p[2], q[2], s;
	char c;
	CHECK(!pipe(p) && !pipe(q));
	signal(SIGUSR2, SIG_IGN);
	pid_t k = fork();
	if (!k) {
		close(p[1]);
		CHECK(write(q[1], "r", 1) == 1);
		if (!fork()) _exit(0);
		ssize_t n = read(p[0], &c, 1);
		_exit(n == 1 && c == 'k' ? 0 : 10 + (errno == EINTR));
	}
	CHECK(read(q[0], &c, 1) == 1);
	ms(100);
	int sg[] = {SIGURG, SIGWINCH, SIGCHLD, SIGUSR2, SIGSTOP, SIGCONT};
	for (int i = 0; i < 6; i++) {
		kill(k, sg[i]);
		ms(50);
		if (sg[i] == SIGSTOP) CHECK(waitpid(k, &s, WUNTRACED) == k && WIFSTOPPED(s));
	}
	CHECK(waitpid(k, &s, WNOHANG) == 0);
	CHECK(write(p[1], "k", 1) == 1);
	CHECK(reap(k) == 0);
	return 0;
}
