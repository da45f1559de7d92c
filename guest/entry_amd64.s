#include "textflag.h"
#include "go_asm.h"

// The doors between ring 3 and ring 0. Rules (see the package comment): compiled code is called by pointer only, with
// R14 = the fake g and X15 = 0; nothing here refers to data by symbol; faults in copies are recognised by exact RIP.
//
// GS is the vCPU's page in ring 0 and the user's in ring 3. Gates decide SWAPGS by the saved CS.

#define STAC BYTE $0x0f; BYTE $0x01; BYTE $0xcb
#define CLAC BYTE $0x0f; BYTE $0x01; BYTE $0xca

// SAVE stores what SYSCALL and the gates have not clobbered, RAX, RSP and RBP aside, into the slot at B.
#define SAVE(B) \
	MOVQ BX, ThreadHead_RBX(B); MOVQ CX, ThreadHead_RCX(B); MOVQ DX, ThreadHead_RDX(B); \
	MOVQ SI, ThreadHead_RSI(B); MOVQ DI, ThreadHead_RDI(B); \
	MOVQ R8, ThreadHead_R8(B); MOVQ R9, ThreadHead_R9(B); MOVQ R10, ThreadHead_R10(B); MOVQ R11, ThreadHead_R11(B); \
	MOVQ R12, ThreadHead_R12(B); MOVQ R13, ThreadHead_R13(B); MOVQ R14, ThreadHead_R14(B); MOVQ R15, ThreadHead_R15(B); \
	MOVUPS X14, ThreadHead_X14(B); MOVUPS X15, ThreadHead_X15(B)

// ENTERGO makes the world that compiled code expects: AX = vCPU page, BX = slot (already set).
#define ENTERGO \
	MOVQ PerCPU_KStack(GS), SP; \
	MOVQ PerCPU_Self(GS), AX; \
	LEAQ PerCPU_G(AX), R14; \
	XORPS X15, X15; \
	XORL BP, BP; \
	CLD

// sysEntry is IA32_LSTAR. SFMASK has cleared IF, TF, DF, NT, IOPL and AC. SP serves as the slot's base until the
// kernel stack is loaded: nothing can interrupt in between, since NMI, #DF and #MC have stacks of their own.
TEXT ·sysEntry(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	SWAPGS
	MOVQ SP, PerCPU_UserRSP(GS)
	MOVQ PerCPU_Cur(GS), SP

	// Calls that answer a word of the slot need no other register, if nothing waits for the return to ring 3.
	CMPQ AX, $const_numSyscalls
	JAE full
	BYTE $0x65; BYTE $0x80; BYTE $0xb8; LONG $PerCPU_Serve; BYTE $0 // CMPB GS:PerCPU_Serve(RAX), $0
	JLE full // none, or code: const_ServeCode is the sign
	CMPQ ThreadHead_Attn(SP), $0
	JNE full
	MOVQ BX, PerCPU_Scratch(GS)
	MOVQ PerCPU_FlushReq(GS), BX
	CMPQ BX, PerCPU_FlushAck(GS)
	MOVQ PerCPU_Scratch(GS), BX
	JNE full
	BYTE $0x65; BYTE $0x0f; BYTE $0xb6; BYTE $0x80; LONG $PerCPU_Serve // MOVZX GS:PerCPU_Serve(RAX), EAX
	BYTE $0x65; BYTE $0xff; BYTE $0x04; BYTE $0x85; LONG $(PerCPU_Stats+Stats_Fast) // INCL GS:(PerCPU_Stats+Stats_Fast)(RAX*4)
	MOVQ (SP)(AX*8), AX
	MOVQ PerCPU_UserRSP(GS), SP
	SWAPGS
	BYTE $0x48; BYTE $0x0f; BYTE $0x07 // SYSRETQ

full:
	MOVQ AX, ThreadHead_RAX(SP)
	MOVQ AX, ThreadHead_OrigRAX(SP)
	MOVQ BP, ThreadHead_RBP(SP)
	SAVE(SP)
	MOVQ CX, ThreadHead_RIP(SP)
	MOVQ R11, ThreadHead_RFLAGS(SP)
	MOVQ PerCPU_UserRSP(GS), BX
	MOVQ BX, ThreadHead_RSP(SP)
	XORL BX, BX
	MOVQ BX, ThreadHead_Iret(SP)
	MOVQ SP, BX
	ENTERGO
	MOVQ PerCPU_OnSyscall(GS), CX
	CALL CX
	JMP ·resume(SB)

// An XSAVE area, in a slot. Where the thread has no state but x87 and SSE (XCR0), the XMM registers and MXCSR go by moves: a
// processor runs XSAVE as microcode, and an emulator a call for each half of a register. XRSTOR alone knows what a component is
// that is absent in XSTATE_BV, as after some signal frames.
#define XSTATE_SSE 3
#define XSTATE_MXCSR (Thread_XSave+24)
#define XMM(n) (Thread_XSave+160+16*n)
#define XSTATE_BV (Thread_XSave+512)

// resume returns to ring 3 as the thread PerCPU.Cur: by SYSRET, or by IRETQ if the slot says so. It loads the thread's FPU area
// and both user bases first, if they are in the slot alone.
TEXT ·resume(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	CMPQ PerCPU_Load(GS), $0
	JNE load
	MOVQ PerCPU_Cur(GS), SP
	MOVUPS ThreadHead_X14(SP), X14
	MOVUPS ThreadHead_X15(SP), X15
	JMP loaded
load:
	MOVQ PerCPU_Cur(GS), DI
	MOVQ ThreadHead_FSBase(DI), CX
	WRFSBASEQ CX
	MOVQ ThreadHead_GSBase(DI), CX
	SWAPGS
	WRGSBASEQ CX
	SWAPGS
	XORL CX, CX
	MOVQ CX, PerCPU_Load(GS)
	MOVQ PerCPU_XSaveMask(GS), AX
	TESTQ AX, AX
	JZ fx
	MOVQ AX, DX
	SHRQ $32, DX
	CMPQ AX, $XSTATE_SSE
	JNE all
	TESTB $2, XSTATE_BV(DI)
	JNE sse
all:
	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xaf; LONG $Thread_XSave // XRSTOR64 Thread_XSave(DI)
	MOVQ DI, SP
	JMP loaded
sse:
	MOVL $1, AX
	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xaf; LONG $Thread_XSave // XRSTOR64 Thread_XSave(DI)
	LDMXCSR XSTATE_MXCSR(DI)
	MOVUPS XMM(0)(DI), X0
	MOVUPS XMM(1)(DI), X1
	MOVUPS XMM(2)(DI), X2
	MOVUPS XMM(3)(DI), X3
	MOVUPS XMM(4)(DI), X4
	MOVUPS XMM(5)(DI), X5
	MOVUPS XMM(6)(DI), X6
	MOVUPS XMM(7)(DI), X7
	MOVUPS XMM(8)(DI), X8
	MOVUPS XMM(9)(DI), X9
	MOVUPS XMM(10)(DI), X10
	MOVUPS XMM(11)(DI), X11
	MOVUPS XMM(12)(DI), X12
	MOVUPS XMM(13)(DI), X13
	MOVUPS XMM(14)(DI), X14
	MOVUPS XMM(15)(DI), X15
	MOVQ DI, SP
	JMP loaded
fx:
	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x8f; LONG $Thread_XSave // FXRSTOR64 Thread_XSave(DI)
	MOVQ DI, SP
loaded:
	MOVQ ThreadHead_RFLAGS(SP), R11
	ANDL $const_flagsUser, R11
	ORL $const_flagsForced, R11
	MOVQ ThreadHead_RBX(SP), BX
	MOVQ ThreadHead_RDX(SP), DX
	MOVQ ThreadHead_RSI(SP), SI
	MOVQ ThreadHead_RDI(SP), DI
	MOVQ ThreadHead_RBP(SP), R8
	XCHGQ BP, R8 // a plain load of BP would be reported as clobbered by vet
	MOVQ ThreadHead_R8(SP), R8
	MOVQ ThreadHead_R9(SP), R9
	MOVQ ThreadHead_R10(SP), R10
	MOVQ ThreadHead_R12(SP), R12
	MOVQ ThreadHead_R13(SP), R13
	MOVQ ThreadHead_R14(SP), R14
	MOVQ ThreadHead_R15(SP), R15
	CMPQ ThreadHead_Iret(SP), $0
	JNE iret
	MOVQ ThreadHead_RAX(SP), AX
	MOVQ ThreadHead_RIP(SP), CX
	MOVQ ThreadHead_RSP(SP), SP
	SWAPGS
	BYTE $0x48; BYTE $0x0f; BYTE $0x07 // SYSRETQ
iret:
	MOVQ SP, AX
	MOVQ PerCPU_KStack(GS), SP
	PUSHQ $const_userDS
	PUSHQ ThreadHead_RSP(AX)
	PUSHQ R11
	PUSHQ $const_userCS
	PUSHQ ThreadHead_RIP(AX)
	MOVQ ThreadHead_RCX(AX), CX
	MOVQ ThreadHead_R11(AX), R11
	MOVQ ThreadHead_RAX(AX), AX
	SWAPGS
	IRETQ

// Helpers, called by compiled code through func values in the vCPU's page with ABIInternal registers: arguments in
// AX, BX, CX, result in AX. They keep R14, BP and X15 = 0.

// copyMem: AX = dst, BX = src, CX = n; AX = bytes not copied because of a fault, of up to 16 bytes all. It ends in copied.
TEXT ·copyMem(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ AX, DI
	MOVQ BX, SI
	MOVQ PerCPU_SMAP(GS), R10
	TESTQ R10, R10
	JEQ open
	STAC
open:
	CMPQ CX, $16
	JHI long
	JMP ·smallMovs(SB)
long:
	MOVQ CX, DX
	SHRQ $3, CX
	ANDL $7, DX
	JMP ·repMovs(SB)

// repMovs copies 8*CX and then DX bytes from SI to DI. The gate knows its first instruction: a fault skips it, and CX is
// how many words are left.
TEXT ·repMovs(SB),NOSPLIT|NOFRAME,$0-0
	BYTE $0xf3; BYTE $0x48; BYTE $0xa5 // REP MOVSQ
	SHLQ $3, CX
	JNZ partial
	MOVQ DX, CX
	JMP ·smallMovs(SB)
partial:
	ADDQ DX, CX
	JMP ·copied(SB)

// smallMovs copies CX = 0 to 16 bytes from SI to DI, loads before stores, and goes on at copied with CX = 0. The gate
// takes a fault anywhere in it as one of all bytes. REP MOVS takes longer to start than this takes in all. From STAC to
// CLAC nothing but the two buffers is touched.
TEXT ·smallMovs(SB),NOSPLIT|NOFRAME,$0-0
	CMPQ CX, $8
	JCS lt8
	MOVQ (SI), AX
	MOVQ -8(SI)(CX*1), BX
	MOVQ AX, (DI)
	MOVQ BX, -8(DI)(CX*1)
	JMP all
lt8:
	CMPQ CX, $4
	JCS lt4
	MOVL (SI), AX
	MOVL -4(SI)(CX*1), BX
	MOVL AX, (DI)
	MOVL BX, -4(DI)(CX*1)
	JMP all
lt4:
	MOVQ CX, R8
	SHRQ $1, R8
	JZ lt2
	MOVBLZX (SI), AX
	MOVBLZX (SI)(R8*1), BX
	MOVBLZX -1(SI)(CX*1), R9
	MOVB AX, (DI)
	MOVB BX, (DI)(R8*1)
	MOVB R9, -1(DI)(CX*1)
	JMP all
lt2:
	JCXZQ all
	MOVBLZX (SI), AX
	MOVB AX, (DI)
all:
	XORL CX, CX
	JMP ·copied(SB)

// copied is the end of copyMem: CX = bytes that were not copied, R10 = PerCPU.SMAP.
TEXT ·copied(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ CX, AX
	TESTQ R10, R10
	JEQ closed
	CLAC
closed:
	RET

// save: AX = slot of the running thread. Reads the TSC, after all earlier instructions, and stores the FPU area and both user
// bases in the slot, unless they are there alone.
TEXT ·save(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ AX, DI
	LFENCE
	RDTSC
	SHLQ $32, DX
	ORQ DX, AX
	MOVQ AX, PerCPU_TSC(GS)
	CMPQ PerCPU_Load(GS), $0
	JNE saved
	MOVUPS ThreadHead_X14(DI), X14
	MOVUPS ThreadHead_X15(DI), X15
	RDFSBASEQ CX
	MOVQ CX, ThreadHead_FSBase(DI)
	SWAPGS
	RDGSBASEQ CX
	SWAPGS
	MOVQ CX, ThreadHead_GSBase(DI)
	MOVQ PerCPU_XSaveMask(GS), AX
	TESTQ AX, AX
	JZ fx
	MOVQ AX, DX
	SHRQ $32, DX
	CMPQ AX, $XSTATE_SSE
	JEQ sse
	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xa7; LONG $Thread_XSave // XSAVE64 Thread_XSave(DI)
	XORPS X15, X15
	RET
sse:
	MOVL $1, AX
	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xa7; LONG $Thread_XSave // XSAVE64 Thread_XSave(DI)
	ORB $2, XSTATE_BV(DI)
	STMXCSR XSTATE_MXCSR(DI)
	MOVUPS X0, XMM(0)(DI)
	MOVUPS X1, XMM(1)(DI)
	MOVUPS X2, XMM(2)(DI)
	MOVUPS X3, XMM(3)(DI)
	MOVUPS X4, XMM(4)(DI)
	MOVUPS X5, XMM(5)(DI)
	MOVUPS X6, XMM(6)(DI)
	MOVUPS X7, XMM(7)(DI)
	MOVUPS X8, XMM(8)(DI)
	MOVUPS X9, XMM(9)(DI)
	MOVUPS X10, XMM(10)(DI)
	MOVUPS X11, XMM(11)(DI)
	MOVUPS X12, XMM(12)(DI)
	MOVUPS X13, XMM(13)(DI)
	MOVUPS X14, XMM(14)(DI)
	MOVUPS X15, XMM(15)(DI)
	XORPS X15, X15
	RET
fx:
	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x87; LONG $Thread_XSave // FXSAVE64 Thread_XSave(DI)
	XORPS X15, X15
saved:
	RET

// setCR3: AX = value. Flushes all translations that are not global.
TEXT ·setCR3(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ AX, CR3
	RET

// probe8: +0 MOVQ (AX), AX; RET. A fault skips the load and sets CX to 1.
TEXT ·probe8(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ (AX), AX
	RET

// loadUser: AX = address of a user word; AX = its value, BX = 0, or BX = 1 after a fault.
TEXT ·loadUser(SB),NOSPLIT|NOFRAME,$0-0
	XORL CX, CX
	CMPQ PerCPU_SMAP(GS), $0
	JEQ plain
	STAC
	CALL ·probe8(SB)
	CLAC
	MOVQ CX, BX
	RET
plain:
	CALL ·probe8(SB)
	MOVQ CX, BX
	RET

// outPort: AX = port.
TEXT ·outPort(SB),NOSPLIT|NOFRAME,$0-0
	MOVL AX, DX
	OUTL
	RET

// invlpg: AX = address.
TEXT ·invlpg(SB),NOSPLIT|NOFRAME,$0-0
	BYTE $0x0f; BYTE $0x01; BYTE $0x38 // INVLPG (AX)
	RET

// rdtsc: AX = the time-stamp counter, read after all earlier instructions.
TEXT ·rdtsc(SB),NOSPLIT|NOFRAME,$0-0
	LFENCE
	RDTSC
	SHLQ $32, DX
	ORQ DX, AX
	RET

TEXT ·pause(SB),NOSPLIT|NOFRAME,$0-0
	PAUSE
	RET

// startCPU is where a vCPU begins.
TEXT ·startCPU(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	XORL BX, BX
	ENTERGO
	MOVQ PerCPU_OnStart(GS), CX
	CALL CX
	JMP ·resume(SB)

// panicCPU is where the start-up self-test provokes a bounds panic.
TEXT ·panicCPU(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	XORL BX, BX
	ENTERGO
	MOVQ PerCPU_OnPanic(GS), CX
	CALL CX
	HLT

// GATE builds [vector err rip cs rflags rsp ss] and joins the common path; GATEERR for vectors with an error code.
#define GATE(name, vec) \
TEXT name(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0; \
	PUSHQ $0; PUSHQ $vec; JMP ·gate(SB)
#define GATEERR(name, vec) \
TEXT name(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0; \
	PUSHQ $vec; JMP ·gate(SB)

GATE(·gate0, 0)
GATE(·gate1, 1)
GATE(·gate3, 3)
GATE(·gate4, 4)
GATE(·gate5, 5)
GATE(·gate6, 6)
GATE(·gate7, 7)
GATEERR(·gate10, 10)
GATEERR(·gate11, 11)
GATEERR(·gate12, 12)
GATEERR(·gate13, 13)
GATEERR(·gate14, 14)
GATE(·gate16, 16)
GATEERR(·gate17, 17)
GATE(·gate19, 19)
GATE(·gate32, 32)

// Gates on the IST stack: nothing comes back from these.
TEXT ·gate2(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	PUSHQ $0; PUSHQ $2; JMP ·gateDie(SB)
TEXT ·gate8(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	PUSHQ $8; JMP ·gateDie(SB)
TEXT ·gate18(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	PUSHQ $0; PUSHQ $18; JMP ·gateDie(SB)

// gate: [vector err rip cs rflags rsp ss] on the kernel stack (from ring 3) or on the interrupted one (from ring 0).
TEXT ·gate(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	TESTB $3, 24(SP)
	JZ kern
	SWAPGS
	MOVQ AX, PerCPU_Scratch(GS)
	MOVQ PerCPU_Cur(GS), AX
	MOVQ BP, ThreadHead_RBP(AX)
	SAVE(AX)
	MOVQ PerCPU_Scratch(GS), BX
	MOVQ BX, ThreadHead_RAX(AX)
	MOVQ $-1, BX
	MOVQ BX, ThreadHead_OrigRAX(AX)
	MOVQ 0(SP), BX
	MOVQ BX, PerCPU_Vector(GS)
	MOVQ 8(SP), BX
	MOVQ BX, PerCPU_Err(GS)
	MOVQ 16(SP), BX
	MOVQ BX, ThreadHead_RIP(AX)
	MOVQ BX, PerCPU_RIP(GS)
	MOVQ 32(SP), BX
	MOVQ BX, ThreadHead_RFLAGS(AX)
	MOVQ 40(SP), BX
	MOVQ BX, ThreadHead_RSP(AX)
	MOVQ $1, BX
	MOVQ BX, ThreadHead_Iret(AX)
	MOVQ CR2, BX
	MOVQ BX, PerCPU_CR2(GS)
	MOVQ AX, BX
	CMPQ PerCPU_SMAP(GS), $0
	JEQ noac
	CLAC
noac:
	ENTERGO
	MOVQ PerCPU_OnTrap(GS), CX
	CALL CX
	JMP ·resume(SB)
kern:
	CLD
	PUSHQ AX
	CMPQ 8(SP), $14
	JNE die
	LEAQ ·repMovs(SB), AX
	CMPQ AX, 24(SP)
	JEQ fix3
	LEAQ ·probe8(SB), AX
	CMPQ AX, 24(SP)
	JEQ fixp
	LEAQ ·smallMovs(SB), AX
	NEGQ AX
	ADDQ 24(SP), AX
	CMPQ AX, $const_smallSize
	JCS fixs
die:
	POPQ AX
	JMP ·die(SB)
fixs: // any load or store of smallMovs: CX is all
	LEAQ ·copied(SB), AX
	MOVQ AX, 24(SP)
	JMP fixed
fixp: // MOVQ (AX), AX: skipped with AX = the address, CX = 1
	MOVQ $1, CX
fix3: // REP MOVSQ or the load of probe8, of 3 bytes: skipped
	ADDQ $3, 24(SP)
fixed:
	MOVQ CR2, AX
	MOVQ AX, PerCPU_CopyCR2(GS)
	MOVQ 16(SP), AX
	MOVQ AX, PerCPU_CopyErr(GS)
	POPQ AX
	ADDQ $16, SP
	IRETQ

TEXT ·gateDie(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	TESTB $3, 24(SP)
	JZ ring0
	SWAPGS
ring0:
	JMP ·die(SB)

// die: [vector err rip ...]: tells the host, for ever.
TEXT ·die(SB),NOSPLIT|NOFRAME|TOPFRAME,$0-0
	MOVQ PerCPU_CallPage(GS), DI
	MOVQ $const_version, AX
	MOVQ AX, Call_Version(DI)
	MOVQ $const_kindDie, AX
	MOVQ AX, Call_Kind(DI)
	MOVQ 0(SP), AX
	MOVQ AX, Call_Vector(DI)
	MOVQ 8(SP), AX
	MOVQ AX, Call_Err(DI)
	MOVQ 16(SP), AX
	MOVQ AX, Call_RIP(DI)
	MOVQ CR2, AX
	MOVQ AX, Call_CR2(DI)
	MOVQ SP, Call_Args(DI)
again:
	MOVL $const_portCall, DX
	OUTL
	JMP again
