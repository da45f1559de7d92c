// general and SSE registers survive syscalls, asynchronous signals and thread switches
// Reported in: related: google/gvisor#5591 (stuck vCPU / faults in register paths), google/gvisor#12266 (random SEGV
// under gdb), varnish/libvmod-tinykvm#6 Linux: rbx/r8/r12 and xmm0/7/15 are unchanged across a syscall and restored by
// sigreturn although the handler clobbers them; holds under heavy asynchronous signals with 3 spinning threads (AVX
// upper halves and flags are not checked)
#include "case.h"

#ifdef __x86_64__
static volatile int sig, stop, bad;
static void h(int s) {
	(void)s;
	sig++;
	__asm__ volatile("pcmpeqd %%xmm0,%%xmm0\n\tmovdqa %%xmm0,%%xmm7\n\tmovdqa %%xmm0,%%xmm15\n\tstd\n\tcld" ::
						 : "xmm0", "xmm7", "xmm15");
	syscall(SYS_getppid);
}
static void *spin(void *arg) {
	uint64_t seed = (uint64_t)arg * 0x9e3779b97f4a7c15ull + 1, o[6];
	long it = 0;
	while (!stop) {
		seed = seed * 6364136223846793005ull + 1;
		uint64_t v = seed;
		long nr = SYS_getppid;
		__asm__ volatile("movq %[v],%%rbx\n\tmovq %[v],%%r8\n\tmovq %[v],%%r12\n\tmovq %[v],%%xmm0\n\tmovq "
						 "%[v],%%xmm7\n\tpunpcklqdq %%xmm7,%%xmm7\n\tmovdqa %%xmm7,%%xmm15\n\t"
						 "movl $300,%%r9d\n1:\tpause\n\tdecl %%r9d\n\tjnz 1b\n\tstc\n\tsyscall\n\tmovq "
						 "%%rbx,0(%[o])\n\tmovq %%r8,8(%[o])\n\tmovq %%r12,16(%[o])\n\tmovq %%xmm0,24(%[o])\n\tmovq "
						 "%%xmm7,32(%[o])\n\tpsrldq $8,%%xmm15\n\tmovq %%xmm15,40(%[o])"
						 : "+a"(nr)
						 : [v] "r"(v), [o] "r"(o)
						 : "rbx", "rcx", "r8", "r9", "r11", "r12", "xmm0", "xmm7", "xmm15", "memory", "cc");
		for (int i = 0; i < 6; i++)
			if (o[i] != v) bad++;
		it++;
	}
	return (void *)it;
}
#endif
int main(void) {
#ifdef __x86_64__
	struct sigaction a = {.sa_handler = h, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &a, 0);
	pthread_t t[3];
	for (long i = 0; i < 3; i++) CHECK(!pthread_create(&t[i], 0, spin, (void *)i));
	double e = now() + 1500;
	while (now() < e) {
		for (int i = 0; i < 3; i++) pthread_kill(t[i], SIGUSR1);
		usleep(200);
	}
	stop = 1;
	long tot = 0;
	for (int i = 0; i < 3; i++) {
		void *r;
		pthread_join(t[i], &r);
		CHECK((long)r > 0);
		tot += (long)r;
	}
	CHECK(sig > 100 && tot > 100);
	CHECK(bad == 0);
#endif
	return 0;
}
