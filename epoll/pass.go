package epoll

import (
	"math/bits"
	"sync/atomic"
)

// Pass is a collection: ep_send_events. It visits each item whose bit is set once, from where the last one stopped.
// The caller asks the objects and stores the events:
//
//	if !p.Begin(e, pause) { busy }
//	for room {
//		n, ok := p.NextChunk(e); if !ok { break }
//		c := chunk n
//		p.Enter(e, c)
//		for room && p.NextItem(e, c) {
//			ask: got := readiness of p.Item(c) & Events(p.Want)
//			if got == 0 { if p.Miss(e, c) { goto ask }; continue }
//			if !p.Same(e, c) { continue }
//			store got and p.Data; if that fails { p.Restore(e, c); stop }
//			if p.Done(e, c) { count it }
//		}
//	}
//	thread := p.End(e); wake it; if p.Told { walk e.Watch }
type Pass struct {
	Want, Data uint64 // of the item being visited
	Told       bool   // a bit was put back: the watchers of the instance are to be told

	start, low uint64 // chunk and item of the cursor
	chunks     uint64
	steps      uint64 // chunks passed since start
	n, i       uint64 // being visited
	mask, bits uint64 // of this visit to the chunk; what is left of it
	cleared    bool   // the item's bit
	tries      uint64 // items visited again because they changed
}

// maxTries bounds the items that are visited again in one collection.
const maxTries = 64

// Begin takes Lock; false if another processor holds it. pause is the processor's PAUSE, or its like.
//
//go:nosplit
func (p *Pass) Begin(e *Instance, pause func()) bool {
	for try := 0; ; try++ {
		if atomic.LoadUint64(&e.Lock) == 0 && atomic.CompareAndSwapUint64(&e.Lock, 0, 1) {
			break
		}
		if try == lockTries {
			return false
		}
		pause()
	}
	p.chunks = min(atomic.LoadUint64(&e.Chunks), MaxChunks)
	p.start, p.low = e.Cursor>>6, e.Cursor&63
	if p.start >= p.chunks {
		p.start, p.low = 0, 0
	}
	p.steps, p.bits, p.tries, p.Told = 0, 0, 0, false
	return true
}

// NextChunk finds the next chunk that may have ready items. The chunk of the cursor is visited twice: first what comes
// after the cursor, and at the end what comes before it.
//
//go:nosplit
func (p *Pass) NextChunk(e *Instance) (n uint64, ok bool) {
	for p.steps <= p.chunks && p.chunks != 0 {
		n = p.start + p.steps
		if n >= p.chunks {
			n -= p.chunks
		}
		if n >= MaxChunks {
			return 0, false
		}
		skip := uint64(bits.TrailingZeros64(atomic.LoadUint64(&e.Sum[n>>6]) >> (n & 63)))
		if skip != 0 {
			p.steps += min(skip, 64-n&63, p.chunks-n)
			continue
		}
		p.mask = ^uint64(0)
		if p.steps == 0 {
			p.mask = ^uint64(0) << (p.low & 63)
		} else if p.steps == p.chunks {
			p.mask = 1<<(p.low&63) - 1
		}
		p.steps++
		p.n = n
		return n, true
	}
	return 0, false
}

// Enter begins the visit of the chunk that NextChunk found.
//
//go:nosplit
func (p *Pass) Enter(e *Instance, c *Chunk) {
	ready := atomic.LoadUint64(&c.Ready)
	p.bits = ready & p.mask &^ 1
	if ready == 0 {
		e.settle(c)
	}
}

// NextItem goes on to the next item of the chunk whose bit is set; false at the end.
//
//go:nosplit
func (p *Pass) NextItem(e *Instance, c *Chunk) bool {
	for p.bits != 0 {
		p.i = uint64(bits.TrailingZeros64(p.bits))
		p.bits &= p.bits - 1
		it := c.Item(p.i)
		p.Want = atomic.LoadUint64(&it.Want)
		p.Data = atomic.LoadUint64(&it.Data)
		live := armed(p.Want)
		p.cleared = !live || p.Want&(EPOLLET|EPOLLONESHOT) != 0
		if p.cleared {
			e.clear(c, p.i)
		}
		if live {
			return true
		}
		// It may have been armed between the look at Want and the clearing of the bit.
		if armed(atomic.LoadUint64(&it.Want)) {
			p.again(e, c)
		}
	}
	return false
}

// Item is the item being visited.
//
//go:nosplit
func (p *Pass) Item(c *Chunk) *Item { return c.Item(p.i) }

// Index is the number of that item in its chunk.
//
//go:nosplit
func (p *Pass) Index() uint64 { return p.i }

// Miss takes note that the object has nothing. It reports whether the object is to be asked again: the bit of a
// level-triggered item is cleared only now.
//
//go:nosplit
func (p *Pass) Miss(e *Instance, c *Chunk) (ask bool) {
	if p.cleared {
		return false
	}
	p.cleared = true
	e.clear(c, p.i)
	return true
}

// Same reports whether the item is still what NextItem found; else it is visited again.
//
//go:nosplit
func (p *Pass) Same(e *Instance, c *Chunk) bool {
	if atomic.LoadUint64(&c.Item(p.i).Want) == p.Want {
		return true
	}
	p.again(e, c)
	return false
}

// again has the item visited once more.
//
//go:nosplit
func (p *Pass) again(e *Instance, c *Chunk) {
	if p.cleared {
		p.Restore(e, c)
	}
	if p.tries++; p.tries < maxTries {
		p.bits |= 1 << (p.i & 63)
	}
}

// Restore puts the item's bit back: its event could not be delivered.
//
//go:nosplit
func (p *Pass) Restore(e *Instance, c *Chunk) {
	if p.cleared {
		e.mark(c, p.i)
		p.cleared, p.Told = false, true
	}
}

// Done ends the visit of an item whose event was stored: EPOLLONESHOT disarms it, and a level-triggered item keeps its
// bit. It reports false if the item was modified meanwhile: then the event does not count.
//
//go:nosplit
func (p *Pass) Done(e *Instance, c *Chunk) bool {
	if p.Want&EPOLLONESHOT != 0 {
		if !atomic.CompareAndSwapUint64(&c.Item(p.i).Want, p.Want, p.Want&^(eventMask&^private)) {
			p.again(e, c)
			return false
		}
	} else if p.Want&EPOLLET == 0 {
		p.Restore(e, c)
	}
	e.Cursor = p.n<<6 + p.i + 1
	if p.i == Items {
		e.Cursor = (p.n + 1) << 6
	}
	return true
}

// End gives Lock back and passes the wake on: the slot of a sleeper to make ready, or -1.
//
//go:nosplit
func (p *Pass) End(e *Instance) int64 {
	atomic.StoreUint64(&e.Lock, 0)
	return e.PassOn()
}
