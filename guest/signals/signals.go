package signals

import "sync/atomic"

// NSIG is the number of signals; signal n has index n-1 everywhere here, and bit n-1 in sets.
const NSIG = 64

// Sets of signals (include/linux/signal.h).
const (
	// Unblockable is SIGKILL and SIGSTOP, which can neither be blocked nor caught.
	Unblockable = 1<<(9-1) | 1<<(19-1)
	// Ignored is the signals whose default action is to be ignored: SIGCHLD, SIGCONT, SIGURG and SIGWINCH.
	Ignored = 1<<(17-1) | 1<<(18-1) | 1<<(23-1) | 1<<(28-1)
)

// Job is the signals that do something by being sent, and those that stop a process, beside Unblockable: SIGCONT, SIGTSTP, SIGTTIN
// and SIGTTOU.
const Job = Unblockable | 1<<(18-1) | 1<<(20-1) | 1<<(21-1) | 1<<(22-1)

// Handlers that are none.
const (
	SIG_DFL = 0
	SIG_IGN = 1
)

// KnownFlags are the flags of an action that are kept; others are cleared, which is how programs test for them
// (UAPI_SA_FLAGS): those of sigaction(2), SA_RESTORER and SA_EXPOSE_TAGBITS.
const KnownFlags = 0x7 | 0x800 | 0x04000000 | 0x08000000 | 0x10000000 | 0x40000000 | 0x80000000

// Action is the kernel's struct sigaction, as the system call passes it.
type Action struct{ Handler, Flags, Restorer, Mask uint64 }

// Sanitize removes what no action has.
//
//go:nosplit
func (a *Action) Sanitize() {
	a.Flags &= KnownFlags
	a.Mask &^= Unblockable
}

// Ignores reports whether the signal with index i would do nothing (sig_handler_ignored).
//
//go:nosplit
func (a *Action) Ignores(i uint64) bool {
	return a.Handler == SIG_IGN || a.Handler == SIG_DFL && Ignored>>(i&63)&1 != 0
}

// Numbers of buffers.
const (
	guestSpare = NSIG // ring 0's, at first
	hostSpare  = NSIG + 1
	numBuffers = NSIG + 2

	bufferMask = 1<<8 - 1 // of a word of current
)

// Table is the signals of a process, or of several that share them (CLONE_SIGHAND).
type Table struct {
	pending uint64 // see the package comment; the host stores
	lock    uint64 // 1: a vCPU changes an action
	spare   uint64 // number of ring 0's spare buffer; under lock
	_       [5]uint64
	current [NSIG]uint64
	buffer  [numBuffers]Action
}

// Init makes a zeroed Table one with default actions, and returns the host's spare buffer.
func (t *Table) Init() (spare Spare) {
	for i := range t.current {
		t.current[i] = uint64(i)
	}
	t.spare = guestSpare
	return hostSpare
}

// at is the buffer that a word of current names.
//
//go:nosplit
func (t *Table) at(v uint64) *Action { return &t.buffer[min(v&bufferMask, numBuffers-1)] }

// tries bounds loops that only others' changes prolong.
const tries = 64

// Load reads the action with index i, and returns its version. If it changes all the time, the words may be of several: they
// are all the guest's own.
//
//go:nosplit
func (t *Table) Load(i uint64, a *Action) (version uint64) {
	word := &t.current[i&(NSIG-1)]
	for try := 0; ; try++ {
		v := atomic.LoadUint64(word)
		b := t.at(v)
		a.Handler, a.Flags = atomic.LoadUint64(&b.Handler), atomic.LoadUint64(&b.Flags)
		a.Restorer, a.Mask = atomic.LoadUint64(&b.Restorer), atomic.LoadUint64(&b.Mask)
		if atomic.LoadUint64(word) == v || try == tries {
			return v
		}
	}
}

// fill writes to a buffer that nobody has to read.
//
//go:nosplit
func (b *Action) fill(a *Action) {
	atomic.StoreUint64(&b.Handler, a.Handler)
	atomic.StoreUint64(&b.Flags, a.Flags)
	atomic.StoreUint64(&b.Restorer, a.Restorer)
	atomic.StoreUint64(&b.Mask, a.Mask)
}

// next is the word of current that follows v, with another buffer.
//
//go:nosplit
func next(v, buffer uint64) uint64 { return v&^bufferMask + (bufferMask + 1) | buffer&bufferMask }

// Lock takes the right to Replace; false: another vCPU has it.
//
//go:nosplit
func (t *Table) Lock() bool {
	return atomic.LoadUint64(&t.lock) == 0 && atomic.CompareAndSwapUint64(&t.lock, 0, 1)
}

// Unlock gives the right back.
//
//go:nosplit
func (t *Table) Unlock() { atomic.StoreUint64(&t.lock, 0) }

// Replace changes the action with index i from a version; false: the host was faster. It is a full barrier. Preconditions: the
// lock is held.
//
//go:nosplit
func (t *Table) Replace(i, version uint64, a *Action) bool {
	spare := t.spare
	t.at(spare).fill(a)
	if !atomic.CompareAndSwapUint64(&t.current[i&(NSIG-1)], version, next(version, spare)) {
		return false
	}
	t.spare = version & bufferMask
	return true
}

// Spare is the number of the host's spare buffer of a Table; it is not in the Table, where a guest could change it.
type Spare uint64

// Update changes the action with index i, and returns what it was. Only one goroutine of the host at a time may.
func (t *Table) Update(i int, spare *Spare, change func(a *Action)) (old Action) {
	word := &t.current[i&(NSIG-1)]
	for try := 0; ; try++ {
		v := t.Load(uint64(i), &old)
		a := old
		change(&a)
		t.at(uint64(*spare)).fill(&a)
		to := next(v, uint64(*spare))
		if try == tries {
			v = atomic.SwapUint64(word, to)
		} else if !atomic.CompareAndSwapUint64(word, v, to) {
			continue
		}
		*spare = Spare(v & bufferMask)
		return old
	}
}

// SetPending stores which signals may wait. It is a full barrier.
func (t *Table) SetPending(set uint64) { atomic.StoreUint64(&t.pending, set) }

// Concerns reports whether a signal of the set may wait: the shim has to look at what was changed. Preconditions: a full
// barrier lies between the change and the call.
//
//go:nosplit
func (t *Table) Concerns(set uint64) bool { return atomic.LoadUint64(&t.pending)&set != 0 }
