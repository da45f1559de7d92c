#include "textflag.h"

// A VEX instruction: VZEROUPPER.
TEXT ·vex(SB),NOSPLIT|NOFRAME,$0-0
	BYTE $0xc5; BYTE $0xf8; BYTE $0x77
	RET

// Bytes that are no instruction.
TEXT ·unknown(SB),NOSPLIT|NOFRAME,$0-0
	BYTE $0x0f; BYTE $0x04
	RET

// A system call.
TEXT ·sys(SB),NOSPLIT|NOFRAME,$0-0
	SYSCALL
	RET

// A jump into the middle of an instruction.
TEXT ·middle(SB),NOSPLIT|NOFRAME,$0-0
	LEAQ ·target+1(SB), AX
	RET

TEXT ·target(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ $0x1234567, BX
	RET

// A push in a loop.
TEXT ·loop(SB),NOSPLIT|NOFRAME,$0-0
again:
	PUSHQ AX
	JMP again

// No return.
TEXT ·runoff(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ AX, BX

// XSETBV and the user's thread-local storage.
TEXT ·xsetbv(SB),NOSPLIT|NOFRAME,$0-0
	BYTE $0x0f; BYTE $0x01; BYTE $0xd1
	RET

TEXT ·fs(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ 8(FS), AX
	RET

#define ADDR(sym, i) LEAQ sym(SB), AX; MOVQ AX, (i*8)(DI)
TEXT ·addresses(SB),NOSPLIT,$0-8
	MOVQ p+0(FP), DI
	ADDR(·vex, 0)
	ADDR(·unknown, 1)
	ADDR(·sys, 2)
	ADDR(·middle, 3)
	ADDR(·loop, 4)
	ADDR(·runoff, 5)
	ADDR(·xsetbv, 6)
	ADDR(·fs, 7)
	RET
