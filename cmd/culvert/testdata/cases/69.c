// page-granular mmap details: 4 KiB offsets with a hint, GROWSDOWN, POPULATE, overlapping MAP_FIXED
// Reported in: microsoft/WSL#7569, microsoft/WSL#11119, microsoft/WSL#8095, microsoft/WSL#4873, linux-noah/noah#82
// Linux: all succeed with exact 4 KiB semantics
#include "case.h"

int main(void) {
	enum { P = 4096 };
	int rw = PROT_READ | PROT_WRITE, f = MAP_PRIVATE | MAP_ANONYMOUS;
	char n[64];
	snprintf(n, 64, "/tmp/pg69.%d", getpid());
	int fd = open(n, O_RDWR | O_CREAT, 0600);
	unlink(n);
	char pg[P];
	for (int i = 0; i < 20; i++) {
		memset(pg, 'A' + i, P);
		CHECK(write(fd, pg, P) == P);
	}
	for (int i = 1; i < 20; i++) {
		char *m = mmap((void *)&main, P, PROT_READ, MAP_PRIVATE, fd, i * P);
		CHECK(m != MAP_FAILED && m[0] == 'A' + i);
	}
	CHECK(mmap(0, P, PROT_READ, MAP_PRIVATE, fd, 100) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(0, P, rw, f | MAP_GROWSDOWN, -1, 0) != MAP_FAILED);
	char *q = mmap(0, 64 * P, rw, f | MAP_POPULATE, -1, 0);
	CHECK(q != MAP_FAILED && q[63 * P] == 0);
	memset(q, 7, 64 * P);
	CHECK(mmap(q + 3 * P, 2 * P, PROT_NONE, f | MAP_FIXED | MAP_NORESERVE, -1, 0) == q + 3 * P);
	CHECK(mmap(q + 4 * P, P, rw, f | MAP_FIXED, -1, 0) == q + 4 * P);
	CHECK(q[2 * P] == 7 && q[4 * P] == 0 && q[5 * P] == 7);
	char *g = mmap(0, 0x16000, PROT_NONE, f, -1, 0);
	CHECK(!mprotect(g + 0x1000, 0x15000, rw));
	g[0x1000] = 1;
	CHECK(mprotect(g + 1, P, rw) == -1 && errno == EINVAL);
	CHECK(!munmap(g + 0x5000, P));
	CHECK(mprotect(g, 0x16000, PROT_READ) == -1 && errno == ENOMEM);
	CHECK(mmap(q, P, rw, MAP_SHARED | MAP_FIXED, fd, 5 * P) == q && q[0] == 'F');
	CHECK(munmap(q + 1, P) == -1 && errno == EINVAL);
	return 0;
}
