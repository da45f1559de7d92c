package shim

import (
	"culvert/guest"
	"culvert/shim/sig"
)

// Thread is a task. Kernel.mu guards it; the slot is shared with ring 0.
type Thread struct {
	k    *Kernel
	p    *Process
	tid  int
	comm string // at most 15 bytes: PR_SET_NAME

	index int           // of the slot
	slot  *guest.Thread // in guest RAM: never trust what it holds
	vcpu  int           // whose hypercall is being served, -1 in a Block goroutine

	mm    *addressSpace // held until ring 0 has left it, after the thread's end too
	fs    *FSContext    // working directory, root, umask, credentials for files
	files *FDTable
	cred  *credentials // what credentials(7) has; replaced, never changed

	// The call being served.
	flags   uint64 // abi.Flag* that the reply carries
	blockFn func(*Waiter) (uint64, error)
	waiter  *Waiter // not nil while a Block goroutine serves the thread
	// onInterrupt makes the slow host work of Waiter.Unlocked return.
	onInterrupt func()
	// restartFn is what restart_syscall(2) goes on with after ERESTART_RESTARTBLOCK.
	restartFn func(*Waiter) (uint64, error)

	// Signals.
	mask      sig.Set
	savedMask *sig.Set // to restore when the call ends: sigsuspend, ppoll
	pending   sig.Queue
	waitFor   sig.Set // what sigtimedwait wants although it is blocked
	altstack  sig.Stack
	sigQueue  Queue // woken whenever a signal is queued for the thread

	// Set by the program for the thread's end.
	clearTID   uint64 // CLONE_CHILD_CLEARTID
	robustList uint64
	pdeathsig  int

	killed bool // it is to die at the next chance
	exited bool // its exit work is done; only the slot is still in ring 0's hands
	usage  usage
}

// K returns the kernel that the thread belongs to.
func (t *Thread) K() *Kernel { return t.k }
