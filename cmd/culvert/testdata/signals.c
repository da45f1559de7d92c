// Handlers and the return from them, and waits that signals end: whatever a frame holds is what the program goes on with, and
// no signal is lost between two that wait for each other's. With an argument, only that many rounds of the two.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define CHECK(c)                                                                                                       \
	do {                                                                                                               \
		if (!(c)) {                                                                                                    \
			fprintf(stderr, "signals.c:%d: %s (errno %d)\n", __LINE__, #c, errno);                                     \
			_exit(1);                                                                                                  \
		}                                                                                                              \
	} while (0)

static volatile sig_atomic_t seen;

static void count(int n) { seen++; }

static void on(int n, void (*h)(int, siginfo_t *, void *), int flags) {
	struct sigaction a = {.sa_sigaction = h, .sa_flags = flags | SA_SIGINFO};
	sigfillset(&a.sa_mask);
	CHECK(sigaction(n, &a, 0) == 0);
}

// clobber changes the registers that a return has to restore.
static void clobber(int n, siginfo_t *i, void *c) {
	seen++;
	asm volatile("xorps %%xmm0, %%xmm0; xorps %%xmm7, %%xmm7; xorps %%xmm14, %%xmm14; xorps %%xmm15, %%xmm15; fninit; ldmxcsr %0" ::"m"(
					 (int){0x9fc0})
				 : "xmm0", "xmm7", "xmm14", "xmm15");
	asm volatile("xor %%ebx, %%ebx; xor %%r12d, %%r12d; xor %%r13d, %%r13d; xor %%r14d, %%r14d; xor %%r15d, %%r15d" ::: "rbx", "r12",
				 "r13", "r14", "r15");
}

// Registers, flags, x87, SSE and MXCSR survive.
static void registers(void) {
	on(SIGUSR1, clobber, 0);
	int pid = getpid();
	for (int i = 0; i < 200; i++) {
		uint64_t in[9], out[9], xin[8], xout[8], flags;
		int mxcsr = 0x1f80 | (i & 3) << 13, mx2;
		long double f = i + 0.5L, f2;
		for (int k = 0; k < 9; k++) in[k] = i * 0x123456789abcdefull + k;
		for (int k = 0; k < 8; k++) xin[k] = ~in[k];
		asm volatile("ldmxcsr %0" ::"m"(mxcsr));
		void *rsi = xin, *rax = in, *rcx = out;
		asm volatile("fldt %[f]\n movdqu (%[xi]), %%xmm0\n movdqu 16(%[xi]), %%xmm7\n movdqu 32(%[xi]), %%xmm14\n movdqu 48(%[xi]), %%xmm15\n"
					 "push %%rbp\n mov %[in], %%rax\n mov (%%rax), %%rbx\n mov 8(%%rax), %%rbp\n mov 16(%%rax), %%r8\n mov 24(%%rax), %%r9\n"
					 "mov 32(%%rax), %%r10\n mov 40(%%rax), %%r12\n mov 48(%%rax), %%r13\n mov 56(%%rax), %%r14\n mov 64(%%rax), %%r15\n"
					 "push %[out]\n push %[xo]\n mov %[nr], %%eax\n mov $10, %%esi\n stc\n syscall\n"
					 "pushfq\n pop %%r11\n pop %%rcx\n movdqu %%xmm0, (%%rcx)\n movdqu %%xmm7, 16(%%rcx)\n movdqu %%xmm14, 32(%%rcx)\n movdqu %%xmm15, 48(%%rcx)\n"
					 "pop %%rcx\n mov %%rbx, (%%rcx)\n mov %%rbp, 8(%%rcx)\n mov %%r8, 16(%%rcx)\n mov %%r9, 24(%%rcx)\n"
					 "mov %%r10, 32(%%rcx)\n mov %%r12, 40(%%rcx)\n mov %%r13, 48(%%rcx)\n mov %%r14, 56(%%rcx)\n mov %%r15, 64(%%rcx)\n"
					 "pop %%rbp\n mov %%r11, %[fl]\n fstpt %[f2]"
					 : [fl] "=m"(flags), [f2] "=m"(f2), [xi] "+S"(rsi), [in] "+a"(rax), [out] "+c"(rcx)
					 : [f] "m"(f), [xo] "d"(xout), [nr] "i"(SYS_kill), "D"(pid)
					 : "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm7", "xmm14", "xmm15", "memory", "cc");
		asm volatile("stmxcsr %0" : "=m"(mx2));
		CHECK(memcmp(in, out, sizeof in) == 0 && memcmp(xin, xout, sizeof xin) == 0);
		CHECK((flags & 1) && f == f2 && mxcsr == mx2);
	}
	asm volatile("ldmxcsr %0" ::"m"((int){0x1f80}));
	printf("registers: %d\n", (int)seen);
}

// What a handler changes in its frame: registers, mask, SSE state, the place of the FPU state, the alternate stack.
static int what;
static void change(int n, siginfo_t *i, void *c) {
	ucontext_t *u = c;
	fpregset_t fp = u->uc_mcontext.fpregs;
	static char copy[8192] __attribute__((aligned(64)));
	switch (what) {
	case 0: u->uc_mcontext.gregs[REG_RBX] = 0x1234; break;
	case 1: sigaddset(&u->uc_sigmask, SIGHUP), sigaddset(&u->uc_sigmask, SIGKILL); break;
	case 2: memset(&fp->_xmm[0], 0x5a, sizeof fp->_xmm[0]); break;
	case 3: u->uc_mcontext.gregs[REG_EFL] = 0x3001 | 1 << 14 | 1 << 10; break;
	case 4: // the state lies somewhere else
		memcpy(copy, fp, 512 + (*(uint32_t *)((char *)fp + 464) == 0x46505853 ? *(uint32_t *)((char *)fp + 468) - 512 : 0));
		memset(&((fpregset_t)copy)->_xmm[0], 0x77, sizeof fp->_xmm[0]);
		u->uc_mcontext.fpregs = (void *)copy;
		break;
	case 5: u->uc_mcontext.fpregs = 0; break;			 // none: the initial state
	case 6: memset((char *)fp + 464, 0, 4); break;		 // only the legacy region
	case 7: fp->mxcsr = 0x1fa0; break;
	case 8: raise(SIGUSR2); break; // pending until the mask is restored
	case 9: // SSE as it is at first, whatever the frame has of it
		if (u->uc_flags & 1) *(uint64_t *)((char *)fp + 512) &= ~2ull; // XSTATE_BV
		else memset(fp->_xmm, 0, sizeof fp->_xmm);
		break;
	case 10: u->uc_stack.ss_flags = SS_DISABLE; break;
	}
}

static void changes(void) {
	static char stack[65536];
	stack_t s = {.ss_sp = stack, .ss_size = sizeof stack};
	CHECK(sigaltstack(&s, 0) == 0);
	signal(SIGUSR2, count);
	for (int alt = 0; alt < 2; alt++) {
		// The last case on the alternate stack itself is not the same on all kernels.
		for (what = 0; what < 11 - alt; what++) {
			on(SIGUSR1, change, alt ? SA_ONSTACK : 0);
			uint64_t rbx = 1, x[2] = {0x1111, 0x2222};
			int mxcsr = 0;
			uint64_t flags = 0;
			seen = 0;
			asm volatile("movdqu (%[x]), %%xmm0\n mov $1, %%ebx\n mov %[nr], %%eax\n cmp %%eax, %%eax\n syscall\n pushfq\n pop %[fl]\n movdqu %%xmm0, (%[x])\n cld\n"
						 "push $0x202\n popfq\n stmxcsr %[m]"
						 : [fl] "=&r"(flags), [m] "=m"(mxcsr), "=b"(rbx)
						 : [x] "d"(x), [nr] "i"(SYS_kill), "D"(getpid()), "S"(SIGUSR1)
						 : "rax", "rcx", "r11", "xmm0", "memory", "cc");
			sigset_t m;
			stack_t now;
			CHECK(sigprocmask(SIG_SETMASK, 0, &m) == 0 && sigaltstack(&s, &now) == 0);
			printf("change %d: rbx %lx xmm %lx %lx mxcsr %x flags %lx hup %d kill %d usr1 %d seen %d stack %d\n", what, rbx, x[0], x[1], mxcsr,
				   flags & 0x37fd5 & ~0x10000, sigismember(&m, SIGHUP), sigismember(&m, SIGKILL), sigismember(&m, SIGUSR1), (int)seen,
				   now.ss_flags);
			asm volatile("ldmxcsr %0" ::"m"((int){0x1f80}));
			sigemptyset(&m);
			CHECK(sigprocmask(SIG_SETMASK, &m, 0) == 0);
		}
	}
}

// What a handler finds: the signal's origin, its frame, an FPU as at a program's start; by each way to send oneself a signal.
static int depth;
static void look(int n, siginfo_t *i, void *c) {
	ucontext_t *u = c;
	fpregset_t fp = u->uc_mcontext.fpregs;
	int mxcsr = 0;
	short fcw = 0;
	uint64_t xmm = 1;
	asm volatile("stmxcsr %0; fnstcw %1; movq %%xmm9, %2" : "=m"(mxcsr), "=m"(fcw), "=r"(xmm));
	sigset_t m;
	sigprocmask(SIG_SETMASK, 0, &m);
	uint64_t now = 0, before;
	for (int s = 1; s < 65; s++)
		if (sigismember(&m, s) == 1) now |= 1ull << (s - 1);
	memcpy(&before, &u->uc_sigmask, 8);
	struct { uint32_t magic1, extended; uint64_t features; uint32_t size; } *sw = (void *)((char *)fp + 464);
	int whole = !(u->uc_flags & 1) || // UC_FP_XSTATE
				sw->magic1 == 0x46505853 && sw->extended == sw->size + 4 && *(uint32_t *)((char *)fp + sw->size) == 0x46505845;
	printf(" in %d: fpu %x %hx %lx was %x %hx; mask %lx was %lx old %llx; flags %lx link %p; trap %lld err %lld cr2 %llx csgsfs %llx; %s, %s, %s\n", n,
		   mxcsr, fcw, xmm, fp->mxcsr, fp->cwd, now, before, u->uc_mcontext.gregs[REG_OLDMASK], u->uc_flags & ~1, (void *)u->uc_link,
		   u->uc_mcontext.gregs[REG_TRAPNO], u->uc_mcontext.gregs[REG_ERR], u->uc_mcontext.gregs[REG_CR2],
		   u->uc_mcontext.gregs[REG_CSGSFS], whole ? "whole" : "cut", (uintptr_t)fp & 63 ? "crooked" : "aligned",
		   (uintptr_t)__builtin_frame_address(0) & 15 ? "off" : "on 16");
	if (i) printf(" info: %d %d %d %d %d\n", i->si_signo, i->si_errno, i->si_code, i->si_pid == getpid(), i->si_uid == getuid());
	if (depth-- > 0) raise(n);
}

static void frames(void) {
	static const int flags[] = {SA_SIGINFO, SA_SIGINFO | SA_ONSTACK, SA_SIGINFO | SA_NODEFER, SA_SIGINFO | SA_RESETHAND, SA_SIGINFO | SA_RESTART};
	static char stack[65536];
	stack_t s = {.ss_sp = stack, .ss_size = sizeof stack};
	CHECK(sigaltstack(&s, 0) == 0);
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	CHECK(sigprocmask(SIG_SETMASK, &term, 0) == 0);
	for (int k = 0; k < 5; k++) {
		for (int way = 0; way < 3; way++) {
			int n = k == 4 ? 40 : k == 2 ? SIGSEGV : SIGUSR1;
			struct sigaction a = {.sa_sigaction = look, .sa_flags = flags[k]};
			sigaddset(&a.sa_mask, SIGHUP), sigaddset(&a.sa_mask, SIGKILL);
			CHECK(sigaction(n, &a, 0) == 0);
			depth = k == 2;
			int mxcsr = 0x3f80;
			short fcw = 0x77f;
			asm volatile("ldmxcsr %0; fldcw %1; pcmpeqd %%xmm9, %%xmm9" ::"m"(mxcsr), "m"(fcw) : "xmm9");
			long r = way == 0	? syscall(SYS_kill, getpid(), n)
					 : way == 1 ? syscall(SYS_tgkill, getpid(), gettid(), n)
								: syscall(SYS_tkill, gettid(), n);
			asm volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(fcw));
			printf("flags %x way %d: %ld, %x %hx\n", flags[k], way, r, mxcsr, fcw);
			asm volatile("ldmxcsr %0; fldcw %1" ::"m"((int){0x1f80}), "m"((short){0x37f}));
			signal(n, SIG_DFL);
		}
	}
	// No room above what is mapped.
	pid_t p = fork();
	if (!p) {
		on(SIGUSR1, look, 0);
		char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(m, 4096);
		asm volatile("mov %0, %%rsp; mov %1, %%eax; syscall; mov $60, %%eax; syscall" ::"r"(m + 4096 + 300), "i"(SYS_kill), "D"(getpid()),
					 "S"(SIGUSR1));
	}
	int st;
	CHECK(waitpid(p, &st, 0) == p);
	printf("no room: %#x\n", st & ~0x80);
	sigemptyset(&term);
	CHECK(sigprocmask(SIG_SETMASK, &term, 0) == 0);
}

// Frames of the kernel's in which one word is wrong: a child each, and what it ends with.
static void spoil(int n, siginfo_t *i, void *c) {
	ucontext_t *u = c;
	greg_t *g = u->uc_mcontext.gregs;
	char *fp = (char *)u->uc_mcontext.fpregs;
	uint64_t *magic1 = (void *)(fp + 464), *bv = (void *)(fp + 512);
	uint32_t size = ((uint32_t *)magic1)[4];
	switch (what) {
	case 0: g[REG_RIP] ^= 1l << 47; break;
	case 1: g[REG_RIP] ^= 1l << 63; break;
	case 2: g[REG_RIP] = 0x7ffffffff000; break;
	case 3: g[REG_RIP] = -4096; break;
	case 4: g[REG_RSP] ^= 1l << 63; break;
	case 5: g[REG_RSP] = 0; break;
	case 6: g[REG_EFL] ^= 1 << 8; break; // TF
	case 7: g[REG_EFL] ^= ~0xffl & ~(1 << 8 | 1 << 10 | 1 << 18); break;
	case 8: *(uint32_t *)(fp + 24) ^= 1 << 16; break; // MXCSR
	case 9: *(uint32_t *)(fp + 24) = -1; break;
	case 10: bv[0] ^= 1l << 62; break;
	case 11: bv[1] ^= 1l << 63; break;
	case 12: bv[0] = 0; break;
	case 13: *magic1 ^= 1; break;
	case 14: magic1[1] = 0; break; // features
	case 15: ((uint32_t *)magic1)[4] ^= 64; break;
	case 16: ((uint32_t *)magic1)[4] = -1; break;
	case 17: *(uint32_t *)(fp + size) ^= 1; break;
	case 18: u->uc_mcontext.fpregs = (void *)(fp + 8); break;
	case 19: u->uc_mcontext.fpregs = (void *)-4096l; break;
	case 20: u->uc_mcontext.fpregs = (void *)0x7ffffffff000; break;
	case 21: u->uc_mcontext.fpregs = (void *)4096; break;
	case 22: memset(&u->uc_sigmask, -1, 8); break;
	case 23: u->uc_stack.ss_size = 1; break;
	case 24: u->uc_flags = 0; break;
	case 25: ((uint32_t *)fp)[1] = -1; break; // the x87 tag word, and what is beside it
	}
}

static void spoilt(void) {
	for (what = 0; what < 26; what++) {
		pid_t p = fork();
		if (!p) {
			alarm(60);
			on(SIGUSR1, spoil, 0);
			syscall(SYS_kill, getpid(), SIGUSR1);
			_exit(7);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
		// Reserved bits of MXCSR fault on processors, and not on those that QEMU emulates.
		int any = what == 8 || what == 9;
		if (any) CHECK(st == 7 << 8 || (st & ~0x80) == SIGSEGV);
		printf("spoilt %d: %#x\n", what, any ? 0 : st & ~0x80);
	}
}

// Frames that are cut off, or lie where nothing is: SIGSEGV. The child answers with its status.
static void faults(void) {
	for (int k = 0; k < 5; k++) {
		pid_t p = fork();
		if (!p) {
			char *m = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			munmap(m + 2 * 4096, 4096);
			uint64_t sp = k == 0   ? 0x10
						  : k == 1 ? (uint64_t)m + 8192 - 128
						  : k == 2 ? 0x7fffffffeff0
						  : k == 3 ? 0xffff800000000000
								   : 0x7ffffffffff8;
			asm volatile("mov %0, %%rsp; mov $15, %%eax; syscall" ::"r"(sp) : "memory");
			_exit(0);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
		printf("fault %d: %#x\n", k, st & ~0x80);
	}
}

// A thread's own: its FS base, of which the C library's errno hangs, and sigsuspend's mask.
static sigset_t blocked;
static pthread_t ping, pong;
static volatile int pings, pongs;
static void rally(int n, siginfo_t *i, void *c) { n == SIGUSR1 ? pings++ : pongs++; }

static void *player(void *rounds) {
	sigset_t wait = blocked;
	sigdelset(&wait, SIGUSR2);
	for (long i = 0; i < (long)rounds; i++) {
		while (pongs <= i) CHECK(sigsuspend(&wait) == -1 && errno == EINTR);
		sigset_t m;
		CHECK(pthread_sigmask(0, 0, &m) == 0 && sigismember(&m, SIGUSR1) && sigismember(&m, SIGUSR2));
		CHECK(pthread_kill(ping, SIGUSR1) == 0);
	}
	return 0;
}

static void threads(long rounds) {
	on(SIGUSR1, rally, 0), on(SIGUSR2, rally, 0);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1), sigaddset(&blocked, SIGUSR2);
	CHECK(pthread_sigmask(SIG_BLOCK, &blocked, 0) == 0);
	ping = pthread_self();
	CHECK(pthread_create(&pong, 0, player, (void *)rounds) == 0);
	sigset_t wait = blocked;
	sigdelset(&wait, SIGUSR1);
	for (long i = 0; i < rounds; i++) {
		CHECK(pthread_kill(pong, SIGUSR2) == 0);
		while (pings <= i) CHECK(sigsuspend(&wait) == -1 && errno == EINTR);
	}
	CHECK(pthread_join(pong, 0) == 0);
	printf("threads: %d pings, %d pongs\n", pings, pongs);
}

// Two processes; one of them pauses, as nothing of its mask is in the way.
static void processes(long rounds) {
	seen = 0;
	on(SIGUSR1, rally, 0);
	pings = 0;
	pid_t parent = getpid(), p = fork();
	sigset_t wait = blocked;
	sigdelset(&wait, SIGUSR1);
	if (!p) {
		for (long i = 0; i < rounds; i++) {
			CHECK(sigsuspend(&wait) == -1 && errno == EINTR);
			CHECK(pings == i + 1 && kill(parent, SIGUSR1) == 0);
		}
		_exit(0);
	}
	for (long i = 0; i < rounds; i++) {
		CHECK(kill(p, SIGUSR1) == 0);
		CHECK(sigsuspend(&wait) == -1 && errno == EINTR && pings == i + 1);
	}
	int st;
	CHECK(waitpid(p, &st, 0) == p && st == 0);
	printf("processes: %d\n", pings);
}

// The process's signal goes to whichever thread does not block it, and nobody sleeps through one.
static volatile long taken;
static void take(int n, siginfo_t *i, void *c) { __atomic_add_fetch(&taken, 1, __ATOMIC_SEQ_CST); }
static volatile int over;
static void *waiter(void *a) {
	sigset_t none;
	sigemptyset(&none);
	while (!over) {
		if (a) pause();
		else sigsuspend(&none);
	}
	return 0;
}

static void group(long rounds) {
	on(SIGUSR1, take, 0);
	pthread_t t[4];
	sigset_t m;
	sigemptyset(&m);
	for (long i = 0; i < 4; i++) {
		// Half of them block the signal but for the wait.
		CHECK(pthread_sigmask(SIG_SETMASK, i & 1 ? &m : &blocked, 0) == 0);
		CHECK(pthread_create(&t[i], 0, waiter, (void *)(i & 1)) == 0);
	}
	CHECK(pthread_sigmask(SIG_SETMASK, &blocked, 0) == 0);
	for (long i = 0; i < rounds; i++) {
		CHECK(kill(getpid(), SIGUSR1) == 0);
		while (taken <= i) sched_yield();
	}
	over = 1;
	for (int i = 0; i < 4; i++) {
		while (pthread_tryjoin_np(t[i], 0)) pthread_kill(t[i], SIGUSR1), usleep(1000);
	}
	printf("group: %d\n", taken >= rounds);
}

int main(int argc, char **argv) {
	setlinebuf(stdout);
	alarm(120);
	if (argc > 1) {
		threads(atol(argv[1]));
		processes(atol(argv[1]));
		return 0;
	}
	registers();
	changes();
	frames();
	spoilt();
	faults();
	threads(100);
	processes(100);
	group(40);
	return 0;
}
