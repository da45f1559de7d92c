package mm

import (
	"slices"
	"sort"

	"culvert/shim/abi"
)

// Flags of an area, after VM_* of include/linux/mm.h.
type vmaFlags uint32

const (
	fShared vmaFlags = 1 << iota
	fGrowsDown
	fNoReserve
	fLocked
	fLockOnFault
	fDontFork
	fWipeOnFork
	fDontDump
	fHuge
	fNoHuge
	fDontExpand // the vDSO and its like: mremap may not grow it
)

// vma is a virtual memory area: [start, end) with one protection and one source of content.
type vma struct {
	space      *Space
	start, end uint64
	prot, max  uint8 // PROT_*; max is what mprotect may grant
	flags      vmaFlags
	obj        *Object // nil: private anonymous memory
	off        uint64  // of start in obj, in bytes, a multiple of the page size; 0 without obj
	name       Namer   // path for listings; nil for none
	label      string  // "[vdso]", "[stack]"; "" for none

	// Neighbours in obj's list of areas.
	prevOfObj, nextOfObj *vma
}

// Namer gives what /proc/PID/maps says of a mapped file. The dynamic type is a pointer: areas are merged only if
// their Namers are equal. MapName is called with this package's lock held.
type Namer interface {
	MapName() MapName
}

// MapName is a mapped file's name in listings.
type MapName struct {
	Path         string // with " (deleted)" if it has no name any more
	Major, Minor uint32
	Ino          uint64
}

// index returns the page index in the object of the page at addr.
func (v *vma) index(addr uint64) uint64 { return (v.off + addr - v.start) >> abi.PageShift }

// anon says whether the area is private anonymous memory.
func (v *vma) anon() bool { return v.obj == nil }

func (v *vma) len() uint64 { return v.end - v.start }

// stackGap is the guard below a stack: stack_guard_gap of mm/mmap.c.
const stackGap = 256 << abi.PageShift

// gapStart is where the area begins for somebody who looks for free space (vm_start_gap).
func (v *vma) gapStart() uint64 {
	if v.flags&fGrowsDown == 0 {
		return v.start
	}
	return v.start - min(v.start, stackGap)
}

// mergeable says whether b continues a.
func mergeable(a, b *vma) bool {
	return a.end == b.start && a.prot == b.prot && a.max == b.max && a.flags == b.flags && a.obj == b.obj &&
		a.name == b.name && a.label == b.label && (a.obj == nil || a.off+a.len() == b.off)
}

// find returns the index of the first area that ends after addr; it may begin after addr, too.
func (s *Space) find(addr uint64) int {
	return sort.Search(len(s.vmas), func(i int) bool { return s.vmas[i].end > addr })
}

// at returns the area that holds addr, or nil.
func (s *Space) at(addr uint64) *vma {
	if i := s.find(addr); i < len(s.vmas) && s.vmas[i].start <= addr {
		return s.vmas[i]
	}
	return nil
}

// insert adds v, whose range is free, and merges it with its neighbours. It returns the area that v became part of.
func (s *Space) insert(v *vma) *vma {
	i := s.find(v.start)
	s.vmas = slices.Insert(s.vmas, i, v)
	v.link()
	s.account(v, v.len(), true)
	s.merge(i)
	return s.at(v.start)
}

// merge joins the area at index i with its neighbours where they are alike.
func (s *Space) merge(i int) {
	if i+1 < len(s.vmas) && mergeable(s.vmas[i], s.vmas[i+1]) {
		s.vmas[i].end = s.vmas[i+1].end
		s.vmas[i+1].unlink()
		s.vmas = slices.Delete(s.vmas, i+1, i+2)
	}
	if i > 0 && mergeable(s.vmas[i-1], s.vmas[i]) {
		s.vmas[i-1].end = s.vmas[i].end
		s.vmas[i].unlink()
		s.vmas = slices.Delete(s.vmas, i, i+1)
	}
}

// split cuts the area at index i at addr, which lies inside; the upper part gets index i+1.
func (s *Space) split(i int, addr uint64) {
	v := s.vmas[i]
	up := *v
	up.start = addr
	if up.obj != nil {
		up.off += addr - v.start
	}
	v.end = addr
	s.vmas = slices.Insert(s.vmas, i+1, &up)
	up.link()
}

// isolate splits areas so that [start, end) begins and ends at borders, and returns the indices of what lies inside.
func (s *Space) isolate(start, end uint64) (lo, hi int) {
	lo = s.find(start)
	if lo < len(s.vmas) && s.vmas[lo].start < start {
		s.split(lo, start)
		lo++
	}
	hi = s.find(end)
	if hi < len(s.vmas) && s.vmas[hi].start < end {
		s.split(hi, end)
		hi++
	}
	return lo, hi
}

// remove takes the areas [lo, hi) out of the list.
func (s *Space) remove(lo, hi int) {
	for _, v := range s.vmas[lo:hi] {
		v.unlink()
		s.account(v, v.len(), false)
	}
	s.vmas = slices.Delete(s.vmas, lo, hi)
}

// mergeRange joins what became alike in and around [start, end).
func (s *Space) mergeRange(start, end uint64) {
	for i := max(s.find(start), 1); i < len(s.vmas) && s.vmas[i].start <= end; {
		if !mergeable(s.vmas[i-1], s.vmas[i]) {
			i++
			continue
		}
		s.vmas[i-1].end = s.vmas[i].end
		s.vmas[i].unlink()
		s.vmas = slices.Delete(s.vmas, i, i+1)
	}
}

// isData says whether the area counts against RLIMIT_DATA (is_data_mapping): private, writable, not a stack.
func isData(prot uint8, flags vmaFlags) bool {
	return prot&protWrite != 0 && flags&(fShared|fGrowsDown) == 0
}

// account adds n bytes with v's attributes to the space's totals, or takes them off.
func (s *Space) account(v *vma, n uint64, add bool) {
	if !add {
		n = -n
	}
	s.total += n
	s.peakTotal = max(s.peakTotal, s.total)
	if isData(v.prot, v.flags) {
		s.data += n
	}
	if v.flags&fGrowsDown != 0 {
		s.stack += n
	}
	if v.prot&protExec != 0 && v.prot&protWrite == 0 {
		s.exec += n
	}
	if v.flags&fLocked != 0 {
		s.locked += n
	}
}

// findGap returns the highest address of n free bytes in [low, high).
func (s *Space) findGapDown(n, low, high uint64) (uint64, bool) {
	i := s.find(high)
	if i < len(s.vmas) {
		high = min(high, s.vmas[i].gapStart())
	}
	for ; i > 0; i-- {
		v := s.vmas[i-1]
		if v.end <= low {
			break
		}
		if v.end <= high && high-v.end >= n {
			return high - n, true
		}
		high = min(high, v.gapStart())
	}
	if high >= low && high-low >= n {
		return high - n, true
	}
	return 0, false
}

// findGapUp returns the lowest address of n free bytes in [low, high).
func (s *Space) findGapUp(n, low, high uint64) (uint64, bool) {
	for i := s.find(low); i < len(s.vmas); i++ {
		v := s.vmas[i]
		if g := v.gapStart(); g >= low && g-low >= n {
			break
		}
		low = max(low, v.end)
	}
	return low, low <= high && high-low >= n
}
