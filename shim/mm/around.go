package mm

import (
	"sync/atomic"

	"culvert/shim/abi"
)

// What is done around a page that is asked for, so that its neighbours cost no exit: an exit costs as much as to map some
// dozens of pages.

const (
	// aroundWindow is how many pages of a file are mapped around a fault, if they are cached. Linux's fault_around_bytes is a
	// quarter of that; a fault costs it less. A multiple of readWindow, within one leaf table.
	aroundWindow = 2 * readWindow
	// offerWindow is how many pages at both ends of new anonymous memory are offered to ring 0 at once. Programs touch a heap
	// from below and a stack from above.
	offerWindow = 64
)

// mapAround maps the pages of v around addr that are cached and not mapped. A private mapping's are copied on write: ring 0
// does that.
func (s *Space) mapAround(v *vma, addr uint64, leaf *table) {
	size := v.obj.npages()
	lo := max(addr&^(aroundWindow<<abi.PageShift-1), v.start)
	hi := min(addr|(aroundWindow<<abi.PageShift-1), v.end-1)
	for a := lo; a < hi; a += abi.PageSize {
		if atomic.LoadUint64(&leaf[a>>abi.PageShift&511]) != 0 {
			continue
		}
		i := v.index(a)
		if pg := v.obj.pages[i]; pg != nil && i < size {
			s.mapCached(v, a, leaf, 0, pg)
		}
	}
}

// offerAround offers ring 0 the untouched pages of an anonymous area that are in the leaf table of addr.
func (s *Space) offerAround(v *vma, addr uint64, leaf *table) {
	base := addr &^ (leafSpan - 1)
	offer(leaf, demand(v.prot), max(v.start, base), min(v.end, base+leafSpan))
}

// offerNew offers ring 0 the ends of [from, to), which is new anonymous memory or has become accessible. If there is no memory for
// a table, the first touch says so.
func (s *Space) offerNew(from, to uint64) {
	i := s.find(from)
	if i == len(s.vmas) || s.vmas[i].start > from || s.vmas[i].end < to || !s.vmas[i].anon() || s.vmas[i].prot&protWrite == 0 {
		return
	}
	const window = offerWindow << abi.PageShift
	s.offerRange(s.vmas[i], from, min(to, from+window))
	if to-from > window {
		s.offerRange(s.vmas[i], max(from+window, to-window), to)
	}
}

func (s *Space) offerRange(v *vma, from, to uint64) {
	for from < to {
		leaf, err := s.ensureLeaf(from)
		if err != nil {
			return
		}
		stop := min(to, from&^(leafSpan-1)+leafSpan)
		offer(leaf, demand(v.prot), from, stop)
		from = stop
	}
}

// offer sets the empty entries of [from, to), which one leaf table has, to d.
func offer(leaf *table, d, from, to uint64) {
	for a := from; a < to; a += abi.PageSize {
		if p := &leaf[a>>abi.PageShift&511]; atomic.LoadUint64(p) == 0 {
			atomic.CompareAndSwapUint64(p, 0, d)
		}
	}
}
