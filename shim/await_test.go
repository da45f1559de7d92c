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

// A wait for a child has no goroutine, and is over when the call by which the child ends is: the parent is ready before
// the vCPU goes back to the guest, which can so hand over to it.
func TestWaitEndsInTheChildsCall(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	st := x.poke(0, ^uint64(0))
	before := runtime.NumGoroutine()
	if r := x.call(unix.SYS_WAIT4, uint64(pid), st, 0, 0); r != blockedResult {
		t.Fatalf("wait4 of a living child = %s", resultString(r))
	}
	if n := runtime.NumGoroutine(); n != before {
		t.Errorf("%d goroutines wait, before the call %d", n, before)
	}
	if s := atomic.LoadUint64(&x.slot.State); s != abi.StateBlocked {
		t.Fatalf("the parent's state is %d", s)
	}
	c.call(unix.SYS_EXIT_GROUP, 3)
	if s := atomic.LoadUint64(&x.slot.State); s != abi.StateRun {
		t.Errorf("the child has ended, and the parent's state is %d", s)
	}
	x.finish(int64(pid))
	if got := x.peek32(st); got != 3<<8 {
		t.Errorf("status %#x", got)
	}
}

// Signals from outside and from a sibling interrupt a wait, and a wake that was not for it does not.
func TestWaitInterrupted(t *testing.T) {
	w, x := newWorld(t)
	c, pid := x.fork()
	d, other := x.fork()
	x.action(sig.SIGUSR1, 0x401000, 0, 0)
	for _, kill := range []func(){
		func() { d.wantCall(0, unix.SYS_KILL, 1, sig.SIGUSR1) },
		func() {
			w.k.mu.Lock()
			defer w.k.mu.Unlock()
			w.k.send(x.w.k.init, nil, sig.Kernel(sig.SIGUSR1))
		},
	} {
		if r := x.call(unix.SYS_WAIT4, uint64(pid), 0, 0, 0); r != blockedResult {
			t.Fatalf("wait4 of a living child = %s", resultString(r))
		}
		kill()
		x.resume()
		if x.slot.RIP != 0x401000 {
			t.Fatalf("the handler does not run: RIP %#x, RAX %s", x.slot.RIP, resultString(int64(x.slot.RAX)))
		}
		x.mustCall(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, x.poke(0, 0), 0, 8)
	}
	// The other child's end wakes the queue, and the wait goes on.
	if r := x.call(unix.SYS_WAIT4, uint64(pid), 0, 0, 0); r != blockedResult {
		t.Fatalf("wait4 of a living child = %s", resultString(r))
	}
	d.call(unix.SYS_EXIT_GROUP, 0)
	if s := atomic.LoadUint64(&x.slot.State); s != abi.StateBlocked {
		t.Errorf("the parent waits for another child, and its state is %d", s)
	}
	c.call(unix.SYS_EXIT_GROUP, 0)
	x.finish(int64(pid))
	x.wantCall(other, unix.SYS_WAIT4, uint64(other), 0, 0, 0)
}

// A thread that waits dies with its process, whoever ends that.
func TestWaiterIsKilled(t *testing.T) {
	w, x := newWorld(t)
	p, pid := x.fork()
	p.fork()
	if r := p.call(unix.SYS_WAIT4, ^uint64(0), 0, 0, 0); r != blockedResult {
		t.Fatalf("wait4 of a living child = %s", resultString(r))
	}
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGKILL)
	p.die()
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), 0, 0, 0)

	// And with the VM.
	q, _ := x.fork()
	q.fork()
	if r := q.call(unix.SYS_WAIT4, ^uint64(0), 0, 0, 0); r != blockedResult {
		t.Fatalf("wait4 of a living child = %s", resultString(r))
	}
	w.k.Stop(ExitStatus{Kind: Killed})
	if s := w.status(); s.Kind != Killed {
		t.Errorf("the VM ended with %+v", s)
	}
	c := guest.Call{Kind: abi.KindNote, NR: abi.NoteAttention, Version: abi.Version, Thread: uint64(q.i)}
	if w.k.Call(0, &c); c.Action != abi.ActBlock {
		t.Errorf("action %d after the end", c.Action)
	}
}

// A stop reaches a process whose thread waits, and SIGCONT lets the wait go on.
func TestWaitStopped(t *testing.T) {
	_, x := newWorld(t)
	p, pid := x.fork()
	c, grandchild := p.fork()
	if r := p.call(unix.SYS_WAIT4, ^uint64(0), 0, 0, 0); r != blockedResult {
		t.Fatalf("wait4 of a living child = %s", resultString(r))
	}
	st := x.poke(0, 0)
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGSTOP)
	if r := x.call(unix.SYS_WAIT4, uint64(pid), st, 2 /* WUNTRACED */, 0); r == blockedResult {
		x.finish(int64(pid))
	} else if r != int64(pid) {
		t.Fatalf("wait4 of a stopped child = %s", resultString(r))
	}
	if got := x.peek32(st); got != sig.SIGSTOP<<8|0x7f {
		t.Errorf("status %#x", got)
	}
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGCONT)
	p.resume() // the call is made again
	if nr := p.slot.RAX; nr != unix.SYS_WAIT4 {
		t.Fatalf("RAX %d, want the number of wait4", nr)
	}
	if r := p.call(unix.SYS_WAIT4, ^uint64(0), 0, 0, 0); r != blockedResult {
		t.Fatalf("wait4 after a stop = %s", resultString(r))
	}
	c.call(unix.SYS_EXIT_GROUP, 0)
	p.finish(int64(grandchild))
}
