// blocking FIFO open interrupted by a signal: EINTR, or transparent restart with SA_RESTART
// Reported in: google/gvisor#14849
// Linux: without SA_RESTART: -1/EINTR; with SA_RESTART: handler runs, open keeps waiting and succeeds when the partner
// comes
#include "case.h"

static volatile int hits;
static void h(int s) {
	(void)s;
	hits++;
}
int main(void) {
	char n[64];
	snprintf(n, 64, "/tmp/fifo13.%d", getpid());
	unlink(n);
	CHECK(!mkfifo(n, 0600));
	struct sigaction a = {.sa_handler = h};
	sigaction(SIGUSR1, &a, 0);
	pid_t me = getpid(), k;
	if (!(k = fork())) {
		ms(200);
		kill(me, SIGUSR1);
		_exit(0);
	}
	CHECK(open(n, O_RDONLY) == -1 && errno == EINTR && hits == 1);
	CHECK(reap(k) == 0);
	a.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &a, 0);
	if (!(k = fork())) {
		ms(200);
		kill(me, SIGUSR1);
		ms(200);
		kill(me, SIGUSR1);
		ms(200);
		_exit(open(n, O_WRONLY) < 0);
	}
	int fd = open(n, O_RDONLY);
	CHECK(fd >= 0);
	CHECK(hits == 3);
	CHECK(reap(k) == 0);
	unlink(n);
	return 0;
}
