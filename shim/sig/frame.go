package sig

import (
	"encoding/binary"
	"errors"

	"culvert/guest/signals"
)

// Regs are the integer registers of a frame.
type Regs = signals.Regs

// FrameSize is sizeof(struct rt_sigframe): return address, ucontext, siginfo. The FPU state lies above it.
const FrameSize = signals.FrameSize

// Offsets in struct rt_sigframe. The alternate stack is a stack_t at 16 in the ucontext.
const (
	contextSize = 304
	offContext  = 8
	offFlags    = offContext
	offStack    = offContext + 16
	offRegs     = offContext + 40
	offSegments = offRegs + 18*8
	offErr      = offSegments + 8
	offTrapno   = offErr + 8
	offOldmask  = offErr + 16
	offCR2      = offErr + 24
	offFPState  = offErr + 32
	offMask     = offContext + 296
	// InfoOffset and ContextOffset are what a handler's second and third arguments point at.
	ContextOffset = offContext
	InfoOffset    = offContext + contextSize
)

// Flags of a ucontext (arch/x86/include/uapi/asm/ucontext.h).
const (
	UC_FP_XSTATE         = 1
	UC_SIGCONTEXT_SS     = 2
	UC_STRICT_RESTORE_SS = 4
)

// redZone is the memory below the stack pointer that the x86-64 ABI lets a function use.
const redZone = 128

// Frame is what a signal frame says.
type Frame struct {
	Restorer uint64 // return address of the handler
	Flags    uint64 // UC_*
	Stack    Stack  // Flags as save_altstack stores them
	Regs     Regs
	CS, SS   uint16
	// Err, Trapno and CR2 are those of the thread's last exception.
	Err, Trapno, CR2 uint64
	FPState          uint64 // address; 0 is none
	Mask             Set    // blocked signals to restore
	Info             *Info  // nil unless SA_SIGINFO
}

// Marshal returns the frame's bytes. Without Info the siginfo's bytes stay zero.
func (f *Frame) Marshal() *[FrameSize]byte {
	var b [FrameSize]byte
	le := binary.LittleEndian
	le.PutUint64(b[0:], f.Restorer)
	le.PutUint64(b[offFlags:], f.Flags)
	le.PutUint64(b[offStack:], f.Stack.SP)
	le.PutUint32(b[offStack+8:], f.Stack.Flags)
	le.PutUint64(b[offStack+16:], f.Stack.Size)
	for i, r := range list(&f.Regs) {
		le.PutUint64(b[offRegs+8*i:], *r)
	}
	le.PutUint16(b[offSegments:], f.CS)
	le.PutUint16(b[offSegments+6:], f.SS)
	le.PutUint64(b[offErr:], f.Err)
	le.PutUint64(b[offTrapno:], f.Trapno)
	le.PutUint64(b[offOldmask:], uint64(f.Mask))
	le.PutUint64(b[offCR2:], f.CR2)
	le.PutUint64(b[offFPState:], f.FPState)
	le.PutUint64(b[offMask:], uint64(f.Mask))
	if f.Info != nil {
		info := f.Info.Marshal()
		copy(b[InfoOffset:], info[:])
	}
	return &b
}

// Unmarshal reads what sigreturn uses of a frame: flags, stack, registers, mask and the place of the FPU state.
func (f *Frame) Unmarshal(b *[FrameSize]byte) {
	le := binary.LittleEndian
	f.Flags = le.Uint64(b[offFlags:])
	f.Stack = Stack{
		SP:    le.Uint64(b[offStack:]),
		Flags: le.Uint32(b[offStack+8:]),
		Size:  le.Uint64(b[offStack+16:]),
	}
	for i, r := range list(&f.Regs) {
		*r = le.Uint64(b[offRegs+8*i:])
	}
	f.CS = le.Uint16(b[offSegments:])
	f.SS = le.Uint16(b[offSegments+6:])
	f.FPState = le.Uint64(b[offFPState:])
	f.Mask = Set(le.Uint64(b[offMask:]))
}

// list names the registers in memory order.
func list(r *Regs) [18]*uint64 {
	return [18]*uint64{
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15,
		&r.RDI, &r.RSI, &r.RBP, &r.RBX, &r.RDX, &r.RAX, &r.RCX, &r.RSP, &r.RIP, &r.RFLAGS,
	}
}

// ErrOverflow says that the frame does not fit on the alternate stack.
var ErrOverflow = errors.New("the signal frame overflows the alternate stack")

// Place is get_sigframe: where the FPU state (fpSize bytes) and the frame go, for a thread with that stack pointer.
// onStack is SA_ONSTACK.
func Place(sp uint64, alt Stack, onStack bool, fpSize int) (frame, fpstate uint64, err error) {
	bounded := alt.On(sp)
	sp -= redZone
	if onStack && alt.State(sp) == 0 {
		sp = alt.SP + alt.Size
		bounded = true
	}
	fpstate = (sp - uint64(fpSize)) &^ 63
	// The handler starts as if called: 16-byte alignment less the return address.
	frame = (fpstate-FrameSize)&^15 - 8
	if bounded && !alt.contains(frame) {
		return 0, 0, ErrOverflow
	}
	return frame, fpstate, nil
}
