package mm

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// Nothing is ever swapped, so a lock is bookkeeping and a promise to have the pages present.

// Flags of mlock2 and mlockall.
const (
	mlockOnFault = 1
	mclCurrent   = 1
	mclFuture    = 2
	mclOnFault   = 4
)

// Mlock locks the pages of [addr, addr+n); flags are those of mlock2 (mm/mlock.c: do_mlock).
func (s *Space) Mlock(addr, n uint64, flags uint32) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	if flags&^mlockOnFault != 0 {
		return unix.EINVAL
	}
	if s.limits.Memlock == 0 && !s.limits.CapIPCLock {
		return unix.EPERM
	}
	start, end := addr&^abi.PageMask, (addr+n+abi.PageMask)&^abi.PageMask
	if end < start {
		return unix.EINVAL
	}
	if start == end {
		return nil
	}
	if !s.limits.CapIPCLock {
		add := end - start
		for i := s.find(start); i < len(s.vmas) && s.vmas[i].start < end; i++ {
			if v := s.vmas[i]; v.flags&fLocked != 0 {
				add -= min(v.end, end) - max(v.start, start)
			}
		}
		if s.locked+add > s.limits.Memlock {
			return unix.ENOMEM
		}
	}
	set := fLocked
	if flags&mlockOnFault != 0 {
		set |= fLockOnFault
	}
	if err := s.lockRange(start, end, set, fLockOnFault&^set); err != nil {
		return err
	}
	if set&fLockOnFault != 0 {
		return nil
	}
	return lockError(s.populate(start, end, false))
}

// lockError is __mlock_posix_error_return.
func lockError(err error) error {
	var sig *SignalError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &sig):
		return unix.ENOMEM
	}
	return unix.EAGAIN
}

// Munlock unlocks the pages of [addr, addr+n).
func (s *Space) Munlock(addr, n uint64) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	start, end := addr&^abi.PageMask, (addr+n+abi.PageMask)&^abi.PageMask
	if end < start {
		return unix.EINVAL
	}
	return s.lockRange(start, end, 0, fLocked|fLockOnFault)
}

// lockRange sets and clears flags area by area; a hole ends it with ENOMEM.
func (s *Space) lockRange(start, end uint64, set, clear vmaFlags) error {
	var err error
	at := start
	for at < end && err == nil {
		v := s.at(at)
		if v == nil {
			err = unix.ENOMEM
			break
		}
		stop := min(end, v.end)
		err = s.setFlags(at, stop, set, clear)
		at = stop
	}
	s.mergeRange(start, end)
	return err
}

// unlockArea takes the lock off the area at addr.
func (s *Space) unlockArea(addr uint64) {
	v := s.at(addr)
	s.account(v, v.len(), false)
	v.flags &^= fLocked | fLockOnFault
	s.account(v, v.len(), true)
	s.mergeRange(v.start, v.end)
}

// Mlockall locks what is mapped, what will be mapped, or both.
func (s *Space) Mlockall(flags uint32) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	if flags == 0 || flags&^(mclCurrent|mclFuture|mclOnFault) != 0 || flags == mclOnFault {
		return unix.EINVAL
	}
	if !s.limits.CapIPCLock {
		if s.limits.Memlock == 0 {
			return unix.EPERM
		}
		if flags&mclCurrent != 0 && s.total > s.limits.Memlock {
			return unix.ENOMEM
		}
	}
	set := fLocked
	if flags&mclOnFault != 0 {
		set |= fLockOnFault
	}
	s.lockFuture = 0
	if flags&mclFuture != 0 {
		s.lockFuture = set
	}
	if flags&mclCurrent == 0 {
		return nil
	}
	s.lockAll(set)
	if set&fLockOnFault == 0 {
		for _, r := range s.ranges() {
			_ = s.populate(r[0], r[1], false) // mlockall ignores what cannot be had
		}
	}
	return nil
}

// Munlockall takes off all locks.
func (s *Space) Munlockall() {
	s.m.mu.Lock()
	defer s.m.unlock()
	s.lockFuture = 0
	s.lockAll(0)
}

func (s *Space) lockAll(set vmaFlags) {
	for _, v := range s.vmas {
		s.account(v, v.len(), false)
		v.flags = v.flags&^(fLocked|fLockOnFault) | set
		s.account(v, v.len(), true)
	}
	s.mergeRange(0, userEnd)
}

// ranges returns the borders of all areas.
func (s *Space) ranges() (r [][2]uint64) {
	for _, v := range s.vmas {
		r = append(r, [2]uint64{v.start, v.end})
	}
	return r
}

// Mincore says for each page from addr on whether it is resident, one byte a page in vec (mm/mincore.c).
func (s *Space) Mincore(addr uint64, vec []byte) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	n := uint64(len(vec)) << abi.PageShift
	if addr&abi.PageMask != 0 {
		return unix.EINVAL
	}
	if addr > userEnd || n > userEnd-addr {
		return unix.ENOMEM
	}
	var v *vma
	for i := range vec {
		at := addr + uint64(i)<<abi.PageShift
		if v == nil || at >= v.end {
			if v = s.at(at); v == nil {
				return unix.ENOMEM
			}
		}
		vec[i] = 0
		if leaf := s.lookupLeaf(at); leaf != nil {
			if _, ok := s.m.entryFrame(atomic.LoadUint64(&leaf[at>>abi.PageShift&511])); ok {
				vec[i] = 1
			}
		}
		if vec[i] == 0 && v.obj != nil && v.obj.pages[v.index(at)] != nil {
			vec[i] = 1
		}
	}
	return nil
}

// Msync writes the dirty pages of shared file mappings in [addr, addr+n) back (mm/msync.c). With MS_ASYNC it does so,
// too: there is no writer in the background.
func (s *Space) Msync(addr, n uint64, flags uint32) error {
	const known = unix.MS_ASYNC | unix.MS_INVALIDATE | unix.MS_SYNC
	if flags&^known != 0 || flags&(unix.MS_ASYNC|unix.MS_SYNC) == unix.MS_ASYNC|unix.MS_SYNC {
		return unix.EINVAL
	}
	type part struct {
		o      *Object
		lo, hi uint64
	}
	var parts []part
	s.m.mu.Lock()
	end, err := clampRange(addr, n)
	if err == nil {
		for at := addr; at < end; {
			i := s.find(at)
			if i == len(s.vmas) || s.vmas[i].start >= end {
				err = unix.ENOMEM
				break
			}
			v := s.vmas[i]
			if v.start > at {
				err, at = unix.ENOMEM, v.start
			}
			stop := min(end, v.end)
			if flags&unix.MS_INVALIDATE != 0 && v.flags&fLocked != 0 {
				err = unix.EBUSY
				break
			}
			if v.flags&fShared != 0 && v.obj.back != nil {
				v.obj.hold()
				parts = append(parts, part{v.obj, v.index(at), v.index(stop)})
			}
			at = stop
		}
	}
	s.m.unlock()
	for _, p := range parts {
		if werr := p.o.writeback(p.lo, p.hi); werr != nil && err == nil {
			err = unix.EIO
		}
		p.o.Put()
	}
	return err
}
