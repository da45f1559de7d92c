// Package link joins two pipes in two VMs into one: what is written into the pipe of one is read from the pipe of
// the other, in a ring that both VMs map. It obeys the ring-0 rules; guest kernel and shim run it on both sides.
//
// Each VM has a pipes.Pipe of its own in its own memory, with its locks and wait sets; only the ring's bytes and the
// Words before them are shared. A side is the writer of one position and believes nothing that the other stores:
//
//	writing VM                             reading VM
//	----------                             ----------
//	its pipe's Tail is its own             its pipe's Head is its own
//	Pull: Words.Head, checked, to Head     Pull: Words.Tail, checked, to Tail
//	... pipes' BeginWrite, copy, EndWrite  ... pipes' BeginRead, copy, EndRead
//	Publish: Tail to Words.Tail            Publish: Head to Words.Head
//
// A position is taken over only if it lies between the one known before and what the ring can hold. One that does not
// is left alone: a VM that lies starves its own pipe. Positions only grow, on both sides of a compare-and-swap, since
// several vCPUs pull and publish at the same time.
//
// # Sleeping and waking
//
// Who finds nothing to read, or no room, joins the wait set of its own pipe, sets its Wait word, pulls once more, and
// sleeps if there is still nothing. Who publishes looks at the other side's Wait word after it; if it is set and there
// is something to do (bytes to read, half of the ring free), it takes the word and rings the other VM's bell, which
// its host carries. Both halves are locked operations, so one of the two sees the other:
//
//	sleeper                           publisher
//	-------                           ---------
//	Want: XCHG Wait, 1                Publish: CAS the position
//	Pull: load the position           load Wait; XCHG Wait, 0; bell
//
// The bell's hearer pulls, wakes one thread of the wait set and tells pollers. While anybody is left who waits it
// sets the Wait word again and pulls again, so that a second sleeper is not forgotten. A Wait word that the other VM
// clears without a bell is that VM's refusal to go on; its host's end of the connection, not a word in memory, says
// when it is gone.
//
// A bell costs an exit and has the other VM run at once, perhaps on the same processor. So who writes more than PIPE_BUF
// bytes leaves a reader asleep until half of the ring is full (Publish with Later): its VM's host publishes once more (Now)
// when a vCPU has nothing to run, which is when the exit has been made anyway, and once in a time slice while all are busy.
//
// Two VMs that have one processor between them (Words.Turns) gain nothing by waking each other halfway: who is woken takes the
// processor from the waker, and the ring changes hands twice as often as it need. There only Now rings for more than
// PIPE_BUF bytes, or for room: the writer fills the ring and the reader empties it.
//
// # Difference from a pipe of one VM
//
// A writer that sleeps is woken when half of the ring is free, not at PIPE_BUF bytes: a bell costs two VM exits and the
// host's scheduler, so a ring that is kept full would cost them for each block. A reader that goes on reading always
// comes there. Where VMs take turns it is woken when the reader's VM has nothing more to run, or at the end of a time slice.
package link

import (
	"sync/atomic"

	"culvert/pipes"
	"culvert/shim/abi"
)

// Words are what two VMs share beside the ring. They fill the page before it.
type Words struct {
	Tail       uint64 // bytes written; the writing VM stores it
	WriterWait uint64 // 1: the writing VM wants the bell when there is room
	_          [6]uint64
	Head       uint64 // bytes read; the reading VM stores it
	ReaderWait uint64 // 1: the reading VM wants the bell when there are bytes
	_          [6]uint64
	// Turns is 1 if the two VMs cannot run at the same time. Who makes the link sets it; a VM that changes it wakes and is
	// woken later or earlier than it could be.
	Turns uint64
}

// RingOffset is where the ring begins in a link's memory.
const RingOffset = abi.PageSize

// tries bounds the loops around a compare-and-swap. Each failure is another processor's success.
const tries = 64

// Pull takes over what the other VM has done: for an end that reads the bytes written, for one that writes the room
// made.
//
//go:nosplit
func Pull(p *pipes.Pipe, w *Words, end uint64) {
	from, to := &w.Head, &p.Head
	if end == pipes.ReadEnd {
		from, to = &w.Tail, &p.Tail
	}
	told := atomic.LoadUint64(from)
	for try := 0; try < tries; try++ {
		known := atomic.LoadUint64(to)
		most := atomic.LoadUint64(&p.Tail) - known // the writer's view: all that was written may have been read
		if end == pipes.ReadEnd {
			most = atomic.LoadUint64(&p.Size) - (known - atomic.LoadUint64(&p.Head))
		}
		if told-known-1 >= most || most > pipes.MaxSize { // 0, behind, or beyond
			return
		}
		if atomic.CompareAndSwapUint64(to, known, told) {
			return
		}
	}
}

// When says how much has to be there for the other VM's bell.
type When uint64

const (
	// Now rings for any byte to read.
	Now When = iota
	// Later leaves a reader asleep for what is neither half a ring nor at most PIPE_BUF bytes, and, of VMs that take turns,
	// for half a ring too, and a writer. Somebody publishes with Now after it, soon.
	Later
)

// Publish tells the other VM what this one has done. It reports true if the other's bell is to be rung.
//
//go:nosplit
func Publish(p *pipes.Pipe, w *Words, end uint64, when When) (bell bool) {
	size, turns := atomic.LoadUint64(&p.Size), when == Later && atomic.LoadUint64(&w.Turns) != 0
	if end == pipes.ReadEnd {
		advance(&w.Head, atomic.LoadUint64(&p.Head))
		used := atomic.LoadUint64(&w.Tail) - atomic.LoadUint64(&p.Head)
		return atomic.LoadUint64(&w.WriterWait) != 0 && used*2 <= size && !turns &&
			atomic.SwapUint64(&w.WriterWait, 0) != 0
	}
	advance(&w.Tail, atomic.LoadUint64(&p.Tail))
	used := atomic.LoadUint64(&p.Tail) - atomic.LoadUint64(&w.Head)
	if atomic.LoadUint64(&w.ReaderWait) == 0 || used == 0 || when == Later && used > abi.PIPE_BUF && (turns || used*2 < size) {
		return false
	}
	return atomic.SwapUint64(&w.ReaderWait, 0) != 0
}

// advance moves a word to pos unless it is there or further: another vCPU was faster.
//
//go:nosplit
func advance(word *uint64, pos uint64) {
	for try := 0; try < tries; try++ {
		old := atomic.LoadUint64(word)
		if int64(pos-old) <= 0 || atomic.CompareAndSwapUint64(word, old, pos) {
			return
		}
	}
}

// Want asks for the bell. Pull comes after it.
//
//go:nosplit
func Want(w *Words, end uint64) {
	if end == pipes.ReadEnd {
		atomic.SwapUint64(&w.ReaderWait, 1)
	} else {
		atomic.SwapUint64(&w.WriterWait, 1)
	}
}
