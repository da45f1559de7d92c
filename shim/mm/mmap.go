package mm

import (
	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// MmapArgs are the arguments of mmap(2), the descriptor resolved by the caller.
type MmapArgs struct {
	Addr, Len   uint64
	Prot, Flags uint32
	Off         uint64
	// Object is the mapped file, nil with MAP_ANONYMOUS. The caller keeps its handle.
	Object *Object
	// Name says how the mapping is listed; nil for anonymous memory.
	Name Namer
	// Readable and Writable are the access mode of the descriptor, NoExec says that its mount forbids execution.
	Readable, Writable, NoExec bool
	// Special makes a mapping of the kernel's own, such as "[vdso]": it has this name, and mremap does not grow it.
	Special string
	// NoWrite says that mprotect may not make it writable.
	NoWrite bool
}

// Flags that MAP_SHARED_VALIDATE knows: LEGACY_MAP_MASK of include/linux/mman.h.
const legacyFlags = unix.MAP_SHARED | unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANONYMOUS | unix.MAP_DENYWRITE |
	unix.MAP_EXECUTABLE | unix.MAP_GROWSDOWN | unix.MAP_LOCKED | unix.MAP_NORESERVE | unix.MAP_POPULATE |
	unix.MAP_NONBLOCK | unix.MAP_STACK | unix.MAP_HUGETLB | unix.MAP_32BIT | (abi.HugeShift|l3Shift)<<hugeSizeShift

const (
	hugeSizeShift = 26 // MAP_HUGE_SHIFT
	hugeSizeMask  = 0x3f << hugeSizeShift
)

// Mmap maps memory as mmap(2) does and returns its address (mm/mmap.c: do_mmap).
func (s *Space) Mmap(a MmapArgs) (uint64, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	addr, n, v, err := s.prepareMmap(a)
	if err != nil {
		return 0, err
	}
	if a.Flags&unix.MAP_FIXED != 0 {
		if err := s.unmap(addr, addr+n); err != nil {
			if v.obj != nil && a.Object == nil {
				v.obj.put()
			}
			return 0, err
		}
	}
	v.start, v.end = addr, addr+n
	s.insert(v)
	if v.obj != nil && a.Object == nil {
		v.obj.put() // the area holds the shared anonymous memory from now on
	}
	populate := a.Flags&(unix.MAP_POPULATE|unix.MAP_NONBLOCK) == unix.MAP_POPULATE
	if populate || v.flags&(fLocked|fLockOnFault) == fLocked {
		_ = s.populate(addr, addr+n, false) // as in Linux, what fails here fails again when it is touched
	} else {
		s.offerNew(addr, addr+n)
	}
	return addr, nil
}

// prepareMmap checks the arguments, in Linux's order, and returns where the mapping goes and its area.
func (s *Space) prepareMmap(a MmapArgs) (addr, n uint64, v *vma, err error) {
	if a.Off&abi.PageMask != 0 || a.Len == 0 {
		return 0, 0, nil, unix.EINVAL
	}
	if a.Flags&unix.MAP_HUGETLB != 0 {
		return 0, 0, nil, hugetlbError(a)
	}
	n = (a.Len + abi.PageMask) &^ abi.PageMask
	if n == 0 {
		return 0, 0, nil, unix.ENOMEM
	}
	if pg := a.Off >> abi.PageShift; pg+n>>abi.PageShift < pg || a.Off+n < a.Off {
		return 0, 0, nil, unix.EOVERFLOW
	}
	if len(s.vmas) >= maxMaps {
		return 0, 0, nil, unix.ENOMEM
	}
	if addr, err = s.place(a.Addr, n, a.Flags); err != nil {
		return 0, 0, nil, err
	}
	v = &vma{space: s, prot: uint8(a.Prot & protAll), max: protAll, name: a.Name, label: a.Special}
	v.flags = s.lockFuture
	if a.Special != "" {
		v.flags |= fDontExpand
	}
	if a.Flags&unix.MAP_GROWSDOWN != 0 {
		v.flags |= fGrowsDown
	}
	if a.Flags&unix.MAP_LOCKED != 0 {
		v.flags |= fLocked
	}
	if a.Flags&unix.MAP_NORESERVE != 0 {
		v.flags |= fNoReserve
	}
	if err := s.mayLock(v.flags, n, a.Flags); err != nil {
		return 0, 0, nil, err
	}
	if err := mapType(a, v); err != nil {
		return 0, 0, nil, err
	}
	if !s.mayExpandFixed(addr, n, v, a.Flags) {
		return 0, 0, nil, unix.ENOMEM
	}
	if a.Object == nil && v.flags&fShared != 0 {
		v.obj, v.name = s.m.newMemObject(n), devZero{}
	} else if a.Object != nil {
		v.obj, v.off = a.Object, a.Off
	}
	return addr, n, v, nil
}

// devZero is how Linux lists shared anonymous memory.
type devZero struct{}

func (devZero) MapName() MapName { return MapName{Path: "/dev/zero (deleted)", Minor: 1} }

// hugetlbError refuses huge pages as a Linux that has none set aside: ksys_mmap_pgoff.
func hugetlbError(a MmapArgs) error {
	size := a.Flags & hugeSizeMask >> hugeSizeShift
	if a.Object != nil || size != 0 && size != abi.HugeShift && size != l3Shift {
		return unix.EINVAL
	}
	return unix.ENOMEM
}

// mapType checks flags and descriptor against each other and completes v's flags and rights.
func mapType(a MmapArgs, v *vma) error {
	kind := a.Flags & unix.MAP_TYPE
	if a.Object != nil && kind == unix.MAP_SHARED_VALIDATE && a.Flags&^uint32(legacyFlags) != 0 {
		return unix.EOPNOTSUPP
	}
	switch {
	case kind != unix.MAP_PRIVATE && kind != unix.MAP_SHARED && (kind != unix.MAP_SHARED_VALIDATE || a.Object == nil):
		return unix.EINVAL
	case kind != unix.MAP_PRIVATE:
		v.flags |= fShared
	}
	if a.Object == nil {
		if v.flags&(fShared|fGrowsDown) == fShared|fGrowsDown {
			return unix.EINVAL
		}
		return nil
	}
	switch {
	case v.flags&fShared != 0 && a.Prot&protWrite != 0 && !a.Writable, !a.Readable:
		return unix.EACCES
	case a.NoExec && a.Prot&protExec != 0:
		return unix.EPERM
	case v.flags&fGrowsDown != 0:
		return unix.EINVAL
	case a.Flags&unix.MAP_SYNC != 0:
		return unix.EOPNOTSUPP // ext4_file_mmap without DAX
	}
	if a.NoExec {
		v.max &^= protExec
	}
	if a.NoWrite || v.flags&fShared != 0 && !a.Writable {
		v.max &^= protWrite
	}
	return nil
}

// place chooses the address of a new mapping (get_unmapped_area).
func (s *Space) place(hint, n uint64, flags uint32) (uint64, error) {
	if n > userEnd {
		return 0, unix.ENOMEM
	}
	if flags&(unix.MAP_FIXED|unix.MAP_FIXED_NOREPLACE) != 0 {
		switch {
		case hint > userEnd-n:
			return 0, unix.ENOMEM
		case hint&abi.PageMask != 0:
			return 0, unix.EINVAL
		case hint < minAddr:
			return 0, unix.EPERM
		}
		if i := s.find(hint); flags&unix.MAP_FIXED_NOREPLACE != 0 && i < len(s.vmas) && s.vmas[i].start < hint+n {
			return 0, unix.EEXIST
		}
		return hint, nil
	}
	if hint &^= abi.PageMask; hint != 0 && hint < minAddr {
		hint = minAddr // round_hint_to_min
	}
	low, top, down := unmapBase, userEnd, true
	if flags&unix.MAP_32BIT != 0 {
		low, top, down = 0x40000000, 0x80000000, false // find_start_end
	}
	if hint != 0 && n <= top && hint <= top-n {
		if i := s.find(hint); i == len(s.vmas) || hint+n <= s.vmas[i].gapStart() {
			return hint, nil
		}
	}
	if down {
		if addr, ok := s.findGapDown(n, minAddr, s.mmapBase); ok {
			return addr, nil
		}
	}
	if addr, ok := s.findGapUp(n, low, top); ok {
		return addr, nil
	}
	return 0, unix.ENOMEM
}

// enough refuses what could never be backed: private writable memory of more than the machine has (mm/util.c:
// __vm_enough_memory with OVERCOMMIT_GUESS).
func (s *Space) enough(n uint64, prot uint8, flags vmaFlags) bool {
	return prot&protWrite == 0 || flags&(fShared|fNoReserve) != 0 || n <= uint64(s.m.frames.end)<<abi.PageShift
}

// mayExpand checks RLIMIT_AS and RLIMIT_DATA for n more bytes (mm/mmap.c: may_expand_vm), and that there is enough.
func (s *Space) mayExpand(n uint64, prot uint8, flags vmaFlags) bool {
	if !s.enough(n, prot, flags) || s.total+n > s.limits.AS {
		return false
	}
	return !isData(prot, flags) || s.data+n <= s.limits.Data
}

// mayExpandFixed is mayExpand for a mapping that may replace others, which do not count then.
func (s *Space) mayExpandFixed(addr, n uint64, v *vma, flags uint32) bool {
	if flags&unix.MAP_FIXED == 0 {
		return s.mayExpand(n, v.prot, v.flags)
	}
	mapped := uint64(0)
	for i := s.find(addr); i < len(s.vmas) && s.vmas[i].start < addr+n; i++ {
		mapped += min(s.vmas[i].end, addr+n) - max(s.vmas[i].start, addr)
	}
	if !s.enough(n, v.prot, v.flags) || s.total+n-mapped > s.limits.AS {
		return false
	}
	return !isData(v.prot, v.flags) || s.data+n-mapped <= s.limits.Data
}

// mayLock checks RLIMIT_MEMLOCK for n more bytes with these flags (can_do_mlock, mlock_future_ok).
func (s *Space) mayLock(f vmaFlags, n uint64, mapFlags uint32) error {
	if f&fLocked == 0 || s.limits.CapIPCLock {
		return nil
	}
	if mapFlags&unix.MAP_LOCKED != 0 && s.limits.Memlock == 0 {
		return unix.EPERM
	}
	if s.locked+n > s.limits.Memlock {
		return unix.EAGAIN
	}
	return nil
}

// populate touches the pages of [start, end) as their area allows (mm/gup.c: populate_vma_page_range): for writing in
// private writable areas, or everywhere if write is set. It stops at the first page that cannot be had, so the memory
// bounds its cost. The lock is released while files are read.
func (s *Space) populate(start, end uint64, write bool) error {
	for addr := start; addr < end; {
		i := s.find(addr)
		if i == len(s.vmas) || s.vmas[i].start >= end {
			return nil
		}
		v := s.vmas[i]
		if addr = max(addr, v.start); v.prot == 0 {
			return &SignalError{Signo: unix.SIGSEGV, Code: SEGV_ACCERR, Addr: addr}
		}
		code := uint64(abi.PFUser)
		if write || v.prot&protWrite != 0 && v.flags&fShared == 0 {
			code |= abi.PFWrite
		}
		if err := s.touch(addr, code); err != nil {
			return err
		}
		addr += abi.PageSize
	}
	return nil
}

// touch makes the page at addr present with the access of code, if it is not.
func (s *Space) touch(addr, code uint64) error {
	if _, ok := s.walk(addr, code&abi.PFWrite != 0); ok {
		return nil
	}
	return s.fault(addr, code)
}

// Munmap unmaps memory (mm/mmap.c: do_munmap).
func (s *Space) Munmap(addr, n uint64) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	size := (n + abi.PageMask) &^ abi.PageMask
	if addr&abi.PageMask != 0 || n > userEnd || addr > userEnd-n || size == 0 {
		return unix.EINVAL
	}
	return s.unmap(addr, addr+size)
}

// unmap removes the areas of [start, end), splitting those at its ends.
func (s *Space) unmap(start, end uint64) error {
	g := gather{s: s}
	err := s.unmapInto(start, end, &g)
	g.finish()
	return err
}

// unmapInto is unmap that leaves shootdown and release to the owner of g.
func (s *Space) unmapInto(start, end uint64, g *gather) error {
	i := s.find(start)
	if i == len(s.vmas) || s.vmas[i].start >= end {
		return nil
	}
	if v := s.vmas[i]; v.start < start && v.end > end && len(s.vmas) >= maxMaps {
		return unix.ENOMEM
	}
	if end-start >= 1<<20 {
		s.notePeak() // the peak of the resident size is about to pass
	}
	lo, hi := s.isolate(start, end)
	for _, v := range s.vmas[lo:hi] {
		s.zap(v.start, v.end, g)
	}
	s.remove(lo, hi)
	floor, ceiling := uint64(0), userEnd+abi.PageSize
	if lo > 0 {
		floor = s.vmas[lo-1].end
	}
	if lo < len(s.vmas) {
		ceiling = s.vmas[lo].start
	}
	s.pruneTables(start, end, floor, ceiling, g)
	return nil
}

// Brk sets the end of the heap and returns it; if it cannot, it returns the old one (mm/mmap.c: sys_brk).
func (s *Space) Brk(brk uint64) uint64 {
	s.m.mu.Lock()
	defer s.m.unlock()
	old := s.brk
	if brk < s.startBrk || brk >= userEnd {
		return old
	}
	if s.limits.Data != unix.RLIM_INFINITY && brk-s.startBrk+s.dataSize > s.limits.Data {
		return old
	}
	from, to := (old+abi.PageMask)&^abi.PageMask, (brk+abi.PageMask)&^abi.PageMask
	switch {
	case to < from:
		if s.unmap(to, from) != nil {
			return old
		}
	case to > from:
		i := s.find(from)
		v := &vma{space: s, start: from, end: to, prot: protRead | protWrite, max: protAll, flags: s.lockFuture}
		if i < len(s.vmas) && to+abi.PageSize > s.vmas[i].gapStart() || len(s.vmas) >= maxMaps ||
			!s.mayExpand(to-from, v.prot, v.flags) || s.mayLock(v.flags, to-from, 0) != nil {
			return old
		}
		s.insert(v)
		s.brk = brk
		if v.flags&(fLocked|fLockOnFault) == fLocked {
			_ = s.populate(from, to, false) // as in Linux; the lock may have been released
		} else {
			s.offerNew(from, to)
		}
		return brk
	}
	s.brk = brk
	return brk
}
