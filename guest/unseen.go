package guest

import (
	"unsafe"

	"culvert/guest/futex"
	"culvert/shim/abi"
)

// _exit(2) of a thread that leaves nothing behind. What joins it, the word at ClearTID and its futex, is served here; the
// rest of its end is bookkeeping, which the shim does when it next runs: nobody in the VM can tell before.
//
//	the thread                             the shim, which wants it or says that it has to be seen
//	----------                             -------------------------------------------------------
//	State = DEAD, by a locked operation    store Attn, or 0 to Unseen: an XCHG
//	VM.Dead + 1, locked                    ... whatever else there is to do under its lock
//	load Attn and Unseen                   load VM.Dead, before its lock is given up
//	OnCPU = 0                              if it changed: the end of those whose State is DEAD
//
// So either the thread finds that it is wanted, takes its death back and calls the shim as ever, or the shim finds it dead, and
// gives what it was wanted for to others; both may be, and the call then only buries it. The slot may have another thread once
// State is DEAD and OnCPU is 0, both of which the shim looks at.

//go:nosplit
func sysExit(p *PerCPU, t *Thread) bool {
	if load(&t.Unseen) == 0 || load(&t.Attn) != 0 || !holdsNothing(p, t) || !clearTID(p, t) {
		return false
	}
	p.TSC = p.RDTSC()
	charge(p, t)
	for !cas(&t.State, load(&t.State), abi.StateDead) { // RUN, or WOKEN for nothing
	}
	add(&p.VM.Dead, 1)
	if load(&t.Attn) != 0 || load(&t.Unseen) == 0 {
		store(&t.State, abi.StateRun)
		return false
	}
	store(&t.OnCPU, 0)
	p.Due = dueSchedule
	return true
}

// holdsNothing reports whether the thread's list of robust futexes is empty. The shim does not look at it after that: the memory
// is not the thread's any more.
//
//go:nosplit
func holdsNothing(p *PerCPU, t *Thread) bool {
	const pending = 16 // offset of list_op_pending in struct robust_list_head
	head := load(&t.RobustList)
	if head == 0 {
		return true
	}
	if head&7 != 0 || head > uint64(abi.UserEnd)-pending-8 {
		return false
	}
	first, fault := p.LoadUser(at(head))
	last, fault2 := p.LoadUser(at(head + pending))
	if fault|fault2 != 0 || first != head || last != 0 {
		return false
	}
	store(&t.RobustList, 0)
	return true
}

// clearTID is mm_release: 0 to the word of set_tid_address(2), and a wake of who waits there.
//
//go:nosplit
func clearTID(p *PerCPU, t *Thread) bool {
	addr := load(&t.ClearTID)
	if addr == 0 {
		return true
	}
	if addr&3 != 0 || addr >= uint64(abi.UserEnd) {
		return false
	}
	shared, ok := futexShared(p, futexWake, addr)
	p.TimeSpec[0] = 0
	if !ok || p.Copy(at(addr), unsafe.Pointer(&p.TimeSpec[0]), 4) != 0 {
		return false
	}
	store(&t.ClearTID, 0)
	t.RDX = 1
	futexWakeCall(p, t, futexKey(t, addr, shared), futex.BitsAny)
	return true
}
