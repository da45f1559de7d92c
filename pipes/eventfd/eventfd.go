// Package eventfd is an eventfd(2) counter in memory that several processors share: fs/eventfd.c without descriptor
// and system call. It obeys the ring-0 rules and the sleeping and waking protocol of package pipes: join, test again,
// sleep on one side; change the counter by a locked operation, then look at the wait sets on the other.
//
// Every write is an event (POLLIN) even if the counter was not read in between, and every read is one (POLLOUT): so
// are Linux's wake-ups, and so are the edges of EPOLLET.
//
// A write wakes one reader. A reader that leaves something, as it does with EFD_SEMAPHORE, wakes the next. Writers wait
// for different amounts, so a read wakes them all.
package eventfd

import (
	"sync/atomic"

	"culvert/pipes"
)

// EventFD is the shared state. It should lie on a 64-byte boundary.
type EventFD struct {
	Count      uint64
	Semaphore  uint64 // 1: EFD_SEMAPHORE
	HostWatch  uint64 // not 0: the shim wants a note on each event
	Generation uint64 // counts the uses of this memory as an eventfd
	Watch      uint64 // address of the first epoll item that watches the eventfd, or 0; its owner is the host
	_          [3]uint64

	RWait pipes.WaitSet // readers, woken one by one
	WWait pipes.WaitSet // writers, all woken
	PWait pipes.WaitSet // pollers, all woken
}

const (
	// max is what the counter and a value to add stay below: ULLONG_MAX. Writing it is EINVAL.
	max = ^uint64(0)
	// tries bounds the loops around a compare-and-swap. Each failure is another processor's success.
	tries = 64
)

// Invalid is the value that cannot be written (EINVAL).
const Invalid = max

// Read takes the counter, or 1 of it. WouldBlock: it is 0. LockBusy: try again.
//
//go:nosplit
func (e *EventFD) Read() (uint64, pipes.Wake, pipes.Status) {
	for try := 0; try < tries; try++ {
		c := atomic.LoadUint64(&e.Count)
		if c == 0 {
			return 0, pipes.Wake{Reader: -1, Writer: -1}, pipes.WouldBlock
		}
		got := c
		if atomic.LoadUint64(&e.Semaphore) != 0 {
			got = 1
		}
		if atomic.CompareAndSwapUint64(&e.Count, c, c-got) {
			return got, e.wake(pipes.POLLOUT), pipes.OK
		}
	}
	return 0, pipes.Wake{Reader: -1, Writer: -1}, pipes.LockBusy
}

// Write adds v. WouldBlock: the sum would reach ULLONG_MAX. LockBusy: try again. Preconditions: v is not ULLONG_MAX.
//
//go:nosplit
func (e *EventFD) Write(v uint64) (pipes.Wake, pipes.Status) {
	for try := 0; try < tries; try++ {
		c := atomic.LoadUint64(&e.Count)
		if max-c <= v {
			return pipes.Wake{Reader: -1, Writer: -1}, pipes.WouldBlock
		}
		if atomic.CompareAndSwapUint64(&e.Count, c, c+v) {
			return e.wake(pipes.POLLIN), pipes.OK
		}
	}
	return pipes.Wake{Reader: -1, Writer: -1}, pipes.LockBusy
}

// Pass hands on the wake of a reader that was woken and takes nothing.
//
//go:nosplit
func (e *EventFD) Pass() pipes.Wake { return e.wake(0) }

// wake decides the wake-ups after an event; the counter was changed by a full barrier before.
//
//go:nosplit
func (e *EventFD) wake(events uint64) pipes.Wake {
	w := pipes.Wake{Reader: -1, Writer: -1, Events: events}
	if !e.RWait.Empty() && atomic.LoadUint64(&e.Count) != 0 {
		w.Reader = e.RWait.Take()
	}
	if events == 0 {
		return w
	}
	if !e.PWait.Empty() {
		w.Flags = pipes.WakePollers
	}
	if atomic.LoadUint64(&e.HostWatch) != 0 {
		w.Flags |= pipes.WakeNote
	}
	if atomic.LoadUint64(&e.Watch) != 0 {
		w.Flags |= pipes.WakeWatch
	}
	if events == pipes.POLLOUT && !e.WWait.Empty() {
		w.Flags |= pipes.WakeAll
	}
	return w
}

// Readable is what a reader tests between Join and sleep.
//
//go:nosplit
func (e *EventFD) Readable() bool { return atomic.LoadUint64(&e.Count) != 0 }

// Writable is what a writer of v tests between Join and sleep.
//
//go:nosplit
func (e *EventFD) Writable(v uint64) bool { return max-atomic.LoadUint64(&e.Count) > v }

// Readiness returns the poll bits: eventfd_poll of fs/eventfd.c, whose POLLERR needs a counter that only kernel code
// can bring to ULLONG_MAX.
//
//go:nosplit
func (e *EventFD) Readiness() uint64 {
	c := atomic.LoadUint64(&e.Count)
	bits := uint64(0)
	if c != 0 {
		bits = pipes.POLLIN
	}
	if c < max-1 {
		bits |= pipes.POLLOUT
	}
	return bits
}
