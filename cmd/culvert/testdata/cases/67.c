// madvise(MADV_DONTNEED) in its four flavours
// Reported in: sysprog21/elfuse#3, microsoft/litebox#217, OpenXiangShan/NEMU#1175
// Linux: private anon reads 0 (also when done while PROT_NONE); private file mapping reverts to the file; MAP_SHARED
// keeps data; a hole in the range: ENOMEM; unaligned: EINVAL; works on a 2 MiB (THP) range
#include "case.h"

int main(void) {
	enum { P = 4096, B = 4 << 20 };
	int rw = PROT_READ | PROT_WRITE, f = MAP_PRIVATE | MAP_ANONYMOUS;
	char *a = mmap(0, B, rw, f, -1, 0);
	memset(a, 1, B);
	CHECK(!madvise(a, B / 2, MADV_DONTNEED));
	for (int i = 0; i < B; i += P) CHECK(a[i] == (i < B / 2 ? 0 : 1));
	memset(a, 2, B);
	CHECK(!mprotect(a, B, PROT_NONE));
	CHECK(!madvise(a, B, MADV_DONTNEED));
	CHECK(!mprotect(a, B, rw));
	for (int i = 0; i < B; i += P) CHECK(a[i] == 0);
	char n[64];
	snprintf(n, 64, "/tmp/ma67.%d", getpid());
	int fd = open(n, O_RDWR | O_CREAT, 0600);
	unlink(n);
	char pg[P];
	memset(pg, 'F', P);
	CHECK(write(fd, pg, P) == P);
	char *pf = mmap(0, P, rw, MAP_PRIVATE, fd, 0), *sh = mmap(0, P, rw, MAP_SHARED, fd, 0);
	pf[0] = 'x';
	CHECK(sh[0] == 'F');
	CHECK(!madvise(pf, P, MADV_DONTNEED) && pf[0] == 'F');
	sh[1] = 'S';
	CHECK(!madvise(sh, P, MADV_DONTNEED) && sh[1] == 'S' && pf[1] == 'S');
	CHECK(pread(fd, pg, 2, 0) == 2 && pg[1] == 'S');
	char *sa = mmap(0, P, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sa[0] = 9;
	CHECK(!madvise(sa, P, MADV_DONTNEED) && sa[0] == 9);
	CHECK(!munmap(a + 8 * P, P));
	CHECK(madvise(a, 16 * P, MADV_DONTNEED) == -1 && errno == ENOMEM);
	CHECK(madvise(a + 1, P, MADV_DONTNEED) == -1 && errno == EINVAL);
	CHECK(madvise(a, P, 12345) == -1 && errno == EINVAL);
	CHECK(!madvise(a, P, MADV_WILLNEED) && !madvise(a, P, MADV_FREE));
	a[0] = 4;
	CHECK(a[0] == 4);
	CHECK(madvise(sh, P, MADV_FREE) == -1 && errno == EINVAL);
	return 0;
}
