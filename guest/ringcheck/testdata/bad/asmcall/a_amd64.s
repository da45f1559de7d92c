#include "textflag.h"

TEXT ·helper(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ n+0(FP), AX
	MOVQ AX, ret+8(FP)
	RET
