#include "textflag.h"

// Code that Go cannot say. It runs in processes without a Go runtime: see the package comment.

// func ticks() uint64
TEXT ·ticks(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ret+0(FP)
	RET

// func trap(nr, a, b, c, d, e uintptr) uintptr
TEXT ·trap(SB), NOSPLIT, $0-56
	MOVQ	nr+0(FP), AX
	MOVQ	a+8(FP), DI
	MOVQ	b+16(FP), SI
	MOVQ	c+24(FP), DX
	MOVQ	d+32(FP), R10
	MOVQ	e+40(FP), R8
	XORL	R9, R9
	SYSCALL
	MOVQ	AX, ret+48(FP)
	RET

// func turns(nr1, fd1, nr2, fd2, buf uintptr, n uint64) (nr, r uintptr)
//
// A system call keeps all registers but AX, CX and R11.
TEXT ·turns(SB), NOSPLIT, $0-64
	MOVQ	nr1+0(FP), R12
	MOVQ	fd1+8(FP), R13
	MOVQ	nr2+16(FP), R8
	MOVQ	fd2+24(FP), R9
	MOVQ	buf+32(FP), SI
	MOVQ	n+40(FP), BX
	MOVL	$1, DX
next:
	MOVQ	R12, AX
	MOVQ	R13, DI
	SYSCALL
	CMPQ	AX, $1
	JNE	first
	MOVQ	R8, AX
	MOVQ	R9, DI
	SYSCALL
	CMPQ	AX, $1
	JNE	second
	DECQ	BX
	JNE	next
second:
	MOVQ	R8, nr+48(FP)
	MOVQ	AX, r+56(FP)
	RET
first:
	MOVQ	R12, nr+48(FP)
	MOVQ	AX, r+56(FP)
	RET

// func spawn(flags, stack, tid uintptr, w *work) uintptr
//
// The new thread begins on a stack of its own, where no Go frame is, so it must not return: it runs w's peer, if w is not
// nil, and ends. Its FS base is its parent's, with the g that nosplit code does not use.
TEXT ·spawn(SB), NOSPLIT, $0-40
	MOVQ	flags+0(FP), DI
	MOVQ	stack+8(FP), SI
	MOVQ	tid+16(FP), DX	// parent_tid
	MOVQ	DX, R10	// child_tid
	MOVQ	w+24(FP), R12	// a system call keeps it
	XORL	R8, R8	// tls
	MOVL	$56, AX	// clone
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	MOVQ	AX, ret+32(FP)
	RET
child:
	TESTQ	R12, R12
	JEQ	over
	SUBQ	$16, SP
	MOVQ	R12, 0(SP)
	CALL	·threadMain(SB)
over:
	MOVL	$60, AX	// exit
	XORL	DI, DI
	SYSCALL
	INT	$3

// func callC(fn, stack, a, b uintptr) uintptr
//
// Calls a C function, on a stack that is large enough for it. C keeps BX, BP and R12 to R15.
TEXT ·callC(SB), NOSPLIT, $0-40
	MOVQ	fn+0(FP), AX
	MOVQ	stack+8(FP), CX
	MOVQ	a+16(FP), DI
	MOVQ	b+24(FP), SI
	MOVQ	SP, R12
	MOVQ	CX, SP
	CALL	AX
	MOVQ	R12, SP
	MOVQ	AX, ret+32(FP)
	RET

// The signal handler adds 1 to the word at the base of the alternate signal stack, which its third argument, a ucontext,
// knows: uc_stack.ss_sp is its third word.
TEXT count<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ	16(DX), AX
	LOCK
	INCQ	(AX)
	RET

// A signal handler returns to rt_sigreturn(2), which does not return.
TEXT restore<>(SB), NOSPLIT|NOFRAME, $0
	MOVL	$15, AX
	SYSCALL
	INT	$3

// func signalCode() (handler, restorer uintptr)
TEXT ·signalCode(SB), NOSPLIT, $0-16
	LEAQ	count<>(SB), AX
	MOVQ	AX, handler+0(FP)
	LEAQ	restore<>(SB), AX
	MOVQ	AX, restorer+8(FP)
	RET
