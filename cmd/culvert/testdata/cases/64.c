// huge address-space reservations are cheap
// Reported in: microsoft/WSL#2784, microsoft/WSL#597, erlang/otp#1094, lsds/sgx-lkl#49, RPCS3/rpcs3#9506
// Linux: 1 TiB PROT_NONE and 14 TiB RW|NORESERVE succeed at once; committing pieces by mprotect works; RSS stays small;
// munmap is quick; fork with it is quick
#include "case.h"

static long rss(void) {
	long a, b = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f) return 0;
	if (fscanf(f, "%ld %ld", &a, &b) != 2) b = 0;
	fclose(f);
	return b;
}
int main(void) {
	double t = now();
	size_t T = 1ul << 40;
	int f = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	long r0 = rss();
	char *a = mmap(0, T, PROT_NONE, f, -1, 0), *b = mmap(0, 14 * T, PROT_READ | PROT_WRITE, f, -1, 0),
		 *c = mmap(0, 8ul << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED);
	for (int i = 0; i < 64; i++) {
		char *q = a + (size_t)i * (T / 64);
		CHECK(!mprotect(q, 65536, PROT_READ | PROT_WRITE));
		q[5] = i;
		q = b + (size_t)i * (14 * T / 64);
		CHECK(q[7] == 0);
		q[7] = i;
	}
	for (int i = 0; i < 64; i++) CHECK(a[(size_t)i * (T / 64) + 5] == i && b[(size_t)i * (14 * T / 64) + 7] == i);
	CHECK(rss() - r0 < 100000);
	pid_t k = fork();
	if (!k) _exit(a[5 + T / 64] == 1 ? 0 : 1);
	CHECK(reap(k) == 0);
	CHECK(!madvise(b, 14 * T, MADV_DONTNEED));
	CHECK(b[7 + 14 * T / 64] == 0);
	CHECK(!munmap(a, T) && !munmap(b, 14 * T));
	CHECK(now() - t < 10000);
	return 0;
}
