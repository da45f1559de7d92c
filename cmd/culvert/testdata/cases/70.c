// JIT pages: write/patch/execute cycles and dual mappings
// Reported in: microsoft/WSL#1633 (ChakraCore SIGSEGV after mprotect toggling), microsoft/WSL#4873
// Linux: RW->RX->call, patch, call returns the new value every time; memfd mapped RW and RX at once works; RX page
// write: SEGV_ACCERR; NX page exec: SEGV_ACCERR
#include "case.h"

static sigjmp_buf jb;
static void h(int s, siginfo_t *i, void *u) {
	(void)s;
	(void)u;
	siglongjmp(jb, 10 + i->si_code);
}
static void put(unsigned char *p, int v) {
	p[0] = 0xb8;
	memcpy(p + 1, &v, 4);
	p[5] = 0xc3;
}
int main(void) {
#ifdef __x86_64__
	struct sigaction a = {.sa_sigaction = h, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &a, 0);
	int r;
	unsigned char *p = mmap(0, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int (*volatile f)(void) = (int (*)(void))p;
	for (int i = 0; i < 300; i++) {
		CHECK(!mprotect(p, 4096, PROT_READ | PROT_WRITE));
		put(p, i * 7);
		CHECK(!mprotect(p, 4096, i & 1 ? PROT_READ | PROT_EXEC : PROT_EXEC));
		CHECK(f() == i * 7);
	}
	r = sigsetjmp(jb, 1);
	if (!r) {
		*(volatile char *)p = 1;
		CHECK(0);
	}
	CHECK(r == 10 + SEGV_ACCERR);
	CHECK(!mprotect(p, 4096, PROT_READ | PROT_WRITE));
	CHECK(p[0] == 0xb8);
	r = sigsetjmp(jb, 1);
	if (!r) {
		f();
		CHECK(0);
	}
	CHECK(r == 10 + SEGV_ACCERR);
	int fd = memfd_create("jit", 0);
	CHECK(fd >= 0 && !ftruncate(fd, 4096));
	unsigned char *w = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
				  *x = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	CHECK(w != MAP_FAILED && x != MAP_FAILED);
	f = (int (*)(void))x;
	for (int i = 0; i < 300; i++) {
		put(w, i ^ 0x55);
		__sync_synchronize();
		CHECK(f() == (i ^ 0x55));
	}
#endif
	return 0;
}
