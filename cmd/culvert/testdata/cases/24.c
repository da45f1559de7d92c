// splice from a pipe to /dev/null drains until EOF
// Reported in: google/gvisor#9736, google/gvisor#10046 (`cmd | grep > /dev/null` failed/hung)
// Linux: splice(pipe->/dev/null) returns the bytes dropped, blocks for more, returns 0 when the last writer exits; the
// writer never gets SIGPIPE
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	int nul = open("/dev/null", O_WRONLY);
	pid_t k = fork();
	if (!k) {
		close(p[0]);
		static char b[3000];
		for (int i = 0; i < 300; i++) {
			CHECK(write(p[1], b, 3000) == 3000);
			if (i % 100 == 99) ms(50);
		}
		_exit(0);
	}
	close(p[1]);
	long t = 0;
	ssize_t n;
	while ((n = splice(p[0], 0, nul, 0, 65536, SPLICE_F_MOVE)) > 0) t += n;
	CHECK(n == 0);
	CHECK(t == 900000);
	CHECK(reap(k) == 0);
	return 0;
}
