package pipes

import (
	"sync/atomic"

	"culvert/shim/abi"
)

// Move is a splice or tee between two pipes in progress: both locks are held. The bytes are copied from ring to ring,
// which cannot fault, so many pieces are moved under one hold of the locks:
//
//	m, st := BeginMove(src, dst, pause)
//	for st == OK && m.Bytes < want {
//		from, to, n := m.Next(src, dst, want-m.Bytes, take)
//		if n == 0 { break }
//		copy, with Piece
//	}
//	if st == OK { EndMove(src, dst, m, take) }
//
// splice takes, tee does not. Packets stay packets, and a splice may take a part of one.
type Move struct {
	From, To uint64 // positions reached
	Bytes    uint64 // moved so far
}

// BeginMove takes the locks, in the order of the pipes' addresses. Preconditions: src and dst differ (EINVAL in Linux).
//
//go:nosplit
func BeginMove(src, dst *Pipe, pause func()) (Move, Status) {
	first, second := &src.ReadLock, &dst.WriteLock
	if before(dst, src) {
		first, second = second, first
	}
	if !lock(first, pause) {
		return Move{}, LockBusy
	}
	if !lock(second, pause) {
		unlock(first)
		return Move{}, LockBusy
	}
	m := Move{From: atomic.LoadUint64(&src.Head), To: atomic.LoadUint64(&dst.Tail)}
	st := m.status(src, dst)
	if st != OK {
		unlock(second)
		unlock(first)
	}
	return m, st
}

// status says whether anything can be moved. The order is ipipe_prep's, opipe_prep's and splice_pipe_to_pipe's
// (fs/splice.c): a source at its end is looked at last.
//
//go:nosplit
func (m *Move) status(src, dst *Pipe) Status {
	tail := atomic.LoadUint64(&src.Tail)
	if m.From == tail {
		if src.Writers() != 0 {
			return WouldBlock
		}
		tail = atomic.LoadUint64(&src.Tail) // the last write came before the last close
	}
	packet := false
	if m.From != tail {
		_, packet = src.run(m.From, tail)
	}
	if dst.Readers() == 0 {
		return EPIPE
	}
	if m.free(dst, packet) == 0 {
		return WouldBlockOut
	}
	if m.From == tail {
		return EOF
	}
	return OK
}

// free is the room that dst has for bytes, or for one packet.
//
//go:nosplit
func (m *Move) free(dst *Pipe, packet bool) uint64 {
	size := atomic.LoadUint64(&dst.Size)
	free := size - min(m.To-atomic.LoadUint64(&dst.Head), size)
	if packet {
		if free < abi.PIPE_BUF {
			return 0
		}
		return abi.PIPE_BUF
	}
	return free
}

// Next moves on by one piece of at most max bytes and returns where it is copied from and to; n = 0 when the source is
// drained or the destination full.
//
//go:nosplit
func (m *Move) Next(src, dst *Pipe, max uint64, take bool) (from, to Span, n uint64) {
	tail := atomic.LoadUint64(&src.Tail)
	if m.From == tail || max == 0 {
		return from, to, 0
	}
	have, packet := src.run(m.From, tail)
	skip := uint64(0)
	if take || m.From == atomic.LoadUint64(&src.Head) { // Skip is of the packet at Head, and Head will be From
		skip = src.Skip
	}
	n = min(have-skip, max, m.free(dst, packet))
	if n == 0 {
		return from, to, 0
	}
	from = spanAt(m.From+skip, n, atomic.LoadUint64(&src.Size))
	to = spanAt(m.To, n, atomic.LoadUint64(&dst.Size))
	m.Bytes += n
	if !packet {
		m.From += n
		m.To += n
		return from, to, n
	}
	m.To = dst.putPacket(m.To, n)
	if take && skip+n < have { // max ends inside the packet: the rest of it stays
		src.Skip = skip + n
		return from, to, n
	}
	if take {
		src.dropPacket(m.From)
	}
	m.From += abi.PIPE_BUF
	return from, to, n
}

// EndMove publishes what was moved, releases the locks and says whom to wake at either pipe.
//
//go:nosplit
func EndMove(src, dst *Pipe, m Move, take bool) (onSrc, onDst Wake) {
	head := atomic.LoadUint64(&src.Head)
	next := head
	if take {
		next = m.From
	}
	atomic.StoreUint64(&src.Head, next)
	atomic.StoreUint64(&dst.Tail, m.To)
	srcSize, dstSize := atomic.LoadUint64(&src.Size), atomic.LoadUint64(&dst.Size)
	unlock(&dst.WriteLock)
	unlock(&src.ReadLock)
	return src.afterRead(head, next, srcSize), dst.afterWrite(m.Bytes, m.To, dstSize)
}

// Piece cuts the longest piece off two spans that is contiguous in both; n = 0 when one of them is used up.
//
//go:nosplit
func Piece(a, b *Span) (aOff, bOff, n uint64) {
	if a.N1 == 0 {
		a.Off, a.N1, a.N2 = 0, a.N2, 0
	}
	if b.N1 == 0 {
		b.Off, b.N1, b.N2 = 0, b.N2, 0
	}
	n = min(a.N1, b.N1)
	aOff, bOff = a.Off, b.Off
	a.Off += n
	a.N1 -= n
	b.Off += n
	b.N1 -= n
	return aOff, bOff, n
}
