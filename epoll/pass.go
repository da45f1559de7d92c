package epoll

import (
	"math/bits"
	"sync/atomic"

	"culvert/shim/abi"
)

// Pass is a collection: ep_send_events. It visits each item whose bit is set, in the order of their events. The caller
// finds chunks by their number, asks the objects and stores the events:
//
//	if !p.Begin(e, pause) { busy }
//	for room {
//		n, what := p.Next(e)
//		if what == End { break }
//		c := chunk n
//		if what == Scan { p.Scan(e, c); continue }
//		if !p.Look(e, c) { continue, or stop if p.Foreign }
//		ask: got := readiness of p.Item(c) & Events(p.Want)
//		if got == 0 { if p.Miss(e, c) { goto ask }; continue }
//		if !p.Same(e, c) { continue }
//		store got and p.Data; if that fails { p.Restore(e, c); stop }
//		if p.Done(e, c) { count it }
//	}
//	thread := p.End(e); wake it; if p.Told { walk e.Watch }
//
// The order is that of the items' stamps. A scan of all ready items finds the first few of them; when these are visited
// and there were more, the next scan finds those with later stamps. What is level-triggered gets a new stamp when it is
// reported, and only stamps that were given before the pass began count in a second scan: nothing is reported twice. A
// stamp is a little younger than its bit, so of two events at the same time either may seem to be the first.
type Pass struct {
	Want, Data uint64 // of the item being visited
	Told       bool   // a bit was put back: the watchers of the instance are to be told
	Ring0      bool   // the caller knows no object of abi.FileHost; set before Begin
	Foreign    bool   // Look stopped before an item of such an object

	chunks   uint64
	next     uint64 // chunk that the scan looks at next
	again    bool   // it is not the first scan: only stamps after last and up to limit count
	last     uint64 // stamp of the last item of the scan before
	limit    uint64 // the last stamp that was given before the pass
	more     bool   // the scan found more than it could keep
	cleared  bool   // the bit of the item being visited
	at       uint64 // the item being visited, in found
	count    uint64 // of found
	tries    uint64 // items visited again because they changed
	visiting uint64 // chunk<<6 | item
	found    [scanned]ready
}

// ready is an item that a scan found.
type ready struct{ stamp, place uint64 }

const (
	// scanned is how many items a scan finds at most. A power of two, so that an index is masked.
	scanned = 32
	// maxTries bounds the items that are visited again in one collection.
	maxTries = 64
)

// What Next says is to be done.
const (
	End  = iota
	Scan // a chunk is to be scanned
	Look // an item is to be looked at
)

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
	p.next, p.again, p.more = 0, false, false
	p.limit = atomic.LoadUint64(&e.Stamp)
	p.at, p.count, p.tries = 0, 0, 0
	p.Told, p.Foreign = false, false
	return true
}

// Next says what to do next, and with which chunk.
//
//go:nosplit
func (p *Pass) Next(e *Instance) (chunk, what uint64) {
	for {
		for p.next < p.chunks && p.next < MaxChunks {
			n := p.next
			skip := uint64(bits.TrailingZeros64(atomic.LoadUint64(&e.Sum[n>>6&(sumWords-1)]) >> (n & 63)))
			if skip == 0 {
				p.next = n + 1
				return n, Scan
			}
			p.next = n + min(skip, 64-n&63)
		}
		if p.at < p.count {
			p.visiting = p.found[p.at&(scanned-1)].place
			p.at++
			return p.visiting >> 6, Look
		}
		if !p.more {
			return 0, End
		}
		p.again, p.last = true, p.found[(p.count-1)&(scanned-1)].stamp
		p.next, p.at, p.count, p.more = 0, 0, 0, false
	}
}

// Scan looks for the first ready items in a chunk.
//
//go:nosplit
func (p *Pass) Scan(e *Instance, c *Chunk) {
	h := c.head()
	set := atomic.LoadUint64(&h.Ready) &^ 1
	if set == 0 {
		e.settle(c)
	}
	for ; set != 0; set &= set - 1 {
		i := uint64(bits.TrailingZeros64(set))
		stamp := atomic.LoadUint64(&c.Item(i).Stamp)
		if !p.again || stamp > p.last && stamp <= p.limit {
			p.insert(ready{stamp, h.Number<<6 | i})
		}
	}
}

// insert puts an item among those found, which are in order. If there is no room, the last one is left for another scan.
//
//go:nosplit
func (p *Pass) insert(r ready) {
	at := p.count
	if at == scanned {
		p.more = true
		if at--; r.stamp >= p.found[at&(scanned-1)].stamp {
			return
		}
	} else {
		p.count++
	}
	for at > 0 && p.found[(at-1)&(scanned-1)].stamp > r.stamp {
		p.found[at&(scanned-1)] = p.found[(at-1)&(scanned-1)]
		at--
	}
	p.found[at&(scanned-1)] = r
}

// Look begins the visit of the item that Next named. False: it wants nothing, or it is foreign.
//
//go:nosplit
func (p *Pass) Look(e *Instance, c *Chunk) bool {
	i := p.Index()
	it := c.Item(i)
	p.Want = atomic.LoadUint64(&it.Want)
	p.Data = atomic.LoadUint64(&it.Data)
	live := armed(p.Want)
	if live && p.Ring0 && it.Kind == abi.FileHost {
		p.Foreign = true
		return false
	}
	p.cleared = !live || p.Want&(EPOLLET|EPOLLONESHOT) != 0
	if p.cleared {
		e.clear(c, i)
	}
	if !live && armed(atomic.LoadUint64(&it.Want)) {
		p.repeat(e, c) // it was armed before its bit was cleared
	}
	return live
}

// Item is the item being visited.
//
//go:nosplit
func (p *Pass) Item(c *Chunk) *Item { return c.Item(p.Index()) }

// Index is the number of that item in its chunk.
//
//go:nosplit
func (p *Pass) Index() uint64 { return p.visiting & 63 }

// Miss takes note that the object has nothing. It reports whether the object is to be asked again: the bit of a
// level-triggered item is cleared only now.
//
//go:nosplit
func (p *Pass) Miss(e *Instance, c *Chunk) (ask bool) {
	if p.cleared {
		return false
	}
	p.cleared = true
	e.clear(c, p.Index())
	return true
}

// Same reports whether the item is still what Look found; else it is visited again.
//
//go:nosplit
func (p *Pass) Same(e *Instance, c *Chunk) bool {
	if atomic.LoadUint64(&p.Item(c).Want) == p.Want {
		return true
	}
	p.repeat(e, c)
	return false
}

// repeat has the item visited once more.
//
//go:nosplit
func (p *Pass) repeat(e *Instance, c *Chunk) {
	p.Restore(e, c)
	if p.tries++; p.tries < maxTries && p.at != 0 {
		p.at--
	}
}

// Restore puts the item's bit back, where it was in the order: its event could not be delivered.
//
//go:nosplit
func (p *Pass) Restore(e *Instance, c *Chunk) {
	if p.cleared {
		atomic.OrUint64(&c.head().Ready, 1<<p.Index())
		e.summarise(c)
		p.cleared, p.Told = false, true
	}
}

// Done ends the visit of an item whose event was stored: EPOLLONESHOT disarms it, and a level-triggered item stays
// ready, at the end of the order. It reports false if the item was modified meanwhile: then the event does not count.
//
//go:nosplit
func (p *Pass) Done(e *Instance, c *Chunk) bool {
	if p.Want&EPOLLONESHOT != 0 {
		if !atomic.CompareAndSwapUint64(&p.Item(c).Want, p.Want, p.Want&^(eventMask&^private)) {
			p.repeat(e, c)
			return false
		}
	} else if p.Want&EPOLLET == 0 {
		e.stamp(c, p.Index())
		p.Restore(e, c)
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
