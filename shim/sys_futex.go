package shim

import (
	"encoding/binary"
	"time"

	"culvert/shim/mm"

	"golang.org/x/sys/unix"
)

// futexCalls are the rows of the calls on futexes.
func futexCalls() []Syscall {
	return []Syscall{
		{unix.SYS_FUTEX, "futex", sysFutex, Partial, "without priority inheritance: ENOSYS", "waiters on the word"},
		{unix.SYS_FUTEX_WAITV, "futex_waitv", sysAbsent, None, "ENOSYS", "constant"},
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

	futexPrivate  = 128
	futexRealtime = 256

	futexWaiters   = 0x80000000
	futexOwnerDied = 0x40000000
	futexTIDMask   = 0x3fffffff
	bitsetAny      = 0xffffffff
)

// futexTable has the waiters of all futexes, in the order of arrival.
type futexTable map[mm.FutexKey][]*futexWaiter

// futexWaiter is a thread that waits on a word.
type futexWaiter struct {
	key    mm.FutexKey
	bitset uint32
	queue  Queue // its own: it is woken alone
	woken  bool  // and out of the table
}

// remove takes a waiter that was not woken out of the table.
func (ft futexTable) remove(f *futexWaiter) {
	list := ft[f.key]
	for i, o := range list {
		if o == f {
			ft.set(f.key, append(list[:i:i], list[i+1:]...))
			return
		}
	}
}

// set stores the waiters of a key.
func (ft futexTable) set(key mm.FutexKey, list []*futexWaiter) {
	if len(list) == 0 {
		delete(ft, key)
		return
	}
	ft[key] = list
}

// wake wakes up to n waiters of a key whose bitset has a bit in common with bitset.
func (ft futexTable) wake(key mm.FutexKey, n int, bitset uint32) int {
	list := ft[key]
	if len(list) == 0 || n <= 0 {
		return 0
	}
	woken := 0
	var kept []*futexWaiter
	for i, f := range list {
		if woken == n {
			kept = append(kept, list[i:]...)
			break
		}
		if f.bitset&bitset == 0 {
			kept = append(kept, f)
			continue
		}
		f.woken = true
		f.queue.Wake()
		woken++
	}
	ft.set(key, kept)
	return woken
}

// requeue moves up to n waiters from one key to another.
func (ft futexTable) requeue(from, to mm.FutexKey, n int) int {
	list := ft[from]
	n = min(n, len(list))
	if n <= 0 || from == to {
		return max(n, 0)
	}
	for _, f := range list[:n] {
		f.key = to
	}
	ft[to] = append(ft[to], list[:n]...)
	ft.set(from, append([]*futexWaiter(nil), list[n:]...))
	return n
}

func sysFutex(t *Thread, a Args) (uint64, error) {
	op := a.int32(1)
	cmd := op &^ (futexPrivate | futexRealtime)
	private := op&futexPrivate != 0
	addr, val, addr2, val3 := a[0], uint32(a[2]), a[4], uint32(a[5])
	if op&futexRealtime != 0 && cmd != futexWaitBitset {
		return 0, unix.ENOSYS
	}
	switch cmd {
	case futexWait, futexWaitBitset:
		bitset := uint32(bitsetAny)
		if cmd == futexWaitBitset {
			bitset = val3
		}
		deadline, err := t.futexDeadline(a[3], cmd == futexWaitBitset, op&futexRealtime != 0)
		if err != nil {
			return 0, err
		}
		return t.futexWait(addr, private, val, deadline, bitset)
	case futexWake:
		return t.k.futexWake(t, addr, private, val, bitsetAny)
	case futexWakeBitset:
		return t.k.futexWake(t, addr, private, val, val3)
	case futexRequeue:
		return t.futexRequeue(addr, addr2, private, val, uint32(a[3]), nil)
	case futexCmpRequeue:
		return t.futexRequeue(addr, addr2, private, val, uint32(a[3]), &val3)
	case futexWakeOp:
		return t.futexWakeOp(addr, addr2, private, val, uint32(a[3]), val3)
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

// futexWait is futex_wait. The waiter is in the table before the word is read, and both happen under Kernel.mu: a wake
// comes before or after both.
func (t *Thread) futexWait(addr uint64, private bool, val uint32, deadline time.Time, bitset uint32) (uint64, error) {
	if bitset == 0 {
		return 0, unix.EINVAL
	}
	key, err := t.mm.FutexKey(addr, private)
	if err != nil {
		return 0, t.k.memError(err)
	}
	have, err := t.mm.LoadUint32(addr)
	if err != nil {
		return 0, t.k.memError(err)
	}
	if have != val {
		return 0, unix.EAGAIN
	}
	f := &futexWaiter{key: key, bitset: bitset}
	ft := t.k.futexes
	ft[key] = append(ft[key], f)
	return t.Block(func(w *Waiter) (uint64, error) {
		if f.woken {
			return 0, nil
		}
		err := w.Sleep(deadline, &f.queue)
		if f.woken {
			return 0, nil
		}
		ft.remove(f)
		switch {
		case err == errTimeout:
			return 0, unix.ETIMEDOUT
		case err == ERESTARTSYS && !deadline.IsZero():
			t.restartFn = func(t *Thread, _ Args) (uint64, error) {
				return t.futexWait(addr, private, val, deadline, bitset)
			}
			return 0, ERESTART_RESTARTBLOCK
		}
		return 0, err
	})
}

// futexWake is futex_wake, for a word in t's memory. As in Linux, a count of 0 or less wakes one.
func (k *Kernel) futexWake(t *Thread, addr uint64, private bool, n, bitset uint32) (uint64, error) {
	if bitset == 0 {
		return 0, unix.EINVAL
	}
	key, err := t.mm.FutexKey(addr, private)
	if err != nil {
		return 0, k.memError(err)
	}
	return uint64(k.futexes.wake(key, max(int(int32(n)), 1), bitset)), nil
}

// futexRequeue is futex_requeue without priority inheritance.
func (t *Thread) futexRequeue(addr, addr2 uint64, private bool, wake, move uint32, cmp *uint32) (uint64, error) {
	if int32(wake) < 0 || int32(move) < 0 {
		return 0, unix.EINVAL
	}
	from, err := t.mm.FutexKey(addr, private)
	if err != nil {
		return 0, t.k.memError(err)
	}
	to, err := t.mm.FutexKey(addr2, private)
	if err != nil {
		return 0, t.k.memError(err)
	}
	if cmp != nil {
		have, err := t.mm.LoadUint32(addr)
		if err != nil {
			return 0, t.k.memError(err)
		}
		if have != *cmp {
			return 0, unix.EAGAIN
		}
	}
	n := t.k.futexes.wake(from, int(wake), bitsetAny)
	return uint64(n + t.k.futexes.requeue(from, to, int(move))), nil
}

// casTries bounds how often an atomic change of a word starts over because programs change it all the time.
const casTries = 1000

// futexWakeOp is futex_wake_op: it changes the word at addr2, wakes waiters of addr, and of addr2 if the old value
// compares.
func (t *Thread) futexWakeOp(addr, addr2 uint64, private bool, n, n2, code uint32) (uint64, error) {
	key, err := t.mm.FutexKey(addr, private)
	if err != nil {
		return 0, t.k.memError(err)
	}
	key2, err := t.mm.FutexKey(addr2, private)
	if err != nil {
		return 0, t.k.memError(err)
	}
	op, cmp := code>>28&7, code>>24&15
	arg, cmparg := int32(code<<8)>>20, int32(code<<20)>>20
	if code>>31 != 0 {
		arg = 1 << (uint32(arg) & 31) // FUTEX_OP_OPARG_SHIFT
	}
	change, err := wakeOpFunc(op, uint32(arg))
	if err != nil {
		return 0, err
	}
	old, err := t.mm.LoadUint32(addr2)
	for try := 0; err == nil; try++ {
		var was uint32
		if was, err = t.mm.CompareAndSwapUint32(addr2, old, change(old)); was == old {
			break
		}
		if old = was; try == casTries {
			return 0, unix.EAGAIN
		}
	}
	if err != nil {
		return 0, t.k.memError(err)
	}
	met, err := wakeOpCompare(cmp, int32(old), cmparg)
	if err != nil {
		return 0, err
	}
	woken := t.k.futexes.wake(key, max(int(int32(n)), 1), bitsetAny)
	if met {
		woken += t.k.futexes.wake(key2, max(int(int32(n2)), 1), bitsetAny)
	}
	return uint64(woken), nil
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
	t.robustList = a[0]
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
	return 0, t.writeU64(a[1], target.robustList)
}

// robustLimit is ROBUST_LIST_LIMIT.
const robustLimit = 2048

// releaseRobust gives up the robust locks that the thread holds (exit_robust_list). Everything in the list is the
// program's word.
func (t *Thread) releaseRobust() {
	head := t.robustList
	t.robustList = 0
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
			_, _ = t.k.futexWake(t, addr, false, 1, bitsetAny) // nobody waits there if it fails
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
			_, _ = t.k.futexWake(t, addr, false, 1, bitsetAny)
		}
		return true
	}
	return true
}
