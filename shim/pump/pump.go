package pump

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"culvert/pipes"
	"culvert/shim/longcall"

	"golang.org/x/sys/unix"
)

// RingSize is the size in bytes of the ring of a standard file that is a pipe or a socket: as much as a pipe of Linux holds at
// most, so that guest and host take turns seldom.
const RingSize = 1 << 20

const (
	// spin is how long the goroutine looks for work before it sleeps, where the host has more processors than the VM: about
	// what a doorbell and a wake-up cost.
	spin = 50 * time.Microsecond
	// nap is a pause between looks at a lock.
	nap = time.Millisecond
	// patience is for how many time slices a ring may be left alone before the goroutine takes it. With a processor to spare it
	// works while the guest does; without one it would only take turns with the guest before the ring is full or empty.
	patience, sparePatience = 4, 1
	// bulk is how much has to wait for a host's buffer to be called too small: as much as a pipe holds by default.
	bulk = 64 << 10
)

// Owner is whose ring it is: the personality of the VM. Its methods but Lock are called locked.
type Owner interface {
	sync.Locker
	// Obey wakes whom an operation on the ring says.
	Obey(w pipes.Wake)
	// Quiet turns the doorbell off, unless the owner has other uses for it.
	Quiet()
	// Fail ends the VM.
	Fail(err error)
	// Hasty says not to wait for who reads the VM's output, when it has ended.
	Hasty() bool
}

// Pump is the host's end of a ring. See the package comment.
type Pump struct {
	end   pipes.End
	host  Host
	owner Owner
	out   bool // from the ring to the host
	spare bool // the host has more processors than the VM
	bell  int  // eventfd

	// What follows belongs to who is busy.
	sent  int // output: bytes of the ring that the host has, and the guest has not got back
	after int // output: bytes moved since the VM's end
	large bool
	grown bool

	// What follows is guarded by the owner's lock.
	busy   bool
	missed bool        // meanwhile another vCPU had nothing to run, and sleeps
	inline atomic.Bool // Restless reads it without the lock
	alone  int         // ticks since a vCPU has done it
	asleep bool        // the goroutine has nothing to do, and the doorbell is on
	ended  bool        // the VM has ended
}

// New makes the pump of a ring: of output if out. It closes host when it is closed. cpus is how many processors the VM has.
func New(owner Owner, end pipes.End, host Host, out bool, cpus int) (*Pump, error) {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd of a standard file: %w", err)
	}
	return &Pump{end: end, host: host, owner: owner, out: out, spare: runtime.NumCPU() > cpus, bell: bell,
		busy: true}, nil // Run's, which may begin later than a vCPU idles
}

// Close closes the host's side. Preconditions: Run has returned or was never called.
func (p *Pump) Close() {
	p.host.Close()
	unix.Close(p.bell)
}

// progress is what a step came to.
type progress int

const (
	moved  progress = iota
	idle            // output: the ring is empty; input: it is full
	waits           // for the host
	locked          // the shim has the ring's lock for an instant
	over
)

// step moves what can be moved now. The caller has set busy.
func (p *Pump) step() progress {
	if p.out {
		return p.drain()
	}
	return p.fill()
}

// drain is step of output. It is over when the guest has closed its end, or the host's reader is gone.
func (p *Pump) drain() progress {
	q := p.end.Pipe
	a, b, st, err := p.end.BeginRead(RingSize)
	switch {
	case err != nil:
		return p.lied(err)
	case st == pipes.EOF:
		return over
	case st == pipes.LockBusy:
		return locked
	case st != pipes.OK:
		return idle
	}
	all := len(a) + len(b)
	p.sent = min(p.sent, all) // only a guest that lies makes it less
	a, b = skip(a, b, p.sent)
	n, err := p.host.Move(a, b)
	n = max(n, 0)
	p.sent += n
	p.after += n
	left, give := all-p.sent, 0
	if left == 0 || p.sent >= RingSize/2 {
		p.sent, give = 0, p.sent
	}
	p.obey(q.EndRead(uint64(give)))
	switch {
	case err != nil && err != unix.EAGAIN: // EPIPE, and of a pipe nothing else
		return over
	case left == 0:
		return moved
	}
	p.grow(left)
	return waits
}

// skip leaves out the first n bytes of two pieces.
func skip(a, b []byte, n int) (_, _ []byte) {
	first := min(n, len(a))
	return a[first:], b[n-first:]
}

// fill is step of input. It is over at the end of file, or when the guest has closed its end.
func (p *Pump) fill() progress {
	q := p.end.Pipe
	if !q.Writable() { // less room than PIPE_BUF
		return idle
	}
	a, b, st, err := p.end.BeginWrite(RingSize, pipes.Stream)
	switch {
	case err != nil:
		return p.lied(err)
	case st == pipes.LockBusy:
		return locked
	case st == pipes.WouldBlock: // nobody else writes, so there is the room that there was
		return p.lied(errContradiction)
	case st != pipes.OK: // EPIPE: the guest has closed it
		return over
	}
	n, err := p.host.Move(a, b)
	n = max(n, 0)
	p.obey(q.EndWrite(uint64(n), pipes.Stream))
	switch {
	case n == 0 && err != unix.EAGAIN: // the end of file, or what a guest cannot be told of a pipe
		return over
	case n == 0:
		return waits
	}
	p.grow(n)
	return moved
}

// grow has the host's buffer grow if n bytes, which were in it or are to go into it, are more than it holds. Who moves
// much is also in no hurry.
func (p *Pump) grow(n int) {
	p.large = n >= bulk
	if p.large && !p.grown {
		p.grown = true
		p.host.Grow()
	}
}

// ContradictionError says that the words of a ring in guest memory contradict each other: the guest kernel was subverted.
type ContradictionError struct{}

func (ContradictionError) Error() string {
	return "the words of a standard file's pipe contradict each other"
}

var errContradiction error = ContradictionError{}

// lied ends the VM.
func (p *Pump) lied(err error) progress {
	p.owner.Lock()
	defer p.owner.Unlock()
	p.owner.Fail(err)
	return over
}

// obey wakes whom an operation says.
func (p *Pump) obey(w pipes.Wake) {
	if w.Nobody() {
		return
	}
	p.owner.Lock()
	defer p.owner.Unlock()
	p.owner.Obey(w)
}

// Idle does what can be done at once, for a vCPU that has nothing to run, with the owner locked. It answers the events of
// the host's descriptor that are to wake the vCPU from its sleep; 0 is none. fired says that they did.
func (p *Pump) Idle(fired bool) int16 {
	if p.busy || p.ended {
		p.missed = true
		return 0
	}
	p.inline.Store(true)
	p.alone, p.busy = 0, true
	if p.asleep {
		p.asleep = false
		p.owner.Quiet()
	}
	if fired && p.large && !p.spare {
		// The host's process that was waited for has the processor, which this thread took from it. It goes on until it has
		// filled or emptied the pipe, and there is more to do then.
		p.owner.Unlock()
		unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		p.owner.Lock()
	}
	done := p.attend()
	p.busy = false
	if done == over || done == locked {
		p.inline.Store(false) // the goroutine will see it too
	}
	switch {
	case !p.inline.Load():
		p.Ring()
	case done == waits && p.out:
		return unix.POLLOUT
	case done == waits:
		return unix.POLLIN
	}
	return 0
}

// attend is step, with the owner locked but meanwhile. A vCPU that a step woke may have used up what it got, and come to idle,
// before the step was over: that sleeps now and watches nothing, so its turn is taken too.
func (p *Pump) attend() (done progress) {
	for p.missed = true; p.missed; {
		p.missed = false
		p.owner.Unlock()
		done = p.step()
		p.owner.Lock()
	}
	return done
}

// Tick is called once in a time slice, with the owner locked: no vCPU may have come to idle.
func (p *Pump) Tick() {
	limit := patience
	if p.spare {
		limit = sparePatience
	}
	if p.alone++; p.alone > limit && p.Restless() && !p.busy {
		p.handBack()
	}
}

// Restless says that Tick has something to do, or will have at the next slice's end. It takes no lock, and obeys the rules of
// vmm.Idler.
//
//go:nosplit
func (p *Pump) Restless() bool { return p.inline.Load() && p.pressing() }

// pressing says that the guest or the host's reader may wait for the pump.
//
//go:nosplit
func (p *Pump) pressing() bool {
	q := p.end.Pipe
	if p.out {
		return q.Readable()
	}
	return atomic.LoadUint64(&q.Head) == atomic.LoadUint64(&q.Tail) || q.Readers() == 0
}

// handBack leaves the work to the goroutine.
func (p *Pump) handBack() {
	p.inline.Store(false)
	p.asleep = false
	p.Ring()
}

// Rouse tells the pump that the ring has changed, with the owner locked.
func (p *Pump) Rouse() {
	if p.asleep || !p.out && p.end.Pipe.Readers() == 0 {
		p.handBack()
	}
}

// Ring wakes the goroutine.
func (p *Pump) Ring() { longcall.Ring(p.bell) }

// Asleep says that the doorbell is on, with the owner locked.
func (p *Pump) Asleep() bool { return p.asleep }

// Finish has Run move what is there and return, since the VM has ended; with the owner locked.
func (p *Pump) Finish() {
	p.ended = true
	p.handBack()
}
