package shim

import (
	"math"
	"sync/atomic"
	"time"

	"culvert/guest"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// What the shim does for calls that wait in ring 0: their time-outs, their interruption by signals, and the collection
// of events of files that ring 0 does not know. Records lie in guest RAM: each is copied once, and what the copy says is
// checked.

// ringTimer is the host's timer for the deadlines of all records. VM.Timer says when it fires. Kernel.mu guards it.
type ringTimer struct {
	host *time.Timer
	gen  int // of the last start: a timer that fires late is told apart
}

// timerSlack is added to deadlines, so that no wait ends early by the guest's clock, which follows the host's to within
// microseconds.
const timerSlack = 20 * time.Microsecond

func (r *ringTimer) stop() {
	r.gen++
	if r.host != nil {
		r.host.Stop()
	}
}

// setDeadline serves NoteDeadline: the timer has to fire no later than at ns of CLOCK_MONOTONIC.
func (k *Kernel) setDeadline(ns uint64) {
	if ns >= atomic.LoadUint64(&k.vm.Timer) {
		return
	}
	r := &k.deadlines
	r.stop()
	atomic.StoreUint64(&k.vm.Timer, ns)
	gen := r.gen
	r.host = time.AfterFunc(untilMonotonic(ns)+timerSlack, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		defer k.guard()
		if r.gen == gen && !k.ended {
			k.expire()
		}
	})
}

// untilMonotonic is the time until the host's CLOCK_MONOTONIC says ns.
func untilMonotonic(ns uint64) time.Duration {
	return time.Duration(min(ns, math.MaxInt64/2)) - time.Duration(hostClock(unix.CLOCK_MONOTONIC))
}

// expire wakes the threads whose deadlines have passed and starts the timer for the next. VM.Timer first: a thread whose
// deadline is not found finds that it has to tell.
func (k *Kernel) expire() {
	atomic.StoreUint64(&k.vm.Timer, guest.Forever)
	now := uint64(hostClock(unix.CLOCK_MONOTONIC))
	next := uint64(guest.Forever)
	for _, t := range k.slots {
		if t == nil {
			continue
		}
		w := &t.slot.Wait
		switch atomic.LoadUint64(&w.Kind) {
		case abi.WaitEpoll, abi.WaitPoll, abi.WaitSelect, abi.WaitFutex:
		default:
			continue
		}
		d := atomic.LoadUint64(&w.Deadline)
		switch {
		case d == 0 || d == guest.Forever:
		case d <= now:
			atomic.StoreUint64(&w.Expired, d)
			k.wake(t)
		default:
			next = min(next, d)
		}
	}
	if next != guest.Forever {
		k.setDeadline(next)
	}
}

// collectRecord serves NoteCollect: if there are events, the thread's epoll_wait is done, else its record stays as it is.
func (t *Thread) collectRecord() {
	w := t.slot.Wait
	if w.Kind != abi.WaitEpoll {
		return
	}
	n, err := t.collectFor(&w)
	if err == errBusy || n == 0 && err == nil {
		return
	}
	t.slot.RAX = n
	if err != nil {
		t.slot.RAX = errnoResult(unix.EFAULT)
	}
	atomic.StoreUint64(&t.slot.Wait.Kind, abi.WaitNone)
	t.k.dropFile(w.File)
}

// collectFor collects for an epoll_wait that waits in ring 0.
func (t *Thread) collectFor(w *guest.Wait) (uint64, error) {
	ep, ok := t.k.recordFile(w.File).(*epollFile)
	maxEvents := min(w.Len, math.MaxInt32/epollEventSize)
	if !ok || !accessOK(w.Addr, maxEvents*epollEventSize) {
		t.k.fail(&HostileError{"an epoll_wait whose record names no epoll instance or no user memory"})
		return 0, nil
	}
	t.k.polling = t
	n, err := ep.collect(int(maxEvents), t.putEvents(w.Addr))
	return uint64(n), err
}

// recordFile is the object of the open file that a record names; nil if there is none.
func (k *Kernel) recordFile(index uint64) fileImpl {
	if index >= uint64(len(k.files.open)) || k.files.open[index] == nil {
		return nil
	}
	return k.files.open[index].impl
}

// endEpoll ends an epoll_wait in ring 0 for a signal. Events that are there count for more (ep_poll).
func (t *Thread) endEpoll(w *guest.Wait) (uint64, error) {
	n, err := t.collectFor(w)
	t.k.dropFile(w.File)
	if err == errBusy || n == 0 && err == nil {
		return 0, unix.EINTR
	}
	return n, err
}

// endPoll ends a poll in ring 0 for a signal. Like do_sys_poll's it goes on with the time that was left if no handler
// runs; ppoll starts anew.
func (t *Thread) endPoll(w *guest.Wait) (uint64, error) {
	k := t.k
	set := &pollSet{t: t, always: unix.POLLERR | unix.POLLHUP, items: make([]pollItem, min(w.Len, guest.PollFiles))}
	for i := range set.items {
		e := w.Poll[i]
		if index := e & guest.NoFile; index < uint64(len(k.files.open)) {
			set.items[i] = pollItem{f: k.files.open[index], want: uint32(e >> 32 & 0xffff)}
		}
	}
	n := set.scan()
	for i := range set.items {
		if n > 0 {
			if err := t.copyOut(w.Addr+uint64(i)*pollfdSize+6, le.AppendUint16(nil, uint16(set.items[i].got))); err != nil {
				n = -1
			}
		}
		if set.items[i].f != nil {
			k.dropFile(w.Poll[i] & guest.NoFile)
		}
	}
	var deadline time.Time
	if w.Deadline != guest.Forever {
		deadline = time.Now().Add(untilMonotonic(w.Deadline))
	}
	left := timeout{addr: w.Left, deadline: deadline}
	switch {
	case n < 0:
		return 0, left.finish(t, unix.EFAULT)
	case n > 0:
		return uint64(n), left.finish(t, nil)
	case t.slot.OrigRAX != unix.SYS_POLL:
		return 0, left.finish(t, ERESTARTNOHAND)
	}
	addr, count := w.Addr, uint64(len(set.items))
	t.goOnBy(func(t *Thread, _ Args) (uint64, error) {
		return t.poll(addr, count, deadline, false, func(n int, err error) (uint64, error) { return uint64(n), err })
	})
	return 0, ERESTART_RESTARTBLOCK
}

// endFutex ends a futex wait in ring 0 for a signal. A wake that came before counts for more.
func (t *Thread) endFutex(w *guest.Wait) (uint64, error) {
	switch {
	case w.Done != 0:
		return 0, nil
	case w.Deadline == guest.Forever:
		return 0, ERESTARTSYS
	}
	f := futexCall{addr: w.Addr, private: w.Left == 0, val: uint32(w.Len), bits: uint32(w.Aux),
		deadline: time.Now().Add(untilMonotonic(w.Deadline))}
	t.goOnBy(func(t *Thread, _ Args) (uint64, error) { return t.futexWait(f) })
	return 0, ERESTART_RESTARTBLOCK
}
