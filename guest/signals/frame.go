package signals

// What a signal frame says, in the layout that programs see: arch/x86/include/uapi/asm/sigcontext.h and ucontext.h.

// Regs are the integer registers of struct sigcontext_64, in its order.
type Regs struct {
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP uint64
	RIP, RFLAGS                            uint64
}

// Stack is a stack_t.
type Stack struct {
	SP    uint64
	Flags uint32
	_     uint32
	Size  uint64
}

// Equal reports whether two stacks are the same; what lies between their members does not count.
//
//go:nosplit
func (s *Stack) Equal(o *Stack) bool { return s.SP == o.SP && s.Flags == o.Flags && s.Size == o.Size }

// Context is a struct ucontext: what rt_sigreturn(2) reads of a frame. It lies behind the handler's return address.
type Context struct {
	Flags, Link                         uint64
	Stack                               Stack
	Regs                                Regs
	Segments, Err, Trapno, Oldmask, CR2 uint64
	FPState                             uint64 // address; 0 is none
	_                                   [8]uint64
	Mask                                uint64
}

// FrameSize is sizeof(struct rt_sigframe): return address, Context, siginfo.
const FrameSize = 8 + 304 + 128
