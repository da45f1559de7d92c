package guest

import (
	"unsafe"

	"culvert/guest/signals"
	"culvert/shim/abi"
)

// What programs say about their signals: rt_sigaction(2), rt_sigprocmask(2), and two calls that only leave a word for the
// thread's end. The shim sends and delivers signals, but for what kill.go has; see package signals for what it and ring 0 owe
// each other.

const (
	sigsetSize = 8 // sizeof(sigset_t) of the kernel
	actionSize = uint64(unsafe.Sizeof(signals.Action{}))
)

// Values of rt_sigprocmask's first argument.
const (
	sigBlock   = 0
	sigUnblock = 1
	sigSetmask = 2
)

// sysRtSigprocmask is rt_sigprocmask(2). The old mask is stored first: if that is not possible nothing has changed yet, and the
// shim answers. Aligned, it cannot be stored in part.
//
//go:nosplit
func sysRtSigprocmask(p *PerCPU, t *Thread) bool {
	set, old := t.RSI, t.RDX
	if t.Signals == nil || t.R10 != sigsetSize || set > uint64(abi.UserEnd)-sigsetSize || old > uint64(abi.UserEnd)-sigsetSize || old&7 != 0 {
		return false
	}
	mask := load(&t.Mask)
	next := mask
	if set != 0 {
		v, fault := p.LoadUser(at(set))
		if fault != 0 {
			return false
		}
		how := t.RDI & 0xffffffff
		if how == sigBlock {
			next |= v
		} else if how == sigUnblock {
			next &^= v
		} else if how == sigSetmask {
			next = v
		} else {
			return false
		}
	}
	if old != 0 {
		p.TimeSpec[0] = mask
		if p.Copy(at(old), unsafe.Pointer(&p.TimeSpec), sigsetSize) != 0 {
			return false
		}
	}
	t.RAX = 0
	setMask(p, t, next)
	return true
}

// sysRtSigaction is rt_sigaction(2), but for actions that ignore a signal: the shim discards those that wait. As above the old
// action is stored first; if it lies where the new one does, the shim has to, since it would read that again after a fault.
//
//go:nosplit
func sysRtSigaction(p *PerCPU, t *Thread) bool {
	i, from, to, tab := t.RDI&0xffffffff-1, t.RSI, t.RDX, t.Signals
	if tab == nil || t.R10 != sigsetSize || i >= signals.NSIG ||
		from > uint64(abi.UserEnd)-actionSize || to > uint64(abi.UserEnd)-actionSize {
		return false
	}
	action, old := (*signals.Action)(unsafe.Pointer(&p.PollFDs)), (*signals.Action)(unsafe.Add(unsafe.Pointer(&p.PollFDs), actionSize))
	if from == 0 {
		tab.Load(i, old)
		if !storeAction(p, to, old) {
			return false
		}
		t.RAX = 0
		return true
	}
	if signals.Unblockable>>i&1 != 0 || to != 0 && from-to+actionSize-1 < 2*actionSize-1 ||
		p.Copy(unsafe.Pointer(action), at(from), actionSize) != 0 {
		return false
	}
	action.Sanitize()
	if action.Ignores(i) || !tab.Lock() {
		return false
	}
	version := tab.Load(i, old)
	done := storeAction(p, to, old) && tab.Replace(i, version, action)
	tab.Unlock()
	if !done {
		return false
	}
	t.RAX = 0
	if tab.Concerns(1 << i) {
		p.Due = dueSignals
	}
	return true
}

// storeAction stores an action where the program wants it, 0 being nowhere.
//
//go:nosplit
func storeAction(p *PerCPU, to uint64, a *signals.Action) bool {
	return to == 0 || p.Copy(at(to), unsafe.Pointer(a), actionSize) == 0
}

// sysSetRobustList is set_robust_list(2): the shim looks at the list when the thread ends.
//
//go:nosplit
func sysSetRobustList(_ *PerCPU, t *Thread) bool {
	const listHeadSize = 24 // sizeof(struct robust_list_head)
	if t.RSI != listHeadSize {
		return false
	}
	t.RobustList = t.RDI
	t.RAX = 0
	return true
}

// sysSetTIDAddress is set_tid_address(2).
//
//go:nosplit
func sysSetTIDAddress(_ *PerCPU, t *Thread) bool {
	t.ClearTID = t.RDI
	t.RAX = t.TID
	return true
}

// sysAbsent answers for calls that C libraries probe for and do without.
//
//go:nosplit
func sysAbsent(_ *PerCPU, t *Thread) bool {
	t.RAX = negative(abi.ENOSYS)
	return true
}
