// Package sig has the parts of signal handling that need neither threads nor a VM: sets, pending queues, and the
// binary layout of siginfo_t and of the x86-64 signal frame.
package sig

// Number range (include/uapi/asm-generic/signal.h).
const (
	NSIG     = 64 // the largest number
	SIGRTMIN = 32 // the first real-time signal of the kernel
)

// Set is a sigset_t: bit n-1 is signal n.
type Set uint64

// Of returns the set of the given signals.
func Of(sigs ...int) Set {
	var s Set
	for _, n := range sigs {
		s |= 1 << (n - 1)
	}
	return s
}

// Has reports whether n is in the set.
func (s Set) Has(n int) bool { return s>>(n-1)&1 != 0 }

// Stack is a stack_t: the alternate signal stack.
type Stack struct {
	SP    uint64
	Flags uint32
	Size  uint64
}

// Queue holds pending signals.
type Queue struct {
	set Set
}

// Set returns which signals are pending.
func (q *Queue) Set() Set { return q.set }
