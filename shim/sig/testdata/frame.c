// Prints the signal frame that the kernel built: address and bytes of the frame, address and bytes of the FPU state.
// With an argument the handler runs on an alternate stack.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <sys/syscall.h>

static unsigned char frame[440], fp[16384];
static uint64_t frame_at, fp_at, fp_size;

static void handler(int n, siginfo_t *i, void *u) {
	char *f = (char *)u - 8;
	ucontext_t *uc = u;
	memcpy(frame, f, sizeof frame);
	frame_at = (uint64_t)f;
	fp_at = (uint64_t)uc->uc_mcontext.fpregs;
	uint32_t *sw = (uint32_t *)((char *)fp_at + 464);
	fp_size = sw[0] == 0x46505853 ? sw[1] : 512;
	memcpy(fp, (void *)fp_at, fp_size);
}

static void hex(const char *what, uint64_t at, unsigned char *p, size_t n) {
	printf("%s %llx ", what, (unsigned long long)at);
	for (size_t k = 0; k < n; k++)
		printf("%02x", p[k]);
	printf("\n");
}

int main(int argc, char **argv) {
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigset_t set;
	if (argc > 1) {
		stack_t ss = {.ss_size = 1 << 16, .ss_sp = mmap(0, 1 << 16, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
		sigaltstack(&ss, 0);
		sa.sa_flags |= SA_ONSTACK;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, 0);
	sigaction(SIGUSR1, &sa, 0);
	asm volatile("movq $0x1122334455667788, %%rax; movq %%rax, %%xmm5" ::: "rax", "xmm5");
	syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
	hex("frame", frame_at, frame, sizeof frame);
	hex("fpu", fp_at, fp, fp_size);
	return 0;
}
