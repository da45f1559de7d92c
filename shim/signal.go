package shim

import (
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// Dispositions and flags of sigaction(2) (arch/x86/include/uapi/asm/signal.h).
const (
	SIG_DFL = 0
	SIG_IGN = 1

	SA_NOCLDSTOP = 0x1
	SA_NOCLDWAIT = 0x2
	SA_SIGINFO   = 0x4
	SA_RESTORER  = 0x04000000
	SA_ONSTACK   = 0x08000000
	SA_RESTART   = 0x10000000
	SA_NODEFER   = 0x40000000
	SA_RESETHAND = 0x80000000
)

// maxQueuedSignals bounds the siginfos held for all processes of a VM, and is the default of RLIMIT_SIGPENDING.
const maxQueuedSignals = 8192

// signalPending reports whether the thread may not sleep on: a signal that it does not block, a stop or its end.
func (t *Thread) signalPending() bool {
	return t.killed || t.p.stopped || (t.pending.Set()|t.p.pending.Set())&^(t.mask()&^t.waitFor) != 0
}

// sigUser is a signal from thread t to itself or another: SI_USER.
func sigUser(n unix.Signal, t *Thread) sig.Info {
	return sig.User(int(n), sig.SI_USER, t.p.pid, t.cred.UID)
}

// push adds to a queue of p within the VM's bound and RLIMIT_SIGPENDING, which counts the signals of all processes. It does
// not bind the signals of kernel and timers, nor those that kill(2) sends and that have no order (__send_signal_locked).
func (k *Kernel) push(p *Process, q *sig.Queue, i sig.Info) bool {
	free := i.Signo < sig.SIGRTMIN && i.Code >= 0 || i.Code == sig.SI_TIMER
	room := k.queuedSignals < maxQueuedSignals && (free || uint64(k.queuedSignals) < p.limits[rlimitSigpending].cur)
	ok := false
	k.changeQueue(p, q, func() { ok = q.Push(i, room) })
	return ok
}

// discard removes signals from a queue of p.
func (k *Kernel) discard(p *Process, q *sig.Queue, s sig.Set) {
	k.changeQueue(p, q, func() { q.Discard(s) })
}

// send sends a signal to process p, or to its thread t only if that is not nil (__send_signal_locked). It reports
// false if a real-time signal found the queue full. Zombies accept everything.
func (k *Kernel) send(p *Process, t *Thread, i sig.Info) bool {
	n := int(i.Signo)
	if p.zombie || t != nil && t.exited {
		return true
	}
	p.prepare(n)
	target := t
	if target == nil {
		target = p.leader
	}
	if !target.mask().Has(n) && p.actions.ignores(n) {
		return true
	}
	q := &p.pending
	if t != nil {
		q = &t.pending
	}
	if !k.push(p, q, i) {
		return false
	}
	p.sigQueue.Wake()
	p.complete(t, n)
	return true
}

// prepare does what the mere sending of a stop signal or SIGCONT does (prepare_signal).
func (p *Process) prepare(n int) {
	switch {
	case sig.Stops.Has(n):
		p.discardAll(sig.Of(sig.SIGCONT))
	case n == sig.SIGCONT:
		p.discardAll(sig.Stops)
		p.resume()
	}
}

// discardAll removes pending signals from the process and all its threads.
func (p *Process) discardAll(s sig.Set) {
	p.k.discard(p, &p.pending, s)
	for _, t := range p.threads {
		p.k.discard(p, &t.pending, s)
	}
}

// complete finds a thread to take the signal and wakes it; a fatal one ends the process at once (complete_signal).
func (p *Process) complete(only *Thread, n int) {
	t := only
	if t == nil || !t.wants(n) {
		t = p.chooseTaker(only, n)
	}
	if t == nil {
		return
	}
	if n == sig.SIGKILL || p.actions.fatal(n) && !sig.Dumps.Has(n) && !(t.waitFor.Has(n) && t.mask().Has(n)) {
		p.exitGroup(n)
		return
	}
	t.interrupt()
}

// chooseTaker picks a thread that does not block a signal for the whole process; the leader is preferred.
func (p *Process) chooseTaker(only *Thread, n int) *Thread {
	if only != nil {
		return nil
	}
	if p.leader.wants(n) && !p.leader.exited {
		return p.leader
	}
	var best *Thread
	for _, t := range p.threads {
		if t.wants(n) && (best == nil || t.tid < best.tid) {
			best = t
		}
	}
	return best
}

// wants is wants_signal.
func (t *Thread) wants(n int) bool {
	switch {
	case t.exited || t.killed:
		return false
	case t.waitFor.Has(n):
		return true
	case t.mask().Has(n):
		return false
	}
	return n == sig.SIGKILL || !t.p.stopped
}

// retarget wakes threads that may take pending signals of the process which another thread no longer will.
func (p *Process) retarget() {
	if p.pending.Set() == 0 {
		return
	}
	for _, t := range p.threads {
		if p.pending.Set()&^t.mask() != 0 {
			t.interrupt()
		}
	}
}

// setMask changes the thread's blocked signals (set_current_blocked).
func (t *Thread) setMask(s sig.Set) {
	s &^= sig.Unblockable
	grown := s &^ t.mask()
	t.storeMask(s)
	if t.p.pending.Set()&grown != 0 {
		t.p.retarget()
	}
}

// takeSignal dequeues a pending signal of the set: the thread's own first, then the process's.
func (t *Thread) takeSignal(want sig.Set) (sig.Info, bool) {
	for _, q := range []*sig.Queue{&t.pending, &t.p.pending} {
		if q.Set()&want == 0 {
			continue
		}
		var i sig.Info
		ok := false
		t.k.changeQueue(t.p, q, func() { i, ok = q.Pop(want) })
		if ok {
			switch {
			case i.Code == sig.SI_TIMER:
				t.p.timers.taken(&i)
			case i.Signo == sig.SIGALRM && q == &t.p.pending:
				t.p.timers.real.rearm()
			}
			return i, true
		}
	}
	return sig.Info{}, false
}

// force raises a signal that a fault caused and that cannot be blocked or ignored (force_sig_info_to_task).
func (t *Thread) force(i sig.Info) {
	n := int(i.Signo)
	if t.mask().Has(n) || t.p.actions.get(n).handler == SIG_IGN {
		t.p.actions.put(n, sigAction{})
		t.storeMask(t.mask() &^ sig.Of(n))
	}
	t.k.send(t.p, t, i)
}

// forceFatal raises a signal whose handler must not run: the frame of one just failed (force_fatal_sig).
func (t *Thread) forceFatal(n int) {
	t.p.actions.put(n, sigAction{})
	t.storeMask(t.mask() &^ sig.Of(n))
	t.k.send(t.p, t, sig.Kernel(n))
}

// attention serves NoteAttention: the thread saw Attn, in ring 3 or in a wait of ring 0.
func (t *Thread) attention() int {
	t.call = callState{}
	if t.slot.Wait.Kind != abi.WaitNone {
		if !t.signalPending() {
			return abi.ActReturn // ring 0 goes on with the record
		}
		t.settleRecord()
	}
	return t.leave(nil)
}

// settleRecord ends a call that was blocked in ring 0: its partial count is the result, or it was interrupted.
func (t *Thread) settleRecord() {
	w := t.slot.Wait
	t.slot.Wait.Kind = abi.WaitNone
	t.call = callState{nr: t.slot.OrigRAX, active: true}
	switch w.Kind {
	case abi.WaitRead, abi.WaitWrite, abi.WaitEventRead, abi.WaitEventWrite, abi.WaitLinkRead, abi.WaitLinkWrite:
		t.k.dropFile(w.File)
		if w.Done != 0 {
			t.setResult(min(w.Done, abi.MAX_RW_COUNT), nil)
			return
		}
	case abi.WaitEpoll:
		t.setResult(t.endEpoll(&w))
		return
	case abi.WaitPoll:
		t.setResult(t.endPoll(&w))
		return
	case abi.WaitSelect:
		t.setResult(t.endSelect(&w))
		return
	case abi.WaitFutex:
		t.setResult(t.endFutex(&w))
		return
	case abi.WaitSignal:
		t.keepMask(sig.Set(w.Aux))
		t.setResult(0, ERESTARTNOHAND)
		return
	}
	t.setResult(0, ERESTARTSYS)
}

// leave is the way back to ring 3: stops, signals and the end are dealt with (exit_to_user_mode_loop, get_signal). w
// is nil on a vCPU's thread; there a stop goes on in a goroutine.
func (t *Thread) leave(w *Waiter) int {
	for {
		switch {
		case t.killed:
			t.exit()
			if t.vcpu >= 0 {
				return t.k.bury(t)
			}
			return abi.ActExit
		case t.p.stopped:
			if w == nil {
				t.startBlock(func(*Waiter) (uint64, error) { return 0, errNoReturn })
				return abi.ActBlock
			}
			t.park(w)
			if t.k.ended {
				return abi.ActBlock
			}
			continue
		}
		if i, ok := t.takeSignal(^t.mask()); ok {
			t.deliver(i)
			continue
		}
		t.restartCall()
		if !t.restoreMask() {
			return abi.ActReturn
		}
	}
}

// deliver acts on a signal (get_signal's switch, then handle_signal).
func (t *Thread) deliver(i sig.Info) {
	n := int(i.Signo)
	act := t.p.actions.get(n)
	if act.flags&SA_RESETHAND != 0 && act.handler != SIG_DFL && act.handler != SIG_IGN {
		act = t.p.actions.update(n, func(a *sigAction) {
			if a.flags&SA_RESETHAND != 0 && a.handler != SIG_IGN {
				a.handler = SIG_DFL
			}
		})
	}
	t.traceSignal(&i)
	switch {
	case act.handler == SIG_IGN:
	case act.handler != SIG_DFL:
		t.handle(&act, &i)
	case sig.Ignored.Has(n):
	case sig.Stops.Has(n):
		if n != sig.SIGSTOP && t.p.group.orphaned(nil) {
			return
		}
		t.p.stop(n)
	default:
		t.p.exitGroup(n)
	}
}

// restartCall ends an interrupted call for which no handler ran (the end of arch_do_signal_or_restart).
func (t *Thread) restartCall() {
	switch t.call.restart {
	case ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND:
		t.again(t.call.nr)
	case ERESTART_RESTARTBLOCK:
		t.again(unix.SYS_RESTART_SYSCALL)
	}
	t.call.restart = 0
}

// restoreMask puts back the mask that sigsuspend and the like replaced, and reports whether signals wait now.
func (t *Thread) restoreMask() bool {
	if t.savedMask == nil {
		return false
	}
	m := *t.savedMask
	t.savedMask = nil
	t.setMask(m)
	return t.signalPending()
}

// again makes the thread execute its SYSCALL instruction, two bytes long, once more.
func (t *Thread) again(nr uint64) {
	t.slot.RAX = nr
	t.slot.RIP -= 2
	t.returnByIret()
}

// returnByIret is needed whenever RIP, RCX or R11 in the slot were set.
func (t *Thread) returnByIret() {
	t.slot.Iret = 1
	t.flags |= abi.FlagIret
}
