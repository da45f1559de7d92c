// MAP_FIXED_NOREPLACE
// Reported in: google/gvisor#14008
// Linux: free range: exactly there; any overlap: EEXIST and old data intact (even with MAP_FIXED); unaligned: EINVAL
#include "case.h"

int main(void) {
	char *p = mmap(0, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK(!munmap(p + 4096, 4096));
	p[0] = 1;
	p[2 * 4096] = 2;
	int f = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	CHECK(mmap(p, 4096, PROT_NONE, f, -1, 0) == MAP_FAILED && errno == EEXIST);
	CHECK(mmap(p + 4096, 8192, PROT_NONE, f, -1, 0) == MAP_FAILED && errno == EEXIST);
	CHECK(mmap(p, 4096, PROT_NONE, f | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EEXIST);
	CHECK(p[0] == 1 && p[2 * 4096] == 2);
	CHECK(mmap(p + 4096, 4096, PROT_READ | PROT_WRITE, f, -1, 0) == p + 4096);
	p[4096] = 3;
	CHECK(mmap(p + 1, 4096, PROT_NONE, f, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(p[0] == 1 && p[4096] == 3);
	CHECK(mmap(p, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		  p); /* plain hint never clobbers */
	return 0;
}
