package mm

import (
	"sync/atomic"

	"culvert/shim/abi"
)

// Counters count events of a Memory. They may be read at any time.
type Counters struct {
	// Faults that came to the host, by what they did.
	Demand     atomic.Uint64 // an anonymous page was filled
	File       atomic.Uint64 // a page-cache page was mapped
	FileRead   atomic.Uint64 // the backing was read: a major fault
	Shared     atomic.Uint64 // a page of a shared mapping became writable
	COWCopy    atomic.Uint64
	COWReuse   atomic.Uint64
	StackGrow  atomic.Uint64
	Spurious   atomic.Uint64 // the entry was good already
	SEGV       atomic.Uint64
	BUS        atomic.Uint64
	OOM        atomic.Uint64
	Shootdowns atomic.Uint64
	// BadRefs and BadPTEs count reference counts and page-table entries that only a hostile guest can have made.
	BadRefs atomic.Uint64
	BadPTEs atomic.Uint64
}

// Counters returns the memory's counters.
func (m *Memory) Counters() *Counters { return &m.stats }

// Usage is how much guest memory is in use, in bytes.
type Usage struct {
	InUse, Peak, Limit uint64
	Total              uint64 // what the allocator owns
	Cache              uint64 // pages of the page cache, mapped or not
	Discarded          uint64 // given back to the host so far
}

// Usage returns how much memory is in use. Frames in the vCPUs' pools count as used.
func (m *Memory) Usage() Usage {
	m.mu.Lock()
	defer m.unlock()
	a := m.frames
	u := Usage{
		InUse: uint64(a.inUse) << abi.PageShift, Peak: uint64(a.peak) << abi.PageShift, Limit: uint64(a.limit) << abi.PageShift,
		Total: uint64(a.end-a.first) << abi.PageShift, Discarded: a.discarded << abi.PageShift,
	}
	for _, o := range m.objects {
		u.Cache += uint64(len(o.pages)) << abi.PageShift
	}
	return u
}

// SpaceUsage is what getrusage, /proc/PID/statm and /proc/PID/status say of an address space, in bytes.
type SpaceUsage struct {
	Size, Data, Stack, Exec, Locked uint64
	PeakSize                        uint64
	Anon, File, Shmem               uint64 // resident, by kind
	PeakRSS                         uint64
	Tables                          uint64
	Maps                            int
}

// RSS returns the resident bytes.
func (u SpaceUsage) RSS() uint64 { return u.Anon + u.File + u.Shmem }

// Usage counts what the address space uses. It walks the page tables, since ring 0 fills pages by itself; the peak
// is therefore that of the moments at which somebody looked: here, at its end, and before a large unmapping.
func (s *Space) Usage() SpaceUsage {
	s.m.mu.Lock()
	defer s.m.unlock()
	return s.usage()
}

func (s *Space) usage() SpaceUsage {
	u := SpaceUsage{
		Size: s.total, Data: s.data, Stack: s.stack, Exec: s.exec, Locked: s.locked, PeakSize: s.peakTotal,
		Tables: uint64(s.tables) << abi.PageShift, Maps: len(s.vmas),
	}
	for _, v := range s.vmas {
		r := s.resident(v)
		u.Anon += r.anon
		u.File += r.file
		u.Shmem += r.shmem
	}
	s.peakRSS = max(s.peakRSS, u.RSS())
	u.PeakRSS = s.peakRSS
	return u
}

// PeakRSS is Usage's PeakRSS alone, for less.
func (s *Space) PeakRSS() uint64 {
	s.m.mu.Lock()
	defer s.m.unlock()
	s.notePeak()
	return s.peakRSS
}

// notePeak raises the peak to what is resident now.
func (s *Space) notePeak() {
	n := uint64(0)
	s.eachLeaf(0, userEnd, func(_ uint64, leaf *table, lo, hi int) {
		for i := range leaf[lo:hi] {
			if atomic.LoadUint64(&leaf[lo+i])&(abi.PTEPresent|pteNone) != 0 {
				n++ // or the guest made it up, to seem larger
			}
		}
	})
	s.peakRSS = max(s.peakRSS, n<<abi.PageShift)
}

// residency is what of an area is resident, in bytes.
type residency struct {
	anon, file, shmem      uint64
	sharedClean, privDirty uint64 // for smaps: mapped more than once; once
	pss                    uint64
	referenced             uint64
}

// resident counts the resident pages of v.
func (s *Space) resident(v *vma) (r residency) {
	s.eachLeaf(v.start, v.end, func(base uint64, leaf *table, lo, hi int) {
		for i := lo; i < hi; i++ {
			e := atomic.LoadUint64(&leaf[i])
			f, ok := s.m.entryFrame(e)
			if !ok {
				continue
			}
			const page = abi.PageSize
			switch cached := v.obj != nil && v.obj.holds(v.index(base+uint64(i)<<abi.PageShift), f); {
			case !cached:
				r.anon += page
			case v.obj.back != nil:
				r.file += page
			default:
				r.shmem += page
			}
			n := uint64(max(atomic.LoadUint32(s.m.ref(f)), 1))
			r.pss += page / n
			if n > 1 {
				r.sharedClean += page
			} else {
				r.privDirty += page
			}
			if e&abi.PTEAccessed != 0 {
				r.referenced += page
			}
		}
	})
	return r
}
