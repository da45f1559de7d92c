package shim

import (
	"fmt"
	"math"
	"math/bits"
	"sync/atomic"

	"culvert/epoll"
	"culvert/pipes"
	"culvert/pipes/eventfd"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// eventFile is an eventfd: fs/eventfd.c. The counter lies in guest RAM, where ring 0 reads and writes it. HostWatch is
// set while somebody in the shim waits.
type eventFile struct {
	noopSeek
	k        *Kernel
	gpa      abi.GPA // of the counter, a frame of its own
	ev       *eventfd.EventFD
	id       uint64
	waiters  readiness
	watchers epoll.Watchers
}

// eventfdCalls are the rows of eventfd(2).
func eventfdCalls() []Syscall {
	return []Syscall{
		{unix.SYS_EVENTFD, "eventfd", sysEventfd, Full, "", ""},
		{unix.SYS_EVENTFD2, "eventfd2", sysEventfd2, Full, "", ""},
	}
}

func sysEventfd(t *Thread, a Args) (uint64, error) { return t.eventfd(uint32(a[0]), 0) }

func sysEventfd2(t *Thread, a Args) (uint64, error) { return t.eventfd(uint32(a[0]), a.int32(1)) }

func (t *Thread) eventfd(count uint32, flags int32) (uint64, error) {
	if flags&^(unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE) != 0 {
		return 0, unix.EINVAL
	}
	gpa, err := t.k.memory.AllocBlock(0)
	if err != nil {
		return 0, unix.ENOMEM
	}
	e := &eventFile{k: t.k, gpa: gpa, ev: structAt[eventfd.EventFD](t.k.ram, gpa), id: t.k.newIno()}
	eventfd.Init(e.ev, uint64(count), flags&unix.EFD_SEMAPHORE != 0)
	e.watchers.Head = &e.ev.Watch
	f, err := t.newAnonFile("anon_inode:[eventfd]", e, unix.O_RDWR|int(flags)&unix.O_NONBLOCK)
	if err != nil {
		return 0, err
	}
	return t.addFD(f, flags&unix.EFD_CLOEXEC != 0)
}

func (e *eventFile) ringFile() (kind, obj, since uint64) {
	return abi.FileEventFD, uint64(abi.DirectBase) + uint64(e.gpa), 0
}

func (e *eventFile) watched() (*epoll.Watchers, uint64) { return &e.watchers, 0 }

func (e *eventFile) poll() uint32 { return uint32(e.ev.Readiness()) }

// ready also makes ring 0 tell of events from now on.
func (e *eventFile) ready() *readiness {
	atomic.StoreUint64(&e.ev.HostWatch, 1)
	return &e.waiters
}

// changed tells the shim's own sleepers and pollers, and stops the notes if nobody is left to tell.
func (e *eventFile) changed(events uint32) {
	e.waiters.notify(events)
	if !e.waiters.watched() {
		atomic.StoreUint64(&e.ev.HostWatch, 0)
	}
}

// release gives the memory back: nobody in ring 0 can reach it, since no open file names it.
func (e *eventFile) release() { e.k.freeBlock(e.gpa) }

// obey carries out what an operation asks for.
func (e *eventFile) obey(w pipes.Wake) {
	e.k.wakeSlot(w.Reader)
	if w.Flags&pipes.WakeAll != 0 {
		e.k.wakeSet(&e.ev.WWait)
	}
	if w.Flags&pipes.WakePollers != 0 {
		e.k.wakeSet(&e.ev.PWait)
	}
	if w.Events != 0 {
		tellItems(&e.watchers, uint32(w.Events))
		e.changed(uint32(w.Events))
	}
}

// wakeSet wakes all threads of a wait set.
func (k *Kernel) wakeSet(s *pipes.WaitSet) {
	for i := range uint64(pipes.SetWords) {
		for set := s.TakeWord(i); set != 0; set &= set - 1 {
			k.wakeSlot(int64(i*64) + int64(bits.TrailingZeros64(set)))
		}
	}
}

func (e *eventFile) read(c *ioCall) error {
	if c.left < 8 {
		return unix.EINVAL
	}
	n, w, st := e.ev.Read()
	if st != pipes.OK {
		return eventStatus(st)
	}
	e.obey(w)
	_, err := c.put(le.AppendUint64(nil, n))
	return err
}

// eventStatus is why an operation was not done.
func eventStatus(st pipes.Status) error {
	if st == pipes.WouldBlock {
		return errWait
	}
	return errBusy
}

// write adds a value. A writev is a write of each of its buffers, which must have 8 bytes.
func (e *eventFile) write(c *ioCall) error {
	for first := true; c.left > 0 || first; first = false {
		if c.left < 8 || c.buf == nil && c.iov[0].len != 8 {
			return unix.EINVAL
		}
		var b [8]byte
		if _, err := c.get(b[:]); err != nil {
			return err
		}
		n := le.Uint64(b[:])
		if n == math.MaxUint64 {
			return unix.EINVAL
		}
		w, st := e.ev.Write(n)
		if st != pipes.OK {
			return eventStatus(st)
		}
		c.advance(8)
		e.obey(w)
	}
	return nil
}

func (e *eventFile) fdinfo() string {
	return fmt.Sprintf("eventfd-count: %16x\neventfd-id: %d\neventfd-semaphore: %d\n",
		atomic.LoadUint64(&e.ev.Count), e.id, atomic.LoadUint64(&e.ev.Semaphore))
}
