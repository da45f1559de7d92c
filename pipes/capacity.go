package pipes

import "sync/atomic"

// BeginResize takes both locks and returns where the contents lie in the ring and where they belong in a ring of size
// bytes: positions do not change. The caller copies (Piece) and calls EndResize; EBUSY if the contents do not fit.
// Preconditions: size comes from RoundSize.
//
//go:nosplit
func (p *Pipe) BeginResize(size uint64, pause func()) (from, to Span, st Status) {
	if !lock(&p.ReadLock, pause) {
		return from, to, LockBusy
	}
	if !lock(&p.WriteLock, pause) {
		unlock(&p.ReadLock)
		return from, to, LockBusy
	}
	head := atomic.LoadUint64(&p.Head)
	n := atomic.LoadUint64(&p.Tail) - head
	if n > size {
		unlock(&p.WriteLock)
		unlock(&p.ReadLock)
		return from, to, EBUSY
	}
	return spanAt(head, n, atomic.LoadUint64(&p.Size)), spanAt(head, n, size), OK
}

// EndResize puts the new ring in place and releases the locks; nobody uses the old ring after it. Like
// pipe_resize_ring of fs/pipe.c it is an event for those who want to write, be there more room or less.
//
//go:nosplit
func (p *Pipe) EndResize(size, data uint64) Wake {
	atomic.StoreUint64(&p.Size, size)
	atomic.StoreUint64(&p.Data, data)
	tail := atomic.LoadUint64(&p.Tail)
	unlock(&p.WriteLock)
	unlock(&p.ReadLock)
	w := p.afterWrite(0, tail, size)
	w.Events = POLLOUT | POLLWRNORM
	w.Flags = p.told(w.Events)
	return w
}
