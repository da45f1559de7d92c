package mm

import (
	"math/bits"
	"sync/atomic"

	"culvert/shim/abi"
)

// node shadows one page table of level 2 to 4 on the host, so that entries of those levels in guest RAM are written
// but never read. Level 2 names its leaf tables by frame; frame 0 is none, since the allocator never owns it.
type node struct {
	gpa  abi.GPA
	n    int // children
	kids []*node
	leaf *[512]frame
}

// maxSpareNodes bounds how many nodes of dead spaces are kept for the next: what some hundred programs have. A node is
// 2 to 4 KiB, which a fork had otherwise to clear, and the garbage collector to find, several times.
const maxSpareNodes = 512

// newNode returns a node without children for the table at gpa, of leaf tables or of other tables.
func (m *Memory) newNode(gpa abi.GPA, ofLeaves bool) *node {
	spare := &m.spareInner
	if ofLeaves {
		spare = &m.spareLeafy
	}
	if k := len(*spare); k > 0 {
		n := (*spare)[k-1]
		*spare = (*spare)[:k-1]
		n.gpa = gpa
		return n
	}
	if ofLeaves {
		return &node{gpa: gpa, leaf: new([512]frame)}
	}
	return &node{gpa: gpa, kids: make([]*node, 512)}
}

// freeNode takes back a node that has no children left.
func (m *Memory) freeNode(n *node) {
	spare := &m.spareInner
	if n.leaf != nil {
		spare = &m.spareLeafy
	}
	if len(*spare) < maxSpareNodes {
		*spare = append(*spare, n)
	}
}

// Shifts of the levels' indices in an address.
const (
	leafShift = abi.HugeShift // one leaf table, level 1, maps 2 MiB
	l3Shift   = 30
	l4Shift   = 39
	leafSpan  = 1 << leafShift
)

// lookupLeaf returns the leaf table of addr, or nil.
func (s *Space) lookupLeaf(addr uint64) *table {
	n := s.root
	for shift := uint(l4Shift); n != nil && shift > leafShift; shift -= 9 {
		n = n.kids[addr>>shift&511]
	}
	if n == nil {
		return nil
	}
	f := n.leaf[addr>>leafShift&511]
	if f == 0 {
		return nil
	}
	return tableAt(s.m.ram, f.gpa())
}

// ensureLeaf returns the leaf table of the user address addr, making what is missing on the way.
func (s *Space) ensureLeaf(addr uint64) (*table, error) {
	n := s.root
	for shift := uint(l4Shift); shift > leafShift; shift -= 9 {
		i := addr >> shift & 511
		if n.kids[i] == nil {
			f, err := s.newTable()
			if err != nil {
				return nil, err
			}
			kid := s.m.newNode(f.gpa(), shift == l3Shift)
			n.kids[i] = kid
			n.n++
			atomic.StoreUint64(&tableAt(s.m.ram, n.gpa)[i], uint64(kid.gpa)|pteTable)
		}
		n = n.kids[i]
	}
	i := addr >> leafShift & 511
	if n.leaf[i] == 0 {
		f, err := s.newTable()
		if err != nil {
			return nil, err
		}
		n.leaf[i] = f
		n.n++
		atomic.StoreUint64(&tableAt(s.m.ram, n.gpa)[i], uint64(f.gpa())|pteTable)
	}
	return tableAt(s.m.ram, n.leaf[i].gpa()), nil
}

func (s *Space) newTable() (frame, error) {
	f, err := s.m.kernelFrames(0, stKernel)
	if err != nil {
		s.m.stats.OOM.Add(1)
		return 0, ErrOOM
	}
	s.tables++
	return f, nil
}

// eachLeaf calls fn for each leaf table that exists in [start, end): base is the first address that the table maps,
// [lo, hi) the entries that lie in the range. Its cost is bounded by the tables that exist, not by the range.
func (s *Space) eachLeaf(start, end uint64, fn func(base uint64, leaf *table, lo, hi int)) {
	if s.root != nil {
		s.root.eachLeaf(s.m, l4Shift, 0, start, end, fn)
	}
}

func (n *node) eachLeaf(m *Memory, shift uint, base, start, end uint64, fn func(uint64, *table, int, int)) {
	span := uint64(1) << shift
	i := uint64(0)
	if start > base {
		i = (start - base) >> shift
	}
	for ; i < 512; i++ {
		at := base + i*span
		if at >= end {
			return
		}
		if n.leaf == nil {
			if kid := n.kids[i]; kid != nil {
				kid.eachLeaf(m, shift-9, at, start, end, fn)
			}
			continue
		}
		f := n.leaf[i]
		if f == 0 {
			continue
		}
		lo, hi := 0, 512
		if start > at {
			lo = int((start - at) >> abi.PageShift)
		}
		if end < at+leafSpan {
			hi = int((end - at) >> abi.PageShift)
		}
		fn(at, tableAt(m.ram, f.gpa()), lo, hi)
	}
}

// pruneTables unlinks the tables that map nothing but [floor, ceiling), an interval without any area, as far as they
// lie in [start, end), and hands them to g (mm/memory.c: free_pgtables). Their entries are empty already.
func (s *Space) pruneTables(start, end, floor, ceiling uint64, g *gather) {
	s.root.prune(s, l4Shift, 0, max(floor, start&^(leafSpan-1)), min(ceiling, (end+leafSpan-1)&^(leafSpan-1)), g)
}

func (n *node) prune(s *Space, shift uint, base, start, end uint64, g *gather) {
	span := uint64(1) << shift
	i := uint64(0)
	if start > base {
		i = (start - base) >> shift
	}
	for ; i < 512 && base+i*span < end; i++ {
		at := base + i*span
		var gone frame
		if n.leaf != nil {
			if n.leaf[i] == 0 || at < start || at+span > end {
				continue
			}
			gone, n.leaf[i] = n.leaf[i], 0
		} else {
			kid := n.kids[i]
			if kid == nil {
				continue
			}
			if kid.prune(s, shift-9, at, start, end, g); kid.n > 0 {
				continue
			}
			gone, n.kids[i] = frame(kid.gpa>>abi.PageShift), nil
			s.m.freeNode(kid)
		}
		n.n--
		atomic.StoreUint64(&tableAt(s.m.ram, n.gpa)[i], 0)
		g.tables = append(g.tables, gone)
		g.flush = true // a processor may have cached the upper level, or ring 0 be on its way down
		s.tables--
	}
}

// free frees the table of n, those below it and the pages that they map, all at once: no processor has the space
// loaded. Every table is left zeroed, so that the next space gets it as it is.
func (n *node) free(m *Memory) {
	t := tableAt(m.ram, n.gpa)
	for i := 0; n.n > 0 && i < len(t); i++ {
		switch {
		case n.leaf == nil && n.kids[i] != nil:
			n.kids[i].free(m)
			n.kids[i] = nil
		case n.leaf != nil && n.leaf[i] != 0:
			m.freeLeaf(n.leaf[i])
			n.leaf[i] = 0
		default:
			continue
		}
		atomic.StoreUint64(&t[i], 0)
		n.n--
	}
	m.frames.putZeroed(frame(n.gpa>>abi.PageShift), stKernel)
	m.freeNode(n)
}

// freeLeaf is free for a leaf table.
func (m *Memory) freeLeaf(f frame) {
	leaf := tableAt(m.ram, f.gpa())
	for i := range leaf {
		e := atomic.LoadUint64(&leaf[i])
		if e == 0 {
			continue
		}
		atomic.StoreUint64(&leaf[i], 0)
		if e&(abi.PTEPresent|pteNone) == 0 {
			continue // not touched
		}
		if f, ok := m.entryFrame(e); ok {
			m.drop(f)
		}
	}
	m.frames.putZeroed(f, stKernel)
}

// gather collects what an operation took out of page tables, to be released after one shootdown (mm/mmu_gather.c).
type gather struct {
	s      *Space
	flush  bool
	frames []frame // one reference each
	tables []frame
}

// gatherMax bounds a gather: 256 KiB of host memory, 256 MiB of guest memory between two shootdowns.
const gatherMax = 1 << 16

// drop notes that one reference to f went.
func (g *gather) drop(f frame) {
	g.frames = append(g.frames, f)
	if len(g.frames) >= gatherMax {
		g.finish()
	}
}

// replaced notes that the entry old became now, without a change of references.
func (g *gather) replaced(old, now uint64) {
	if lostRights(old, now) {
		g.flush = true
	}
}

// finish shoots down, once, if rights were taken, and releases what was collected.
func (g *gather) finish() {
	m := g.s.m
	if g.flush {
		g.s.shootdown()
		g.flush = false
	}
	for _, f := range g.frames {
		m.drop(f)
	}
	for _, f := range g.tables {
		m.frames.put(f, stKernel)
	}
	g.frames, g.tables = g.frames[:0], g.tables[:0]
}

// shootdown takes the space's replaced translations out of the TLBs.
func (s *Space) shootdown() {
	if atomic.LoadUint64(&s.guest.Active) == 0 {
		return // a processor that loads the space from now on sees the new entries
	}
	s.m.stats.Shootdowns.Add(1)
	s.m.cfg.Flusher.Shootdown(s.guest)
}

// casTries bounds how often a compare-and-swap of a word in guest RAM is tried. Ring 0 changes an entry a few times at
// most while the host works on it; only a hostile guest changes it for ever.
const casTries = 128

// isBusy says whether ring 0 has claimed the entry.
func isBusy(e uint64) bool { return e&(abi.PTEPresent|abi.PTEBusy) == abi.PTEPresent|abi.PTEBusy }

// settle returns when no vCPU works on the entry any more: if it is busy still, it was left to the host. A shootdown
// waits for every vCPU to leave ring 0, where a claim ends. Each vCPU can make one more claim meanwhile that it has to
// give up; it then waits for this package's lock. So the number of rounds is bounded, by a lying guest too.
func (s *Space) settle(p *uint64) {
	for range bits.OnesCount64(atomic.LoadUint64(&s.guest.Active)) + 1 {
		s.shootdown()
		if !isBusy(atomic.LoadUint64(p)) {
			return
		}
	}
}

// change replaces the entry at p, of the space s, by what fn returns for it, against a ring 0 that changes it, too.
// An entry that ring 0 has claimed is left alone until the claim ends.
func (s *Space) change(p *uint64, fn func(old uint64) uint64) (old, now uint64) {
	settled := false
	for range casTries {
		old = atomic.LoadUint64(p)
		if isBusy(old) && !settled {
			s.settle(p)
			settled = true
			continue
		}
		now = fn(old)
		if now == old || atomic.CompareAndSwapUint64(p, old, now) {
			return old, now
		}
		settled = false
	}
	// Hostile: whatever is overwritten was the guest's own doing.
	return atomic.SwapUint64(p, 0), 0
}

// empty replaces the entry by 0 and returns what it was.
func (s *Space) empty(p *uint64) uint64 {
	old, _ := s.change(p, func(uint64) uint64 { return 0 })
	return old
}

// zap empties the entries of [start, end) and hands their frames to g.
func (s *Space) zap(start, end uint64, g *gather) {
	s.eachLeaf(start, end, func(_ uint64, leaf *table, lo, hi int) {
		for i := lo; i < hi; i++ {
			if atomic.LoadUint64(&leaf[i]) == 0 {
				continue
			}
			e := s.empty(&leaf[i])
			if e&abi.PTEPresent != 0 {
				g.flush = true
			}
			if f, ok := s.m.entryFrame(e); ok {
				g.drop(f)
			}
		}
	})
}
