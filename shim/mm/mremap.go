package mm

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// Flags of mremap(2) that golang.org/x/sys/unix lacks on this platform, with those that it has.
const (
	mremapMayMove   = 1
	mremapFixed     = 2
	mremapDontUnmap = 4
)

// remap is a call of mremap(2) on its way through the checks.
type remap struct {
	addr, old, n, to uint64
	flags            uint32
}

// toFixed says whether the caller's new address counts (vrm_implies_new_addr).
func (r remap) toFixed() bool { return r.flags&(mremapFixed|mremapDontUnmap) != 0 }

// Mremap resizes or moves a mapping (mm/mremap.c: do_mremap) and returns its address.
func (s *Space) Mremap(addr, oldLen, newLen uint64, flags uint32, to uint64) (uint64, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	r := remap{
		addr: addr, flags: flags, to: to,
		old: (oldLen + abi.PageMask) &^ abi.PageMask, n: (newLen + abi.PageMask) &^ abi.PageMask,
	}
	if err := s.checkRemap(r); err != nil {
		return 0, err
	}
	if flags&mremapFixed != 0 && r.old == r.n {
		return s.remapMove(r)
	}
	v, err := s.remapArea(r)
	if err != nil {
		return 0, err
	}
	if r.toFixed() {
		return s.remapTo(r)
	}
	return s.remapAt(r, v)
}

// checkRemap is check_mremap_params.
func (s *Space) checkRemap(r remap) error {
	switch {
	case r.flags&^(mremapMayMove|mremapFixed|mremapDontUnmap) != 0, r.addr&abi.PageMask != 0, r.n == 0, r.n > userEnd:
		return unix.EINVAL
	case !r.toFixed():
		return nil
	case r.to > userEnd-r.n, r.to&abi.PageMask != 0, r.flags&mremapMayMove == 0,
		r.flags&mremapDontUnmap != 0 && r.old != r.n,
		r.addr+r.old > r.to && r.to+r.n > r.addr:
		return unix.EINVAL
	case len(s.vmas)+2 >= maxMaps-3:
		return unix.ENOMEM
	}
	return nil
}

// remapArea finds the area and checks that it may be resized (check_prep_vma).
func (s *Space) remapArea(r remap) (*vma, error) {
	v := s.at(r.addr)
	switch {
	case v == nil:
		return nil, unix.EFAULT
	case r.old == 0 && v.flags&fShared == 0:
		return nil, unix.EINVAL
	case r.flags&mremapDontUnmap != 0 && v.flags&fDontExpand != 0:
		return nil, unix.EINVAL
	case r.n <= r.old && !r.toFixed():
		return v, nil // shrinking in place unmaps a tail, whatever areas there are
	case min(r.old, r.n) > v.end-r.addr: // what is moved lies in one area
		return nil, unix.EFAULT
	case r.n <= r.old:
		return v, nil
	case v.obj != nil && v.off+(r.addr-v.start)+r.n < r.n:
		return nil, unix.EINVAL
	case v.flags&fDontExpand != 0:
		return nil, unix.EFAULT
	}
	if v.flags&fLocked != 0 && !s.limits.CapIPCLock && s.locked+r.n-r.old > s.limits.Memlock {
		return nil, unix.EAGAIN
	}
	if !s.mayExpand(r.n-r.old, v.prot, v.flags) {
		return nil, unix.ENOMEM
	}
	return v, nil
}

// remapAt resizes without a given address (mremap_at).
func (s *Space) remapAt(r remap, v *vma) (uint64, error) {
	switch {
	case r.n == r.old:
		return r.addr, nil
	case r.n < r.old:
		return r.addr, s.unmap(r.addr+r.n, r.addr+r.old)
	}
	i := s.find(r.addr)
	if end := r.addr + r.old; end == v.end && r.old != 0 && r.addr+r.n <= userEnd &&
		(i+1 == len(s.vmas) || s.vmas[i+1].start >= r.addr+r.n) {
		v.end = r.addr + r.n
		s.account(v, r.n-r.old, true)
		s.merge(i)
		return r.addr, s.populateLocked(r.addr+r.old, r.addr+r.n)
	}
	if r.flags&mremapMayMove == 0 {
		return 0, unix.ENOMEM
	}
	to, err := s.place(0, r.n, 0)
	if err != nil {
		return 0, err
	}
	r.to = to
	return s.moveArea(r)
}

// remapTo moves to a given address (mremap_to).
func (s *Space) remapTo(r remap) (uint64, error) {
	mapFlags := uint32(0)
	if r.flags&mremapFixed != 0 {
		mapFlags = unix.MAP_FIXED
		if r.to < minAddr {
			return 0, unix.EPERM
		}
		if err := s.unmap(r.to, r.to+r.n); err != nil {
			return 0, err
		}
	}
	if r.n < r.old {
		if err := s.unmap(r.addr+r.n, r.addr+r.old); err != nil {
			return 0, err
		}
		r.old = r.n
	}
	v := s.at(r.addr)
	if v == nil || r.old > v.end-r.addr {
		return 0, unix.EFAULT
	}
	if r.flags&mremapDontUnmap != 0 && !s.mayExpand(r.n, v.prot, v.flags) {
		return 0, unix.ENOMEM
	}
	to, err := s.place(r.to, r.n, mapFlags)
	if err != nil {
		return 0, err
	}
	r.to = to
	return s.moveArea(r)
}

// remapMove moves all areas of the range, keeping the gaps between them (remap_move).
func (s *Space) remapMove(r remap) (uint64, error) {
	end, seen, first := r.addr+r.old, false, uint64(0)
	for at := r.addr; at < end || !seen; {
		i := s.find(at)
		if i == len(s.vmas) || s.vmas[i].start >= end && r.old != 0 {
			break
		}
		v := s.vmas[i]
		if !seen && v.start > r.addr {
			break
		}
		from := max(at, v.start)
		part := r
		part.addr, part.to = from, r.to+(from-r.addr)
		if part.old = min(end, v.end) - from; r.old == 0 {
			part.old = 0
		}
		part.n = part.old
		at = v.end
		if _, err := s.remapArea(part); err != nil {
			return 0, err
		}
		to, err := s.remapTo(part)
		if err != nil {
			return 0, err
		}
		if !seen {
			seen, first = true, to
		}
	}
	if !seen {
		return 0, unix.EFAULT
	}
	return first, nil
}

// moveArea makes the mapping [r.addr, r.addr+r.old) appear at r.to with size r.n (move_vma). The old place is
// unmapped, unless flags or an old size of 0 say that it stays.
func (s *Space) moveArea(r remap) (uint64, error) {
	v := s.at(r.addr)
	if len(s.vmas) >= maxMaps-3 {
		return 0, unix.ENOMEM
	}
	if err := s.prepareMove(r); err != nil {
		return 0, unix.ENOMEM
	}
	up := *v
	up.start, up.end = r.to, r.to+r.n
	if up.obj != nil {
		up.off += r.addr - v.start
	}
	stay := r.flags&mremapDontUnmap != 0 || r.old == 0
	g := gather{s: s}
	if r.old != 0 {
		s.moveEntries(r, &g)
	}
	s.insert(&up)
	if stay {
		if r.old != 0 {
			s.unlockArea(r.addr) // dontunmap_complete: the whole area, not only what moved
		}
	} else if err := s.unmapInto(r.addr, r.addr+r.old, &g); err != nil {
		g.finish()
		return 0, err
	}
	g.finish() // before populating, which may release the lock
	return r.to, s.populateLocked(r.to+r.old, r.to+r.n)
}

// prepareMove makes the leaf tables that moveEntries needs, so that it cannot fail.
func (s *Space) prepareMove(r remap) (err error) {
	s.eachLeaf(r.addr, r.addr+r.old, func(base uint64, _ *table, lo, hi int) {
		for _, i := range [2]int{lo, hi - 1} { // a leaf's entries reach into at most two leaves at the new place
			if err == nil {
				_, err = s.ensureLeaf(base + uint64(i)<<abi.PageShift - r.addr + r.to)
			}
		}
	})
	return err
}

// moveEntries moves the page-table entries. The frames stay the same, so a processor that uses an old translation
// until the shootdown does no harm.
func (s *Space) moveEntries(r remap, g *gather) {
	s.eachLeaf(r.addr, r.addr+r.old, func(base uint64, leaf *table, lo, hi int) {
		for i := lo; i < hi; i++ {
			if atomic.LoadUint64(&leaf[i]) == 0 {
				continue
			}
			e := s.empty(&leaf[i])
			if e&abi.PTEPresent != 0 {
				g.flush = true
				e &^= abi.PTEBusy
			}
			at := base + uint64(i)<<abi.PageShift - r.addr + r.to
			to := s.lookupLeaf(at)
			if old := atomic.SwapUint64(&to[at>>abi.PageShift&511], e); old != 0 {
				s.m.stats.BadPTEs.Add(1) // the place was empty
			}
		}
	})
}

// populateLocked touches what a locked area has gained.
func (s *Space) populateLocked(start, end uint64) error {
	if v := s.at(start); start < end && v != nil && v.flags&(fLocked|fLockOnFault) == fLocked {
		_ = s.populate(start, end, false) // as in Linux, what fails here fails again when it is touched
	}
	return nil
}
