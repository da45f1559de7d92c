package guest

import (
	"unsafe"

	"culvert/guest/futex"
	"culvert/shim/abi"
)

// futex(2): FUTEX_WAIT, FUTEX_WAKE and their bitset forms, on private futexes and on shared ones in private memory, such as the
// words by which threads are joined. All other operations, and those on shared memory, are the shim's, which works on the same
// table: see package futex. A thread that waits there has a node too, and if it is woken here, the shim is told.

// Operations and flags (include/uapi/linux/futex.h).
const (
	futexWait       = 0
	futexWake       = 1
	futexWaitBitset = 9
	futexWakeBitset = 10

	futexPrivate  = 128
	futexRealtime = 256
)

// A record of WaitFutex has the word's address in Addr, the expected value in Len, the bitset in Aux, and what futexShared
// says in Left. File is 1 while the thread's node may be queued, and Done is 1 once a wake was found to have come.

//go:nosplit
func sysFutex(p *PerCPU, t *Thread) bool {
	op, addr := t.RSI&0xffffffff, t.RDI
	if addr&3 != 0 || addr >= uint64(abi.UserEnd) {
		return false
	}
	shared, ok := futexShared(p, op, addr)
	if !ok {
		return false
	}
	cmd := op &^ (futexPrivate | futexRealtime)
	bits := uint64(futex.BitsAny)
	if cmd == futexWaitBitset || cmd == futexWakeBitset {
		bits = t.R9 & futex.BitsAny
		if bits == 0 {
			return false
		}
	}
	if op&futexRealtime == 0 && (cmd == futexWake || cmd == futexWakeBitset) {
		futexWakeCall(p, t, futexKey(t, addr, shared), bits)
		return true
	}
	if cmd != futexWaitBitset && (cmd != futexWait || op&futexRealtime != 0) {
		return false
	}
	deadline, ok := futexDeadline(p, t, op)
	if !ok {
		return false
	}
	w := &t.Wait
	w.Kind, w.File, w.Addr, w.Len, w.Done, w.Aux = abi.WaitFutex, 0, addr, t.RDX&0xffffffff, 0, bits
	w.Left, w.Expired = shared, 0
	store(&w.Deadline, deadline)
	runRecord(p, t)
	return true
}

// futexDeadline is the deadline of a wait: relative in FUTEX_WAIT, absolute in FUTEX_WAIT_BITSET. One that has passed
// is still waited for, as in Linux, where the word's value counts for more.
//
//go:nosplit
func futexDeadline(p *PerCPU, t *Thread, op uint64) (deadline uint64, ok bool) {
	if t.R10 == 0 {
		return Forever, true
	}
	if op&futexRealtime != 0 {
		return 0, false
	}
	if op&futexWaitBitset != futexWaitBitset {
		deadline, ok = afterTimespec(p, t.R10)
	} else {
		deadline, ok = readTimespec(p, t.R10)
	}
	return max(deadline, 1), ok
}

// futexShared is what makes the key of the word that an operation is about: 0 for a private futex, futex.Shared for another if
// its page is there, and of a private mapping that is writable. ok is false if that is not known here.
//
//go:nosplit
func futexShared(p *PerCPU, op, addr uint64) (shared uint64, ok bool) {
	if op&futexPrivate != 0 {
		return 0, true
	}
	pte := walk(p, addr)
	if pte == nil {
		return 0, false
	}
	e := load(pte)
	return futex.Shared, e&(abi.PTEPresent|abi.PTEShared) == abi.PTEPresent && e&(abi.PTEWrite|abi.PTECOW) != 0
}

// futexKey is the key of a futex in private memory.
//
//go:nosplit
func futexKey(t *Thread, addr, shared uint64) futex.Key {
	return futex.Key{Space: t.Space.ID | shared, Offset: addr}
}

// FutexBytes is the size of the table that VM.Futexes names.
const FutexBytes = unsafe.Sizeof(futex.Table{})

//go:nosplit
func futexTable(vm *VM) *futex.Table { return (*futex.Table)(at(vm.Futexes)) }

// futexWakeCall is futex_wake. A count of 0 or less wakes one, as in Linux.
//
//go:nosplit
func futexWakeCall(p *PerCPU, t *Thread, key futex.Key, bits uint64) {
	tab, b := futexTable(p.VM), futex.BucketOf(key)
	t.RAX = 0
	store(&p.Barrier, 0) // an XCHG: the program's store of the word is visible before Quiet looks
	if tab.Quiet(b) {
		return
	}
	for !tab.Lock(b, p.Pause) {
		hypercall(p, t, abi.KindNote, abi.NoteYield)
	}
	left, told := max(int64(int32(t.RDX)), 1), false
	walk := tab.Walk(key, bits)
	for left > 0 && walk.Next(tab) {
		if tab.Remove(&walk) {
			told = true
		} else {
			wake(p, walk.Thread)
		}
		t.RAX++
		left--
	}
	tab.Unlock(b)
	if told {
		hypercall(p, t, abi.KindNote, abi.NoteFutex)
	}
}

// futexRetry is futex_wait: it queues the thread if the word has the expected value.
//
//go:nosplit
func futexRetry(p *PerCPU, t *Thread) bool {
	w, tab, key := &t.Wait, futexTable(p.VM), futexKey(t, t.Wait.Addr, t.Wait.Left)
	if w.Done != 0 {
		return futexEnd(t, 0)
	}
	if timedOut(w) {
		return futexEnd(t, abi.ETIMEDOUT)
	}
	b := futex.BucketOf(key)
	for {
		if !tab.Lock(b, p.Pause) {
			hypercall(p, t, abi.KindNote, abi.NoteYield)
			continue
		}
		v, fault := p.LoadUser(at(w.Addr &^ 7)) // a word of 8 bytes does not straddle pages
		if fault == 0 && v>>(w.Addr&4*8&63)&0xffffffff == w.Len {
			tab.Add(t.Index, key, w.Aux, 0)
			tab.Unlock(b)
			w.File = 1
			setTimer(p, t)
			return false
		}
		tab.Unlock(b)
		if fault == 0 {
			return futexEnd(t, abi.EAGAIN)
		}
		if !resolveCopy(p, t) {
			return futexEnd(t, abi.EFAULT)
		}
	}
}

// futexEnd ends the call of t's record.
//
//go:nosplit
func futexEnd(t *Thread, err uint64) bool {
	t.RAX = -err
	t.Wait.Kind = abi.WaitNone
	return true
}

// futexLeave takes t out of its queue. If a waker has done so, the call has succeeded, whatever else there is.
//
//go:nosplit
func futexLeave(p *PerCPU, t *Thread) {
	w, tab := &t.Wait, futexTable(p.VM)
	for w.File != 0 {
		left := tab.Leave(t.Index, p.Pause)
		if left == futex.Busy {
			hypercall(p, t, abi.KindNote, abi.NoteYield)
			continue
		}
		w.File = 0
		if left == futex.Woken {
			w.Done = 1
		}
	}
}
