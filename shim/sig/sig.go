// Package sig has the parts of signal handling that need neither threads nor a VM: sets, pending queues, and the
// binary layout of siginfo_t and of the x86-64 signal frame (arch/x86/kernel/signal_64.c, fpu/signal.c).
package sig

import (
	"math/bits"

	"culvert/guest/signals"
)

// NSIG is the largest signal number; SIGRTMIN the first real-time signal as the kernel counts them
// (include/uapi/asm-generic/signal.h).
const (
	NSIG     = 64
	SIGRTMIN = 32
)

// Numbers of x86-64 (arch/x86/include/uapi/asm/signal.h).
const (
	SIGHUP = 1 + iota
	SIGINT
	SIGQUIT
	SIGILL
	SIGTRAP
	SIGABRT
	SIGBUS
	SIGFPE
	SIGKILL
	SIGUSR1
	SIGSEGV
	SIGUSR2
	SIGPIPE
	SIGALRM
	SIGTERM
	SIGSTKFLT
	SIGCHLD
	SIGCONT
	SIGSTOP
	SIGTSTP
	SIGTTIN
	SIGTTOU
	SIGURG
	SIGXCPU
	SIGXFSZ
	SIGVTALRM
	SIGPROF
	SIGWINCH
	SIGIO
	SIGPWR
	SIGSYS
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

// Has reports whether n, 1 to NSIG, is in the set.
func (s Set) Has(n int) bool { return s>>(n-1)&1 != 0 }

// next is next_signal: faults first, then the lowest number; 0 if the set is empty.
func (s Set) next() int {
	if f := s & Synchronous; f != 0 {
		s = f
	}
	if s == 0 {
		return 0
	}
	return bits.TrailingZeros64(uint64(s)) + 1
}

// Sets of kernel/signal.c and include/linux/signal.h.
const (
	// Unblockable can neither be blocked, caught nor ignored.
	Unblockable Set = 1<<(SIGKILL-1) | 1<<(SIGSTOP-1)
	// Synchronous are what faults raise.
	Synchronous Set = 1<<(SIGSEGV-1) | 1<<(SIGBUS-1) | 1<<(SIGILL-1) | 1<<(SIGTRAP-1) | 1<<(SIGFPE-1) | 1<<(SIGSYS-1)
	// Stops stop a process by default, Ignored are ignored by default.
	Stops   Set = 1<<(SIGSTOP-1) | 1<<(SIGTSTP-1) | 1<<(SIGTTIN-1) | 1<<(SIGTTOU-1)
	Ignored Set = 1<<(SIGCONT-1) | 1<<(SIGCHLD-1) | 1<<(SIGWINCH-1) | 1<<(SIGURG-1)
	// Dumps terminate with a core dump by default.
	Dumps Set = 1<<(SIGQUIT-1) | 1<<(SIGILL-1) | 1<<(SIGTRAP-1) | 1<<(SIGABRT-1) | 1<<(SIGFPE-1) | 1<<(SIGSEGV-1) |
		1<<(SIGBUS-1) | 1<<(SIGSYS-1) | 1<<(SIGXCPU-1) | 1<<(SIGXFSZ-1)
)

// Flags of a stack_t.
const (
	SS_ONSTACK    = signals.SS_ONSTACK
	SS_DISABLE    = signals.SS_DISABLE
	SS_AUTODISARM = signals.SS_AUTODISARM
)

// Stack is a stack_t, the alternate signal stack; Size 0 is none.
type Stack = signals.Stack
