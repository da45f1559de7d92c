package shim

import (
	"runtime"
	"sync/atomic"
	"testing"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// ringSuspend blocks x in a sigsuspend of ring 0.
func (x *task) ringSuspend(next sig.Set) {
	x.w.tb.Helper()
	x.slot.RAX, x.slot.OrigRAX = unix.SYS_RT_SIGSUSPEND, unix.SYS_RT_SIGSUSPEND
	x.slot.RIP += 2
	x.slot.Wait.Aux = x.slot.Mask
	atomic.StoreUint64(&x.slot.Mask, uint64(next))
	atomic.StoreUint64(&x.slot.Wait.Kind, abi.WaitSignal)
	atomic.StoreUint64(&x.slot.OnCPU, 0)
	if !atomic.CompareAndSwapUint64(&x.slot.State, abi.StateRun, abi.StateBlocked) {
		x.w.tb.Fatal("woken at once")
	}
}

// ready reports whether the thread needs nothing but a vCPU to go on in ring 3.
func (x *task) ready() bool {
	s := x.slot
	return atomic.LoadUint64(&s.State) == abi.StateRun && atomic.LoadUint64(&s.Wait.Kind) == abi.WaitNone && atomic.LoadUint64(&s.Attn) == 0
}

// TestRingSuspendEndsInTheSendersCall: a thread that waits in ring 0 has its handler's frame, and need not visit the shim.
func TestRingSuspendEndsInTheSendersCall(t *testing.T) {
	_, x := newWorld(t)
	c, _ := x.fork()
	x.action(sig.SIGUSR1, handlerAt, 0, uint64(sig.Of(sig.SIGUSR2)))
	x.slot.RSP = testBase + 0x9000
	old := sig.Of(sig.SIGUSR1, sig.SIGHUP)
	before := runtime.NumGoroutine()
	for range 3 {
		x.slot.Mask = uint64(old)
		x.ringSuspend(sig.Of(sig.SIGTERM))
		c.wantCall(0, unix.SYS_KILL, 1, sig.SIGTERM)
		if x.ready() || atomic.LoadUint64(&x.slot.State) != abi.StateBlocked {
			t.Fatal("a blocked signal ends the wait")
		}
		c.wantCall(0, unix.SYS_KILL, 1, sig.SIGUSR1)
		if !x.ready() {
			t.Fatalf("after kill: state %d, record %d, attention %d", x.slot.State, x.slot.Wait.Kind, x.slot.Attn)
		}
		f := x.inHandler(sig.SIGUSR1)
		if f.Mask != old || int64(f.Regs.RAX) != -int64(unix.EINTR) {
			t.Errorf("mask %#x, rax %s", f.Mask, resultString(int64(f.Regs.RAX)))
		}
		if m := x.thread().mask(); m != sig.Of(sig.SIGTERM, sig.SIGUSR1, sig.SIGUSR2) {
			t.Errorf("mask in the handler %#x", m)
		}
		x.resume()
		x.mustCall(unix.SYS_RT_SIGTIMEDWAIT, x.poke(0x100, uint64(sig.Of(sig.SIGTERM))), 0, 0, 8)
		x.sigreturn()
	}
	if n := runtime.NumGoroutine(); n != before {
		t.Errorf("%d goroutines, before %d", n, before)
	}
}

// TestRingSuspendOverflow: no frame fits, and the sender's call is the one in which the other process ends.
func TestRingSuspendOverflow(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	c.action(sig.SIGUSR1, handlerAt, 0, 0)
	c.slot.RSP = 0x10
	c.ringSuspend(0)
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGUSR1)
	c.die()
	st := x.poke(0x200, 0)
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), st, 0, 0)
	if v := x.peek32(st) & 0x7f; v != sig.SIGSEGV {
		t.Errorf("ended by %d", v)
	}
}

// TestRingSuspendKilled: SIGKILL ends a thread that waits in ring 0.
func TestRingSuspendKilled(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	c.ringSuspend(^sig.Set(0) &^ sig.Unblockable)
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGKILL)
	c.die()
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), 0, 0, 0)
}

// TestRingSuspendStopped: a stop and SIGCONT have the call made again, with the mask from before it meanwhile.
func TestRingSuspendStopped(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	old := sig.Of(sig.SIGUSR2)
	c.slot.Mask = uint64(old)
	rip := c.slot.RIP
	c.ringSuspend(0)
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGSTOP)
	if r := x.call(unix.SYS_WAIT4, uint64(pid), 0, unix.WUNTRACED, 0); r == blockedResult {
		x.finish(int64(pid))
	}
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGCONT)
	c.resume()
	if c.slot.RAX != unix.SYS_RT_SIGSUSPEND || c.slot.RIP != rip || c.thread().mask() != old {
		t.Errorf("rax %d, rip %+d, mask %#x", c.slot.RAX, int64(c.slot.RIP-rip), c.thread().mask())
	}
}

// TestRingSuspendAttention: a signal came after the thread had decided to wait and before its record was there, so that it is
// its own visit to the shim that ends the wait.
func TestRingSuspendAttention(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	x.action(sig.SIGUSR1, handlerAt, 0, 0)
	c.action(sig.SIGUSR1, handlerAt, 0, 0)
	c.slot.RSP = testBase + 0x9000
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGUSR1)
	c.slot.OrigRAX = unix.SYS_PAUSE
	c.slot.Wait.Aux = c.slot.Mask
	c.slot.Wait.Kind = abi.WaitSignal
	if !c.hypercall(guest.Call{Kind: abi.KindNote, NR: abi.NoteAttention}) {
		t.Fatal("the thread lost its vCPU")
	}
	if f := c.inHandler(sig.SIGUSR1); f.Mask != 0 || int64(f.Regs.RAX) != -int64(unix.EINTR) || c.slot.Wait.Kind != abi.WaitNone {
		t.Errorf("mask %#x, rax %s, record %d", f.Mask, resultString(int64(f.Regs.RAX)), c.slot.Wait.Kind)
	}
}

// TestRestartIsForgotten: ring 0 is told what a return from a handler has to forget.
func TestRestartIsForgotten(t *testing.T) {
	_, x := newWorld(t)
	c, _ := x.fork()
	x.action(sig.SIGUSR1, handlerAt, 0, 0)
	x.slot.RSP = testBase + 0x9000
	if r := x.call(unix.SYS_NANOSLEEP, x.poke(0x100, 100, 0), 0); r != blockedResult {
		t.Fatal("nanosleep returned")
	}
	c.wantCall(0, unix.SYS_KILL, 1, sig.SIGUSR1)
	x.resume()
	x.inHandler(sig.SIGUSR1)
	if x.slot.Restart != 1 {
		t.Error("ring 0 does not know of restart_syscall")
	}
	x.sigreturn()
	if x.slot.Restart != 0 {
		t.Error("ring 0 is not told that there is nothing left to restart")
	}
	x.wantCall(unix.EINTR, unix.SYS_RESTART_SYSCALL)
}

// TestStackIsPublished: ring 0 compares frames with the stack that the thread has.
func TestStackIsPublished(t *testing.T) {
	_, x := newWorld(t)
	same := func(what string) {
		t.Helper()
		have, want := x.slot.AltStack, x.thread().altstack
		if have.SP != want.SP || have.Flags != want.Flags || have.Size != want.Size {
			t.Errorf("%s: %+v, not %+v", what, have, want)
		}
	}
	same("at first")
	x.wantCall(0, unix.SYS_SIGALTSTACK, x.poke(0x100, testBase+0x20000, sig.SS_AUTODISARM, 0x4000), 0)
	same("set")
	x.action(sig.SIGUSR1, handlerAt, SA_ONSTACK, 0)
	x.slot.RSP = testBase + 0x9000
	x.call(unix.SYS_KILL, 1, sig.SIGUSR1)
	x.inHandler(sig.SIGUSR1)
	if x.slot.AltStack.Flags != sig.SS_DISABLE {
		t.Errorf("in a handler that disarmed the stack: %+v", x.slot.AltStack)
	}
	same("disarmed")
	x.sigreturn()
	same("armed again")
	if x.slot.AltStack.Size != 0x4000 {
		t.Errorf("after the handler: %+v", x.slot.AltStack)
	}
}

// TestSigwaitEndsInTheSendersCall: sigtimedwait without a time-out has no goroutine, and what it returns is there when the sender's
// call is over. Another signal interrupts it, and is not taken.
func TestSigwaitEndsInTheSendersCall(t *testing.T) {
	_, x := newWorld(t)
	c, _ := x.fork()
	x.action(sig.SIGUSR1, handlerAt, 0, 0)
	x.slot.RSP = testBase + 0x9000
	want := sig.Of(sig.SIGTERM, 40)
	set, info := x.poke(0x100, uint64(want)), testBase+0x200
	x.wantCall(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, set, 0, 8)
	before := runtime.NumGoroutine()
	wait := func() {
		t.Helper()
		if r := x.call(unix.SYS_RT_SIGTIMEDWAIT, set, uint64(info), 0, 8); r != blockedResult {
			t.Fatalf("sigtimedwait returned %s", resultString(r))
		}
		if n := runtime.NumGoroutine(); n != before {
			t.Errorf("%d goroutines, before %d", n, before)
		}
	}
	wait()
	c.wantCall(0, unix.SYS_KILL, 1, sig.SIGTERM)
	if !x.ready() || x.slot.RAX != sig.SIGTERM || x.peek32(uint64(info)) != sig.SIGTERM {
		t.Errorf("after kill: record %d, rax %s", x.slot.Wait.Kind, resultString(int64(x.slot.RAX)))
	}
	x.finish(sig.SIGTERM)
	wait()
	c.wantCall(0, unix.SYS_KILL, 1, sig.SIGUSR1)
	x.resume()
	if f := x.inHandler(sig.SIGUSR1); int64(f.Regs.RAX) != -int64(unix.EINTR) {
		t.Errorf("rax %s", resultString(int64(f.Regs.RAX)))
	}
	// The signals that were waited for are blocked again.
	c.wantCall(0, unix.SYS_KILL, 1, sig.SIGTERM)
	if !x.attend() || x.thread().pending.Set()|x.thread().p.pending.Set() != sig.Of(sig.SIGTERM) {
		t.Error("a signal was taken that nobody waits for any more")
	}
}
