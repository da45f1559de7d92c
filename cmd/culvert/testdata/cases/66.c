// mremap: grow in place, move, shrink, fixed target, refusal without MAYMOVE
// Reported in: microsoft/WSL#4445, FreeBSDDesktop/DEPRECATED-freebsd-base-graphics#45 (Linuxulator),
// microsoft/litebox#321, nodejs/node#53489 (qemu-user) Linux: blocked growth without MAYMOVE: ENOMEM; with MAYMOVE
// contents preserved at a new address, old range unmapped; shrink unmaps the tail; MREMAP_FIXED replaces the target;
// old_size 0 on private: EINVAL
#include "case.h"

int main(void) {
	int f = MAP_PRIVATE | MAP_ANONYMOUS, rw = PROT_READ | PROT_WRITE;
	enum { P = 4096 };
	char *a = mmap(0, 16 * P, rw, f, -1, 0);
	CHECK(a != MAP_FAILED);
	CHECK(mmap(a + 8 * P, P, PROT_NONE, f | MAP_FIXED, -1, 0) == a + 8 * P);
	for (int i = 0; i < 8; i++) a[i * P] = 'a' + i;
	CHECK(mremap(a, 8 * P, 12 * P, 0) == MAP_FAILED && errno == ENOMEM);
	char *b = mremap(a, 8 * P, 200 * P, MREMAP_MAYMOVE);
	CHECK(b != MAP_FAILED && b != a);
	for (int i = 0; i < 8; i++) CHECK(b[i * P] == 'a' + i);
	CHECK(b[150 * P] == 0);
	b[199 * P] = 1;
	unsigned char v;
	CHECK(mincore(a, P, &v) == -1 && errno == ENOMEM);
	CHECK(mremap(b, 200 * P, 4 * P, 0) == b);
	CHECK(mincore(b + 4 * P, P, &v) == -1 && errno == ENOMEM);
	char *t = mmap(0, 4 * P, rw, f, -1, 0);
	t[0] = 'z';
	CHECK(mremap(b, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, t) == t && t[0] == 'a' && t[3 * P] == 'd');
	CHECK(mremap(t, 0, P, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
	CHECK(mremap(b, 4 * P, 8 * P, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	char n[64];
	snprintf(n, 64, "/tmp/mr66.%d", getpid());
	int fd = open(n, O_RDWR | O_CREAT, 0600);
	unlink(n);
	for (int i = 0; i < 10; i++) {
		char pg[P];
		memset(pg, '0' + i, P);
		CHECK(write(fd, pg, P) == P);
	}
	char *m = mmap(0, P, PROT_READ, MAP_PRIVATE, fd, 0);
	for (int i = 1; i < 10; i++) {
		m = mremap(m, i * P, (i + 1) * P, MREMAP_MAYMOVE);
		CHECK(m != MAP_FAILED);
		for (int j = 0; j <= i; j++) CHECK(m[j * P] == '0' + j);
	}
	char *x = malloc(1 << 20);
	memset(x, 5, 1 << 20);
	x = realloc(x, 64 << 20);
	CHECK(x && x[(1 << 20) - 1] == 5);
	free(x);
	return 0;
}
