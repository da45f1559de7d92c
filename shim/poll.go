package shim

import (
	"math"
	"time"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// Poll bits that golang.org/x/sys lacks on this architecture (include/uapi/asm-generic/poll.h).
const (
	pollRDNORM = 0x40
	pollRDBAND = 0x80
	pollWRNORM = 0x100
	pollWRBAND = 0x200
)

// pollSet is what poll(2) and select(2) wait for. It holds a reference to each file while its call blocks.
type pollSet struct {
	t      *Thread
	always uint32 // bits that are reported unasked: poll's POLLERR and POLLHUP
	items  []pollItem
}

type pollItem struct {
	f    *OpenFile // nil: not waited for
	want uint32
	got  uint32
}

// scan asks all files and counts those that have something.
func (s *pollSet) scan() int {
	s.t.k.polling = s.t
	n := 0
	for i := range s.items {
		it := &s.items[i]
		if it.f != nil {
			it.got = it.f.poll() & (it.want | s.always)
		}
		if it.got != 0 {
			n++
		}
	}
	return n
}

// maxPollItems bounds what all threads of a VM poll at the same time: as much as one may have open.
const maxPollItems = nrOpen

// wait is do_poll of fs/select.c: finish gets how many files have something, or why nothing was waited for, and
// makes the call's result of it.
func (s *pollSet) wait(deadline time.Time, dontWait bool, finish func(n int, err error) (uint64, error)) (uint64, error) {
	n := s.scan()
	switch {
	case n == 0 && dontWait && s.t.signalPending():
		return finish(0, ERESTARTNOHAND) // one that the call's mask lets through: do_poll looks even without a wait
	case n > 0 || dontWait:
		return finish(n, nil)
	}
	k := s.t.k
	if k.pollItems+len(s.items) > maxPollItems {
		return finish(0, unix.ENOMEM)
	}
	k.pollItems += len(s.items)
	for i := range s.items {
		if f := s.items[i].f; f != nil {
			f.hold()
		}
	}
	woken := new(Queue)
	cancel := s.watch(woken)
	done := func() {
		cancel()
		k.pollItems -= len(s.items)
	}
	slow := func(w *Waiter) (uint64, error) {
		defer done()
		for {
			if n := s.scan(); n > 0 {
				return finish(n, nil)
			}
			switch err := w.Sleep(deadline, woken); err {
			case nil:
			case errTimeout:
				return finish(0, nil)
			case ERESTARTSYS:
				return finish(0, ERESTARTNOHAND)
			default:
				return 0, err
			}
		}
	}
	if !deadline.IsZero() {
		return s.t.Block(slow)
	}
	return s.t.AwaitOr(woken, func() (uint64, error) {
		n := s.scan()
		if n == 0 {
			return 0, errWait
		}
		defer done()
		return finish(n, nil)
	}, slow)
}

// watch has woken woken by every file of the set, and returns what ends that and drops the files.
func (s *pollSet) watch(woken *Queue) (cancel func()) {
	s.t.k.polling = s.t
	var watches []*watch
	for i := range s.items {
		it := &s.items[i]
		if it.f == nil {
			continue
		}
		if r := it.f.impl.ready(); r != nil {
			want := it.want | s.always
			watches = append(watches, r.watch(false, func(events uint32) bool {
				if events == 0 || events&want != 0 {
					woken.Wake()
				}
				return true
			}))
		}
	}
	return func() {
		for _, w := range watches {
			w.cancel()
		}
		for i := range s.items {
			if f := s.items[i].f; f != nil {
				f.drop()
			}
		}
	}
}

// pollable reports whether poll means something for the file: regular files and directories are always ready, and
// epoll refuses them (file_can_poll).
func (f *OpenFile) pollable() bool {
	switch i := f.impl.(type) {
	case *vfsFile:
		_, ok := i.file.(vfs.Poller)
		return ok
	case *hostFile:
		return i.streams()
	}
	return true
}

// afterMillis is the deadline of a time-out in milliseconds; negative is none.
func afterMillis(ms int32) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(ms) * time.Millisecond)
}

// maxWait is how far ahead a deadline can be; what is further never comes.
const maxWait = 100 * 365 * 24 * time.Hour

// afterTimespec is the deadline of a relative time-out; EINVAL if that is no valid time.
func afterTimespec(sec, nsec int64) (time.Time, error) {
	if sec < 0 || nsec < 0 || nsec >= 1e9 {
		return time.Time{}, unix.EINVAL
	}
	if sec >= int64(maxWait/time.Second) {
		return time.Time{}, nil
	}
	return time.Now().Add(time.Duration(sec)*time.Second + time.Duration(nsec)), nil
}

// timeout is an optional time-out in user memory.
type timeout struct {
	addr     uint64
	micros   bool // a struct timeval
	deadline time.Time
	poll     bool // zero: do not wait
}

// pollTimeout reads a struct timespec, or a timeval if micros; address 0 is none.
func (t *Thread) pollTimeout(addr uint64, micros bool) (timeout, error) {
	o := timeout{addr: addr, micros: micros}
	if addr == 0 {
		return o, nil
	}
	var raw [16]byte
	if err := t.copyIn(addr, raw[:]); err != nil {
		return o, err
	}
	sec, frac := int64(le.Uint64(raw[0:])), int64(le.Uint64(raw[8:]))
	if micros {
		if sec > math.MaxInt64-frac/1e6 && frac > 0 {
			return o, unix.EINVAL
		}
		sec, frac = sec+frac/1e6, frac%1e6*1000
	}
	var err error
	o.deadline, err = afterTimespec(sec, frac)
	o.poll = sec == 0 && frac == 0
	return o, err
}

// finish writes back what is left of the time (poll_select_finish). If that is not possible the call must not be
// restarted, since it would wait the whole time again.
func (o *timeout) finish(t *Thread, err error) error {
	if o.addr == 0 || o.poll || o.deadline.IsZero() {
		return err
	}
	if o.store(t) != nil && err == ERESTARTNOHAND {
		return unix.EINTR
	}
	return err
}

// store writes what is left of the time in the place of the time-out.
func (o *timeout) store(t *Thread) error {
	left := max(0, time.Until(o.deadline))
	unit := time.Duration(1)
	if o.micros {
		unit = time.Microsecond
	}
	var raw [16]byte
	le.PutUint64(raw[0:], uint64(left/time.Second))
	le.PutUint64(raw[8:], uint64(left%time.Second/unit))
	return t.copyOut(o.addr, raw[:])
}
