package mm

import (
	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// Advice that golang.org/x/sys/unix may lack (include/uapi/asm-generic/mman-common.h).
const (
	madvPopulateRead  = 22
	madvPopulateWrite = 23
)

// adviceFlags are the kinds of advice that only set or clear flags of areas.
var adviceFlags = [...]struct {
	advice     int
	set, clear vmaFlags
}{
	{unix.MADV_DONTFORK, fDontFork, 0},
	{unix.MADV_DOFORK, 0, fDontFork},
	{unix.MADV_WIPEONFORK, fWipeOnFork, 0},
	{unix.MADV_KEEPONFORK, 0, fWipeOnFork},
	{unix.MADV_DONTDUMP, fDontDump, 0},
	{unix.MADV_DODUMP, 0, fDontDump},
	{unix.MADV_HUGEPAGE, fHuge, fNoHuge},
	{unix.MADV_NOHUGEPAGE, fNoHuge, fHuge},
	{unix.MADV_NORMAL, 0, 0},
	{unix.MADV_RANDOM, 0, 0},
	{unix.MADV_SEQUENTIAL, 0, 0},
	{unix.MADV_MERGEABLE, 0, 0},
	{unix.MADV_UNMERGEABLE, 0, 0},
}

// adviceKnown says whether the advice exists here (madvise_behavior_valid).
func adviceKnown(advice int) bool {
	for _, a := range adviceFlags {
		if a.advice == advice {
			return true
		}
	}
	switch advice {
	case unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_WILLNEED, unix.MADV_COLD, unix.MADV_PAGEOUT, unix.MADV_REMOVE:
		return true
	}
	return advice == madvPopulateRead || advice == madvPopulateWrite
}

// Madvise gives advice about [addr, addr+n) (mm/madvise.c: do_madvise). Holes do not stop it, but end in ENOMEM.
func (s *Space) Madvise(addr, n uint64, advice int) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	if !adviceKnown(advice) {
		return unix.EINVAL
	}
	end, err := clampRange(addr, n)
	if err != nil || end < addr {
		return unix.EINVAL
	}
	if end == addr {
		return nil
	}
	if advice == madvPopulateRead || advice == madvPopulateWrite {
		return s.advisePopulate(addr, end, advice == madvPopulateWrite)
	}
	hole := false
	g := gather{s: s}
	defer g.finish()
	for at := addr; at < end; {
		i := s.find(at)
		if i == len(s.vmas) || s.vmas[i].start >= end {
			hole = true
			break
		}
		v := s.vmas[i]
		if v.start > at {
			hole = true
			at = v.start
		}
		stop := min(end, v.end)
		if err := s.advise(v, at, stop, advice, &g); err != nil {
			s.mergeRange(addr, end)
			return err
		}
		at = stop
	}
	s.mergeRange(addr, end)
	if hole {
		return unix.ENOMEM
	}
	return nil
}

// advise does one area's part.
func (s *Space) advise(v *vma, start, end uint64, advice int, g *gather) error {
	switch advice {
	case unix.MADV_DONTNEED, unix.MADV_FREE:
		if v.flags&fLocked != 0 || advice == unix.MADV_FREE && !v.anon() {
			return unix.EINVAL
		}
		s.zap(start, end, g)
		return nil
	case unix.MADV_REMOVE:
		switch {
		case v.flags&fLocked != 0 || v.obj == nil:
			return unix.EINVAL
		case v.flags&fShared == 0 || v.max&protWrite == 0:
			return unix.EACCES
		case v.obj.back != nil:
			return unix.EOPNOTSUPP
		}
		v.obj.punch(v.index(start)<<abi.PageShift, end-start)
		return nil
	case unix.MADV_COLD, unix.MADV_PAGEOUT:
		if v.flags&fLocked != 0 {
			return unix.EINVAL
		}
		return nil // nothing is swapped
	case unix.MADV_WILLNEED:
		return nil // files are read when they are touched, with read-ahead
	case unix.MADV_WIPEONFORK:
		if !v.anon() {
			return unix.EINVAL
		}
	case unix.MADV_DOFORK, unix.MADV_DODUMP:
		if advice == unix.MADV_DODUMP && v.flags&fDontExpand != 0 {
			return unix.EINVAL
		}
	}
	for _, a := range adviceFlags {
		if a.advice == advice {
			return s.setFlags(start, end, a.set, a.clear)
		}
	}
	return nil
}

// setFlags changes flags of [start, end), which lies in one area.
func (s *Space) setFlags(start, end uint64, set, clear vmaFlags) error {
	v := s.at(start)
	if v.flags&^clear|set == v.flags {
		return nil
	}
	pieces := 0
	if start > v.start {
		pieces++
	}
	if end < v.end {
		pieces++
	}
	if len(s.vmas)+pieces > maxMaps {
		return unix.ENOMEM
	}
	lo, _ := s.isolate(start, end)
	v = s.vmas[lo]
	s.account(v, v.len(), false)
	v.flags = v.flags&^clear | set
	s.account(v, v.len(), true)
	return nil
}

// advisePopulate is MADV_POPULATE_READ and MADV_POPULATE_WRITE (madvise_populate).
func (s *Space) advisePopulate(start, end uint64, write bool) error {
	for addr := start; addr < end; addr += abi.PageSize {
		v := s.at(addr)
		switch {
		case v == nil:
			return unix.ENOMEM
		case write && v.prot&protWrite == 0, !write && v.prot&protRead == 0:
			return unix.EINVAL
		}
		code := uint64(abi.PFUser)
		if write {
			code |= abi.PFWrite
		}
		switch err := s.touch(addr, code).(type) {
		case nil:
		case *SignalError:
			return unix.EFAULT
		default:
			return err
		}
	}
	return nil
}
