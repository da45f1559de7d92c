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
	ADDR(·save, 6)
	ADDR(·setCR3, 7)
	ADDR(·invlpg, 8)
	ADDR(·rdtsc, 9)
	ADDR(·pause, 10)
	ADDR(·gate0, 11)
	ADDR(·gate1, 12)
	ADDR(·gate2, 13)
	ADDR(·gate3, 14)
	ADDR(·gate4, 15)
	ADDR(·gate5, 16)
	ADDR(·gate6, 17)
	ADDR(·gate7, 18)
	ADDR(·gate8, 19)
	ADDR(·gate10, 20)
	ADDR(·gate11, 21)
	ADDR(·gate12, 22)
	ADDR(·gate13, 23)
	ADDR(·gate14, 24)
	ADDR(·gate16, 25)
	ADDR(·gate17, 26)
	ADDR(·gate18, 27)
	ADDR(·gate19, 28)
	ADDR(·gate32, 29)
	RET
