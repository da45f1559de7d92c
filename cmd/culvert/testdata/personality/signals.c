// Signals: what faults tell, what sending tells, frames and what handlers may change in them, flags of actions.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static const char *e(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }
static void on(int s, void (*f)(int, siginfo_t *, void *), int flags) {
	struct sigaction a = {.sa_sigaction = f, .sa_flags = SA_SIGINFO | flags};
	sigaction(s, &a, 0);
}

// Faults.
static sigjmp_buf back;
static siginfo_t got;
static greg_t gerr, gtrap, gcr2;
static void fault(int s, siginfo_t *i, void *u) {
	greg_t *g = ((ucontext_t *)u)->uc_mcontext.gregs;
	got = *i, gerr = g[REG_ERR], gtrap = g[REG_TRAPNO], gcr2 = g[REG_CR2];
	g[REG_EFL] &= ~0x40100; // TF, AC
	siglongjmp(back, 1);
}
static char *page; // read-only, then a hole
#define FAULT(what, base, code)                                                                                         \
	do {                                                                                                               \
		if (!sigsetjmp(back, 1)) {                                                                                     \
			code;                                                                                                      \
			printf("%s: no fault\n", what);                                                                            \
		} else {                                                                                                       \
			asm volatile("pushfq; andq $~0x40100,(%%rsp); popfq; cld; fninit" ::: "cc", "memory");                          \
			unsigned mx = 0x1f80;                                                                                      \
			asm volatile("ldmxcsr %0" ::"m"(mx));                                                                      \
			printf("%s: signal %d code %d addr %ld trap %lld err %lld\n", what, got.si_signo, got.si_code,             \
				got.si_code > 0 && got.si_code < 0x80 ? (long)((char *)got.si_addr - (char *)(base)) : (long)got.si_addr, (long long)gtrap, (long long)gerr); \
		}                                                                                                              \
	} while (0)
extern char ill[], trap3[], div0[], fdiv[], x87w[], over[];
static void faults(void) {
	int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	for (int i = 0; i < 5; i++) on(sigs[i], fault, 0);
	page = mmap(0, 4096 * 4, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	mprotect(page + 8192, 4096, PROT_NONE);
	FAULT("read of nothing", page, *(volatile char *)(page + 4096 + 5));
	FAULT("write of nothing", page, *(volatile char *)(page + 4096 + 5) = 1);
	FAULT("write of read-only", page, *(volatile char *)(page + 7) = 1);
	FAULT("read of PROT_NONE", page, *(volatile char *)(page + 8192 + 9));
	FAULT("call of nothing", page, ((void (*)(void))(page + 4096))());
	(void)*(volatile char *)page;
	FAULT("call of data", page, ((void (*)(void))(page))());
	FAULT("null", 0, *(volatile char *)0 = 1);
	FAULT("not canonical", 0, *(volatile char *)0x8000000000000000 = 1);
	FAULT("jump to what is not canonical", 0, ((void (*)(void))0x8000000000000000)());
	FAULT("kernel's half", 0, *(volatile char *)0xffff880000000000);
	FAULT("kernel's half, write", 0, *(volatile char *)0xffffffff81000000 = 1);
	int fd = memfd_create("x", 0);
	ftruncate(fd, 100);
	char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	m[4095] = 1;
	FAULT("past the end of the file", m, m[4096] = 1);
	FAULT("read there", m, (void)*(volatile char *)(m + 4097));
	FAULT("ud2", ill, asm volatile(".globl ill\nill: ud2"));
	FAULT("int3", trap3, asm volatile(".globl trap3\ntrap3: int3"));
	FAULT("int 4", 0, asm volatile("int $4"));
	FAULT("int 0x20", 0, asm volatile("int $0x20"));
	FAULT("hlt", 0, asm volatile("hlt"));
	FAULT("cli", 0, asm volatile("cli"));
	FAULT("in", 0, asm volatile("inb $0x80, %%al" ::: "rax"));
	FAULT("rdmsr", 0, asm volatile("rdmsr" ::: "rax", "rdx"));
	FAULT("mov cr3", 0, asm volatile("mov %%cr3, %%rax" ::: "rax"));
	FAULT("divide by 0", div0, asm volatile("xor %%ecx,%%ecx; xor %%edx,%%edx\n.globl div0\ndiv0: div %%ecx" ::: "rax", "rcx", "rdx"));
	FAULT("quotient too large", 0, asm volatile("mov $-1,%%rdx; mov $1,%%rcx; div %%rcx" ::: "rax", "rcx", "rdx"); got.si_addr = 0);
	unsigned mx = 0x1f80 & ~0x200;
	FAULT("sse divide", fdiv, asm volatile("ldmxcsr %0; xorps %%xmm1,%%xmm1; mov $0x3f800000,%%eax; movd %%eax,%%xmm0\n.globl fdiv\nfdiv: divss %%xmm1,%%xmm0" ::"m"(mx) : "rax"));
	mx = 0x1f80 & ~0x80;
	FAULT("sse invalid", 0, asm volatile("ldmxcsr %0; mov $0xbf800000,%%eax; movd %%eax,%%xmm0; sqrtss %%xmm0,%%xmm0" ::"m"(mx) : "rax"); got.si_addr = 0);
	unsigned short cw = 0x37f & ~4;
	FAULT("x87 divide", x87w, asm volatile("fldcw %0; fld1; fldz; fdivrp\n.globl x87w\nx87w: fwait" ::"m"(cw)));
	FAULT("single step", 0, asm volatile("pushfq; orq $0x100,(%%rsp); popfq; nop" ::: "memory"); got.si_addr = 0);
	FAULT("alignment check", 0, asm volatile("pushfq; orq $0x40000,(%%rsp); popfq; mov %%rsp,%%rax; mov 1(%%rax),%%rcx; pushfq; andq $~0x40000,(%%rsp); popfq" ::: "rax", "rcx", "memory"));
	for (int i = 0; i < 5; i++) signal(sigs[i], SIG_DFL);
	// A fault whose signal is blocked or ignored kills.
	for (int how = 0; how < 2; how++) {
		if (!fork()) {
			sigset_t s;
			sigemptyset(&s);
			sigaddset(&s, SIGSEGV);
			setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
			if (how) sigprocmask(SIG_BLOCK, &s, 0); else signal(SIGSEGV, SIG_IGN);
			*(volatile char *)0 = 1;
			_exit(1);
		}
		int st;
		wait(&st);
		printf("blocked or ignored: %d %d\n", WIFSIGNALED(st), WTERMSIG(st));
	}
}

// Sending.
static void note(int s, siginfo_t *i, void *u) { got = *i; }
static void sending(void) {
	on(SIGUSR1, note, 0);
	on(SIGRTMIN, note, 0);
	kill(getpid(), SIGUSR1);
	printf("kill: code %d pid %d uid %d\n", got.si_code, got.si_pid == getpid(), got.si_uid == getuid());
	raise(SIGUSR1);
	printf("raise: code %d pid %d\n", got.si_code, got.si_pid == getpid());
	sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77});
	printf("sigqueue: code %d pid %d value %d\n", got.si_code, got.si_pid == getpid(), got.si_value.sival_int);
	siginfo_t i = {.si_signo = SIGUSR1, .si_code = SI_KERNEL};
	printf("forged to self: %s", e(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &i)));
	printf(" code %d\n", got.si_code);
	printf("forged to parent: %s\n", e(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &i)));
	i.si_code = -60;
	printf("own code: %s", e(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, &i)));
	printf(" code %d\n", got.si_code);
	printf("bad: %s", e(kill(getpid(), 65)));
	printf(" %s", e(kill(getpid(), -1)));
	printf(" %s", e(kill(999999, 0)));
	printf(" %s", e(kill(INT32_MIN, 0)));
	printf(" %s", e(syscall(SYS_tgkill, getpid(), 0, 0)));
	printf(" %s", e(syscall(SYS_tgkill, -1, gettid(), 0)));
	printf(" %s\n", e(syscall(SYS_tkill, 999999, 0)));
	// Order: lowest number first, then as sent; ordinary signals once.
	sigset_t s, old;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1), sigaddset(&s, SIGRTMIN), sigaddset(&s, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &s, &old);
	for (int k = 0; k < 3; k++) {
		sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 10 + k});
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = k});
		kill(getpid(), SIGUSR1);
	}
	struct timespec zero = {0, 0};
	siginfo_t r;
	int n;
	while ((n = sigtimedwait(&s, &r, &zero)) > 0) printf("took %d value %d\n", n - (n >= SIGRTMIN ? SIGRTMIN - 100 : 0), n == SIGUSR1 ? -1 : r.si_value.sival_int);
	printf("then %s\n", e(n));
	printf("bad time: %s", e(sigtimedwait(&s, &r, &(struct timespec){0, -1})));
	printf(" bad size: %s", e(syscall(SYS_rt_sigtimedwait, &s, &r, &zero, 4)));
	printf(" bad set: %s\n", e(syscall(SYS_rt_sigtimedwait, 8, &r, &zero, 8)));
	struct rlimit l;
	getrlimit(RLIMIT_SIGPENDING, &l);
	setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){0, l.rlim_max});
	int sent = 0;
	while (sent < 100 && !sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1})) sent++;
	printf("queue full: %s after %d", e(-1), sent);
	printf("; kill still: %s", e(kill(getpid(), SIGRTMIN)));
	printf(" %s\n", e(kill(getpid(), SIGUSR1)));
	setrlimit(RLIMIT_SIGPENDING, &l);
	while (sigtimedwait(&s, &r, &zero) > 0) printf("took code %d\n", r.si_code);
	sigprocmask(SIG_SETMASK, &old, 0);
}

// Frames.
typedef float v8 __attribute__((vector_size(32)));
static char cpuflags[8192];
static void vec(int s, siginfo_t *i, void *u) {
	ucontext_t *c = u;
	unsigned *x = (unsigned *)c->uc_mcontext.fpregs->_xmm[3].element;
	printf("xmm3 in the frame: %x", x[0]);
	x[0] = 0x1234;
	asm volatile("pcmpeqd %%xmm3,%%xmm3; pcmpeqd %%xmm4,%%xmm4; fninit" ::: "xmm3", "xmm4");
	unsigned mx = 0x7f80;
	asm volatile("ldmxcsr %0" ::"m"(mx));
	c->uc_mcontext.gregs[REG_R12] = 4242;
	if (*(uint32_t *)((char *)c->uc_mcontext.fpregs + 464) == 0x46505853) { // FP_XSTATE_MAGIC1
		uint32_t *sw = (uint32_t *)((char *)c->uc_mcontext.fpregs + 464);
		uint64_t *bv = (uint64_t *)((char *)c->uc_mcontext.fpregs + 512);
		printf(" magic2 %d, bits within features %d", *(uint32_t *)((char *)c->uc_mcontext.fpregs + sw[1] - 4) == 0x46505845, !(bv[0] & ~*(uint64_t *)(sw + 2)));
		if (__builtin_cpu_supports("avx")) {
			asm volatile("vpcmpeqd %%xmm5,%%xmm5,%%xmm5; vzeroupper" ::: "xmm5");
			unsigned *hi = (unsigned *)((char *)c->uc_mcontext.fpregs + 576);
			hi[5 * 4] = 0x777;
		}
	}
	printf("\n");
}
static void frames(void) {
	on(SIGUSR2, vec, 0);
	unsigned out[4], hi[8] = {0};
	uint64_t r12;
	long pid = getpid(), avx = __builtin_cpu_supports("avx");
	unsigned mx0, mx1;
	unsigned short cw0 = 0x27f, cw1;
	unsigned in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	asm volatile("fldcw %0; stmxcsr %1" : "+m"(cw0), "=m"(mx0));
	if (avx) asm volatile("vmovups %0,%%ymm5" ::"m"(in) : "xmm5");
	asm volatile("mov $0xabcd,%%eax; movd %%eax,%%xmm3; pxor %%xmm4,%%xmm4; mov $99,%%r12; mov $62,%%eax; mov %3,%%rdi; mov $12,%%esi; syscall;"
				 "movd %%xmm3,%0; movd %%xmm4,%1; mov %%r12,%2"
				 : "=r"(out[0]), "=r"(out[1]), "=r"(r12)
				 : "r"(pid)
				 : "rax", "rcx", "r11", "rdi", "rsi", "r12", "xmm3", "xmm4", "memory");
	if (avx) asm volatile("vmovups %%ymm5,%0; vzeroupper" : "=m"(hi));
	asm volatile("fnstcw %0; stmxcsr %1" : "=m"(cw1), "=m"(mx1));
	printf("after: xmm3 %x xmm4 %x r12 %ld mxcsr same %d cw %x\n", out[0], out[1], (long)r12, mx0 == mx1, cw1);
	printf("ymm5: %s\n", !avx || (hi[0] == 1 && hi[3] == 4 && hi[4] == 0x777 && hi[7] == 8) ? "as it should be" : "wrong");
	asm volatile("fninit");
}

// Flags.
static volatile int depth, deepest, calls;
static void nest(int s, siginfo_t *i, void *u) {
	calls++;
	if (++depth > deepest) deepest = depth;
	if (calls < 3) raise(s);
	depth--;
}
static char stack[65536];
static int onstack(void) { char c; return &c >= stack && &c < stack + sizeof stack; }
static int was;
static stack_t inner;
static void where(int s, siginfo_t *i, void *u) { was = onstack(); sigaltstack(0, &inner); }
static void move(int s, siginfo_t *i, void *u) {
	was = onstack();
	printf("change while on it: %s", e(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, 0)));
	printf(", seen flags %d, in the frame %d\n", (sigaltstack(0, &inner), inner.ss_flags), ((ucontext_t *)u)->uc_stack.ss_flags);
}
static void flags(void) {
	on(SIGUSR1, nest, 0);
	raise(SIGUSR1);
	printf("masked: %d calls, %d deep\n", calls, deepest);
	calls = deepest = 0;
	on(SIGUSR1, nest, SA_NODEFER);
	raise(SIGUSR1);
	printf("SA_NODEFER: %d calls, %d deep\n", calls, deepest);
	on(SIGUSR1, note, SA_RESETHAND);
	raise(SIGUSR1);
	struct sigaction a;
	sigaction(SIGUSR1, 0, &a);
	printf("SA_RESETHAND: default %d flags %x\n", a.sa_handler == SIG_DFL, a.sa_flags & ~0x04000000);
	printf("altstack: small %s", e(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = 1000}, 0)));
	printf(" flags %s", e(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack, .ss_flags = 9}, 0)));
	printf(" disable %s", e(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, 0)));
	printf(" set %s\n", e(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, 0)));
	on(SIGUSR1, where, 0);
	raise(SIGUSR1);
	printf("without SA_ONSTACK %d flags %d,", was, inner.ss_flags);
	on(SIGUSR1, where, SA_ONSTACK);
	raise(SIGUSR1);
	printf(" with %d flags %d\n", was, inner.ss_flags);
	on(SIGUSR1, move, SA_ONSTACK);
	raise(SIGUSR1);
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack, .ss_flags = SS_AUTODISARM}, 0);
	on(SIGUSR1, move, SA_ONSTACK);
	raise(SIGUSR1);
	stack_t now;
	sigaltstack(0, &now);
	printf("after autodisarm: %x %d\n", now.ss_flags, now.ss_sp == stack);
	sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, 0);
	printf("bad: %s", e(sigaction(SIGKILL, &a, 0)));
	printf(" %s", e(syscall(SYS_rt_sigaction, 65, &a, 0, 8)));
	printf(" %s", e(syscall(SYS_rt_sigaction, SIGUSR1, 0, 0, 4)));
	printf(" %s", e(syscall(SYS_rt_sigaction, SIGKILL, 0, &a, 8)));
	sigset_t s;
	sigfillset(&s);
	printf(" %s", e(syscall(SYS_rt_sigprocmask, 7, &s, 0, 8)));
	printf(" %s\n", e(syscall(SYS_rt_sigprocmask, 7, 0, &s, 8)));
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(uint64_t){~0ull}, 0, 8);
	uint64_t m;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(uint64_t){0}, &m, 8);
	printf("full mask: %lx\n", (long)m);
	// Unknown flags: which stay.
	struct { void *h; unsigned long f; void *r; uint64_t m; } k = {note, 0xffffffff & ~SA_RESETHAND, 0, 0}, o;
	syscall(SYS_rt_sigaction, SIGUSR2, &k, 0, 8);
	syscall(SYS_rt_sigaction, SIGUSR2, 0, &o, 8);
	printf("flags kept: %lx\n", o.f);
	signal(SIGUSR2, SIG_DFL);
}

// Calls that a signal interrupts, by SA_RESTART.
static void restarts(void) {
	int p[2];
	char c;
	pipe(p);
	for (int flag = 0; flag < 2; flag++) {
		on(SIGALRM, note, flag ? SA_RESTART : 0);
		struct itimerval it = {{0, 100000}, {0, 100000}}, none_ = {}; // again and again: the first may come too early
		int calls = 5;
		for (int k = 0; k < calls; k++) {
			if (flag && k == 0) {
				if (!fork()) { usleep(350000); write(p[1], "x", 1); _exit(0); }
			}
			setitimer(ITIMER_REAL, &it, 0);
			long r = 0;
			struct timespec t = {20, 0}, left = {9, 9};
			sigset_t none;
			sigemptyset(&none);
			if (k == 0) r = read(p[0], &c, 1);
			if (k == 1) r = nanosleep(&t, &left);
			if (k == 2) r = sigsuspend(&none);
			if (k == 3) r = pause();
			if (k == 4) r = sigtimedwait(&none, 0, &t);
			int err = errno;
			setitimer(ITIMER_REAL, &none_, 0);
			errno = err;
			printf("restart %d call %d: %ld %s%s\n", flag, k, r, e(r), k == 1 ? left.tv_sec != 9 ? " rest" : " no rest" : "");
		}
		if (flag) wait(0);
	}
}

static void children(void) {
	signal(SIGCHLD, SIG_DFL);
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGCHLD);
	sigprocmask(SIG_BLOCK, &s, 0);
	siginfo_t i;
	pid_t p;
	struct timespec t = {2, 0};
	if (!(p = fork())) _exit(5);
	printf("chld %d", sigtimedwait(&s, &i, &t) == SIGCHLD);
	printf(" code %d status %d pid %d\n", i.si_code, i.si_status, i.si_pid == p);
	wait(0);
	if (!(p = fork())) { pause(); _exit(5); }
	kill(p, SIGSTOP);
	printf("chld %d", sigtimedwait(&s, &i, &t) == SIGCHLD);
	printf(" code %d status %d\n", i.si_code, i.si_status);
	kill(p, SIGCONT);
	printf("chld %d", sigtimedwait(&s, &i, &t) == SIGCHLD);
	printf(" code %d status %d\n", i.si_code, i.si_status);
	kill(p, SIGKILL);
	printf("chld %d", sigtimedwait(&s, &i, &t) == SIGCHLD);
	printf(" code %d status %d\n", i.si_code, i.si_status);
	wait(0);
	struct sigaction a = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP | SA_NOCLDWAIT};
	sigaction(SIGCHLD, &a, 0);
	if (!(p = fork())) { pause(); _exit(5); }
	kill(p, SIGSTOP);
	usleep(50000);
	struct timespec zero = {0, 0};
	printf("NOCLDSTOP: %s\n", e(sigtimedwait(&s, &i, &zero)));
	kill(p, SIGKILL);
	printf("NOCLDWAIT: %s\n", e(wait(0)));
	signal(SIGCHLD, SIG_IGN);
	if (!fork()) _exit(3);
	printf("ignored: %s\n", e(wait(0)));
	signal(SIGCHLD, SIG_DFL);
	sigtimedwait(&s, &i, &zero);
	sigprocmask(SIG_UNBLOCK, &s, 0);
}

int main(void) {
	setvbuf(stdout, 0, _IOLBF, 0);
	faults();
	sending();
	frames();
	flags();
	restarts();
	children();
	return 0;
}
