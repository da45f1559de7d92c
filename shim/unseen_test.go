package shim

import (
	"fmt"
	"sync/atomic"
	"testing"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// dieUnseen is what sysExit of package guest does, up to where the thread leaves its slot.
func (x *task) dieUnseen() {
	atomic.StoreUint64(&x.slot.RobustList, 0)
	atomic.StoreUint64(&x.slot.ClearTID, 0)
	atomic.StoreUint64(&x.slot.State, abi.StateDead)
	atomic.AddUint64(&x.w.k.vm.Dead, 1)
}

// leaveSlot is the rest.
func (x *task) leaveSlot() {
	atomic.StoreUint64(&x.slot.OnCPU, 0)
	x.gone = true
}

func (x *task) unseen() bool { return atomic.LoadUint64(&x.slot.Unseen) != 0 }

// TestUnseenEnd: a thread that ended in ring 0 is gone for whoever asks, and its slot is free when ring 0 has left it.
func TestUnseenEnd(t *testing.T) {
	w, x := newWorld(t)
	y := x.cloneThread(0, 0)
	tid := y.slot.TID
	space := w.k.threads[int(tid)].mm
	users := space.users
	x.wantCall(0, unix.SYS_TKILL, tid, 0)
	y.dieUnseen()
	x.wantCall(unix.ESRCH, unix.SYS_TKILL, tid, 0)
	if w.k.isFree(y.i) {
		t.Error("the slot is free before ring 0 has left it")
	}
	y.leaveSlot()
	x.mustCall(unix.SYS_GETPID)
	if !w.k.isFree(y.i) || len(w.k.unburied) != 0 {
		t.Errorf("the slot's state is %d, %d threads are not buried", y.slot.State, len(w.k.unburied))
	}
	if space.users != users-1 {
		t.Errorf("%d users of the memory, there were %d", space.users, users)
	}
	for range 3 * testThreads {
		z := x.cloneThread(0, 0)
		z.dieUnseen()
		z.leaveSlot()
	}
}

// TestUnseenCallsAfterAll: ring 0 took the death back, when the shim had seen it already.
func TestUnseenCallsAfterAll(t *testing.T) {
	w, x := newWorld(t)
	y := x.cloneThread(0, 0)
	y.dieUnseen()
	x.mustCall(unix.SYS_GETPID)
	atomic.StoreUint64(&y.slot.State, abi.StateRun)
	if r := y.call(unix.SYS_EXIT, 0); r != blockedResult || !y.gone {
		t.Fatalf("exit = %s", resultString(r))
	}
	x.mustCall(unix.SYS_GETPID)
	if !w.k.isFree(y.i) || len(w.k.unburied) != 0 || w.ended() {
		t.Errorf("the slot's state is %d, %d threads are not buried, %+v", y.slot.State, len(w.k.unburied), w.k.exit)
	}
}

// TestUnseenSignal: a signal that was for a thread which dies before it sees that goes to another.
func TestUnseenSignal(t *testing.T) {
	w, x := newWorld(t)
	x.action(sig.SIGUSR1, 0x400100, 0, 0)
	y, z := x.cloneThread(0, 0), x.cloneThread(0, 0)
	for _, blocks := range []*task{x, z} {
		blocks.wantCall(0, unix.SYS_RT_SIGPROCMASK, 0, x.poke(0x100, 1<<(sig.SIGUSR1-1)), 0, 8)
	}
	other := z.thread()
	func() {
		w.k.mu.Lock()
		defer w.k.mu.Unlock()
		w.k.send(other.p, nil, sig.User(sig.SIGUSR1, sig.SI_USER, 0, 0))
		if atomic.LoadUint64(&y.slot.Attn) == 0 || atomic.LoadUint64(&z.slot.Attn) != 0 {
			t.Fatal("the signal is not for the only thread that takes it")
		}
		other.storeMask(0)
		y.dieUnseen()
	}()
	y.leaveSlot()
	if !z.attend() || z.slot.RIP != 0x400100 {
		t.Errorf("the other thread is at %#x, not in the handler", z.slot.RIP)
	}
}

// TestUnseenOnlyIfNobodyMinds: which threads have to call when they end.
func TestUnseenOnlyIfNobodyMinds(t *testing.T) {
	_, x := newWorld(t)
	want := func(what string, y *task, unseen bool) {
		t.Helper()
		if y.unseen() != unseen {
			t.Errorf("%s: ends unseen: %v", what, !unseen)
		}
	}
	want("the first thread", x, false)
	a, b, c := x.cloneThread(0, 0), x.cloneThread(0, 0), x.cloneThread(0, 0)
	want("another", a, true)
	child, _ := a.fork()
	want("who has a child", a, false)
	want("the child", child, false)
	d := child.cloneThread(0, 0)
	want("a thread of the child", d, true)
	word := x.poke(0x100, b.slot.TID)
	if r := c.call(unix.SYS_FUTEX, word, futexLockPI, 0, 0); r != blockedResult {
		t.Fatalf("lock = %s", resultString(r))
	}
	want("who owns a lock that another waits for", b, false)
	b.wantCall(0, unix.SYS_FUTEX, word, futexUnlockPI)
	c.finish(0)
	want("who got the lock", c, false)
	e := x.cloneThread(0, 0)
	want("a new one", e, true)
	e.wantCall(0, unix.SYS_UNSHARE, unix.CLONE_FILES)
	want("who has files of its own", e, false)
	f := e.cloneThread(0, 0)
	want("who shares them", f, false)
	if child.call(unix.SYS_EXIT, 0) != blockedResult {
		t.Fatal("exit returned")
	}
	want("who is left when the first has ended", d, false)
	want("who comes after that", d.cloneThread(0, 0), false)
}

// TestUnseenLast: the first thread ends while another dies, which is then the last.
func TestUnseenLast(t *testing.T) {
	_, x := newWorld(t)
	child, pid := x.fork()
	y := child.cloneThread(0, 0)
	y.slot.RDI = 7
	if child.call(unix.SYS_EXIT, 3) != blockedResult {
		t.Fatal("exit returned")
	}
	y.dieUnseen()
	y.leaveSlot()
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), testBase+0x200, unix.WNOHANG, 0)
	if got := x.peek32(testBase + 0x200); got != 7<<8 {
		t.Errorf("status %#x", got)
	}
}

// TestUnseenHostile: ring 0 may not end threads that have to call first.
func TestUnseenHostile(t *testing.T) {
	for name, pick := range map[string]func(x, y *task) *task{
		"the first thread": func(x, _ *task) *task { return x },
		"a thread whose call waits": func(_, y *task) *task {
			y.call(unix.SYS_PAUSE)
			return y
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, x := newWorld(t)
			y := x.cloneThread(0, 0)
			pick(x, y).dieUnseen()
			w.k.Call(1, &guest.Call{Version: abi.Version, Kind: abi.KindNote, NR: abi.NoteDeadline})
			s := w.status()
			if _, ok := s.Err.(*HostileError); s.Kind != VMMError || !ok {
				t.Errorf("ended with %s", fmt.Sprint(s))
			}
		})
	}
}
