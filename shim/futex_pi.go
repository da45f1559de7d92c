package shim

import (
	"slices"
	"time"

	"culvert/guest/futex"

	"golang.org/x/sys/unix"
)

// Futexes with priority inheritance (kernel/futex/pi.c, requeue.c). All threads have the same priority here, so nothing is
// inherited; what remains is a lock that the kernel hands over, in the order of arrival, with its word:
//
//	0                     free
//	tid                   held; its owner gives it up without the kernel
//	tid|FUTEX_WAITERS     held, and its owner has to call: there may be waiters
//	...|FUTEX_OWNER_DIED  an owner has died with the lock since somebody last gave it up
//
// Kernel.mu guards everything here; only the words change under it.

// piLock is a lock that threads wait for; without waiters there is none. Its owner is the thread that the word names.
type piLock struct {
	word    futexWord // holds a reference
	owner   *Thread
	waiters []*piWaiter // in the order of arrival
}

// piWaiter is a thread that waits for a lock, or for a requeue to one (FUTEX_WAIT_REQUEUE_PI).
type piWaiter struct {
	t      *Thread
	addr   uint64 // of the lock's word, in the thread's memory
	target futex.Key
	lock   *piLock // nil: not waiting for the lock, or not any more
	owns   bool    // the lock was handed over
	queue  Queue
}

// wait waits for the lock; err is why the wait ended without it.
func (pw *piWaiter) wait(w *Waiter, deadline time.Time) error {
	for !pw.owns {
		if err := w.Sleep(deadline, &pw.queue); err != nil && !pw.owns {
			pw.t.k.futexes.piLeave(pw)
			return err
		}
	}
	return nil
}

// piJoin makes pw wait for the lock, which owner holds.
func (ft *futexTable) piJoin(pw *piWaiter, word futexWord, owner *Thread) {
	l := ft.pi[word.key]
	if l == nil {
		ft.hold(word.object)
		l = &piLock{word: word, owner: owner}
		isSeen(owner.slot)
		ft.pi[word.key] = l
	}
	pw.lock = l
	l.waiters = append(l.waiters, pw)
}

// piLeave ends a wait.
func (ft *futexTable) piLeave(pw *piWaiter) {
	l := pw.lock
	if l == nil {
		return
	}
	pw.lock = nil
	l.waiters = slices.DeleteFunc(l.waiters, func(x *piWaiter) bool { return x == pw })
	if len(l.waiters) == 0 {
		delete(ft.pi, l.word.key)
		ft.drop(l.word.object)
	}
}

// piGive makes the first waiter of a lock its owner. Its word is the caller's to change.
func (ft *futexTable) piGive(l *piLock) {
	next := l.waiters[0]
	l.owner = next.t
	isSeen(next.t.slot)
	ft.piLeave(next)
	next.owns = true
	next.queue.Wake()
}

// piAcquire takes the lock at addr, in t's memory, for a thread (futex_lock_pi_atomic). owner is who holds it otherwise;
// FUTEX_WAITERS is set then. Preconditions: its page is present.
func (t *Thread) piAcquire(word futexWord, addr uint64, taker *Thread, waiters bool) (owner *Thread, err error) {
	l := t.k.futexes.pi[word.key]
	for range casTries {
		v, err := t.mm.LoadUint32(addr)
		if err != nil {
			return nil, t.k.memError(err)
		}
		held := int(v & futexTIDMask)
		now := v | futexWaiters
		switch {
		case held == taker.tid:
			return nil, unix.EDEADLK
		case l != nil && held != l.owner.tid:
			return nil, unix.EINVAL // the program changed it behind the waiters' backs
		case l == nil && held == 0:
			if now = v&futexOwnerDied | uint32(taker.tid); waiters {
				now |= futexWaiters
			}
		}
		was, err := t.mm.CompareAndSwapUint32(addr, v, now)
		switch {
		case err != nil:
			return nil, t.k.memError(err)
		case was != v:
			continue
		case held == 0:
			return nil, nil
		}
		if owner = t.k.threads[held]; owner == nil {
			return nil, unix.ESRCH
		}
		return owner, nil
	}
	return nil, unix.EAGAIN
}

// piLockCall is FUTEX_LOCK_PI, FUTEX_LOCK_PI2 and FUTEX_TRYLOCK_PI.
func (t *Thread) piLockCall(addr uint64, private, try bool, deadline time.Time) (uint64, error) {
	word, err := t.futexWord(addr, private)
	if err != nil {
		return 0, err
	}
	ft := &t.k.futexes
	defer ft.drop(word.object)
	owner, err := t.piAcquire(word, addr, t, false)
	switch {
	case err != nil:
		return 0, err
	case owner == nil:
		return 0, nil
	case try:
		return 0, unix.EAGAIN
	}
	pw := &piWaiter{t: t, addr: addr}
	ft.piJoin(pw, word, owner)
	return t.Block(func(w *Waiter) (uint64, error) {
		switch err := pw.wait(w, deadline); err {
		case errTimeout:
			return 0, unix.ETIMEDOUT
		case ERESTARTSYS:
			return 0, ERESTARTNOINTR
		default:
			return 0, err
		}
	})
}

// piUnlockCall is FUTEX_UNLOCK_PI.
func (t *Thread) piUnlockCall(addr uint64, private bool) (uint64, error) {
	// Before the word itself: a caller that does not own it learns that, whatever else is wrong.
	if v, err := t.mm.LoadUint32(addr); err != nil {
		return 0, t.k.memError(err)
	} else if int(v&futexTIDMask) != t.tid {
		return 0, unix.EPERM
	}
	word, err := t.futexWord(addr, private)
	if err != nil {
		return 0, err
	}
	ft := &t.k.futexes
	defer ft.drop(word.object)
	l := ft.pi[word.key]
	now := uint32(0)
	if l != nil {
		if l.owner != t {
			return 0, unix.EINVAL
		}
		now = futexWaiters | uint32(l.waiters[0].t.tid)
	}
	for range casTries {
		v, err := t.mm.LoadUint32(addr)
		if err != nil {
			return 0, t.k.memError(err)
		}
		if int(v&futexTIDMask) != t.tid {
			return 0, unix.EINVAL
		}
		was, err := t.mm.CompareAndSwapUint32(addr, v, now)
		switch {
		case err != nil:
			return 0, t.k.memError(err)
		case was != v:
			continue
		case l != nil:
			ft.piGive(l)
		}
		return 0, nil
	}
	return 0, unix.EAGAIN
}

// releasePI hands the locks that a dead thread holds to those who wait for them (exit_pi_state_list).
func (t *Thread) releasePI() {
	ft := &t.k.futexes
	var held []*piLock
	for _, l := range ft.pi {
		if l.owner == t {
			held = append(held, l)
		}
	}
	for _, l := range held {
		next := l.waiters[0]
		// In the waiter's memory: the dead thread's may be another.
		_ = next.t.changeWord(next.addr, func(v uint32) uint32 {
			return v&futexOwnerDied | futexOwnerDied | futexWaiters | uint32(next.t.tid)
		}) // a waiter without that memory has the lock all the same
		ft.piGive(l)
	}
}

// piRequeueWait is FUTEX_WAIT_REQUEUE_PI: it waits at c.addr until another thread moves it to the lock at addr2 and the lock
// is its own.
func (t *Thread) piRequeueWait(c futexCall, addr2 uint64) (uint64, error) {
	if c.addr == addr2 || c.bits == 0 {
		return 0, unix.EINVAL
	}
	word, err := t.futexWord(addr2, c.private)
	if err != nil {
		return 0, err
	}
	pw := &piWaiter{t: t, addr: addr2, target: word.key}
	return t.futexBlock(c, &futexWaiter{pi: pw}, func(w *Waiter, err error) (uint64, error) {
		defer t.k.futexes.drop(word.object)
		moved := pw.lock != nil || pw.owns
		if err == nil && moved {
			err = pw.wait(w, c.deadline)
		} else if err == nil {
			err = unix.EAGAIN // a plain wake
		} else if moved {
			t.k.futexes.piLeave(pw)
		}
		switch err {
		case errTimeout:
			return 0, unix.ETIMEDOUT
		case ERESTARTSYS:
			if moved {
				return 0, unix.EAGAIN // the word at c.addr has changed since
			}
			return 0, ERESTARTNOINTR
		}
		return 0, err
	})
}

// piRequeue is FUTEX_CMP_REQUEUE_PI: the first waiter at addr gets the lock at addr2 if that is free, the others, up to
// move, wait for it.
func (t *Thread) piRequeue(addr, addr2 uint64, private bool, wake, move, cmp uint32) (uint64, error) {
	if wake != 1 || int32(move) < 0 || addr == addr2 {
		return 0, unix.EINVAL
	}
	return t.retryBusy(func() (uint64, error) {
		// Both pages are made present before the locks are taken.
		if _, err := t.mm.LoadUint32(addr); err != nil {
			return 0, t.k.memError(err)
		}
		if err := t.changeWord(addr2, func(v uint32) uint32 { return v }); err != nil {
			return 0, err
		}
		from, to, done, err := t.futexPair(addr, addr2, private)
		if err != nil {
			return 0, err
		}
		defer done()
		have, err := t.mm.LoadUint32(addr)
		if err != nil {
			return 0, t.k.memError(err)
		}
		if have != cmp {
			return 0, unix.EAGAIN
		}
		return t.piMove(from, to, addr2, int(move)+1)
	})
}

// piMove moves up to n waiters of from to the lock to. Preconditions: their buckets are locked.
func (t *Thread) piMove(from, to futexWord, addr2 uint64, n int) (uint64, error) {
	ft := &t.k.futexes
	moved := uint64(0)
	for w := ft.Walk(from.key, futex.BitsAny); moved < uint64(n) && w.Next(ft.Table); {
		f := ft.waiters[w.Thread]
		if f == nil || f.pi == nil || f.pi.target != to.key {
			return moved, piMoved(moved, unix.EINVAL)
		}
		owner, err := t.piAcquire(to, addr2, f.pi.t, n > 1)
		if err != nil {
			return moved, piMoved(moved, err)
		}
		ft.Remove(&w)
		if owner == nil {
			f.pi.owns = true
		} else {
			ft.piJoin(f.pi, to, owner)
		}
		f.queue.Wake()
		moved++
	}
	return moved, nil
}

// piMoved is the error of a requeue that has moved some: what was done counts.
func piMoved(moved uint64, err error) error {
	if moved > 0 {
		return nil
	}
	return err
}
