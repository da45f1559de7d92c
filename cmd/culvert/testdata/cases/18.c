// blocking write larger than the pipe completes in full; blocking read returns what is there
// Reported in: gramineproject/gramine#2069 (LTP epoll_wait01), microsoft/WSL#1214 (ls -alR | cat froze),
// fpco/typed-process#11 Linux: write(1 MiB) blocks until a slow reader took everything and returns 1 MiB; small queued
// writes coalesce into one read
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	enum { N = 1 << 20 };
	char *b = malloc(N), x[64];
	for (int i = 0; i < N; i++) b[i] = i * 131 >> 3;
	CHECK(write(p[1], "ab", 2) == 2 && write(p[1], "cde", 3) == 3);
	CHECK(read(p[0], x, 64) == 5 && !memcmp(x, "abcde", 5));
	pid_t k = fork();
	if (!k) {
		close(p[0]);
		for (int r = 0; r < 20; r++) CHECK(write(p[1], b, N) == N);
		_exit(0);
	}
	close(p[1]);
	char *q = malloc(N);
	long tot = 0;
	unsigned seed = 1;
	for (;;) {
		seed = seed * 1103515245 + 12345;
		int want = 1 + (seed >> 16) % 30000;
		if (tot < 200000 && !(seed & 7)) ms(2);
		ssize_t n = read(p[0], q, want);
		CHECK(n >= 0);
		if (!n) break;
		for (ssize_t i = 0; i < n; i++) CHECK(q[i] == b[(tot + i) % N]);
		tot += n;
	}
	CHECK(tot == 20L * N);
	CHECK(reap(k) == 0);
	return 0;
}
