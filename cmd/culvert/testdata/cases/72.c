// shared vs private memory across fork, memfd coherence, process-shared futex
// Reported in: related: microsoft/WSL#658 (mmap semantics), nanovms/nanos#1351 (futex)
// Linux: shared anon page is seen by both; private is not; two memfd mappings are coherent with read/write; FUTEX_WAKE
// works across processes and across two mappings of one page
#include "case.h"

static long fx(int *u, int op, int v, struct timespec *t) {
	return syscall(SYS_futex, u, op, v, t, 0, 0);
}
int main(void) {
	int rw = PROT_READ | PROT_WRITE;
	volatile int *sh = mmap(0, 4096, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
				 *pr = mmap(0, 4096, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("m", MFD_CLOEXEC);
	CHECK(fd >= 0 && !ftruncate(fd, 8192));
	volatile int *m1 = mmap(0, 4096, rw, MAP_SHARED, fd, 0), *m2 = mmap(0, 4096, rw, MAP_SHARED, fd, 0);
	CHECK(m1 != m2);
	*pr = 1;
	pid_t k = fork();
	struct timespec t = {10, 0};
	if (!k) {
		*pr = 2;
		*sh = 77;
		while (fx((int *)m2, 0 /* FUTEX_WAIT */, 0, &t) == -1) {
			CHECK(errno == EAGAIN || errno == EINTR);
			if (*m2) break;
		}
		_exit(*m2 == 9 ? 0 : 1);
	}
	while (*sh != 77) ms(2);
	ms(100);
	CHECK(*pr == 1);
	*m1 = 9;
	long n = fx((int *)m1, 1, 10, 0);
	CHECK(n == 0 || n == 1);
	CHECK(reap(k) == 0);
	int v = 4242;
	CHECK(pwrite(fd, &v, 4, 0) == 4 && *m1 == 4242 && *m2 == 4242);
	*m2 = 5;
	CHECK(pread(fd, &v, 4, 0) == 4 && v == 5);
	t.tv_sec = 0;
	t.tv_nsec = 30000000;
	double s = now();
	CHECK(fx((int *)m1, 0, 5, &t) == -1 && errno == ETIMEDOUT && now() - s >= 29.9);
	CHECK(fx((int *)m1, 0, 6, &t) == -1 && errno == EAGAIN);
	return 0;
}
