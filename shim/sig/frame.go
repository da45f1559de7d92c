package sig

import (
	"encoding/binary"

	"culvert/guest/signals"
)

// Regs are the integer registers of a frame.
type Regs = signals.Regs

// FrameSize is sizeof(struct rt_sigframe): return address, ucontext, siginfo. The FPU state lies above it.
const FrameSize = signals.FrameSize

// Offsets in struct rt_sigframe. The alternate stack is a stack_t at 16 in the ucontext.
const (
	contextSize = InfoOffset - ContextOffset
	offContext  = ContextOffset
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
	ContextOffset = signals.ContextOffset
	InfoOffset    = signals.InfoOffset
)

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
