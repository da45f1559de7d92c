package mm

import (
	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// Mprotect changes the protection of [addr, addr+n) (mm/mprotect.c: do_mprotect_pkey). As in Linux, what precedes a
// hole or an area that forbids the protection is changed even though the call fails.
func (s *Space) Mprotect(addr, n uint64, prot uint32) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	grows := prot & (unix.PROT_GROWSDOWN | unix.PROT_GROWSUP)
	if grows == unix.PROT_GROWSDOWN|unix.PROT_GROWSUP || addr&abi.PageMask != 0 {
		return unix.EINVAL
	}
	if n == 0 {
		return nil
	}
	end, err := clampRange(addr, n)
	if err != nil || end <= addr {
		return unix.ENOMEM
	}
	prot &^= unix.PROT_GROWSDOWN | unix.PROT_GROWSUP
	const protSem = 0x8 // PROT_SEM is accepted and means nothing
	if prot&^(protAll|protSem) != 0 {
		return unix.EINVAL
	}
	i := s.find(addr)
	if i == len(s.vmas) || s.vmas[i].start >= end {
		return unix.ENOMEM
	}
	switch v := s.vmas[i]; {
	case grows == unix.PROT_GROWSDOWN:
		if v.flags&fGrowsDown == 0 {
			return unix.EINVAL
		}
		addr = v.start
	case v.start > addr:
		return unix.ENOMEM
	case grows == unix.PROT_GROWSUP:
		return unix.EINVAL // no area grows up on x86-64
	}
	g := gather{s: s}
	var locked [][2]uint64
	err = s.protect(addr, end, uint8(prot&protAll), &g, &locked)
	g.finish()
	s.mergeRange(addr, end)
	for _, r := range locked {
		_ = s.populate(r[0], r[1], false) // what fails here fails again when it is touched
	}
	if err == nil && len(locked) == 0 {
		s.offerNew(addr, end)
	}
	return err
}

// protect changes area after area of [addr, end). It appends to locked what is private, locked and became writable:
// mprotect_fixup has such pages copied at once.
func (s *Space) protect(addr, end uint64, prot uint8, g *gather, locked *[][2]uint64) error {
	for addr < end {
		i := s.find(addr)
		if i == len(s.vmas) || s.vmas[i].start > addr {
			return unix.ENOMEM
		}
		v := s.vmas[i]
		if prot&^v.max != 0 {
			return unix.EACCES
		}
		stop := min(end, v.end)
		if prot == v.prot {
			addr = stop
			continue
		}
		if isData(prot, v.flags) && !isData(v.prot, v.flags) && s.data+stop-addr > s.limits.Data {
			return unix.ENOMEM
		}
		pieces := 0
		if addr > v.start {
			pieces++
		}
		if stop < v.end {
			pieces++
		}
		if len(s.vmas)+pieces > maxMaps && !s.mergesAway(i, addr, stop, prot) {
			return unix.ENOMEM
		}
		lo, _ := s.isolate(addr, stop)
		v = s.vmas[lo]
		if v.flags&(fShared|fLocked|fLockOnFault) == fLocked && v.prot&protWrite == 0 && prot&protWrite != 0 {
			*locked = append(*locked, [2]uint64{v.start, v.end})
		}
		s.account(v, v.len(), false)
		v.prot = prot
		s.account(v, v.len(), true)
		s.protectEntries(v, g)
		addr = stop
	}
	return nil
}

// mergesAway says whether [addr, stop) of the area at i, once it has prot, joins a neighbour, so that no area is added.
func (s *Space) mergesAway(i int, addr, stop uint64, prot uint8) bool {
	part := *s.vmas[i]
	part.start, part.end, part.prot = addr, stop, prot
	if part.obj != nil {
		part.off += addr - s.vmas[i].start
	}
	return addr == s.vmas[i].start && i > 0 && mergeable(s.vmas[i-1], &part) ||
		stop == s.vmas[i].end && i+1 < len(s.vmas) && mergeable(&part, s.vmas[i+1])
}

// protectEntries gives the entries of v the rights of v's protection.
func (s *Space) protectEntries(v *vma, g *gather) {
	d := uint64(0)
	if v.anon() {
		d = demand(v.prot)
	}
	s.eachLeaf(v.start, v.end, func(base uint64, leaf *table, lo, hi int) {
		for i := lo; i < hi; i++ {
			g.replaced(s.change(&leaf[i], func(e uint64) uint64 {
				if e == 0 {
					return 0
				}
				f, ok := s.m.entryFrame(e)
				if !ok {
					return d // untouched memory, or made up by the guest
				}
				return v.entry(base+uint64(i)<<abi.PageShift, f) | e&abi.PTEDirty
			}))
		}
	})
}
