package shim

import (
	"sync/atomic"

	"culvert/guest/signals"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// sigAction is a struct sigaction as the kernel sees it.
type sigAction struct {
	handler, flags, restorer uint64
	mask                     sig.Set
}

// sigActions are the dispositions that processes share under CLONE_SIGHAND. They lie in guest RAM: ring 0 changes them by
// itself, so they may change at any time, and what they say is the guest's word. See package signals for the protocol.
type sigActions struct {
	k     *Kernel
	refs  int // processes
	page  abi.GPA
	table *signals.Table
	spare signals.Spare
	// queued counts, for each signal, the queues of threads and processes that have it: those are the bits of the table's
	// pending set.
	queued [sig.NSIG]uint32
	set    sig.Set
}

// newSigActions makes default actions with one reference.
func (k *Kernel) newSigActions() (*sigActions, error) {
	page, err := k.memory.AllocBlock(0)
	if err != nil {
		return nil, unix.ENOMEM
	}
	a := &sigActions{k: k, refs: 1, page: page, table: structAt[signals.Table](k.ram, page)}
	a.spare = a.table.Init()
	return a, nil
}

// clone copies the actions for a process that does not share them.
func (a *sigActions) clone() (*sigActions, error) {
	c, err := a.k.newSigActions()
	if err != nil {
		return nil, err
	}
	for n := 1; n <= sig.NSIG; n++ {
		if act := a.get(n); act != (sigAction{}) {
			c.put(n, act)
		}
	}
	return c, nil
}

// share takes another reference.
func (a *sigActions) share() *sigActions {
	a.refs++
	return a
}

// release drops a reference. No thread that names the table runs any more when the last goes.
func (a *sigActions) release() {
	if a.refs--; a.refs > 0 {
		return
	}
	a.table = nil
	if err := a.k.memory.FreeBlock(a.page); err != nil {
		panic("shim: page of signal actions: " + err.Error())
	}
}

// gva is the table's address for ring 0.
func (a *sigActions) gva() uint64 { return uint64(abi.DirectBase) + uint64(a.page) }

// fromShared makes an action of what the shared table says. Nobody catches or ignores SIGKILL and SIGSTOP.
func fromShared(n int, s *signals.Action) sigAction {
	if sig.Unblockable.Has(n) {
		return sigAction{}
	}
	s.Sanitize()
	return sigAction{handler: s.Handler, flags: s.Flags, restorer: s.Restorer, mask: sig.Set(s.Mask)}
}

// get returns the action of signal n; the default one if the process is gone.
func (a *sigActions) get(n int) sigAction {
	if a.table == nil {
		return sigAction{}
	}
	var s signals.Action
	a.table.Load(uint64(n-1), &s)
	return fromShared(n, &s)
}

// update changes the action of signal n, and returns what it was.
func (a *sigActions) update(n int, change func(*sigAction)) sigAction {
	if a.table == nil {
		return sigAction{}
	}
	old := a.table.Update(n-1, &a.spare, func(s *signals.Action) {
		act := fromShared(n, s)
		change(&act)
		*s = signals.Action{Handler: act.handler, Flags: act.flags, Restorer: act.restorer, Mask: uint64(act.mask)}
	})
	return fromShared(n, &old)
}

// put replaces the action of signal n, and returns what it was.
func (a *sigActions) put(n int, act sigAction) sigAction {
	return a.update(n, func(now *sigAction) { *now = act })
}

// reset gives caught signals their default action back (flush_signal_handlers).
func (a *sigActions) reset() {
	for n := 1; n <= sig.NSIG; n++ {
		if a.get(n) == (sigAction{}) {
			continue
		}
		a.update(n, func(now *sigAction) {
			ignored := now.handler == SIG_IGN
			*now = sigAction{}
			if ignored {
				now.handler = SIG_IGN
			}
		})
	}
}

// ignores reports whether the signal would do nothing (sig_handler_ignored).
func (a *sigActions) ignores(n int) bool {
	h := a.get(n).handler
	return h == SIG_IGN || h == SIG_DFL && sig.Ignored.Has(n)
}

// fatal reports whether the default action of an uncaught signal ends the process (sig_fatal).
func (a *sigActions) fatal(n int) bool {
	return a.get(n).handler == SIG_DFL && !sig.Ignored.Has(n) && !sig.Stops.Has(n)
}

// requeued keeps account of a queue that had the signals of before and has those of after, and tells ring 0.
func (a *sigActions) requeued(before, after sig.Set) {
	if before == after || a.table == nil {
		return
	}
	for n := 1; n <= sig.NSIG; n++ {
		switch {
		case !(before ^ after).Has(n):
			continue
		case after.Has(n):
			a.queued[n-1]++
		default:
			a.queued[n-1]--
		}
		a.set &^= sig.Of(n)
		if a.queued[n-1] > 0 {
			a.set |= sig.Of(n)
		}
	}
	a.table.SetPending(uint64(a.set))
}

// changeQueue runs change on a queue of process p or of one of its threads, and keeps all accounts of it.
func (k *Kernel) changeQueue(p *Process, q *sig.Queue, change func()) {
	set, n := q.Set(), q.Len()
	change()
	k.queuedSignals += q.Len() - n
	p.actions.requeued(set, q.Set())
}

// useActions gives p the actions a, whose reference it takes over, in place of those it has.
func (p *Process) useActions(a *sigActions) {
	old := p.actions
	p.actions = a
	for _, q := range p.queues() {
		old.requeued(q.Set(), 0)
		a.requeued(0, q.Set())
	}
	for _, t := range p.threads {
		setSlotSignals(t.slot, a.gva())
	}
	old.release()
}

// mask is the set of signals that the thread blocks. Ring 0 changes it while the thread runs.
func (t *Thread) mask() sig.Set {
	if t.exited {
		return t.lastMask // the slot may be another thread's
	}
	return sig.Set(atomic.LoadUint64(&t.slot.Mask)) &^ sig.Unblockable
}

// storeMask sets the mask. Preconditions: the thread's call is being served, or it does not run yet.
func (t *Thread) storeMask(s sig.Set) { atomic.StoreUint64(&t.slot.Mask, uint64(s&^sig.Unblockable)) }

// signalsChanged serves NoteSignals: the thread blocked or unblocked a signal that may wait, or changed its action. If it
// blocks what it was to take, another thread takes it.
func (t *Thread) signalsChanged() int {
	t.call = callState{}
	if t.p.pending.Set()&t.mask() != 0 {
		t.p.retarget()
	}
	return t.leave(nil)
}
