package mm

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// Fork returns a copy of the address space, as fork(2) makes it: private pages become copy-on-write in both. What no
// page table maps costs nothing.
func (s *Space) Fork() (*Space, error) {
	m := s.m
	m.mu.Lock()
	defer m.unlock()
	c, err := m.newSpace()
	if err != nil {
		return nil, fmt.Errorf("mm: fork: %v: %w", err, unix.ENOMEM)
	}
	c.limits, c.mmapBase, c.stackTop = s.limits, s.mmapBase, s.stackTop
	c.startBrk, c.brk, c.startStack, c.dataSize = s.startBrk, s.brk, s.startStack, s.dataSize
	flush := false
	areas := make([]vma, 0, len(s.vmas)) // in one piece: most children do not live long
	c.vmas = make([]*vma, 0, len(s.vmas)+spareAreas)
	for _, v := range s.vmas {
		if v.flags&fDontFork != 0 {
			continue
		}
		areas = append(areas, *v)
		cv := &areas[len(areas)-1]
		cv.space = c
		cv.flags &^= fLocked | fLockOnFault // locks are not inherited
		c.vmas = append(c.vmas, cv)
		cv.link()
		c.account(cv, cv.len(), true)
		if v.flags&fWipeOnFork != 0 {
			continue
		}
		lost, err := s.copyEntries(v, c)
		flush = flush || lost
		if err != nil {
			// What became read-only stays so, a fault repairs it; but no processor may keep a writable translation.
			if flush {
				s.shootdown()
			}
			c.dead = true
			c.destroy()
			return nil, fmt.Errorf("mm: fork: %v: %w", err, unix.ENOMEM)
		}
	}
	if flush {
		s.shootdown()
	}
	return c, nil
}

// spareAreas is room in a child's list for areas that it makes.
const spareAreas = 8

// copyEntries copies the entries of v to the child's space c. It reports whether translations of the parent lost
// rights.
func (s *Space) copyEntries(v *vma, c *Space) (flush bool, err error) {
	s.eachLeaf(v.start, v.end, func(base uint64, leaf *table, lo, hi int) {
		for lo < hi && atomic.LoadUint64(&leaf[lo]) == 0 {
			lo++
		}
		if lo == hi || err != nil {
			return
		}
		var to *table
		if to, err = c.ensureLeaf(base); err == nil && s.copyLeaf(v, leaf[lo:hi], to[lo:hi]) {
			flush = true
		}
	})
	return flush, err
}

// copyLeaf copies entries of one table. Most of a fork's time is spent here, so the usual entries are dealt with in line:
// untouched anonymous memory, pages that cannot be written to, and writable ones that no processor works on.
func (s *Space) copyLeaf(v *vma, from, to []uint64) (flush bool) {
	m := s.m
	untouched, cow := uint64(0), uint64(0)
	if v.anon() {
		untouched = demand(v.prot)
	}
	if v.prot&protWrite != 0 {
		cow = abi.PTECOW
	}
	private := v.flags&fShared == 0
	to = to[:len(from)]
	for i := range from {
		e := atomic.LoadUint64(&from[i])
		if e == 0 {
			continue
		}
		if e&(abi.PTEPresent|pteNone) == 0 {
			if e &= abi.PTEDemand; e != 0 { // else made up by the guest
				e = untouched
			}
			atomic.StoreUint64(&to[i], e)
			continue
		}
		f, still := e&abi.PTEAddr>>abi.PageShift, stands(e)
		if (still || private && e&(abi.PTEPresent|abi.PTEBusy) == abi.PTEPresent) && m.isUser(f) {
			now := e
			if !still {
				now = e&^abi.PTEWrite | cow
			}
			m.hold(frame(f))
			if still || atomic.CompareAndSwapUint64(&from[i], e, now) {
				flush = flush || (e^now)&abi.PTEWrite != 0
				atomic.StoreUint64(&to[i], now&^(abi.PTEAccessed|abi.PTEDirty)) // no processor has the child loaded
				continue
			}
			m.drop(frame(f))
		}
		child, lost := s.shareEntry(v, &from[i])
		flush = flush || lost
		atomic.StoreUint64(&to[i], child)
	}
	return flush
}

// stands reports whether ring 0 leaves a present entry alone, so that it can be shared as it is: it is not writable, and
// not to be made so by copying.
func stands(e uint64) bool {
	return e&(abi.PTEPresent|abi.PTEWrite|abi.PTECOW|abi.PTEBusy) == abi.PTEPresent
}

// shareEntry makes one entry of the parent fit for sharing and returns the child's. The frame's count is raised
// first. Then the entry is exchanged, if only for itself: if ring 0 has claimed it meanwhile, the exchange fails and
// the claim is waited for; if it claims it later, it reads the new count.
func (s *Space) shareEntry(v *vma, p *uint64) (child uint64, flush bool) {
	m := s.m
	for range casTries {
		e := atomic.LoadUint64(p)
		if isBusy(e) {
			s.settle(p)
			e = atomic.LoadUint64(p)
		}
		f, ok := m.entryFrame(e)
		if !ok {
			if e&(abi.PTEPresent|pteNone|abi.PTEDemand) != abi.PTEDemand || !v.anon() {
				return 0, false // made up by the guest
			}
			return demand(v.prot), false
		}
		now := e
		if v.flags&fShared == 0 && e&abi.PTEPresent != 0 {
			if now &^= abi.PTEWrite | abi.PTEBusy; v.prot&protWrite != 0 {
				now |= abi.PTECOW
			}
		}
		m.hold(f)
		if atomic.CompareAndSwapUint64(p, e, now) {
			return now &^ (abi.PTEAccessed | abi.PTEDirty), lostRights(e, now)
		}
		m.drop(f)
	}
	return 0, false // hostile: the entry never stands still
}
