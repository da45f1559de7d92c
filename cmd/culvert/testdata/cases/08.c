// EOF only when the last forked/dup'ed writer is gone
// Reported in: golang/go#23019, edouard-claude/snip#120, genodelabs/genode#3697
// Linux: while any inherited copy of the write end lives: no POLLHUP, read blocks; the last close (including by process
// exit) wakes a blocked reader with 0
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	pid_t c = fork();
	if (!c) {
		if (!fork()) {
			ms(500);
			_exit(0);
		}
		_exit(0);
	} /* grandchild holds the write end 0.5 s */
	int d = dup(p[1]);
	close(p[1]);
	CHECK(reap(c) == 0);
	CHECK(pollfd1(p[0], POLLIN, 50) == 0);
	close(d);
	CHECK(pollfd1(p[0], POLLIN, 50) == 0);
	double t = now();
	char b;
	CHECK(read(p[0], &b, 1) == 0);
	t = now() - t;
	CHECK(t > 100 && t < 10000);
	CHECK(pollfd1(p[0], POLLIN, 0) == POLLHUP);
	return 0;
}
