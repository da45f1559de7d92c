package shim

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wantWord checks a lock's word.
func (x *task) wantWord(what string, addr uint64, want uint32) {
	x.w.tb.Helper()
	if got := x.peek32(addr); got != want {
		x.w.tb.Fatalf("%s: the word is %#x, want %#x", what, got, want)
	}
}

// wantBlocked makes a call that has to wait.
func (x *task) wantBlocked(nr uint64, args ...uint64) {
	x.w.tb.Helper()
	if r := x.call(nr, args...); r != blockedResult {
		x.w.tb.Fatalf("call %d%v = %s, want it to wait", nr, args, resultString(r))
	}
}

func (w *world) noPI() {
	w.tb.Helper()
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	if n := len(w.k.futexes.pi); n != 0 {
		w.tb.Errorf("%d locks have waiters", n)
	}
	if n := len(w.k.futexes.objects); n != 0 {
		w.tb.Errorf("%d objects are still numbered", n)
	}
}

// A lock is handed over in the order of arrival; its word says who has it and that others wait.
func TestPIHandOver(t *testing.T) {
	w, x := newWorld(t)
	word := x.poke(0x100, 0)
	a, b := x.cloneThread(0, 0), x.cloneThread(0, 0)
	ta, tb := uint32(a.slot.TID), uint32(b.slot.TID)
	x.wantCall(0, unix.SYS_FUTEX, word, futexLockPI|futexPrivate)
	x.wantWord("taken", word, 1)
	x.wantCall(unix.EDEADLK, unix.SYS_FUTEX, word, futexLockPI|futexPrivate)
	a.wantCall(unix.EPERM, unix.SYS_FUTEX, word, futexUnlockPI|futexPrivate)
	a.wantCall(unix.EAGAIN, unix.SYS_FUTEX, word, futexTrylockPI|futexPrivate)
	a.wantBlocked(unix.SYS_FUTEX, word, futexLockPI|futexPrivate)
	b.wantBlocked(unix.SYS_FUTEX, word, futexLockPI2|futexPrivate)
	x.wantWord("with waiters", word, 1|futexWaiters)
	x.wantCall(0, unix.SYS_FUTEX, word, futexUnlockPI|futexPrivate)
	a.finish(0)
	x.wantWord("handed over", word, ta|futexWaiters)
	if b.tryResume(5 * time.Millisecond) {
		t.Fatal("two have the lock")
	}
	a.wantCall(0, unix.SYS_FUTEX, word, futexUnlockPI|futexPrivate)
	b.finish(0)
	x.wantWord("handed over again", word, tb|futexWaiters)
	w.noPI()
	b.wantCall(0, unix.SYS_FUTEX, word, futexUnlockPI|futexPrivate)
	x.wantWord("free", word, 0)
}

// A wait ends by its time, and a lock whose owner dies goes on with FUTEX_OWNER_DIED.
func TestPITimeAndDeath(t *testing.T) {
	w, x := newWorld(t)
	word := x.poke(0x100, 0)
	a, b := x.cloneThread(0, 0), x.cloneThread(0, 0)
	a.wantCall(0, unix.SYS_FUTEX, word, futexLockPI)
	now := uint64(hostClock(unix.CLOCK_REALTIME)) + 3e6
	until := x.poke(0x200, now/1e9, now%1e9)
	b.wantBlocked(unix.SYS_FUTEX, word, futexLockPI, 0, until)
	b.finish(-int64(unix.ETIMEDOUT))
	w.noPI()
	b.wantBlocked(unix.SYS_FUTEX, word, futexLockPI)
	a.call(unix.SYS_EXIT, 0)
	b.finish(0)
	x.wantWord("inherited", word, uint32(b.slot.TID)|futexWaiters|futexOwnerDied)
	w.noPI()
}

// A program that lies in the word gets an error, and nobody is left waiting in a list.
func TestPIHostileWords(t *testing.T) {
	w, x := newWorld(t)
	word := x.poke(0x100, 4321) // nobody has that number
	x.wantCall(unix.ESRCH, unix.SYS_FUTEX, word, futexLockPI)
	x.wantCall(unix.EFAULT, unix.SYS_FUTEX, 0x1000, futexLockPI)
	x.wantCall(unix.EFAULT, unix.SYS_FUTEX, 0x1000, futexUnlockPI)
	x.wantCall(unix.EINVAL, unix.SYS_FUTEX, word+1, futexLockPI)
	a, b := x.cloneThread(0, 0), x.cloneThread(0, 0)
	word = x.poke(0x100, 1)
	a.wantBlocked(unix.SYS_FUTEX, word, futexLockPI)
	// The word changes behind the waiter's back.
	x.poke(0x100, uint64(b.slot.TID))
	b.wantCall(unix.EINVAL, unix.SYS_FUTEX, word, futexUnlockPI)
	x.wantCall(unix.EPERM, unix.SYS_FUTEX, word, futexUnlockPI)
	x.wantCall(unix.EINVAL, unix.SYS_FUTEX, word, futexLockPI)
	x.poke(0x100, 1|futexWaiters)
	x.wantCall(0, unix.SYS_FUTEX, word, futexUnlockPI)
	a.finish(0)
	w.noPI()
}

// FUTEX_CMP_REQUEUE_PI moves those that wait for it, and for that lock only.
func TestPIRequeue(t *testing.T) {
	w, x := newWorld(t)
	cond, lock := x.poke(0x100, 5), x.poke(0x140, 1)
	a, b := x.cloneThread(0, 0), x.cloneThread(0, 0)
	a.wantBlocked(unix.SYS_FUTEX, cond, futexWaitRequeuePI|futexPrivate, 5, 0, lock)
	b.wantBlocked(unix.SYS_FUTEX, cond, futexWaitRequeuePI|futexPrivate, 5, 0, lock)
	requeue := func(want any, wake, move, to, cmp uint64) {
		t.Helper()
		x.wantCall(want, unix.SYS_FUTEX, cond, futexCmpRequeuePI|futexPrivate, wake, move, to, cmp)
	}
	requeue(unix.EINVAL, 2, 1, lock, 5)
	requeue(unix.EAGAIN, 1, 1, lock, 6)
	requeue(unix.EINVAL, 1, 1, cond, 5)
	requeue(unix.EINVAL, 1, 1, x.poke(0x180, 0), 5)
	requeue(2, 1, 10, lock, 5)
	requeue(0, 1, 10, lock, 5)
	x.wantWord("both wait", lock, 1|futexWaiters)
	x.wantCall(0, unix.SYS_FUTEX, lock, futexUnlockPI|futexPrivate)
	a.finish(0)
	a.wantCall(0, unix.SYS_FUTEX, lock, futexUnlockPI|futexPrivate)
	b.finish(0)
	b.wantCall(0, unix.SYS_FUTEX, lock, futexUnlockPI|futexPrivate)
	// To a free lock: the waiter has it at once. A plain wake is no lock.
	a.wantBlocked(unix.SYS_FUTEX, cond, futexWaitRequeuePI|futexPrivate, 5, 0, lock)
	requeue(1, 1, 0, lock, 5)
	a.finish(0)
	x.wantWord("taken for it", lock, uint32(a.slot.TID))
	b.wantBlocked(unix.SYS_FUTEX, cond, futexWaitRequeuePI|futexPrivate, 5, 0, lock)
	x.wantCall(1, unix.SYS_FUTEX, cond, futexWake|futexPrivate, 1)
	b.finish(-int64(unix.EAGAIN))
	w.noPI()
	w.noFutexes()
}
