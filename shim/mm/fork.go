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
	for _, v := range s.vmas {
		if v.flags&fDontFork != 0 {
			continue
		}
		cv := *v
		cv.space = c
		cv.flags &^= fLocked | fLockOnFault // locks are not inherited
		c.vmas = append(c.vmas, &cv)
		cv.link()
		c.account(&cv, cv.len(), true)
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

// copyEntries copies the entries of v to the child's space c. It reports whether translations of the parent lost
// rights.
func (s *Space) copyEntries(v *vma, c *Space) (flush bool, err error) {
	s.eachLeaf(v.start, v.end, func(base uint64, leaf *table, lo, hi int) {
		if err != nil {
			return
		}
		var to *table
		for i := lo; i < hi; i++ {
			if atomic.LoadUint64(&leaf[i]) == 0 {
				continue
			}
			if to == nil {
				if to, err = c.ensureLeaf(base); err != nil {
					return
				}
			}
			e, lost := s.shareEntry(v, &leaf[i])
			flush = flush || lost
			atomic.StoreUint64(&to[i], e) // no processor has the child loaded
		}
	})
	return flush, err
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
