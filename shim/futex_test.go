package shim

import (
	"culvert/guest/futex"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cloneThread makes a thread of x's process and takes it.
func (x *task) cloneThread(flags, childTID uint64) *task {
	x.w.tb.Helper()
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	c := x.w.task(int(x.mustCall(unix.SYS_CLONE, thread|flags, testBase+0x80000, 0, childTID, 0)))
	c.resume()
	return c
}

// wait blocks the task in a futex wait.
func (x *task) futexWait(op uint64, word, val, timeout, bitset uint64) {
	x.w.tb.Helper()
	if r := x.call(unix.SYS_FUTEX, word, op, val, timeout, 0, bitset); r != blockedResult {
		x.w.tb.Fatalf("futex wait = %s", resultString(r))
	}
}

func TestFutexWaitWake(t *testing.T) {
	w, x := newWorld(t)
	word := x.poke(0x100, 5)
	x.wantCall(unix.EAGAIN, unix.SYS_FUTEX, word, futexWait, 4, 0)
	x.wantCall(unix.EINVAL, unix.SYS_FUTEX, word+1, futexWait, 4, 0)
	x.wantCall(unix.EFAULT, unix.SYS_FUTEX, 0x1000, futexWait, 4, 0)
	x.wantCall(0, unix.SYS_FUTEX, word, futexWake, 100)
	a, b := x.cloneThread(0, 0), x.cloneThread(0, 0)
	a.futexWait(futexWait|futexPrivate, word, 5, 0, 0)
	b.futexWait(futexWait|futexPrivate, word, 5, 0, 0)
	x.wantCall(1, unix.SYS_FUTEX, word, futexWake|futexPrivate, 1)
	a.finish(0) // first come, first served
	if b.tryResume(5 * time.Millisecond) {
		t.Fatal("two were woken")
	}
	x.wantCall(1, unix.SYS_FUTEX, word, futexWake|futexPrivate, 1)
	b.finish(0)
	w.noFutexes()
}

func TestFutexTimeouts(t *testing.T) {
	w, x := newWorld(t)
	word := x.poke(0x100, 5)
	// The time may be over before the thread has left its vCPU: then the call has a result at once.
	timesOut := func(op, timeout, bitset uint64) {
		t.Helper()
		r := x.call(unix.SYS_FUTEX, word, op, 5, timeout, 0, bitset)
		if r == blockedResult {
			x.finish(-int64(unix.ETIMEDOUT))
		} else if r != -int64(unix.ETIMEDOUT) {
			t.Fatalf("futex wait = %s", resultString(r))
		}
	}
	timesOut(futexWait, x.poke(0x200, 0, 3e6), 0)
	past := x.poke(0x200, 0, 1)
	for _, op := range []uint64{futexWaitBitset, futexWaitBitset | futexRealtime} {
		timesOut(op, past, futex.BitsAny)
	}
	x.wantCall(unix.EINVAL, unix.SYS_FUTEX, word, futexWait, 5, x.poke(0x200, 0, 1e9))
	x.wantCall(unix.EINVAL, unix.SYS_FUTEX, word, futexWaitBitset, 5, 0, 0, 0)
	w.noFutexes()
}

func TestFutexBitset(t *testing.T) {
	_, x := newWorld(t)
	word := x.poke(0x100, 5)
	a, b := x.cloneThread(0, 0), x.cloneThread(0, 0)
	a.futexWait(futexWaitBitset, word, 5, 0, 1)
	b.futexWait(futexWaitBitset, word, 5, 0, 2)
	x.wantCall(1, unix.SYS_FUTEX, word, futexWakeBitset, 10, 0, 0, 2)
	b.finish(0)
	x.wantCall(0, unix.SYS_FUTEX, word, futexWakeBitset, 10, 0, 0, 4)
	x.wantCall(1, unix.SYS_FUTEX, word, futexWake, 10)
	a.finish(0)
}

func TestFutexRequeue(t *testing.T) {
	_, x := newWorld(t)
	one, two := x.poke(0x100, 5), x.poke(0x108, 6)
	a, b, c := x.cloneThread(0, 0), x.cloneThread(0, 0), x.cloneThread(0, 0)
	for _, y := range []*task{a, b, c} {
		y.futexWait(futexWait, one, 5, 0, 0)
	}
	x.wantCall(unix.EAGAIN, unix.SYS_FUTEX, one, futexCmpRequeue, 1, 10, two, 99)
	x.wantCall(3, unix.SYS_FUTEX, one, futexCmpRequeue, 1, 10, two, 5)
	a.finish(0)
	x.wantCall(0, unix.SYS_FUTEX, one, futexWake, 10)
	x.wantCall(2, unix.SYS_FUTEX, two, futexWake, 10)
	b.finish(0)
	c.finish(0)
}

func TestFutexWakeOp(t *testing.T) {
	_, x := newWorld(t)
	one, two := x.poke(0x100, 5), x.poke(0x108, 7)
	a, b := x.cloneThread(0, 0), x.cloneThread(0, 0)
	a.futexWait(futexWait, one, 5, 0, 0)
	b.futexWait(futexWait, two, 7, 0, 0)
	// *two += 3; wake two's waiters if the old value was greater than 6: FUTEX_OP(ADD, 3, GT, 6).
	x.wantCall(2, unix.SYS_FUTEX, one, futexWakeOp, 1, 1, two, 1<<28|4<<24|3<<12|6)
	if v := x.peek32(two); v != 10 {
		t.Errorf("the word holds %d", v)
	}
	a.finish(0)
	b.finish(0)
	// A negative operand, and the operation that does not exist.
	x.wantCall(0, unix.SYS_FUTEX, one, futexWakeOp, 1, 1, two, 1<<28|0<<24|0xfff<<12)
	if v := x.peek32(two); v != 9 {
		t.Errorf("the word holds %d", v)
	}
	x.wantCall(unix.ENOSYS, unix.SYS_FUTEX, one, futexWakeOp, 1, 1, two, 7<<28)
	x.wantCall(unix.ENOSYS, unix.SYS_FUTEX, one, 77, 0, 0)
}

// TestFutexShared: a word of a shared mapping wakes waiters of another process.
func TestFutexShared(t *testing.T) {
	_, x := newWorld(t)
	const at = 0x30000000
	x.wantCall(at, unix.SYS_MMAP, at, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
	c, _ := x.fork()
	c.futexWait(futexWait, at, 0, 0, 0)
	x.wantCall(0, unix.SYS_FUTEX, at, futexWake|futexPrivate, 1)
	x.wantCall(1, unix.SYS_FUTEX, at, futexWake, 1)
	c.finish(0)
	// Private memory after fork is not shared.
	word := x.poke(0x100, 0)
	c.futexWait(futexWait, word, 0, 0, 0)
	x.wantCall(0, unix.SYS_FUTEX, word, futexWake, 1)
}

func TestRobustList(t *testing.T) {
	_, x := newWorld(t)
	// A head with one lock, 16 bytes from its list word, and one pending lock.
	const head, lock, pending = 0x300, 0x340, 0x380
	c := x.cloneThread(0, 0)
	tid := c.slot.TID
	c.poke(head, testBase+lock, 16, testBase+pending)
	c.poke(lock, testBase+head, 0, tid|futexWaiters)
	c.poke(pending, 0, 0, tid)
	c.wantCall(unix.EINVAL, unix.SYS_SET_ROBUST_LIST, testBase+head, 23)
	c.wantCall(0, unix.SYS_SET_ROBUST_LIST, testBase+head, 24)
	x.wantCall(0, unix.SYS_GET_ROBUST_LIST, tid, testBase+0x400, testBase+0x408)
	if v := x.peek(testBase + 0x400); v != testBase+head {
		t.Errorf("get_robust_list: %#x", v)
	}
	x.futexWait(futexWait, testBase+lock+16, tid|futexWaiters, 0, 0)
	c.call(unix.SYS_EXIT, 0)
	x.finish(0)
	if v := x.peek32(testBase + lock + 16); v != futexWaiters|futexOwnerDied {
		t.Errorf("the lock holds %#x", v)
	}
	if v := x.peek32(testBase + pending + 16); v != futexOwnerDied {
		t.Errorf("the pending lock holds %#x", v)
	}
}

// TestRobustListLoop: a list that never ends is left after its limit.
func TestRobustListLoop(t *testing.T) {
	_, x := newWorld(t)
	c := x.cloneThread(0, 0)
	c.poke(0x300, testBase+0x340, 16, 0)
	c.poke(0x340, testBase+0x340, 0, 0)
	c.wantCall(0, unix.SYS_SET_ROBUST_LIST, testBase+0x300, 24)
	c.call(unix.SYS_EXIT, 0)
	if !c.gone {
		t.Fatal("the thread lives on")
	}
}

func TestSleeps(t *testing.T) {
	_, x := newWorld(t)
	for name, c := range map[string]struct {
		nr   uint64
		args []uint64
	}{
		"nanosleep":       {unix.SYS_NANOSLEEP, []uint64{testBase + 0x100, 0}},
		"clock_nanosleep": {unix.SYS_CLOCK_NANOSLEEP, []uint64{unix.CLOCK_BOOTTIME, 0, testBase + 0x100, 0}},
	} {
		x.poke(0x100, 0, 5e6)
		from := time.Now()
		if r := x.call(c.nr, c.args...); r != blockedResult {
			t.Fatalf("%s = %s", name, resultString(r))
		}
		x.finish(0)
		if d := time.Since(from); d < 5*time.Millisecond {
			t.Errorf("%s took %v", name, d)
		}
	}
	x.poke(0x100, 0, 1e9)
	x.wantCall(unix.EINVAL, unix.SYS_NANOSLEEP, testBase+0x100, 0)
	x.wantCall(unix.EFAULT, unix.SYS_NANOSLEEP, 0x10, 0)
	x.wantCall(unix.EINVAL, unix.SYS_CLOCK_NANOSLEEP, 99, 0, testBase+0x100, 0)
	x.wantCall(unix.EINVAL, unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_THREAD_CPUTIME_ID, 0, x.poke(0x100, 0, 1), 0)
	// An absolute time that has passed.
	x.poke(0x100, 1, 0)
	if r := x.call(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_REALTIME, 1, testBase+0x100, 0); r == blockedResult {
		x.finish(0)
	}
}

func TestSleepReportsWhatIsLeft(t *testing.T) {
	_, x := newWorld(t)
	c, _ := x.fork()
	x.action(10, handlerAt, 0, 0)
	x.slot.RSP = testBase + 0x90000
	x.poke(0x100, 100, 0)
	if r := x.call(unix.SYS_NANOSLEEP, testBase+0x100, testBase+0x200); r != blockedResult {
		t.Fatal("nanosleep returned")
	}
	c.wantCall(0, unix.SYS_KILL, 1, 10)
	x.resume()
	x.inHandler(10)
	if v := x.peek(testBase + 0x200); v != 99 {
		t.Errorf("%d seconds are left", v)
	}
}

func TestClocks(t *testing.T) {
	_, x := newWorld(t)
	for _, id := range []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, -6, -2} {
		x.wantCall(0, unix.SYS_CLOCK_GETTIME, uint64(id), testBase+0x100)
		x.wantCall(0, unix.SYS_CLOCK_GETRES, uint64(id), testBase+0x100)
		x.wantCall(0, unix.SYS_CLOCK_GETRES, uint64(id), 0)
	}
	for _, id := range []int64{10, 12, 100, -1, 1 << 20} {
		x.wantCall(unix.EINVAL, unix.SYS_CLOCK_GETTIME, uint64(id), testBase+0x100)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	x.wantCall(0, unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, testBase+0x100)
	got := int64(x.peek(testBase+0x100))*nsPerSec + int64(x.peek(testBase+0x108))
	if d := got - ts.Nano(); d < 0 || d > nsPerSec {
		t.Errorf("CLOCK_MONOTONIC is %d ns from the host's", d)
	}
	x.wantCall(unix.EPERM, unix.SYS_CLOCK_SETTIME, 0, x.poke(0x200, 1, 1))
}
