package shim

import (
	"encoding/binary"
	"runtime"
	"time"

	"culvert/guest/futex"

	"golang.org/x/sys/unix"
)

// futexCalls are the rows of the calls on futexes.
func futexCalls() []Syscall {
	return []Syscall{
		{unix.SYS_FUTEX, "futex", sysFutex, Full, "there are no priorities to inherit: locks of FUTEX_LOCK_PI go to who came first", "waiters on the word"},
		{unix.SYS_FUTEX_WAITV, "futex_waitv", sysAbsent, None, "ENOSYS: a thread waits on one word", "constant"},
		{unix.SYS_FUTEX_WAKE, "futex_wake", sysAbsent, None, "ENOSYS", "constant"},
		{unix.SYS_FUTEX_WAIT, "futex_wait", sysAbsent, None, "ENOSYS", "constant"},
		{unix.SYS_FUTEX_REQUEUE, "futex_requeue", sysAbsent, None, "ENOSYS", "constant"},
		{unix.SYS_SET_ROBUST_LIST, "set_robust_list", sysSetRobustList, Full, "", "2048 locks at the thread's end"},
		{unix.SYS_GET_ROBUST_LIST, "get_robust_list", sysGetRobustList, Full, "", "constant"},
	}
}

// Operations and flags of futex(2) (include/uapi/linux/futex.h).
const (
	futexWait       = 0
	futexWake       = 1
	futexRequeue    = 3
	futexCmpRequeue = 4
	futexWakeOp     = 5
	futexWaitBitset = 9
	futexWakeBitset = 10

	futexLockPI        = 6
	futexUnlockPI      = 7
	futexTrylockPI     = 8
	futexWaitRequeuePI = 11
	futexCmpRequeuePI  = 12
	futexLockPI2       = 13

	futexPrivate  = 128
	futexRealtime = 256

	futexWaiters   = 0x80000000
	futexOwnerDied = 0x40000000
	futexTIDMask   = 0x3fffffff
)

// futexCall is a FUTEX_WAIT: wait on the word at addr while it is val.
type futexCall struct {
	addr     uint64
	private  bool
	val      uint32
	bits     uint32
	deadline time.Time // zero is none
}

func sysFutex(t *Thread, a Args) (uint64, error) {
	op := a.int32(1)
	cmd := op &^ (futexPrivate | futexRealtime)
	private := op&futexPrivate != 0
	addr, val, addr2, val3 := a[0], uint32(a[2]), a[4], uint32(a[5])
	if op&futexRealtime != 0 && cmd != futexWaitBitset && cmd != futexWaitRequeuePI && cmd != futexLockPI2 {
		return 0, unix.ENOSYS
	}
	bits := uint32(futex.BitsAny)
	switch cmd {
	case futexWait, futexWaitBitset:
		if cmd == futexWaitBitset {
			bits = val3
		}
		deadline, err := t.futexDeadline(a[3], cmd == futexWaitBitset, op&futexRealtime != 0)
		if err != nil {
			return 0, err
		}
		return t.futexWait(futexCall{addr, private, val, bits, deadline})
	case futexWake, futexWakeBitset:
		if cmd == futexWakeBitset {
			bits = val3
		}
		return t.futexWake(addr, private, val, bits)
	case futexRequeue:
		return t.futexRequeue(addr, addr2, private, val, uint32(a[3]), nil)
	case futexCmpRequeue:
		return t.futexRequeue(addr, addr2, private, val, uint32(a[3]), &val3)
	case futexWakeOp:
		return t.futexWakeOp(addr, addr2, private, val, uint32(a[3]), val3)
	case futexLockPI, futexLockPI2:
		deadline, err := t.futexDeadline(a[3], true, cmd == futexLockPI || op&futexRealtime != 0)
		if err != nil {
			return 0, err
		}
		return t.piLockCall(addr, private, false, deadline)
	case futexTrylockPI:
		return t.piLockCall(addr, private, true, time.Time{})
	case futexUnlockPI:
		return t.piUnlockCall(addr, private)
	case futexWaitRequeuePI:
		deadline, err := t.futexDeadline(a[3], true, op&futexRealtime != 0)
		if err != nil {
			return 0, err
		}
		return t.piRequeueWait(futexCall{addr, private, val, bits, deadline}, addr2)
	case futexCmpRequeuePI:
		return t.piRequeue(addr, addr2, private, val, uint32(a[3]), val3)
	}
	return 0, unix.ENOSYS
}

// futexDeadline reads the time-out of a wait: relative for FUTEX_WAIT, absolute for FUTEX_WAIT_BITSET.
func (t *Thread) futexDeadline(addr uint64, absolute, realtime bool) (time.Time, error) {
	if addr == 0 {
		return time.Time{}, nil
	}
	d, err := t.readTimespec(addr)
	if err != nil {
		return time.Time{}, err
	}
	if absolute {
		clock := int32(unix.CLOCK_MONOTONIC)
		if realtime {
			clock = unix.CLOCK_REALTIME
		}
		d -= time.Duration(hostClock(clock))
	}
	return time.Now().Add(d), nil
}

// futexWait is futex_wait.
func (t *Thread) futexWait(c futexCall) (uint64, error) {
	if c.bits == 0 {
		return 0, unix.EINVAL
	}
	return t.futexBlock(c, &futexWaiter{}, func(_ *Waiter, err error) (uint64, error) {
		switch {
		case err == errTimeout:
			return 0, unix.ETIMEDOUT
		case err == ERESTARTSYS && !c.deadline.IsZero():
			t.goOnBy(func(t *Thread, _ Args) (uint64, error) { return t.futexWait(c) })
			return 0, ERESTART_RESTARTBLOCK
		}
		return 0, err
	})
}

// futexBlock queues the thread and waits; end makes of the wait's outcome, nil if it was woken, what the call returns. It
// is called once, unless the call does not wait at all.
func (t *Thread) futexBlock(c futexCall, f *futexWaiter, end func(w *Waiter, err error) (uint64, error)) (uint64, error) {
	err := t.futexAdd(f, &c)
	if err != nil && err != errBusy {
		return 0, err
	}
	if err == nil && f.pi == nil && c.deadline.IsZero() {
		return t.AwaitOr(&f.queue, func() (uint64, error) {
			if t.k.futexes.Queued(uint64(t.index)) {
				return 0, errWait
			}
			t.futexLeft(f)
			return end(nil, nil)
		}, func(w *Waiter) (uint64, error) { return end(w, t.futexSleep(w, f, c.deadline)) })
	}
	return t.Block(func(w *Waiter) (uint64, error) {
		for err == errBusy {
			w.Unlocked(nil, func() { time.Sleep(busyPause) })
			if err := w.interrupted(false); err != nil {
				return end(w, err)
			}
			err = t.futexAdd(f, &c)
		}
		if err != nil {
			return end(w, err)
		}
		return end(w, t.futexSleep(w, f, c.deadline))
	})
}

// futexAdd queues the thread if the word has the expected value. The word is loaded twice: the first time makes its
// page present, so that the second, under the lock, does not wait.
func (t *Thread) futexAdd(f *futexWaiter, c *futexCall) error {
	ft := &t.k.futexes
	word, err := t.futexWord(c.addr, c.private)
	if err != nil {
		return err
	}
	queued := false
	defer func() {
		if !queued {
			ft.drop(word.object)
		}
	}()
	if _, err := t.mm.LoadUint32(c.addr); err != nil {
		return t.k.memError(err)
	}
	b := futex.BucketOf(word.key)
	if err := ft.lock(b, b); err != nil {
		return err
	}
	defer ft.unlock(b, b)
	have, err := t.mm.LoadUint32(c.addr)
	if err != nil {
		return t.k.memError(err)
	}
	if have != c.val {
		return unix.EAGAIN
	}
	queued = true
	f.object = word.object
	ft.waiters[uint64(t.index)] = f
	ft.Add(uint64(t.index), word.key, uint64(c.bits), 1)
	return nil
}

// futexSleep waits until the thread, which is queued, is woken.
func (t *Thread) futexSleep(w *Waiter, f *futexWaiter, deadline time.Time) error {
	ft, slot := &t.k.futexes, uint64(t.index)
	defer t.futexLeft(f)
	for ft.Queued(slot) {
		err := w.Sleep(deadline, &f.queue)
		if err == nil {
			continue
		}
		left := ft.Leave(slot, runtime.Gosched)
		for left == futex.Busy && !t.k.ended {
			w.Unlocked(nil, func() { time.Sleep(busyPause) })
			left = ft.Leave(slot, runtime.Gosched)
		}
		if left == futex.Woken && err != errKilled {
			return nil
		}
		return err
	}
	return nil
}

// futexLeft ends what the shim keeps of a thread that was queued.
func (t *Thread) futexLeft(f *futexWaiter) {
	ft := &t.k.futexes
	delete(ft.waiters, uint64(t.index))
	ft.drop(f.object)
}

// futexWake is futex_wake. As in Linux, a count of 0 or less wakes one.
func (t *Thread) futexWake(addr uint64, private bool, n, bits uint32) (uint64, error) {
	if bits == 0 {
		return 0, unix.EINVAL
	}
	return t.retryBusy(func() (uint64, error) { return t.futexWakeOf(addr, private, max(int(int32(n)), 1), bits) })
}

// futexPair finds two words and locks their buckets; done undoes both.
func (t *Thread) futexPair(addr, addr2 uint64, private bool) (one, two futexWord, done func(), err error) {
	ft := &t.k.futexes
	if one, err = t.futexWord(addr, private); err != nil {
		return one, two, nil, err
	}
	if two, err = t.futexWord(addr2, private); err != nil {
		ft.drop(one.object)
		return one, two, nil, err
	}
	drop := func() {
		ft.drop(one.object)
		ft.drop(two.object)
	}
	a, b := futex.BucketOf(one.key), futex.BucketOf(two.key)
	if err = ft.lock(a, b); err != nil {
		drop()
		return one, two, nil, err
	}
	return one, two, func() { ft.unlock(a, b); drop() }, nil
}

// futexRequeue is futex_requeue without priority inheritance.
func (t *Thread) futexRequeue(addr, addr2 uint64, private bool, wake, move uint32, cmp *uint32) (uint64, error) {
	if int32(wake) < 0 || int32(move) < 0 {
		return 0, unix.EINVAL
	}
	return t.retryBusy(func() (uint64, error) {
		if cmp != nil {
			if _, err := t.mm.LoadUint32(addr); err != nil { // makes its page present
				return 0, t.k.memError(err)
			}
		}
		from, to, done, err := t.futexPair(addr, addr2, private)
		if err != nil {
			return 0, err
		}
		if cmp != nil {
			have, err := t.mm.LoadUint32(addr)
			if err != nil || have != *cmp {
				done()
				if err != nil {
					return 0, t.k.memError(err)
				}
				return 0, unix.EAGAIN
			}
		}
		ft := &t.k.futexes
		slots := ft.take(nil, from.key, int(wake), futex.BitsAny)
		moved := ft.move(from, to, int(move))
		done()
		t.k.wakeFutex(slots)
		return uint64(len(slots) + moved), nil
	})
}

// move has up to n threads that wait on one word wait on another, and counts them. Preconditions: the buckets are
// locked.
func (ft *futexTable) move(from, to futexWord, n int) int {
	moved := 0
	for w := ft.Walk(from.key, futex.BitsAny); moved < n && w.Next(ft.Table); moved++ {
		if from.key == to.key {
			continue
		}
		ft.Move(&w, to.key)
		if f := ft.waiters[w.Thread]; f != nil {
			ft.hold(to.object)
			ft.drop(f.object)
			f.object = to.object
		}
	}
	return moved
}

// casTries bounds how often an atomic change of a word starts over because programs change it all the time.
const casTries = 1000

// futexWakeOp is futex_wake_op: it changes the word at addr2, wakes waiters of addr, and of addr2 if the old value
// compares.
func (t *Thread) futexWakeOp(addr, addr2 uint64, private bool, n, n2, code uint32) (uint64, error) {
	op, cmp := code>>28&7, code>>24&15
	arg, cmparg := int32(code<<8)>>20, int32(code<<20)>>20
	if code>>31 != 0 {
		arg = 1 << (uint32(arg) & 31) // FUTEX_OP_OPARG_SHIFT
	}
	return t.retryBusy(func() (uint64, error) {
		word, err := t.futexWord(addr, private)
		if err != nil {
			return 0, err
		}
		t.k.futexes.drop(word.object)
		// Made writable before the locks are taken, since that may wait for other vCPUs.
		if err := t.changeWord(addr2, func(v uint32) uint32 { return v }); err != nil {
			return 0, err
		}
		change, err := wakeOpFunc(op, uint32(arg))
		if err != nil {
			return 0, err
		}
		one, two, done, err := t.futexPair(addr, addr2, private)
		if err != nil {
			return 0, err
		}
		var old uint32
		err = t.changeWord(addr2, func(v uint32) uint32 { old = v; return change(v) })
		var met bool
		if err == nil {
			met, err = wakeOpCompare(cmp, int32(old), cmparg)
		}
		if err != nil {
			done()
			return 0, err
		}
		ft := &t.k.futexes
		slots := ft.take(nil, one.key, max(int(int32(n)), 1), futex.BitsAny)
		if met {
			slots = ft.take(slots, two.key, max(int(int32(n2)), 1), futex.BitsAny)
		}
		done()
		t.k.wakeFutex(slots)
		return uint64(len(slots)), nil
	})
}

// changeWord changes the word at addr atomically.
func (t *Thread) changeWord(addr uint64, change func(uint32) uint32) error {
	old, err := t.mm.LoadUint32(addr)
	for try := 0; err == nil; try++ {
		var was uint32
		if was, err = t.mm.CompareAndSwapUint32(addr, old, change(old)); was == old {
			break
		}
		if old = was; try == casTries {
			return unix.EAGAIN
		}
	}
	return t.k.memError(err)
}

func wakeOpFunc(op, arg uint32) (func(uint32) uint32, error) {
	fns := []func(uint32) uint32{
		func(uint32) uint32 { return arg },
		func(v uint32) uint32 { return v + arg },
		func(v uint32) uint32 { return v | arg },
		func(v uint32) uint32 { return v &^ arg },
		func(v uint32) uint32 { return v ^ arg },
	}
	if op >= uint32(len(fns)) {
		return nil, unix.ENOSYS
	}
	return fns[op], nil
}

func wakeOpCompare(cmp uint32, old, arg int32) (bool, error) {
	results := []bool{old == arg, old != arg, old < arg, old <= arg, old > arg, old >= arg}
	if cmp >= uint32(len(results)) {
		return false, unix.ENOSYS
	}
	return results[cmp], nil
}

// robustHeadSize is sizeof(struct robust_list_head).
const robustHeadSize = 24

func sysSetRobustList(t *Thread, a Args) (uint64, error) {
	if a[1] != robustHeadSize {
		return 0, unix.EINVAL
	}
	atomicStore(&t.slot.RobustList, a[0])
	return 0, nil
}

func sysGetRobustList(t *Thread, a Args) (uint64, error) {
	target := t
	if pid := a.int32(0); pid != 0 {
		if target = t.k.threads[int(pid)]; target == nil {
			return 0, unix.ESRCH
		}
		if !t.mayTrace(target.p) {
			return 0, unix.EPERM
		}
	}
	if err := t.writeU64(a[2], robustHeadSize); err != nil {
		return 0, err
	}
	return 0, t.writeU64(a[1], atomicLoad(&target.slot.RobustList))
}

// robustLimit is ROBUST_LIST_LIMIT.
const robustLimit = 2048

// releaseRobust gives up the robust locks that the thread holds (exit_robust_list). Everything in the list is the
// program's word.
func (t *Thread) releaseRobust() {
	head := atomicLoad(&t.slot.RobustList)
	atomicStore(&t.slot.RobustList, 0)
	var b [robustHeadSize]byte
	if head == 0 || t.mm == nil || t.copyIn(head, b[:]) != nil {
		return
	}
	entry := binary.LittleEndian.Uint64(b[0:])
	offset := binary.LittleEndian.Uint64(b[8:])
	pending := binary.LittleEndian.Uint64(b[16:])
	for n := 0; entry&^1 != head && n < robustLimit; n++ {
		next, err := t.readU64(entry &^ 1)
		if entry&^1 != pending&^1 && !t.robustDeath(entry&^1+offset, entry&1 != 0, false) {
			return
		}
		if err != nil {
			return
		}
		entry = next
	}
	if pending&^1 != 0 {
		t.robustDeath(pending&^1+offset, pending&1 != 0, true)
	}
}

// robustDeath marks a lock whose owner died (handle_futex_death). It reports false if the word cannot be reached.
func (t *Thread) robustDeath(addr uint64, pi, pending bool) bool {
	for range casTries {
		v, err := t.mm.LoadUint32(addr)
		if err != nil {
			return false
		}
		if pending && !pi && v&futexTIDMask == 0 {
			t.futexWakeOne(addr)
			return true
		}
		if v&futexTIDMask != uint32(t.tid) {
			return true
		}
		was, err := t.mm.CompareAndSwapUint32(addr, v, v&futexWaiters|futexOwnerDied)
		if err != nil {
			return false
		}
		if was != v {
			continue
		}
		if !pi && v&futexWaiters != 0 {
			t.futexWakeOne(addr)
		}
		return true
	}
	return true
}
