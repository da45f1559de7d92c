package shim

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"culvert/guest/signals"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// signalCalls are the rows of the calls on signals.
func signalCalls() []Syscall {
	return []Syscall{
		{unix.SYS_RT_SIGACTION, "rt_sigaction", sysRtSigaction, Full, "", "constant"},
		{unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", sysRtSigprocmask, Full, "", "threads of the process"},
		{unix.SYS_RT_SIGRETURN, "rt_sigreturn", sysRtSigreturn, Full, "", "a signal frame"},
		{unix.SYS_RT_SIGPENDING, "rt_sigpending", sysRtSigpending, Full, "", "constant"},
		{unix.SYS_RT_SIGTIMEDWAIT, "rt_sigtimedwait", sysRtSigtimedwait, Full, "", "constant"},
		{unix.SYS_RT_SIGQUEUEINFO, "rt_sigqueueinfo", sysRtSigqueueinfo, Full, "", "constant"},
		{unix.SYS_RT_TGSIGQUEUEINFO, "rt_tgsigqueueinfo", sysRtTgsigqueueinfo, Full, "", "constant"},
		{unix.SYS_RT_SIGSUSPEND, "rt_sigsuspend", sysRtSigsuspend, Full, "", "constant"},
		{unix.SYS_SIGALTSTACK, "sigaltstack", sysSigaltstack, Full, "", "constant"},
		{unix.SYS_PAUSE, "pause", sysPause, Full, "", "constant"},
		{unix.SYS_KILL, "kill", sysKill, Full, "", "processes"},
		{unix.SYS_TKILL, "tkill", sysTkill, Full, "", "constant"},
		{unix.SYS_TGKILL, "tgkill", sysTgkill, Full, "", "constant"},
		{unix.SYS_RESTART_SYSCALL, "restart_syscall", sysRestartSyscall, Full, "", "as the call that goes on"},
	}
}

// sigsetSize is sizeof(sigset_t) of the kernel.
const sigsetSize = 8

// readSet reads a sigset_t.
func (t *Thread) readSet(addr uint64) (sig.Set, error) {
	v, err := t.readU64(addr)
	return sig.Set(v), err
}

func sysRtSigaction(t *Thread, a Args) (uint64, error) {
	n, newAt, oldAt, size := int(a.int32(0)), a[1], a[2], a[3]
	if size != sigsetSize {
		return 0, unix.EINVAL
	}
	var b [32]byte
	le := binary.LittleEndian
	if newAt != 0 {
		if err := t.copyIn(newAt, b[:]); err != nil {
			return 0, err
		}
	}
	if n < 1 || n > sig.NSIG || newAt != 0 && sig.Unblockable.Has(n) {
		return 0, unix.EINVAL
	}
	old := t.p.actions.get(n)
	if newAt != 0 {
		old = t.p.actions.put(n, sigAction{
			handler:  le.Uint64(b[0:]),
			flags:    le.Uint64(b[8:]) & signals.KnownFlags,
			restorer: le.Uint64(b[16:]),
			mask:     sig.Set(le.Uint64(b[24:])) &^ sig.Unblockable,
		})
		if t.p.actions.ignores(n) {
			t.p.discardAll(sig.Of(n))
		}
	}
	if oldAt == 0 {
		return 0, nil
	}
	le.PutUint64(b[0:], old.handler)
	le.PutUint64(b[8:], old.flags)
	le.PutUint64(b[16:], old.restorer)
	le.PutUint64(b[24:], uint64(old.mask))
	return 0, t.copyOut(oldAt, b[:])
}

func sysRtSigprocmask(t *Thread, a Args) (uint64, error) {
	how, newAt, oldAt, size := a.int32(0), a[1], a[2], a[3]
	if size != sigsetSize {
		return 0, unix.EINVAL
	}
	old := t.mask()
	if newAt != 0 {
		s, err := t.readSet(newAt)
		if err != nil {
			return 0, err
		}
		switch how {
		case unix.SIG_BLOCK:
			s |= old
		case unix.SIG_UNBLOCK:
			s = old &^ s
		case unix.SIG_SETMASK:
		default:
			return 0, unix.EINVAL
		}
		t.setMask(s)
	}
	if oldAt == 0 {
		return 0, nil
	}
	return 0, t.writeU64(oldAt, uint64(old))
}

func sysRtSigpending(t *Thread, a Args) (uint64, error) {
	if a[1] > sigsetSize {
		return 0, unix.EINVAL
	}
	s := (t.pending.Set() | t.p.pending.Set()) & t.mask()
	return 0, t.copyOut(a[0], binary.LittleEndian.AppendUint64(nil, uint64(s))[:a[1]])
}

func sysRtSigtimedwait(t *Thread, a Args) (uint64, error) {
	setAt, infoAt, timeAt, size := a[0], a[1], a[2], a[3]
	if size != sigsetSize {
		return 0, unix.EINVAL
	}
	want, err := t.readSet(setAt)
	if err != nil {
		return 0, err
	}
	want &^= sig.Unblockable
	deadline, now, err := t.readTimeout(timeAt)
	if err != nil {
		return 0, err
	}
	finish := func(i sig.Info) (uint64, error) {
		if infoAt != 0 {
			b := i.Marshal()
			if err := t.copyOut(infoAt, b[:]); err != nil {
				return 0, err
			}
		}
		return uint64(i.Signo), nil
	}
	if i, ok := t.takeSignal(want); ok {
		return finish(i)
	}
	if now {
		return 0, unix.EAGAIN
	}
	if deadline.IsZero() {
		t.waitFor = want
		return t.awaitSignal(func() (uint64, error) {
			i, ok := t.takeSignal(want)
			if !ok && !t.signalPending() {
				return 0, errWait
			}
			t.waitFor = 0
			if !ok {
				return 0, unix.EINTR
			}
			return finish(i)
		})
	}
	return t.Block(func(w *Waiter) (uint64, error) {
		t.waitFor = want
		err := w.Sleep(deadline)
		t.waitFor = 0
		if i, ok := t.takeSignal(want); ok {
			return finish(i)
		}
		switch err {
		case errKilled:
			return 0, err
		case errTimeout:
			return 0, unix.EAGAIN
		}
		return 0, unix.EINTR
	})
}

// readTimeout reads an optional struct timespec of a relative time-out: the deadline (zero if there is none), and
// whether it is now.
func (t *Thread) readTimeout(addr uint64) (deadline time.Time, now bool, err error) {
	if addr == 0 {
		return time.Time{}, false, nil
	}
	d, err := t.readTimespec(addr)
	if err != nil {
		return time.Time{}, false, err
	}
	return time.Now().Add(d), d == 0, nil
}

func sysRtSigsuspend(t *Thread, a Args) (uint64, error) {
	if a[1] != sigsetSize {
		return 0, unix.EINVAL
	}
	s, err := t.readSet(a[0])
	if err != nil {
		return 0, err
	}
	t.replaceMask(s)
	return t.awaitSignal(t.handlerRan)
}

// awaitSignal is Await for a call that nothing but a signal or the thread's end completes.
func (t *Thread) awaitSignal(try func() (uint64, error)) (uint64, error) {
	if ret, err := try(); err != errWait {
		return ret, err
	}
	return t.Await(new(Queue), false, try)
}

// handlerRan is how the wait for a handler looks: the call is made again unless one runs (sigsuspend, pause).
func (t *Thread) handlerRan() (uint64, error) {
	if t.signalPending() {
		return 0, ERESTARTNOHAND
	}
	return 0, errWait
}

// takeSuspended has a sigsuspend or pause that waits in ring 0 wait here, so that its end is part of the sender's call. It
// reports false if the thread does something else. See package signals for who may take the record.
func (t *Thread) takeSuspended() bool {
	w := &t.slot.Wait
	if !atomic.CompareAndSwapUint64(&w.Kind, abi.WaitSignal, abi.WaitShim) {
		return false
	}
	t.call = callState{nr: t.slot.OrigRAX, active: true}
	t.keepMask(sig.Set(atomicLoad(&w.Aux)))
	t.startAwait(&pendingCall{queue: new(Queue), try: t.handlerRan})
	return true
}

// replaceMask blocks s instead until the call ends: set_user_sigmask. A handler that runs first sees the old mask
// restored by its frame.
func (t *Thread) replaceMask(s sig.Set) {
	t.keepMask(t.mask())
	t.setMask(s)
}

// keepMask has the mask restored when the call ends.
func (t *Thread) keepMask(old sig.Set) { t.savedMask = &old }

func sysPause(t *Thread, _ Args) (uint64, error) { return t.awaitSignal(t.handlerRan) }

func sysSigaltstack(t *Thread, a Args) (uint64, error) {
	newAt, oldAt := a[0], a[1]
	old := t.altstack
	old.Flags |= t.altstack.State(t.slot.RSP)
	var b [24]byte
	le := binary.LittleEndian
	if newAt != 0 {
		if err := t.copyIn(newAt, b[:]); err != nil {
			return 0, err
		}
		n := sig.Stack{SP: le.Uint64(b[0:]), Flags: le.Uint32(b[8:]), Size: le.Uint64(b[16:])}
		if err := t.setAltstack(n, t.slot.RSP); err != nil {
			return 0, err
		}
	}
	if oldAt == 0 {
		return 0, nil
	}
	clear(b[:])
	le.PutUint64(b[0:], old.SP)
	le.PutUint32(b[8:], old.Flags)
	le.PutUint64(b[16:], old.Size)
	return 0, t.copyOut(oldAt, b[:])
}

func sysRestartSyscall(t *Thread, a Args) (uint64, error) {
	fn := t.restartFn
	t.goOnBy(nil)
	if fn == nil {
		return 0, unix.EINTR
	}
	return fn(t, a)
}

// mayKill is kill_ok_by_cred and the exception for SIGCONT within a session (check_kill_permission).
func (t *Thread) mayKill(p *Process, n int) bool {
	c, o := t.cred, p.leader.cred
	if t.p == p || c.Has(unix.CAP_KILL) || c.EUID == o.suid || c.EUID == o.UID || c.UID == o.suid || c.UID == o.UID {
		return true
	}
	return n == sig.SIGCONT && t.p.group != nil && p.group != nil && t.p.group.session == p.group.session
}

// sendTo checks permission and sends; signal 0 only checks.
func (t *Thread) sendTo(p *Process, only *Thread, i sig.Info) error {
	n := int(i.Signo)
	if !t.mayKill(p, n) {
		return unix.EPERM
	}
	if n == 0 {
		return nil
	}
	return errnoOf(t.k.send(p, only, i))
}

// validSignal is valid_signal: 0 to NSIG.
func validSignal(n int32) bool { return n >= 0 && n <= sig.NSIG }

// process returns the process with a pid, zombies included, or nil. Only a leader's tid is a pid.
func (k *Kernel) process(pid int32) *Process {
	if pid <= 0 {
		return nil
	}
	return k.processes[int(pid)]
}

// processOfTID is the process that has a thread with that tid (kill(2) accepts any thread's).
func (k *Kernel) processOfTID(tid int32) *Process {
	if t := k.threads[int(tid)]; t != nil && tid > 0 {
		return t.p
	}
	return k.process(tid)
}

func sysKill(t *Thread, a Args) (uint64, error) {
	pid, n := a.int32(0), a.int32(1)
	if pid == -1<<31 {
		return 0, unix.ESRCH
	}
	// An invalid signal is an error only after the target was found (kill_something_info).
	if pid > 0 {
		p := t.k.processOfTID(pid)
		if p == nil {
			return 0, unix.ESRCH
		}
		if !validSignal(n) {
			return 0, unix.EINVAL
		}
		return 0, t.sendTo(p, nil, sig.User(int(n), sig.SI_USER, t.p.pid, t.cred.UID))
	}
	var targets []*Process
	switch {
	case pid == -1:
		for id := 2; id < maxTID && len(targets) < len(t.k.processes); id++ {
			if p := t.k.processes[id]; p != nil && p != t.p {
				targets = append(targets, p)
			}
		}
	case pid == 0:
		targets = sortedMembers(t.p.group)
	default:
		if g := t.k.groups[int(-pid)]; g != nil {
			targets = sortedMembers(g)
		}
	}
	if len(targets) > 0 && !validSignal(n) {
		return 0, unix.EINVAL
	}
	return 0, t.sendToAll(targets, int(n), pid == -1)
}

// sendToAll sends to several processes: it succeeds if one could be sent to (__kill_pgrp_info). With every, EPERM
// does not count (kill_something_info for -1).
func (t *Thread) sendToAll(ps []*Process, n int, every bool) error {
	var failed error = unix.ESRCH
	sent := false
	for _, p := range ps {
		err := t.sendTo(p, nil, sig.User(n, sig.SI_USER, t.p.pid, t.cred.UID))
		switch {
		case err == nil:
			sent = true
		case !every || err != unix.EPERM:
			failed = err
		default:
			failed = nil
		}
	}
	if sent {
		return nil
	}
	return failed
}

// tkill is do_tkill.
func (t *Thread) tkill(tgid, tid int32, i sig.Info) error {
	target := t.k.threads[int(tid)]
	if target == nil || tgid > 0 && target.p.pid != int(tgid) {
		return unix.ESRCH
	}
	if !validSignal(i.Signo) {
		return unix.EINVAL
	}
	return t.sendTo(target.p, target, i)
}

func sysTkill(t *Thread, a Args) (uint64, error) {
	if a.int32(0) <= 0 {
		return 0, unix.EINVAL
	}
	return 0, t.tkill(0, a.int32(0), t.tkillInfo(a.int32(1)))
}

func sysTgkill(t *Thread, a Args) (uint64, error) {
	if a.int32(0) <= 0 || a.int32(1) <= 0 {
		return 0, unix.EINVAL
	}
	return 0, t.tkill(a.int32(0), a.int32(1), t.tkillInfo(a.int32(2)))
}

// tkillInfo is what tkill and tgkill send.
func (t *Thread) tkillInfo(n int32) sig.Info {
	return sig.User(int(n), sig.SI_TKILL, t.p.pid, t.cred.UID)
}

// readInfo reads a siginfo_t that a program made up.
func (t *Thread) readInfo(n int32, addr uint64) (sig.Info, error) {
	var b [sig.InfoSize]byte
	if err := t.copyIn(addr, b[:]); err != nil {
		return sig.Info{}, err
	}
	i := sig.UnmarshalInfo(&b)
	i.Signo = n
	return i, nil
}

// forged reports a siginfo that claims to come from the kernel, kill or tkill, which only the process itself may make.
func forged(i *sig.Info) bool { return i.Code >= 0 || i.Code == sig.SI_TKILL }

func sysRtSigqueueinfo(t *Thread, a Args) (uint64, error) {
	i, err := t.readInfo(a.int32(1), a[2])
	if err != nil {
		return 0, err
	}
	pid := a.int32(0)
	if forged(&i) && int(pid) != t.p.pid {
		return 0, unix.EPERM
	}
	p := t.k.processOfTID(pid)
	if p == nil {
		return 0, unix.ESRCH
	}
	if !validSignal(i.Signo) {
		return 0, unix.EINVAL
	}
	return 0, t.sendTo(p, nil, i)
}

func sysRtTgsigqueueinfo(t *Thread, a Args) (uint64, error) {
	i, err := t.readInfo(a.int32(2), a[3])
	if err != nil {
		return 0, err
	}
	if a.int32(0) <= 0 || a.int32(1) <= 0 {
		return 0, unix.EINVAL
	}
	if forged(&i) && int(a.int32(1)) != t.tid {
		return 0, unix.EPERM
	}
	return 0, t.tkill(a.int32(0), a.int32(1), i)
}
