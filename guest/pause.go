package guest

import (
	"culvert/guest/signals"
	"culvert/shim/abi"
)

// rt_sigsuspend(2) and pause(2): waits that only the shim ends, by a record that it may take over: see package signals.

//go:nosplit
func sysRtSigsuspend(p *PerCPU, t *Thread) bool {
	if t.RSI != sigsetSize || t.RDI > uint64(abi.UserEnd)-sigsetSize {
		return false
	}
	next, fault := p.LoadUser(at(t.RDI))
	return fault == 0 && suspend(p, t, next&^signals.Unblockable)
}

//go:nosplit
func sysPause(p *PerCPU, t *Thread) bool { return suspend(p, t, load(&t.Mask)) }

// suspend blocks the signals of next instead until the call ends. The record is there only when all registers are in the slot,
// since the shim may complete the call from then on. A signal that waits is left to the shim, and the call with it, as if
// nothing had happened here; but if the shim has taken the record over, it knows.
//
//go:nosplit
func suspend(p *PerCPU, t *Thread, next uint64) bool {
	if t.Signals == nil {
		return false
	}
	p.Save(t)
	p.Load = 1
	mask := load(&t.Mask)
	t.Wait.Aux = mask
	store(&t.Mask, next)
	store(&t.Wait.Kind, abi.WaitSignal)
	if t.Signals.Concerns(^(mask & next)) && cas(&t.Wait.Kind, abi.WaitSignal, abi.WaitNone) {
		store(&t.Mask, mask)
		return false
	}
	p.Due = dueSleep
	return true
}
