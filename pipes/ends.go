package pipes

import "sync/atomic"

// Poll bits (include/uapi/asm-generic/poll.h); epoll's are the same numbers.
const (
	POLLIN     = 0x001
	POLLOUT    = 0x004
	POLLERR    = 0x008
	POLLHUP    = 0x010
	POLLRDNORM = 0x040
	POLLWRNORM = 0x100
)

// Ends of a pipe, as bits: the access mode of an open description.
const (
	ReadEnd  = 1
	WriteEnd = 2
)

// Readers and writers are halves of one word, so that of two closes at the same time exactly one is the last.
const (
	oneReader = 1
	oneWriter = 1 << 32
)

// Readers returns the number of open descriptions that read.
//
//go:nosplit
func (p *Pipe) Readers() uint64 { return atomic.LoadUint64(&p.Ends) & (oneWriter - 1) }

// Writers returns the number of open descriptions that write.
//
//go:nosplit
func (p *Pipe) Writers() uint64 { return atomic.LoadUint64(&p.Ends) >> 32 }

// OpenReader adds a description that reads. The first one wakes those who wait for a partner in open.
//
//go:nosplit
func (p *Pipe) OpenReader() Wake {
	atomic.AddUint64(&p.ReaderOpens, 1)
	return opened(atomic.AddUint64(&p.Ends, oneReader) & (oneWriter - 1))
}

// OpenWriter adds a description that writes.
//
//go:nosplit
func (p *Pipe) OpenWriter() Wake {
	atomic.AddUint64(&p.WriterOpens, 1)
	return opened(atomic.AddUint64(&p.Ends, oneWriter) >> 32)
}

//go:nosplit
func opened(count uint64) Wake {
	w := Wake{Reader: -1, Writer: -1}
	if count == 1 {
		w.Flags = WakeAll
	}
	return w
}

// CloseReader drops a description that reads. A description that does both calls both, the reader first.
//
//go:nosplit
func (p *Pipe) CloseReader() Wake { return p.closed(atomic.AddUint64(&p.Ends, ^uint64(oneReader-1))) }

// CloseWriter drops a description that writes.
//
//go:nosplit
func (p *Pipe) CloseWriter() Wake { return p.closed(atomic.AddUint64(&p.Ends, ^uint64(oneWriter-1))) }

// closed says what follows from a close that left ends: pipe_release of fs/pipe.c wakes everybody whenever one kind
// of end is gone and the other is not.
//
//go:nosplit
func (p *Pipe) closed(ends uint64) Wake {
	w := Wake{Reader: -1, Writer: -1}
	readers, writers := ends&(oneWriter-1), ends>>32
	if readers == 0 && writers == 0 {
		w.Flags = Dead
		return w
	}
	if readers == 0 {
		w.Events = POLLERR
	}
	if writers == 0 {
		w.Events = POLLHUP
	}
	if w.Events != 0 {
		w.Flags = p.told(w.Events) | WakeAll
	}
	return w
}

// Readiness returns the poll bits of a description that has these ends: pipe_poll of fs/pipe.c. since is what
// WriterOpens was when a FIFO was opened to read without blocking and without a writer (no POLLHUP until a writer
// came); else 0.
//
//go:nosplit
func (p *Pipe) Readiness(ends, since uint64) uint64 {
	bits := uint64(0)
	if ends&ReadEnd != 0 {
		// Writers first: a writer that wrote and left is seen to have written.
		if p.Writers() == 0 && atomic.LoadUint64(&p.WriterOpens) != since {
			bits = POLLHUP
		}
		head := atomic.LoadUint64(&p.Head)
		if head != atomic.LoadUint64(&p.Tail) {
			bits |= POLLIN | POLLRDNORM
		}
	}
	if ends&WriteEnd != 0 {
		if p.room() {
			bits |= POLLOUT | POLLWRNORM
		}
		if p.Readers() == 0 {
			bits |= POLLERR
		}
	}
	return bits
}
