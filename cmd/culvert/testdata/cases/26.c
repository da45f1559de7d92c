// make-jobserver token pipe: many readers share one pipe, no lost wake-ups, no lost bytes
// Reported in: related: nanovms/nanos#1669 (pipe wake-up deadlock under load), microsoft/WSL#1214 (pipe race freeze)
// Linux: 8 processes x 1500 take/give cycles over 3 tokens finish; exactly 3 tokens remain
#include "case.h"

int main(void) {
	int p[2], n;
	CHECK(!pipe(p));
	CHECK(write(p[1], "+++", 3) == 3);
	for (int i = 0; i < 8; i++)
		if (!fork()) {
			char c;
			for (int k = 0; k < 1500; k++) {
				CHECK(read(p[0], &c, 1) == 1 && c == '+');
				if (k % 64 == i) sched_yield();
				CHECK(write(p[1], &c, 1) == 1);
			}
			_exit(0);
		}
	for (int i = 0, s; i < 8; i++) CHECK(wait(&s) > 0 && s == 0);
	CHECK(!ioctl(p[0], FIONREAD, &n) && n == 3);
	return 0;
}
