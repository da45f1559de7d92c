package shim

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"culvert/guest"
	"culvert/guest/futex"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// These tests play ring 0's part of a futex: waiters that the shim knows only from the table.

// noFutexes wants no call to be blocked in the shim on a futex.
func (w *world) noFutexes() {
	w.tb.Helper()
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	if ft := &w.k.futexes; len(ft.waiters) != 0 || len(ft.objects) != 0 {
		w.tb.Errorf("%d futexes and %d objects are left", len(ft.waiters), len(ft.objects))
	}
}

// ringKey is the key of a private futex of x.
func (x *task) ringKey(addr uint64) futex.Key {
	space := structAt[guest.Space](x.w.m.ram, abi.GPA(x.space()-uint64(abi.DirectBase)))
	return futex.Key{Space: space.ID, Offset: addr}
}

// ringWait blocks x in a wait of ring 0 on a private futex.
func (x *task) ringWait(addr, deadline uint64) {
	x.w.tb.Helper()
	x.ringWaitOn(addr, 0, deadline)
}

// ringWaitOn is ringWait on a private futex, or a shared one if shared is futex.Shared.
func (x *task) ringWaitOn(addr, shared, deadline uint64) {
	x.w.tb.Helper()
	ft, key := &x.w.k.futexes, x.ringKey(addr)
	key.Space |= shared
	x.slot.RAX, x.slot.OrigRAX = unix.SYS_FUTEX, unix.SYS_FUTEX
	x.slot.RIP += 2
	x.slot.Wait = guest.Wait{Kind: abi.WaitFutex, File: 1, Addr: addr, Len: 5, Aux: futex.BitsAny, Left: shared, Deadline: deadline}
	b := futex.BucketOf(key)
	if !ft.Lock(b, runtime.Gosched) {
		x.w.tb.Fatal("the bucket is locked")
	}
	ft.Add(uint64(x.i), key, futex.BitsAny, 0)
	ft.Unlock(b)
	atomic.StoreUint64(&x.slot.OnCPU, 0)
	if !atomic.CompareAndSwapUint64(&x.slot.State, abi.StateRun, abi.StateBlocked) {
		x.w.tb.Fatal("woken at once")
	}
}

// ringWake is a wake in ring 0; it returns how many were woken.
func (x *task) ringWake(addr uint64, n int) int {
	ft, key, woken, host := &x.w.k.futexes, x.ringKey(addr), 0, false
	b := futex.BucketOf(key)
	for !ft.Lock(b, runtime.Gosched) {
	}
	for w := ft.Walk(key, futex.BitsAny); woken < n && w.Next(ft.Table); woken++ {
		if ft.Remove(&w) {
			host = true
		} else {
			guest.Wake(x.w.k.vm, slotAt(x.w.m.ram, &x.w.k.cfg.Layout, int(w.Thread)))
		}
	}
	ft.Unlock(b)
	if host {
		x.hypercall(guest.Call{Kind: abi.KindNote, NR: abi.NoteFutex})
	}
	return woken
}

// leaveFutex is futexLeave and futexRetry: a wait ends by a wake or when its time is over. It reports whether it did.
func (x *task) leaveFutex() bool {
	w := &x.slot.Wait
	if w.Kind != abi.WaitFutex {
		return false
	}
	if w.File != 0 {
		w.File = 0
		if x.w.k.futexes.Leave(uint64(x.i), runtime.Gosched) == futex.Woken {
			w.Done = 1
		}
	}
	if atomic.LoadUint64(&x.slot.Attn) != 0 {
		return false
	}
	switch {
	case w.Done != 0:
		x.slot.RAX = 0
	case atomic.LoadUint64(&w.Expired) == w.Deadline:
		x.slot.RAX = errnoResult(unix.ETIMEDOUT)
	default:
		x.w.tb.Error("a spurious wake")
	}
	atomic.StoreUint64(&w.Kind, abi.WaitNone)
	return true
}

// TestFutexBothSides: waiters of ring 0 and of the shim are one queue.
func TestFutexBothSides(t *testing.T) {
	w, x := newWorld(t)
	word, two := x.poke(0x100, 5), x.poke(0x108, 6)
	far := x.poke(0x200, 1000, 0)
	a, b, c, d := x.cloneThread(0, 0), x.cloneThread(0, 0), x.cloneThread(0, 0), x.cloneThread(0, 0)
	const private = futexPrivate
	queue := func() {
		t.Helper()
		a.ringWait(word, guest.Forever)
		b.futexWait(futexWait|private, word, 5, far, 0)
		c.ringWait(word, guest.Forever)
		d.futexWait(futexWait|private, word, 5, 0, 0)
	}
	queue()
	x.wantCall(0, unix.SYS_FUTEX, word, futexWake, 10)
	for _, y := range []*task{a, b, c, d} { // in the order of arrival
		x.wantCall(1, unix.SYS_FUTEX, word, futexWake|private, 1)
		y.finish(0)
	}
	queue()
	for _, y := range []*task{a, b, c, d} {
		if n := x.ringWake(word, 1); n != 1 {
			t.Fatalf("ring 0 woke %d", n)
		}
		y.finish(0)
	}
	queue()
	x.wantCall(unix.EAGAIN, unix.SYS_FUTEX, word, futexCmpRequeue|private, 1, 10, two, 4)
	x.wantCall(4, unix.SYS_FUTEX, word, futexCmpRequeue|private, 1, 10, two, 5)
	a.finish(0)
	if n := x.ringWake(word, 10); n != 0 {
		t.Errorf("ring 0 woke %d that had been moved", n)
	}
	if n := x.ringWake(two, 10); n != 3 {
		t.Errorf("ring 0 woke %d of 3 that had been moved", n)
	}
	b.finish(0)
	c.finish(0)
	d.finish(0)
	queue()
	// *word += 0; word's value is greater than 4, so its waiters are woken twice over.
	x.wantCall(3, unix.SYS_FUTEX, word, futexWakeOp|private, 1, 2, word, 1<<28|4<<24|4)
	a.finish(0)
	b.finish(0)
	c.finish(0)
	if n := x.ringWake(word, 10); n != 1 {
		t.Errorf("ring 0 woke %d", n)
	}
	d.finish(0)
	w.noFutexes()
}

// TestFutexRing0Signal: a signal ends a wait of ring 0, unless a wake came first.
func TestFutexRing0Signal(t *testing.T) {
	_, x := newWorld(t)
	word := x.poke(0x100, 5)
	const soon = 1 << 62
	for name, c := range map[string]struct {
		flags, deadline uint64
		wake            bool
		want            int64
		again           uint64 // the call that starts anew
	}{
		"plain":                {0, guest.Forever, false, -int64(unix.EINTR), 0},
		"restarted":            {SA_RESTART, guest.Forever, false, 0, unix.SYS_FUTEX},
		"time-out":             {SA_RESTART, soon, false, -int64(unix.EINTR), 0},
		"woken, then a signal": {0, guest.Forever, true, 0, 0},
	} {
		a := x.cloneThread(0, 0)
		a.slot.RSP = testBase + 0x90000
		x.action(10, handlerAt, c.flags, 0)
		a.ringWait(word, c.deadline)
		rip := a.slot.RIP
		if c.wake && x.ringWake(word, 1) != 1 {
			t.Errorf("%s: nobody woken", name)
		}
		x.wantCall(0, unix.SYS_TGKILL, 1, a.slot.TID, 10)
		a.resume()
		f := a.inHandler(10)
		rax, ret := int64(f.Regs.RAX), f.Regs.RIP
		if c.again != 0 {
			if uint64(rax) != c.again || ret != rip-2 {
				t.Errorf("%s: RAX %d, RIP %#x from %#x", name, rax, ret, rip)
			}
		} else if rax != c.want || ret != rip {
			t.Errorf("%s: RAX %d, RIP %#x from %#x", name, rax, ret, rip)
		}
		if n := x.ringWake(word, 10); n != 0 {
			t.Errorf("%s: a node is left", name)
		}
		a.call(unix.SYS_EXIT, 0)
	}
}

// TestFutexRing0Join: the end of a thread wakes who waits for it in ring 0, on a futex that is not private; a private futex at
// the same address is another.
func TestFutexRing0Join(t *testing.T) {
	w, x := newWorld(t)
	word := x.poke(0x100, 5)
	a, b, c := x.cloneThread(0, 0), x.cloneThread(0, 0), x.cloneThread(0, 0)
	a.ringWaitOn(word, futex.Shared, guest.Forever)
	b.ringWait(word, guest.Forever)
	c.slot.ClearTID = word
	c.call(unix.SYS_EXIT, 0)
	a.finish(0)
	if v := x.peek32(word); v != 0 {
		t.Errorf("the word is %d", v)
	}
	if s := atomic.LoadUint64(&b.slot.State); s != abi.StateBlocked {
		t.Errorf("the waiter of the private futex is in state %d", s)
	}
	x.wantCall(1, unix.SYS_FUTEX, word, futexWake|futexPrivate, 10)
	b.finish(0)
	w.noFutexes()
}

// TestFutexRing0SharedRestart: a wait that a stop interrupts goes on with the same futex.
func TestFutexRing0SharedRestart(t *testing.T) {
	w, x := newWorld(t)
	c, pid := x.fork()
	word := c.poke(0x100, 5)
	c.ringWaitOn(word, futex.Shared, 1<<62)
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGSTOP)
	if c.tryResume(10 * time.Millisecond) {
		t.Fatal("a stopped thread runs")
	}
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGCONT)
	c.resume()
	if c.slot.RAX != unix.SYS_RESTART_SYSCALL {
		t.Fatalf("rax %d", c.slot.RAX)
	}
	if r := c.call(unix.SYS_RESTART_SYSCALL); r != blockedResult {
		t.Fatalf("the wait ended with %s", resultString(r))
	}
	for shared, queued := range map[uint64]bool{futex.Shared: true, 0: false} {
		key := c.ringKey(word)
		key.Space |= shared
		if walk := w.k.futexes.Walk(key, futex.BitsAny); walk.Next(w.k.futexes.Table) != queued {
			t.Errorf("key %#x: a waiter is not %t", key.Space, queued)
		}
	}
}

// TestFutexRing0Timer: the host's timer ends a wait of ring 0.
func TestFutexRing0Timer(t *testing.T) {
	_, x := newWorld(t)
	word := x.poke(0x100, 5)
	a := x.cloneThread(0, 0)
	at := uint64(hostClock(unix.CLOCK_MONOTONIC)) + 3e6
	a.ringWait(word, at)
	x.hypercall(guest.Call{Kind: abi.KindNote, NR: abi.NoteDeadline, Args: [6]uint64{at}})
	a.finish(-int64(unix.ETIMEDOUT))
	x.wantCall(0, unix.SYS_FUTEX, word, futexWake|futexPrivate, 1)
}

// TestFutexLockHeld: while a vCPU holds a bucket's lock, calls on it wait, and others go on.
func TestFutexLockHeld(t *testing.T) {
	w, x := newWorld(t)
	word := x.poke(0x100, 5)
	a, b, c := x.cloneThread(0, 0), x.cloneThread(0, 0), x.cloneThread(0, 0)
	a.ringWait(word, guest.Forever)
	bucket := futex.BucketOf(x.ringKey(word))
	if !w.k.futexes.Lock(bucket, runtime.Gosched) {
		t.Fatal("the lock is held")
	}
	b.futexWait(futexWait|futexPrivate, word, 5, 0, 0)
	if r := c.call(unix.SYS_FUTEX, word, futexWake|futexPrivate, 1); r != blockedResult {
		t.Fatalf("a wake without the lock: %s", resultString(r))
	}
	x.wantCall(1, unix.SYS_GETPID)
	time.Sleep(time.Millisecond)
	w.noFutexes()
	w.k.futexes.Unlock(bucket)
	c.finish(1)
	a.finish(0)
	for x.ringWake(word, 1) == 0 {
	}
	b.finish(0)
}
