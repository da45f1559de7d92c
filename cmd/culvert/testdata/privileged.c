// Code in user mode that attacks its kernel's entry and exit: instructions that it may not execute or that could confuse
// what comes after SYSCALL, and frames for rt_sigreturn that no kernel made.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(c)                                                                                                       \
	do {                                                                                                               \
		if (!(c)) {                                                                                                    \
			fprintf(stderr, "privileged.c:%d: %s (errno %d)\n", __LINE__, #c, errno);                                  \
			_exit(1);                                                                                                  \
		}                                                                                                              \
	} while (0)

static long caught;

// Instructions and register values that are the kernel's, one in a child each. A child must end by a signal, or go on.
static void instruction(int k) {
	switch (k) {
	case 0: asm volatile("cli"); break;
	case 1: asm volatile("hlt"); break;
	case 2: asm volatile("inb $0x80, %%al" ::: "rax"); break;
	case 3: asm volatile("outb %%al, $0x80" ::"a"(0)); break;
	case 4: asm volatile("int $0x80" ::"a"(20) : "memory"); break;
	case 5: asm volatile("sysenter"); break;
	case 6: asm volatile("int3"); break;
	case 7: asm volatile("wrmsr" ::"a"(0), "c"(0xc0000080), "d"(0)); break;
	case 8: asm volatile("mov %%cr3, %%rax" ::: "rax"); break;
	case 9: asm volatile("mov %0, %%dr7" ::"r"(0x455l)); break;
	case 10: asm volatile("rdpmc" ::"c"(0) : "rax", "rdx"); break;
	case 11: asm volatile("ud2"); break;
	case 12: asm volatile("vmmcall" ::"a"(1)); break;
	case 13: asm volatile("vmcall" ::"a"(1)); break;
	case 14: asm volatile("xsetbv" ::"a"(7), "c"(0), "d"(0)); break;
	case 15: asm volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::: "memory"); break; // TF
	case 16: asm volatile("pushfq; orq $0x40000, (%%rsp); popfq; mov 1(%%rsp), %%eax" ::: "rax", "memory"); break; // AC
	case 17: asm volatile("pushfq; orq $0x4000, (%%rsp); popfq; syscall" ::"a"(39) : "rcx", "r11", "memory"); break; // NT
	case 18: asm volatile("pushfq; orq $0x3000, (%%rsp); popfq; inb $0x80, %%al" ::: "rax", "memory"); break; // IOPL
	case 19:
		asm volatile("mov $0x23, %%eax; push %%rax; lea 1f(%%rip), %%rax; push %%rax; lretq; 1: nop" ::
						 : "rax", "memory");
		break; // 32-bit code
	case 20:
		asm volatile("mov %0, %%ss" ::"r"(0));
		asm volatile("push %%rax" ::: "memory");
		break;
	case 21: asm volatile("mov %0, %%ds" ::"r"(0x18)); break;
	case 22: asm volatile("xor %%esp, %%esp; syscall; push %%rax" ::"a"(39) : "rcx", "r11", "memory"); break;
	case 23: asm volatile("mov %0, %%rsp; push %%rax" ::"r"(0xffff800000000000) : "memory"); break;
	case 24: asm volatile("mov %0, %%rsp; push %%rax" ::"r"(0x800000000000) : "memory"); break;
	case 25: asm volatile("jmp *%0" ::"r"(0xffff800000001000)); break;
	case 26: asm volatile("jmp *%0" ::"r"(0x8000000000000000)); break;
	case 27: asm volatile("wrfsbase %0; syscall" ::"r"(0xffff800000000000), "a"(39) : "rcx", "r11", "memory"); break;
	case 28:
		asm volatile("wrgsbase %0; syscall; mov %%gs:0, %%rax" ::"r"(0xffff800000000000), "a"(39)
					 : "rcx", "r11", "memory");
		break;
	case 29: asm volatile("swapgs"); break;
	case 30: asm volatile("lgdt (%0)" ::"r"(&caught)); break;
	case 31: asm volatile("invlpg (%0)" ::"r"(&caught)); break;
	case 32: asm volatile("sgdt (%0)" ::"r"(&caught) : "memory"); break;
	case 33: asm volatile("std; syscall; cld" ::"a"(39) : "rcx", "r11", "memory"); break;
	case 34: asm volatile("int $0x20"); break;
	case 35: asm volatile("int $14"); break;
	case 36: asm volatile("int $2"); break;
	case 37: asm volatile("clts"); break;
	case 38: asm volatile("iretq"); break;
	case 39: asm volatile("sysretq" ::"c"(0)); break;
	case 40:
		asm volatile("monitor" ::"a"(&caught), "c"(0), "d"(0));
		asm volatile("mwait" ::"a"(0), "c"(0));
		break;
	case 41: asm volatile("wbinvd"); break;
	case 42: asm volatile("vmrun" ::"a"(0)); break;
	case 43: asm volatile("divl %0" ::"r"(0), "a"(1), "d"(0)); break;
	case 44: asm volatile("fldcw (%0); fld1; fldz; fdivrp; fwait" ::"r"(&(short){0}) : "memory"); break;
	case 45: asm volatile("ldmxcsr (%0)" ::"r"(&(int){-1}) : "memory"); break;
	case 46: { // code at the end of the user's half: the address after SYSCALL is not canonical
		char *p = mmap((void *)0x7fffffffe000, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (p == MAP_FAILED) break;
		memcpy(p + 4094, "\x0f\x05", 2);
		asm volatile("jmp *%0" ::"r"(p + 4094), "a"(39) : "memory");
		break;
	}
	case 47: asm volatile("jmp *%0" ::"r"(0x7ffffffffffel), "a"(39) : "memory"); break;
	case 48: asm volatile("str %%ax; sldt %%bx; smsw %%cx" ::: "rax", "rbx", "rcx"); break;
	case 49: asm volatile("xor %%eax, %%eax; dec %%rax; syscall" ::: "rax", "rcx", "r11", "memory"); break;
	case 50: asm volatile("fxrstor64 (%0)" ::"r"(&(char __attribute__((aligned(16)))[512]){[24] = -1, -1, -1, -1}) : "memory"); break;
	}
}

// What each instruction ends with on Linux 6.1: a signal, or 0. ANY is for what depends on the processor or on the hypervisor,
// as for a Linux in a VM (VMMCALL, MWAIT, alignment checks, reserved bits of MXCSR), and for 32-bit code, which VMs do not run.
enum { ANY = -1 };
static const signed char ends[] = {
	[0] = SIGSEGV,	[1] = SIGSEGV,	[2] = SIGSEGV,	[3] = SIGSEGV,	[4] = ANY,		[5] = ANY,		[6] = SIGTRAP,
	[7] = SIGSEGV,	[8] = SIGSEGV,	[9] = SIGSEGV,	[10] = SIGSEGV, [11] = SIGILL,	[12] = ANY,		[13] = ANY,
	[14] = SIGSEGV, [15] = SIGTRAP, [16] = ANY,		[17] = 0,		[18] = SIGSEGV, [19] = ANY,		[20] = SIGSEGV,
	[21] = SIGSEGV, [22] = SIGSEGV, [23] = SIGSEGV, [24] = SIGSEGV, [25] = SIGSEGV, [26] = SIGSEGV, [27] = 0,
	[28] = SIGSEGV, [29] = SIGSEGV, [30] = SIGSEGV, [31] = SIGSEGV, [32] = ANY,		[33] = 0,		[34] = SIGSEGV,
	[35] = SIGSEGV, [36] = SIGSEGV, [37] = SIGSEGV, [38] = ANY,		[39] = SIGSEGV, [40] = ANY,		[41] = SIGSEGV,
	[42] = ANY,		[43] = SIGFPE,	[44] = SIGFPE,	[45] = ANY,		[46] = SIGSEGV, [47] = SIGSEGV, [48] = ANY,
	[49] = 0,		[50] = ANY,
};

static int instructions(void) {
	int bad = 0;
	for (int k = 0; k < sizeof ends; k++) {
		pid_t p = fork();
		if (p == 0) {
			alarm(5);
			instruction(k);
			_exit(0);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
		if (ends[k] != ANY && (st & ~0x80) != ends[k]) { // 0x80: a core was dumped
			fprintf(stderr, "instruction %d: status %#x, not %d\n", k, st, ends[k]);
			bad = 1;
		}
	}
	return bad;
}

// Frames for rt_sigreturn that no kernel made.
static int sigreturns(void) {
	unsigned seed = 1;
	for (int i = 0; i < 64; i++) {
		pid_t p = fork();
		if (p == 0) {
			static uint64_t f[1024] __attribute__((aligned(64)));
			srand(i);
			int fill = i % 4;
			for (int j = 0; j < 1024; j++)
				f[j] = fill == 0   ? 0
					   : fill == 1 ? (uint64_t)rand() << 32 ^ rand() << 8 ^ rand()
					   : fill == 2 ? ~0ull
								   : 0xffff800000000000 + rand();
			if (i & 4) f[5 + 18] = 0x2b << 16 | 0x33; // plausible selectors, cs and ss
			if (i & 8) f[27] = (uint64_t)&f[512];	  // a place for the FPU state
			if (i & 16) f[21] = (uint64_t)instruction;
			asm volatile("mov %0, %%rsp; mov $15, %%eax; syscall" ::"r"(f) : "memory");
			_exit(0);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
	}
	return 0;
}

int main(void) {
	return instructions() || sigreturns();
}
