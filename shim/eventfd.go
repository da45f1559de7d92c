package shim

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// eventFile is an eventfd: fs/eventfd.c.
type eventFile struct {
	noopSeek
	count     uint64
	semaphore bool
	id        uint64
	waiters   readiness
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
	e := &eventFile{count: uint64(count), semaphore: flags&unix.EFD_SEMAPHORE != 0, id: t.k.newIno()}
	f, err := t.newAnonFile("anon_inode:[eventfd]", e, unix.O_RDWR|int(flags)&unix.O_NONBLOCK)
	if err != nil {
		return 0, err
	}
	return t.addFD(f, flags&unix.EFD_CLOEXEC != 0)
}

func (e *eventFile) poll() uint32 {
	bits := uint32(0)
	if e.count > 0 {
		bits |= unix.POLLIN
	}
	if e.count == math.MaxUint64 {
		bits |= unix.POLLERR
	}
	if e.count < math.MaxUint64-1 {
		bits |= unix.POLLOUT
	}
	return bits
}

func (e *eventFile) ready() *readiness { return &e.waiters }
func (e *eventFile) release()          {}

func (e *eventFile) read(c *ioCall) error {
	if c.left < 8 {
		return unix.EINVAL
	}
	if e.count == 0 {
		return errWait
	}
	n := e.count
	if e.semaphore {
		n = 1
	}
	e.count -= n
	e.waiters.notify(unix.POLLOUT)
	_, err := c.put(le.AppendUint64(nil, n))
	return err
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
		if math.MaxUint64-e.count <= n {
			return errWait
		}
		e.count += n
		c.advance(8)
		e.waiters.notify(unix.POLLIN)
	}
	return nil
}

func (e *eventFile) fdinfo() string {
	return fmt.Sprintf("eventfd-count: %16x\neventfd-id: %d\neventfd-semaphore: %d\n", e.count, e.id, boolInt(e.semaphore))
}
