#include "textflag.h"
#include "go_asm.h"

// The functions of the vDSO. C calling convention: arguments in RDI and RSI, result in RAX; R8 to R11, RCX and RDX are
// free, and nothing else is touched. No stack.

// CLOCK makes R9 the address of the clock: the page before the one that all of this lies in.
#define CLOCK \
	LEAQ ·begin(SB), R9; \
	ANDQ $~const_pageMask, R9; \
	SUBQ $const_pageSize, R9

// NOW makes AX the time of clock R10 in ns. Preconditions: R9 is the clock's address. It jumps to call if the clock is
// not stable. LFENCE keeps RDTSC behind the load of Seq: a count from before a write with the line from after it would lie
// before the line's beginning. Counters of two processors may differ by a few ticks in spite of it; then time stands
// still at the line's beginning, as in vdso_calc_delta of lib/vdso/gettimeofday.c.
#define NOW \
again: \
	MOVQ const_seq(R9), R8; \
	TESTQ $1, R8; \
	JNE busy; \
	CMPQ const_stable(R9), $0; \
	JEQ call; \
	LFENCE; \
	RDTSC; \
	SHLQ $32, DX; \
	ORQ DX, AX; \
	XORL DX, DX; \
	SUBQ const_tscBase(R9), AX; \
	CMOVQCS DX, AX; \
	MULQ const_mult(R9); \
	SHRQ $const_shift, DX, AX; \
	ADDQ const_base(R9)(R10*8), AX; \
	CMPQ const_seq(R9), R8; \
	JNE again

// WAIT is where NOW goes while the host writes: a few instructions there.
#define WAIT \
busy: \
	PAUSE; \
	JMP again

// SECONDS makes DX the seconds in AX nanoseconds, and R8 the rest: a division by 10^9 as a product (2^9 * 5^9, and
// 0x44b82fa09b5a53 is 2^75 / 5^9, rounded up), which is exact for all 64-bit values.
#define SECONDS \
	MOVQ AX, R8; \
	SHRQ $9, AX; \
	MOVQ $0x44b82fa09b5a53, DX; \
	MULQ DX; \
	SHRQ $11, DX; \
	IMUL3Q $1000000000, DX, AX; \
	SUBQ AX, R8

// CALL makes the system call instead, with the same arguments.
#define SYSCALL_INSTEAD(nr) \
	MOVL $nr, AX; \
	SYSCALL; \
	RET

TEXT ·begin(SB),NOSPLIT|NOFRAME,$0-0
	INT $3

// clockGettime is clock_gettime(clockid_t clock, struct timespec *ts).
TEXT ·clockGettime(SB),NOSPLIT|NOFRAME,$0-0
	CMPL DI, $const_clocks
	JCC call
	MOVL $const_served, AX
	BTL DI, AX
	JCC call
	MOVL DI, R10
	CLOCK
	NOW
	SECONDS
	MOVQ DX, 0(SI)
	MOVQ R8, 8(SI)
	XORL AX, AX
	RET
	WAIT
call:
	SYSCALL_INSTEAD(const_sysClockGettime)

// gettimeofday is gettimeofday(struct timeval *tv, struct timezone *tz). The time zone is UTC.
TEXT ·gettimeofday(SB),NOSPLIT|NOFRAME,$0-0
	TESTQ DI, DI
	JEQ zone
	XORL R10, R10 // CLOCK_REALTIME
	CLOCK
	NOW
	SECONDS
	MOVQ DX, 0(DI)
	MOVL R8, AX
	IMUL3Q $274877907, AX, AX // 2^38 / 1000, rounded up: exact below 10^9
	SHRQ $38, AX
	MOVQ AX, 8(DI)
zone:
	XORL AX, AX
	TESTQ SI, SI
	JEQ out
	MOVQ AX, (SI)
out:
	RET
	WAIT
call:
	SYSCALL_INSTEAD(const_sysGettimeofday)

// time is time(time_t *t).
TEXT ·time(SB),NOSPLIT|NOFRAME,$0-0
	XORL R10, R10 // CLOCK_REALTIME
	CLOCK
	NOW
	SECONDS
	MOVQ DX, AX
	TESTQ DI, DI
	JEQ out
	MOVQ AX, (DI)
out:
	RET
	WAIT
call:
	SYSCALL_INSTEAD(const_sysTime)

// clockGetres is clock_getres(clockid_t clock, struct timespec *res).
TEXT ·clockGetres(SB),NOSPLIT|NOFRAME,$0-0
	CMPL DI, $const_clocks
	JCC call
	MOVL $const_fine, AX
	BTL DI, AX
	JCC call
	TESTQ SI, SI
	JEQ out
	MOVQ $0, 0(SI)
	MOVQ $1, 8(SI)
out:
	XORL AX, AX
	RET
call:
	SYSCALL_INSTEAD(const_sysClockGetres)

// getcpu is getcpu(unsigned *cpu, unsigned *node, void *unused). Each vCPU has its number as the limit of a segment.
TEXT ·getcpu(SB),NOSPLIT|NOFRAME,$0-0
	MOVL $const_cpuNumberSel, AX
	LSLL AX, AX
	JNE call
	TESTQ DI, DI
	JEQ node
	MOVL AX, (DI)
node:
	TESTQ SI, SI
	JEQ out
	MOVL $0, (SI)
out:
	XORL AX, AX
	RET
call:
	SYSCALL_INSTEAD(const_sysGetcpu)

TEXT ·end(SB),NOSPLIT|NOFRAME,$0-0
	INT $3

#define ADDR(sym, i) LEAQ sym(SB), AX; MOVQ AX, (i*8)(DI)

// codeAddrs(p *[numAddrs]uintptr) stores where the functions lie in this process, in the order of the constants at*.
TEXT ·codeAddrs(SB),NOSPLIT,$0-8
	MOVQ p+0(FP), DI
	ADDR(·begin, 0)
	ADDR(·clockGettime, 1)
	ADDR(·gettimeofday, 2)
	ADDR(·time, 3)
	ADDR(·clockGetres, 4)
	ADDR(·getcpu, 5)
	ADDR(·end, 6)
	RET
