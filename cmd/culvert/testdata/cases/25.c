// infinite producer | filter | head terminates
// Reported in: google/gvisor#5974
// Linux: head exits, filter dies of SIGPIPE at its next write, then the producer does too; all three are reapable
// promptly
#include "case.h"

int main(void) {
	int a[2], b[2];
	pid_t k[3];
	CHECK(!pipe(a) && !pipe(b));
	if (!(k[0] = fork())) {
		close(a[0]);
		close(b[0]);
		close(b[1]);
		int z = open("/dev/urandom", O_RDONLY);
		char x[8192];
		for (;;) {
			ssize_t n = read(z, x, sizeof x);
			if (n <= 0 || write(a[1], x, n) < 0) _exit(7);
		}
	}
	if (!(k[1] = fork())) {
		close(a[1]);
		close(b[0]);
		char x[1000];
		ssize_t n;
		while ((n = read(a[0], x, 1000)) > 0)
			if (write(b[1], x, n) != n) _exit(7);
		_exit(8);
	}
	if (!(k[2] = fork())) {
		close(a[0]);
		close(a[1]);
		close(b[1]);
		char x[32];
		_exit(read(b[0], x, 32) == 32 ? 0 : 9);
	}
	close(a[0]);
	close(a[1]);
	close(b[0]);
	close(b[1]);
	double t = now();
	CHECK(reap(k[2]) == 0);
	for (int i = 0; i < 2; i++) {
		int s = reap(k[i]);
		CHECK(WIFSIGNALED(s) && WTERMSIG(s) == SIGPIPE);
	}
	CHECK(now() - t < 15000);
	return 0;
}
