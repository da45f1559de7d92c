#include "textflag.h"

#define ADDR(sym, i) LEAQ sym(SB), AX; MOVQ AX, (i*8)(DI)

// codeAddrs(p *[numAddrs]uintptr) stores the addresses of the assembly's symbols, in the order of type Code.
TEXT ·codeAddrs(SB),NOSPLIT,$0-8
	MOVQ p+0(FP), DI
	ADDR(·sysEntry, 0)
	ADDR(·startCPU, 1)
	ADDR(·panicCPU, 2)
	ADDR(·copyMem, 3)
	ADDR(·loadUser, 4)
	ADDR(·outPort, 5)
	ADDR(·saveFPU, 6)
	ADDR(·loadFPU, 7)
	ADDR(·setCR3, 8)
	ADDR(·invlpg, 9)
	ADDR(·rdtsc, 10)
	ADDR(·pause, 11)
	ADDR(·gate0, 12)
	ADDR(·gate1, 13)
	ADDR(·gate2, 14)
	ADDR(·gate3, 15)
	ADDR(·gate4, 16)
	ADDR(·gate5, 17)
	ADDR(·gate6, 18)
	ADDR(·gate7, 19)
	ADDR(·gate8, 20)
	ADDR(·gate10, 21)
	ADDR(·gate11, 22)
	ADDR(·gate12, 23)
	ADDR(·gate13, 24)
	ADDR(·gate14, 25)
	ADDR(·gate16, 26)
	ADDR(·gate17, 27)
	ADDR(·gate18, 28)
	ADDR(·gate19, 29)
	ADDR(·gate32, 30)
	RET
