// concurrent writers: writev records <= PIPE_BUF never interleave
// Reported in: asterinas/asterinas#1554, TroyMitchell911/caffeinix#64
// Linux: the whole writev of <= 4096 bytes is one atomic record even when the pipe is full and writers block
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	enum { W = 4, N = 400 };
	for (int i = 0; i < W; i++)
		if (!fork()) {
			static char b[4096];
			memset(b, 'a' + i, sizeof b);
			struct iovec v[3] = {{b, 1000}, {b, 3000}, {b, 96}};
			for (int k = 0; k < N; k++) CHECK(writev(p[1], v, 3) == 4096);
			_exit(0);
		}
	close(p[1]);
	static char r[4096];
	int recs = 0;
	for (;;) {
		int got = 0;
		ssize_t n;
		while (got < 4096 && (n = read(p[0], r + got, 4096 - got)) > 0) got += n;
		if (!got) break;
		CHECK(got == 4096);
		for (int k = 1; k < 4096; k++) CHECK(r[k] == r[0]);
		recs++;
	}
	CHECK(recs == W * N);
	for (int i = 0, s; i < W; i++) {
		CHECK(wait(&s) > 0 && s == 0);
	}
	return 0;
}
