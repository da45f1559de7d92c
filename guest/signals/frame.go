package signals

// What a signal frame says, in the layout that programs see: arch/x86/include/uapi/asm/sigcontext.h and ucontext.h.

// Regs are the integer registers of struct sigcontext_64, in its order.
type Regs struct {
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP uint64
	RIP, RFLAGS                            uint64
}

// Flags of a stack_t (include/uapi/linux/signal.h).
const (
	SS_ONSTACK    = 1
	SS_DISABLE    = 2
	SS_AUTODISARM = 1 << 31
)

// Stack is a stack_t, the alternate signal stack; Size 0 is none.
type Stack struct {
	SP    uint64
	Flags uint32 // as sigaltstack(2) was given them
	Pad   uint32 // named, so that a copy of a Stack has it
	Size  uint64
}

// Equal reports whether two stacks are the same; Pad does not count.
//
//go:nosplit
func (s *Stack) Equal(o *Stack) bool { return s.SP == o.SP && s.Flags == o.Flags && s.Size == o.Size }

// contains is __on_sig_stack.
//
//go:nosplit
func (s *Stack) contains(sp uint64) bool { return sp > s.SP && sp-s.SP <= s.Size }

// On is on_sig_stack: whether a thread with that stack pointer runs on the stack.
//
//go:nosplit
func (s *Stack) On(sp uint64) bool { return s.Flags&SS_AUTODISARM == 0 && s.contains(sp) }

// State is sas_ss_flags: SS_DISABLE, SS_ONSTACK or 0.
//
//go:nosplit
func (s *Stack) State(sp uint64) uint32 {
	if s.Size == 0 {
		return SS_DISABLE
	}
	if s.On(sp) {
		return SS_ONSTACK
	}
	return 0
}

// Flags of a ucontext (arch/x86/include/uapi/asm/ucontext.h).
const (
	UC_FP_XSTATE         = 1
	UC_SIGCONTEXT_SS     = 2
	UC_STRICT_RESTORE_SS = 4
)

// Context is a struct ucontext: what rt_sigreturn(2) reads of a frame.
type Context struct {
	Flags, Link                         uint64
	Stack                               Stack
	Regs                                Regs
	Segments, Err, Trapno, Oldmask, CR2 uint64
	FPState                             uint64 // address; 0 is none
	Reserved                            [8]uint64
	Mask                                uint64
}

// Frame is a struct rt_sigframe. Where a handler has its second and third argument, Info and Context are found.
type Frame struct {
	Restorer uint64 // the handler's return address
	Context  Context
	Info     [InfoSize / 8]uint64 // siginfo_t
}

// Sizes and offsets of a Frame's parts in bytes. The FPU state lies above the frame.
const (
	ContextOffset = 8
	InfoOffset    = ContextOffset + 304
	InfoSize      = 128
	FrameSize     = InfoOffset + InfoSize

	// redZone is the memory below the stack pointer that the x86-64 ABI lets a function use.
	redZone = 128
)

// Place is get_sigframe: where the FPU state (fpSize bytes) and the frame go, for a thread with that stack pointer. onStack is
// SA_ONSTACK. ok is false if the frame would overflow the alternate stack; the addresses are the program's, and may be any.
//
//go:nosplit
func Place(sp uint64, alt *Stack, onStack bool, fpSize uint64) (frame, fpstate uint64, ok bool) {
	bounded := alt.On(sp)
	sp -= redZone
	if onStack && alt.State(sp) == 0 {
		sp = alt.SP + alt.Size
		bounded = true
	}
	fpstate = (sp - fpSize) &^ 63
	// The handler starts as if called: 16-byte alignment less the return address.
	frame = (fpstate-FrameSize)&^15 - 8
	return frame, fpstate, !bounded || alt.contains(frame)
}
