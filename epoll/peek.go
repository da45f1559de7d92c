package epoll

import (
	"math/bits"
	"sync/atomic"
)

// Peek asks whether an instance has events, without changing it: ep_eventpoll_poll, for a nested wait. The caller asks
// the objects:
//
//	p.Start(address of the instance)
//	for it := p.Next(); it != nil; it = p.Next() {
//		want := p.Want
//		an instance: p.Enter(it.Obj)
//		else: if its readiness & want != 0 and it.Want is still p.Want: the instance has events
//	}
//
// Preconditions: as for Walk.
type Peek struct {
	Want   uint64 // of the item that Next returned
	level  uint64
	budget uint64
	inst   [levels]uint64
	next   [levels]uint64 // chunk to look at next
	chunk  [levels]uint64 // address of the chunk being visited
	bits   [levels]uint64 // what is left of it
}

// peekBudget bounds the items that one Peek visits.
const peekBudget = 4096

// Start begins at an instance.
//
//go:nosplit
func (p *Peek) Start(inst uint64) {
	p.level, p.budget = 0, peekBudget
	p.inst[0], p.next[0], p.bits[0] = inst, 0, 0
}

// Enter goes down to the instance that the item returned last is about. False: it nests too deep.
//
//go:nosplit
func (p *Peek) Enter(inst uint64) bool {
	l := p.level + 1
	if l >= Depth {
		return false
	}
	if Events(p.Want)&readable == 0 {
		return true // it does not want what an instance can have
	}
	p.inst[l&(levels-1)], p.next[l&(levels-1)], p.bits[l&(levels-1)], p.level = inst, 0, 0, l
	return true
}

// Exhausted reports that Next gave up: there was more to visit than may be visited.
//
//go:nosplit
func (p *Peek) Exhausted() bool { return p.budget == 0 }

// Next returns the next item whose bit is set; nil if there is none.
//
//go:nosplit
func (p *Peek) Next() *Item {
	for p.budget != 0 {
		p.budget--
		l := p.level
		if l >= Depth {
			return nil
		}
		if b := p.bits[l&(levels-1)]; b != 0 {
			p.bits[l&(levels-1)] = b & (b - 1)
			it := chunkOf(p.chunk[l&(levels-1)]).Item(uint64(bits.TrailingZeros64(b)))
			p.Want = atomic.LoadUint64(&it.Want)
			if armed(p.Want) {
				return it
			}
			continue
		}
		e := instanceAt(p.inst[l&(levels-1)])
		n := p.next[l&(levels-1)]
		if n < min(atomic.LoadUint64(&e.Chunks), MaxChunks) && n < MaxChunks {
			if skip := uint64(bits.TrailingZeros64(atomic.LoadUint64(&e.Sum[n>>6&(sumWords-1)]) >> (n & 63))); skip != 0 {
				p.next[l&(levels-1)] = n + min(skip, 64-n&63)
				continue
			}
			p.next[l&(levels-1)] = n + 1
			if at := atomic.LoadUint64(&e.Chunk[n]); at != 0 {
				p.chunk[l&(levels-1)] = at
				p.bits[l&(levels-1)] = atomic.LoadUint64(&chunkOf(at).head().Ready) &^ 1
			}
			continue
		}
		if l == 0 {
			return nil
		}
		p.level = l - 1
	}
	return nil
}
