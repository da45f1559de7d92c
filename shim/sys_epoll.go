package shim

import (
	"math"
	"time"

	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// epollEventSize is the size of struct epoll_event, which is packed on x86-64.
const epollEventSize = 12

func sysEpollCreate(t *Thread, a Args) (uint64, error) {
	if a.int32(0) <= 0 {
		return 0, unix.EINVAL
	}
	return t.epollCreate(false)
}

func sysEpollCreate1(t *Thread, a Args) (uint64, error) {
	if a.int32(0)&^unix.EPOLL_CLOEXEC != 0 {
		return 0, unix.EINVAL
	}
	return t.epollCreate(a.int32(0) != 0)
}

func (t *Thread) epollCreate(cloexec bool) (uint64, error) {
	ep, err := t.k.newEpoll()
	if err != nil {
		return 0, err
	}
	f, err := t.newAnonFile("anon_inode:[eventpoll]", ep, unix.O_RDWR)
	if err != nil {
		return 0, err
	}
	ep.of = f
	ep.owner.SetFile(uint64(f.index))
	return t.addFD(f, cloexec)
}

// newAnonFile opens an object that has neither a name nor a kind of file, such as an eventfd.
func (t *Thread) newAnonFile(name string, impl fileImpl, flags int) (*OpenFile, error) {
	return t.k.newOpenFile(impl, t.k.anonPlace(name, t.k.newAnonInode(t, 0o600)), flags)
}

func sysEpollCtl(t *Thread, a Args) (uint64, error) {
	t.k.polling = t
	op := a.int32(1)
	var raw [epollEventSize]byte
	if op != unix.EPOLL_CTL_DEL {
		if err := t.copyIn(a[3], raw[:]); err != nil {
			return 0, err
		}
	}
	events, data := le.Uint32(raw[0:]), le.Uint64(raw[4:])
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	target, err := t.files.file(a.int32(2))
	if err != nil {
		return 0, err
	}
	if !target.pollable() {
		return 0, unix.EPERM
	}
	ep, ok := f.impl.(*epollFile)
	if !ok || f == target {
		return 0, unix.EINVAL
	}
	sub, nested := target.impl.(*epollFile)
	if op != unix.EPOLL_CTL_DEL && events&epollExclusive != 0 {
		if op == unix.EPOLL_CTL_MOD || nested || events&^uint32(epollExclusiveOK) != 0 {
			return 0, unix.EINVAL
		}
	}
	if op == unix.EPOLL_CTL_ADD && nested && ep.loops(sub) {
		return 0, unix.ELOOP
	}
	// EPOLLWAKEUP needs a capability that means nothing here, and then has no effect.
	events = events&^uint32(unix.EPOLLWAKEUP) | unix.EPOLLERR | unix.EPOLLHUP
	key := epollKey{target, a.int32(2)}
	it := ep.items[key]
	switch op {
	case unix.EPOLL_CTL_ADD:
		if it != nil {
			return 0, unix.EEXIST
		}
		return 0, ep.insert(key, events, data)
	case unix.EPOLL_CTL_DEL:
		if it == nil {
			return 0, unix.ENOENT
		}
		it.remove()
		return 0, nil
	case unix.EPOLL_CTL_MOD:
		if it == nil {
			return 0, unix.ENOENT
		}
		if it.ref.Events()&epollExclusive != 0 {
			return 0, unix.EINVAL
		}
		it.modify(events, data)
		return 0, nil
	}
	return 0, unix.EINVAL
}

func sysEpollWait(t *Thread, a Args) (uint64, error) {
	ms := a.int32(3)
	return t.epollWait(a, afterMillis(ms), ms == 0)
}

func sysEpollPwait(t *Thread, a Args) (uint64, error) {
	if err := t.withMask(a[4], a[5]); err != nil {
		return 0, err
	}
	ms := a.int32(3)
	n, err := t.epollWait(a, afterMillis(ms), ms == 0)
	if err != errBlock {
		t.endMask(err)
	}
	return n, err
}

func sysEpollPwait2(t *Thread, a Args) (uint64, error) {
	o, err := t.pollTimeout(a[3], false)
	if err != nil {
		return 0, err
	}
	if err := t.withMask(a[4], a[5]); err != nil {
		return 0, err
	}
	n, err := t.epollWait(a, o.deadline, o.poll)
	if err != errBlock {
		t.endMask(err)
	}
	return n, err
}

// epollWait is do_epoll_wait and ep_poll, for what ring 0 leaves to the shim. A signal ends it with EINTR even under
// SA_RESTART.
func (t *Thread) epollWait(a Args, deadline time.Time, dontWait bool) (uint64, error) {
	maxEvents := a.int32(2)
	if maxEvents <= 0 || maxEvents > math.MaxInt32/epollEventSize {
		return 0, unix.EINVAL
	}
	if !accessOK(a[1], uint64(maxEvents)*epollEventSize) || a[1] >= uint64(abi.UserEnd) {
		return 0, unix.EFAULT
	}
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	ep, ok := f.impl.(*epollFile)
	if !ok {
		return 0, unix.EINVAL
	}
	t.k.polling = t
	put := t.putEvents(a[1])
	n, err := ep.collect(int(maxEvents), put)
	if err != errBusy && (n > 0 || err != nil || dontWait) {
		return uint64(n), err
	}
	f.hold()
	return t.Block(func(w *Waiter) (uint64, error) {
		defer f.drop()
		n, err := ep.sleep(w, deadline, dontWait, int(maxEvents), put)
		t.endMask(err)
		return uint64(n), err
	})
}

// putEvents stores events in the array at addr.
func (t *Thread) putEvents(addr uint64) func(i int, events uint32, data uint64) error {
	return func(i int, events uint32, data uint64) error {
		var raw [epollEventSize]byte
		le.PutUint32(raw[0:], events)
		le.PutUint64(raw[4:], data)
		return t.copyOut(addr+uint64(i)*epollEventSize, raw[:])
	}
}

// sleep waits until collect has something.
func (ep *epollFile) sleep(w *Waiter, deadline time.Time, dontWait bool, maxEvents int, put func(int, uint32, uint64) error) (int, error) {
	for {
		ep.k.polling = w.t
		ep.watch() // before the look
		n, err := ep.collect(maxEvents, put)
		if err == errBusy {
			w.Unlocked(nil, func() { time.Sleep(busyPause) })
			if err := w.interrupted(false); err != nil {
				return 0, err
			}
			continue
		}
		if n > 0 || err != nil || dontWait {
			return n, err
		}
		err = w.Sleep(deadline, &ep.sleepers)
		if err == nil {
			continue
		}
		ep.k.polling = w.t
		// Events that came with the end of the wait are still reported; else the wake-up goes to the next sleeper.
		if n, cerr := ep.collect(maxEvents, put); err != errKilled && cerr != errBusy && (n > 0 || cerr != nil) {
			return n, cerr
		}
		switch err {
		case errTimeout:
			return 0, nil
		case ERESTARTSYS:
			return 0, unix.EINTR
		}
		return 0, err
	}
}
