package shim

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"culvert/guest"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// Call serves the hypercall of a vCPU: it copies the request once, checks the copy and writes the reply. KindIdle and
// KindDie are the machine's own business and refused here. It may run on several vCPUs' threads at once.
func (k *Kernel) Call(vcpu int, call *guest.Call) {
	req := *call
	came := k.tsc()
	k.mu.Lock()
	defer k.mu.Unlock()
	call.Action, call.Ret, call.Flags = abi.ActBlock, 0, 0
	if k.ended {
		return
	}
	defer k.guard()
	if err := k.checkCall(vcpu, &req); err != nil {
		k.fail(err)
		return
	}
	k.serving.Store(int32(vcpu))
	defer k.serving.Store(-1)
	k.flushOutputs()
	if req.Kind == abi.KindNote && isObjectNote(req.NR) {
		k.objectNote(&req)
		call.Action = abi.ActReturn
	} else {
		k.callOf(vcpu, &req, call, came)
	}
	k.lookNow()
	if !k.ended {
		k.memory.Reap()
		k.refill(vcpu)
	}
}

// callOf serves a request that a thread makes, which came at a TSC.
func (k *Kernel) callOf(vcpu int, req, reply *guest.Call, came uint64) {
	t, err := k.caller(req)
	if err != nil {
		k.fail(err)
		return
	}
	// Whatever Attn was set for, Kernel's own state says too.
	atomic.StoreUint64(&t.slot.Attn, 0)
	if t.waiter != nil {
		return // woken early, with its call still being served: it goes on waiting
	}
	t.vcpu, t.flags = vcpu, 0
	t.serveFrom(came)
	action, ret := k.serve(t, req)
	t.serveEnd()
	t.vcpu = -1
	if k.ended {
		return
	}
	t.p.timers.tick()
	if action == abi.ActReturn && t.signalPending() {
		// Not every answer goes through Thread.leave: the thread comes back for it.
		atomic.StoreUint64(&t.slot.Attn, 1)
	}
	reply.Action, reply.Ret, reply.Flags = uint64(action), ret, t.flags
}

// isObjectNote tells the notes about objects from those about threads.
func isObjectNote(nr uint64) bool {
	switch nr {
	case abi.NoteRelease, abi.NotePipe, abi.NoteDeadline, abi.NoteFutex, abi.NoteLink:
		return true
	}
	return false
}

// objectNote serves the notes about objects, which come in the middle of a call or between two threads.
func (k *Kernel) objectNote(req *guest.Call) {
	switch req.NR {
	case abi.NoteRelease:
		k.fileReleased(req.Args[0])
	case abi.NotePipe:
		k.pipeChanged(req.Args[0])
	case abi.NoteDeadline:
		k.setDeadline(req.Args[0])
	case abi.NoteFutex:
		k.futexes.told()
	case abi.NoteLink:
		k.linkRung(req.Args[0])
	}
}

// guard turns a panic of a handler into the VM's end: a fault of this program must not take the host down.
func (k *Kernel) guard() {
	if r := recover(); r != nil {
		k.fail(fmt.Errorf("internal error, please report it: %v\n%s", r, debug.Stack()))
	}
}

// checkCall checks the parts of a request that do not depend on its thread.
func (k *Kernel) checkCall(vcpu int, req *guest.Call) error {
	switch {
	case vcpu < 0 || vcpu >= k.cfg.NumCPUs:
		return fmt.Errorf("shim: a call of vCPU %d, but there are %d", vcpu, k.cfg.NumCPUs)
	case req.Version != abi.Version:
		return &HostileError{fmt.Sprintf("hypercall page of version %d, not %d", req.Version, abi.Version)}
	case req.Kind != abi.KindSyscall && req.Kind != abi.KindFault && req.Kind != abi.KindNote:
		return &HostileError{fmt.Sprintf("hypercall of unknown kind %d", req.Kind)}
	}
	return nil
}

// caller finds the thread that makes the request. Only NoteAttention may come from one whose call is being served: it
// was woken early.
func (k *Kernel) caller(req *guest.Call) (*Thread, error) {
	if req.Thread >= uint64(len(k.slots)) || k.slots[req.Thread] == nil {
		return nil, &HostileError{fmt.Sprintf("hypercall of thread slot %d, which is not in use", req.Thread)}
	}
	t := k.slots[req.Thread]
	if t.waiter != nil && (req.Kind != abi.KindNote || req.NR != abi.NoteAttention) {
		return nil, &HostileError{fmt.Sprintf("hypercall of thread slot %d, which is blocked", req.Thread)}
	}
	return t, nil
}

// serve dispatches a request of t. ret is the reply's Ret.
func (k *Kernel) serve(t *Thread, req *guest.Call) (action int, ret uint64) {
	if t.exited {
		return k.bury(t), 0
	}
	switch req.Kind {
	case abi.KindSyscall:
		return t.syscall(req.NR, Args(req.Args)), 0
	case abi.KindFault:
		return t.fault(req)
	}
	switch req.NR {
	case abi.NoteAttention:
		return t.attention(), 0
	case abi.NoteYield, abi.NoteStarted:
	case abi.NoteCollect:
		t.collectRecord()
	case abi.NoteSignals:
		return t.signalsChanged(), 0
	case abi.NoteSIGPIPE:
		k.send(t.p, t, sigUser(unix.SIGPIPE, t))
		return t.leave(nil), 0
	default:
		k.fail(&HostileError{fmt.Sprintf("unknown note %d", req.NR)})
	}
	return abi.ActReturn, 0
}

// syscall runs a handler.
func (t *Thread) syscall(nr uint64, a Args) int {
	t.call = callState{nr: nr, active: true}
	if t.killed {
		return t.leave(nil) // it must not make threads or files that nobody waits for
	}
	t.traceEntry(nr, a)
	var ret uint64
	var err error
	if nr < numSyscalls && t.k.calls[nr] != nil {
		t.k.forwarded[nr].Add(1)
		ret, err = t.k.calls[nr].Handler(t, a)
	} else {
		t.k.countUnknown(nr)
		err = unix.ENOSYS
	}
	return t.complete(ret, err)
}

// callState is the system call that a thread is in.
type callState struct {
	nr      uint64
	active  bool
	restart restart // not 0: the call was interrupted, delivery decides how it goes on
}

// complete ends a handler that ran on the vCPU's thread.
func (t *Thread) complete(ret uint64, err error) int {
	if err == errBlock {
		fn, on := t.blockFn, t.blockOn
		t.blockFn, t.blockOn = nil, nil
		if on != nil {
			t.startAwait(on)
		} else {
			t.startBlock(fn)
		}
		return abi.ActBlock
	}
	t.setResult(ret, err)
	return t.leave(nil)
}

// startBlock hands t to a goroutine that runs fn. The record is in the slot before the goroutine can run.
func (t *Thread) startBlock(fn func(*Waiter) (uint64, error)) {
	w := newWaiter(t)
	t.waiter = w
	atomic.StoreUint64(&t.slot.Wait.Kind, abi.WaitShim)
	t.k.blocked.Add(1)
	go t.runBlocked(w, fn)
}

// runBlocked completes a blocked call and wakes the thread.
func (t *Thread) runBlocked(w *Waiter, fn func(*Waiter) (uint64, error)) {
	k := t.k
	defer k.blocked.Done()
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.guard()
	ret, err := fn(w)
	if k.ended {
		return
	}
	t.finishBlocked(w, ret, err)
}

// finishBlocked stores what a blocked call returns, delivers signals and wakes the thread. w is the waiter whose
// goroutine this is, nil if there is none.
func (t *Thread) finishBlocked(w *Waiter, ret uint64, err error) {
	k := t.k
	t.setResult(ret, err)
	action := t.leave(w)
	if k.ended || action == abi.ActBlock {
		return // parked: that is another waiter's
	}
	t.waiter = nil
	if action == abi.ActExit {
		// Ring 0 takes the thread once more and is told so by the answer to its NoteAttention.
		atomic.StoreUint64(&t.slot.Attn, 1)
	}
	atomic.StoreUint64(&t.slot.Wait.Kind, abi.WaitNone)
	k.wake(t)
}

// setResult stores what a call returns. An error that is no errno is a fault of this program.
func (t *Thread) setResult(ret uint64, err error) {
	var re restart
	var errno unix.Errno
	switch {
	case err == nil:
		t.slot.RAX = ret
	case err == errKilled:
		return // it never returns
	case err == errNoReturn:
	case errors.As(err, &errno):
		t.slot.RAX = errnoResult(errno)
	case errors.As(err, &re):
		t.call.restart = re
		t.slot.RAX = errnoResult(unix.EINTR)
	default:
		panic(fmt.Sprintf("system call %d returned %q, which is no errno", t.call.nr, err))
	}
	t.traceExit(re)
}

// errnoResult is an errno as a call's result.
func errnoResult(e unix.Errno) uint64 { return -uint64(e) }

// interrupt makes a running or ready thread visit the shim soon, and a waiting one look whether it still may wait.
func (t *Thread) interrupt() {
	switch {
	case t.exited || t.vcpu >= 0:
		// Gone, or being served: it looks by itself before it returns to ring 3.
		return
	case t.waiter != nil || t.takeSuspended():
		t.waiter.signal()
		if t.onInterrupt != nil {
			t.onInterrupt()
		}
		return
	}
	atomic.StoreUint64(&t.slot.Attn, 1)
	// Blocked in ring 0, or about to be.
	t.k.wake(t)
	if cpu := atomic.LoadUint64(&t.slot.OnCPU); cpu != 0 && cpu <= uint64(t.k.cfg.NumCPUs) {
		t.k.machine.Kick(int(cpu - 1))
	}
}

// wake makes t ready and finds an idle vCPU for it. If there is none, and what woke t came from outside the guest (a
// timer, a file of the host), a busy vCPU is asked to reschedule; a guest thread that wakes another is likely to block
// or end its slice soon by itself.
func (k *Kernel) wake(t *Thread) {
	if !guest.Wake(k.vm, t.slot) {
		return
	}
	allowed := t.sched.affinity
	if atomic.LoadUint64(&k.vm.Idle)&allowed != 0 {
		if v := guest.PickIdle(k.vm, allowed); v >= 0 && v < k.cfg.NumCPUs {
			k.machine.WakeIdle(v)
		}
		return
	}
	if now := time.Now(); k.serving.Load() < 0 && now.Sub(k.preempted) > preemptEvery {
		k.preempted = now
		k.preemptNext = (k.preemptNext + 1) % k.cfg.NumCPUs
		if allowed>>k.preemptNext&1 != 0 {
			k.machine.Kick(k.preemptNext)
		}
	}
}

// preemptEvery bounds how often wakes from outside interrupt a busy vCPU.
const preemptEvery = time.Millisecond
