// blocking pipe read and signals: EINTR without SA_RESTART, transparent restart with it
// Reported in: microsoft/mystikos#540, shadow/shadow#1974, rcore-os/tgoskits#247, FlareCoding/StelluxOS#168
// Linux: no SA_RESTART: -1/EINTR after the handler; SA_RESTART: handler runs, read continues and returns the data; same
// for waitpid and flock-like waits
#include "case.h"

static volatile int hits;
static void h(int s) {
	(void)s;
	hits++;
}
int main(void) {
	struct sigaction a = {.sa_handler = h};
	int p[2];
	char c;
	pid_t me = getpid(), k;
	CHECK(!pipe(p));
	sigaction(SIGUSR1, &a, 0);
	if (!(k = fork())) {
		ms(150);
		kill(me, SIGUSR1);
		_exit(0);
	}
	CHECK(read(p[0], &c, 1) == -1 && errno == EINTR && hits == 1);
	CHECK(reap(k) == 0);
	a.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &a, 0);
	hits = 0;
	if (!(k = fork())) {
		for (int i = 0; i < 3; i++) {
			ms(80);
			kill(me, SIGUSR1);
		}
		ms(80);
		_exit(write(p[1], "d", 1) != 1);
	}
	CHECK(read(p[0], &c, 1) == 1 && c == 'd' && hits == 3);
	int s;
	CHECK(waitpid(k, &s, 0) == k && s == 0);
	hits = 0;
	pid_t j = fork();
	if (!j) {
		ms(400);
		_exit(0);
	}
	if (!(k = fork())) {
		ms(100);
		kill(me, SIGUSR1);
		_exit(0);
	}
	CHECK(waitpid(j, &s, 0) == j && hits == 1);
	reap(k);
	return 0;
}
