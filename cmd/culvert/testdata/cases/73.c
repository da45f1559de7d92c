// SIGSEGV delivery: si_code, si_addr, alternate stack, RIP fix-up, stack-overflow guard
// Reported in: related: microsoft/WSL#1633 (SEGV_ACCERR), google/gvisor#5238 (unhandled user fault)
// Linux: unmapped: SEGV_MAPERR; protected: SEGV_ACCERR; si_addr exact; handler on sigaltstack; editing RIP in the
// context resumes there; deep recursion ends in SIGSEGV on the altstack
#include "case.h"

#include <ucontext.h>
static char alt[65536];
static volatile int code, onalt, n;
static void *volatile addr;
static sigjmp_buf jb;
static volatile int mode;
static void h(int s, siginfo_t *i, void *u) {
	char c;
	(void)s;
	code = i->si_code;
	addr = i->si_addr;
	onalt = &c >= alt && &c < alt + sizeof alt;
	n++;
	if (mode) siglongjmp(jb, 1);
#ifdef __x86_64__
	((ucontext_t *)u)->uc_mcontext.gregs[REG_RIP] = ((ucontext_t *)u)->uc_mcontext.gregs[REG_RBX];
#endif
}
static int touch(void *p) {
	int r = 0;
#ifdef __x86_64__
	__asm__ volatile("leaq 1f(%%rip), %%rbx\n\tmovb (%1), %%al\n\tmovl $7, %0\n1:"
					 : "+r"(r)
					 : "r"(p)
					 : "rbx", "rax", "memory");
#endif
	return r;
}
__attribute__((noinline)) static int deep(int d) {
	volatile char b[4096];
	b[0] = d;
	b[4095] = 1;
	return d > 0 ? deep(d - 1) + b[0] : b[0];
}
int main(void) {
	stack_t st = {.ss_sp = alt, .ss_size = sizeof alt};
	CHECK(!sigaltstack(&st, 0));
	struct sigaction a = {.sa_sigaction = h, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGSEGV, &a, 0);
#ifdef __x86_64__
	char *p = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(touch(p) == 7 && n == 0);
	CHECK(!mprotect(p + 4096, 4096, PROT_NONE));
	CHECK(touch(p + 5000) == 0 && n == 1 && code == SEGV_ACCERR && addr == p + 5000 && onalt);
	CHECK(!munmap(p, 4096));
	CHECK(touch(p + 3) == 0 && n == 2 && code == SEGV_MAPERR && addr == p + 3);
	CHECK(touch((void *)8) == 0 && addr == (void *)8 && code == SEGV_MAPERR);
	CHECK(touch((void *)0x8000000000000000ul) == 0 && n == 4);
#endif
	CHECK(deep(1000) >= -1000000); /* 4 MiB of stack must be usable with an 8 MiB limit */
	struct rlimit rl;
	getrlimit(RLIMIT_STACK, &rl);
	mode = 1;
	n = 0;
	onalt = 0;
	if (rl.rlim_cur <= 64 << 20) {
		if (!sigsetjmp(jb, 1)) {
			deep(1 << 20);
			CHECK(0);
		}
		CHECK(n == 1 && onalt);
	}
	return 0;
}
