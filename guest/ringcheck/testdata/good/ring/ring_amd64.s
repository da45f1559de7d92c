#include "textflag.h"
#include "go_asm.h"

TEXT ·entry(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	SWAPGS
	MOVQ CPU_Lock(GS), SP
	PUSHQ AX
	PUSHQ BX
	MOVQ CPU_OnCall(GS), CX
	CALL CX
	JMP ·leave(SB)

TEXT ·leave(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	ADDQ $16, SP
	SWAPGS
	IRETQ

// copyMem: AX = to, BX = from, CX = n
TEXT ·copyMem(SB),NOSPLIT|NOFRAME,$0-0
	BYTE $0x0f; BYTE $0x01; BYTE $0xcb // STAC
	LEAQ ·move+1(SB), DX
	CALL DX
	BYTE $0x0f; BYTE $0x01; BYTE $0xca // CLAC
	RET

// move: +0 NOP; +1 REP MOVSB; RET
TEXT ·move(SB),NOSPLIT|NOFRAME,$0-0
	BYTE $0x90
	BYTE $0xf3; BYTE $0xa4
	RET

TEXT ·addresses(SB),NOSPLIT,$0-8
	MOVQ p+0(FP), DI
	LEAQ ·entry(SB), AX
	MOVQ AX, 0(DI)
	LEAQ ·copyMem(SB), AX
	MOVQ AX, 8(DI)
	RET
