package pipes

import (
	"sync/atomic"

	"culvert/shim/abi"
)

// Pipe is a pipe's shared state. It holds no bytes and no Go pointer: Data names the ring for whoever maps it. It
// should lie on a 64-byte boundary; the readers' and the writers' words have a cache line each.
type Pipe struct {
	Head     uint64 // bytes read so far; the holder of ReadLock stores it
	ReadLock uint64 // 1 = held
	Skip     uint64 // bytes of the packet at Head that splice has taken; under ReadLock
	_        [5]uint64

	Tail      uint64 // bytes written so far; the holder of WriteLock stores it
	WriteLock uint64 // 1 = held
	_         [6]uint64

	Size        uint64 // bytes of the ring: a power of two, PageSize to MaxSize; changes under both locks
	Data        uint64 // address of the ring in the guest; changes under both locks
	Ends        uint64 // open descriptions: readers in the low half, writers in the high half
	Slotted     uint64 // 1 once a packet was written: Packet must be asked
	HostWatch   uint64 // not 0: the shim wants a note on each event
	Generation  uint64 // counts the uses of this memory as a pipe
	ReaderOpens uint64 // times the end was opened, from 1: pipe_inode_info's r_counter and w_counter
	WriterOpens uint64

	Watch uint64 // address of the first epoll item that watches the pipe, or 0; its owner is the host
	_     [7]uint64

	RWait WaitSet // readers, woken one by one
	WWait WaitSet // writers, woken one by one
	PWait WaitSet // pollers, all woken

	Packet [packets]uint32 // per page of positions modulo packets: length<<12 | offset of the packet that starts there
}

// Status is the answer of Begin. The lock is held after OK and after nothing else.
type Status uint64

const (
	// OK: copy, then call End.
	OK Status = iota
	// WouldBlock: nothing to read, or no room for what must be written; of a Move, nothing in the source.
	WouldBlock
	// WouldBlockOut: of a Move, no room in the destination.
	WouldBlockOut
	// EOF: nothing to read and no writer.
	EOF
	// EPIPE: no reader; raise SIGPIPE.
	EPIPE
	// LockBusy: another processor holds the lock. Let others run, then try again.
	LockBusy
	// EBUSY: of a resize, the contents do not fit.
	EBUSY
)

// Span is a piece of the ring: N1 bytes at offset Off, then N2 bytes at offset 0.
type Span struct{ Off, N1, N2 uint64 }

// Wake is what a caller has to do after an operation, with no lock held.
type Wake struct {
	Reader int64  // slot of a reader to make ready, or -1
	Writer int64  // slot of a writer to make ready, or -1
	Events uint64 // poll bits of what happened: an edge for the epoll interests of the pipe
	Flags  uint64 // Wake*, More, Dead
}

// Flags of a Wake.
const (
	// WakePollers: wake all of PWait.
	WakePollers = 1 << iota
	// WakeAll: wake all of RWait, WWait and PWait, and those who wait for a partner in open.
	WakeAll
	// WakeNote: the shim watches the pipe; tell it.
	WakeNote
	// WakeWatch: tell the watchers of the Events.
	WakeWatch
	// More: bytes were read and a packet follows; the same read goes on with it, as pipe_read does.
	More
	// Dead: the last end is gone. Exactly one close says so.
	Dead
)

// Nobody reports that nobody is to be woken or told. More is no affair of others.
//
//go:nosplit
func (w *Wake) Nobody() bool { return w.Reader&w.Writer == -1 && w.Flags&^More == 0 }

// Mode says how a write may be split.
type Mode uint64

const (
	// Stream: as many bytes as there is room for, at least one.
	Stream Mode = iota
	// Atomic: all or nothing, for writes of at most PIPE_BUF bytes.
	Atomic
	// Packet: one packet of at most PIPE_BUF bytes.
	Packet
)

// ModeOf returns the mode of a write of total bytes, all iovecs together, through a description with these flags.
// It stays the mode for the rest of a write that was split.
//
//go:nosplit
func ModeOf(total, flags uint64) Mode {
	if flags&abi.O_DIRECT != 0 {
		return Packet
	}
	if total <= abi.PIPE_BUF {
		return Atomic
	}
	return Stream
}

// BeginRead takes ReadLock and returns the next bytes: at most max, at most what is there, of at most one packet.
// Preconditions: max > 0, since Linux answers a read of 0 bytes before it looks at the pipe.
//
//go:nosplit
func (p *Pipe) BeginRead(max uint64, pause func()) (Span, Status) {
	if !lock(&p.ReadLock, pause) {
		return Span{}, LockBusy
	}
	head := atomic.LoadUint64(&p.Head)
	tail := atomic.LoadUint64(&p.Tail)
	if head == tail {
		empty := WouldBlock
		if p.Writers() == 0 { // the last write came before the last close
			empty, tail = EOF, atomic.LoadUint64(&p.Tail)
		}
		if head == tail {
			unlock(&p.ReadLock)
			return Span{}, empty
		}
	}
	skip, n := uint64(0), tail-head
	if atomic.LoadUint64(&p.Slotted) != 0 { // stored before the Tail that published the first packet
		n, _ = p.run(head, tail)
		skip = p.Skip
	}
	return spanAt(head+skip, min(n-skip, max), atomic.LoadUint64(&p.Size)), OK
}

// EndRead consumes the first n bytes of BeginRead's span, releases ReadLock and says whom to wake. With n = 0 the
// pipe stays as it was. A packet is consumed whole.
//
//go:nosplit
func (p *Pipe) EndRead(n uint64) Wake {
	head := atomic.LoadUint64(&p.Head)
	next, flags := head+n, uint64(0)
	if n != 0 {
		if atomic.LoadUint64(&p.Slotted) != 0 {
			next, flags = p.consume(head, n)
		}
		atomic.StoreUint64(&p.Head, next)
	}
	size := atomic.LoadUint64(&p.Size)
	unlock(&p.ReadLock)
	w := p.afterRead(head, next, size)
	w.Flags |= flags
	return w
}

// EndReadFault is EndRead for a copy that faulted after n bytes. Bytes are consumed; a packet stays whole, as in
// pipe_read. It returns how many bytes the read got.
//
//go:nosplit
func (p *Pipe) EndReadFault(n uint64) (uint64, Wake) {
	if atomic.LoadUint64(&p.Slotted) != 0 &&
		p.packetAt(atomic.LoadUint64(&p.Head), atomic.LoadUint64(&p.Tail)) != 0 {
		n = 0
	}
	return n, p.EndRead(n)
}

// BeginWrite takes WriteLock and returns room for n bytes, or for as many as the mode allows.
//
//go:nosplit
func (p *Pipe) BeginWrite(n uint64, mode Mode, pause func()) (Span, Status) {
	if p.Readers() == 0 {
		return Span{}, EPIPE
	}
	if !lock(&p.WriteLock, pause) {
		return Span{}, LockBusy
	}
	tail := atomic.LoadUint64(&p.Tail)
	size := atomic.LoadUint64(&p.Size)
	free := size - min(tail-atomic.LoadUint64(&p.Head), size)
	need := uint64(1)
	if mode == Atomic {
		need = n
	} else if mode == Packet {
		need = abi.PIPE_BUF
		n = min(n, abi.PIPE_BUF)
	}
	if free < need {
		unlock(&p.WriteLock)
		return Span{}, WouldBlock
	}
	return spanAt(tail, min(n, free), size), OK
}

// EndWrite publishes the first n bytes of BeginWrite's span, releases WriteLock and says whom to wake. With n = 0
// the pipe stays as it was. Preconditions: the mode is BeginWrite's.
//
//go:nosplit
func (p *Pipe) EndWrite(n uint64, mode Mode) Wake {
	tail := atomic.LoadUint64(&p.Tail)
	next := tail + n
	if n != 0 {
		if mode == Packet {
			next = p.putPacket(tail, n)
		}
		atomic.StoreUint64(&p.Tail, next)
	}
	size := atomic.LoadUint64(&p.Size)
	unlock(&p.WriteLock)
	return p.afterWrite(n, next, size)
}

// afterRead decides the wake-ups of a read that moved Head from head to next. It runs after the stores of EndRead:
// Tail and the wait sets are loaded behind a full barrier.
//
//go:nosplit
func (p *Pipe) afterRead(head, next, size uint64) Wake {
	w := Wake{Reader: -1, Writer: -1}
	tail := atomic.LoadUint64(&p.Tail)
	if tail != next && !p.RWait.Empty() {
		w.Reader = p.RWait.Take()
	}
	if size-(tail-next) >= abi.PIPE_BUF {
		if !p.WWait.Empty() {
			w.Writer = p.WWait.Take()
		}
		// An edge only if this read made the room. Tail is newer than next, so if the pipe went from full to not
		// full for good, the read that did it finds it so.
		if size-(tail-head) < abi.PIPE_BUF {
			w.Events = POLLOUT | POLLWRNORM
		}
	}
	w.Flags = p.told(w.Events)
	return w
}

// afterWrite decides the wake-ups of a write of n bytes that left Tail at next.
//
//go:nosplit
func (p *Pipe) afterWrite(n, next, size uint64) Wake {
	w := Wake{Reader: -1, Writer: -1}
	if n != 0 {
		w.Events = POLLIN | POLLRDNORM
		if !p.RWait.Empty() {
			w.Reader = p.RWait.Take()
		}
	}
	if !p.WWait.Empty() && size-(next-atomic.LoadUint64(&p.Head)) >= abi.PIPE_BUF {
		w.Writer = p.WWait.Take()
	}
	w.Flags = p.told(w.Events)
	return w
}

// told returns who must hear of events: pollers, the shim and epoll items.
//
//go:nosplit
func (p *Pipe) told(events uint64) uint64 {
	flags := uint64(0)
	if events != 0 {
		if !p.PWait.Empty() {
			flags = WakePollers
		}
		if atomic.LoadUint64(&p.HostWatch) != 0 {
			flags |= WakeNote
		}
		if atomic.LoadUint64(&p.Watch) != 0 {
			flags |= WakeWatch
		}
	}
	return flags
}

// PassRead hands on the wake of a reader that was woken and takes nothing.
//
//go:nosplit
func (p *Pipe) PassRead() Wake {
	head := atomic.LoadUint64(&p.Head)
	return p.afterRead(head, head, atomic.LoadUint64(&p.Size))
}

// PassWrite hands on the wake of a writer that was woken and writes nothing.
//
//go:nosplit
func (p *Pipe) PassWrite() Wake {
	return p.afterWrite(0, atomic.LoadUint64(&p.Tail), atomic.LoadUint64(&p.Size))
}

// Readable is what a reader tests between Join and sleep: pipe_readable of fs/pipe.c. Head is loaded first: if Tail
// is found equal to it, the pipe was empty when Tail was loaded.
//
//go:nosplit
func (p *Pipe) Readable() bool {
	head := atomic.LoadUint64(&p.Head)
	return head != atomic.LoadUint64(&p.Tail) || p.Writers() == 0
}

// Writable is what a writer tests between Join and sleep: pipe_writable of fs/pipe.c.
//
//go:nosplit
func (p *Pipe) Writable() bool { return p.room() || p.Readers() == 0 }

// room reports whether a write of PIPE_BUF bytes fits. Tail is loaded first: if there seems to be no room, there was
// none when Head was loaded.
//
//go:nosplit
func (p *Pipe) room() bool {
	tail := atomic.LoadUint64(&p.Tail)
	return atomic.LoadUint64(&p.Size)-(tail-atomic.LoadUint64(&p.Head)) >= abi.PIPE_BUF
}

// spanAt is the piece of n bytes at position pos, never more than the ring has.
//
//go:nosplit
func spanAt(pos, n, size uint64) Span {
	off := pos & (size - 1)
	n = min(n, size)
	n1 := min(n, size-off)
	return Span{off, n1, n - n1}
}

// lockTries bounds the wait for a lock, in calls of pause. A holder copies at most a ring.
const lockTries = 64

// lock takes a lock word. pause is the processor's PAUSE, or its like.
//
//go:nosplit
func lock(word *uint64, pause func()) bool {
	for try := 0; try < lockTries; try++ {
		if atomic.LoadUint64(word) == 0 && atomic.CompareAndSwapUint64(word, 0, 1) {
			return true
		}
		pause()
	}
	return false
}

// unlock releases a lock word. It is a full barrier.
//
//go:nosplit
func unlock(word *uint64) { atomic.StoreUint64(word, 0) }
