package mm

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// si_code values of include/uapi/asm-generic/siginfo.h.
const (
	SEGV_MAPERR = 1
	SEGV_ACCERR = 2
	BUS_ADRERR  = 2
)

// SignalError is a fault that the program has to answer for: the shim raises the signal with that si_code and si_addr.
type SignalError struct {
	Signo unix.Signal
	Code  int32
	Addr  uint64
}

func (e *SignalError) Error() string {
	return fmt.Sprintf("access to %#x raises %s with code %d", e.Addr, unix.SignalName(e.Signo), e.Code)
}

func (s *Space) segv(code int32, addr uint64) error {
	s.m.stats.SEGV.Add(1)
	return &SignalError{Signo: unix.SIGSEGV, Code: code, Addr: addr}
}

func (s *Space) bus(addr uint64) error {
	s.m.stats.BUS.Add(1)
	return &SignalError{Signo: unix.SIGBUS, Code: BUS_ADRERR, Addr: addr}
}

// faultTries bounds how often a fault starts over because ring 0 changed the entry at the same time or the lock was
// released to read a file.
const faultTries = 64

// Fault resolves a page fault of ring 3, or of a copy from or to user memory, at addr with the processor's error code.
// It returns nil if the access may be tried again, a *SignalError, or ErrOOM.
func (s *Space) Fault(addr, code uint64) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	return s.fault(addr, code)
}

// fault is Fault with the lock held; it may release it for a while.
func (s *Space) fault(addr, code uint64) error {
	if addr >= userEnd {
		return s.segv(SEGV_MAPERR, addr)
	}
	write, fetch := code&abi.PFWrite != 0, code&abi.PFFetch != 0
	for range faultTries {
		if s.dead {
			return s.segv(SEGV_MAPERR, addr)
		}
		v, err := s.areaForFault(addr)
		if err != nil {
			return err
		}
		// access_error of arch/x86/mm/fault.c.
		if write && v.prot&protWrite == 0 || fetch && v.prot&protExec == 0 || v.prot == 0 {
			return s.segv(SEGV_ACCERR, addr)
		}
		done, err := s.faultPage(v, addr&^abi.PageMask, write)
		if err != nil {
			return s.faultError(err, addr)
		}
		if done {
			return nil
		}
	}
	// The guest changes the entry all the time, or memory is so short that what is read is pushed out at once. It may
	// try again; each try is an exit, so the host stays in control.
	return nil
}

// faultError turns an internal error into what the program gets.
func (s *Space) faultError(err error, addr uint64) error {
	if errors.Is(err, ErrOOM) || errors.Is(err, ErrNoMem) {
		return ErrOOM
	}
	return s.bus(addr) // past the end of the file, or the backing could not be read
}

// areaForFault returns the area that holds addr, growing a stack down to it if it lies just below.
func (s *Space) areaForFault(addr uint64) (*vma, error) {
	i := s.find(addr)
	if i == len(s.vmas) {
		return nil, s.segv(SEGV_MAPERR, addr)
	}
	v := s.vmas[i]
	if v.start <= addr {
		return v, nil
	}
	if v.flags&fGrowsDown == 0 || !s.growStack(i, addr&^abi.PageMask) {
		return nil, s.segv(SEGV_MAPERR, addr)
	}
	s.m.stats.StackGrow.Add(1)
	return v, nil
}

// growStack extends the stack at index i down to addr (mm/mmap.c: expand_downwards, acct_stack_growth).
func (s *Space) growStack(i int, addr uint64) bool {
	v := s.vmas[i]
	if addr < minAddr {
		return false
	}
	if i > 0 {
		prev := s.vmas[i-1]
		if prev.flags&fGrowsDown == 0 && prev.prot != 0 && addr-prev.end < stackGap {
			return false
		}
	}
	grow := v.start - addr
	if !s.mayExpand(grow, v.prot, v.flags) || v.end-addr > s.limits.Stack {
		return false
	}
	if v.flags&fLocked != 0 && s.locked+grow > s.limits.Memlock && !s.limits.CapIPCLock {
		return false
	}
	v.start = addr
	if v.obj != nil {
		v.off -= grow
	}
	s.account(v, grow, true)
	return true
}

// faultPage makes the page at addr of v present with v's rights, and writable if write. done false means that
// something changed meanwhile: the caller looks again.
func (s *Space) faultPage(v *vma, addr uint64, write bool) (done bool, err error) {
	leaf, err := s.ensureLeaf(addr)
	if err != nil {
		return false, err
	}
	p := &leaf[addr>>abi.PageShift&511]
	e := atomic.LoadUint64(p)
	f, ok := s.m.entryFrame(e)
	switch {
	case ok && e&abi.PTEPresent != 0:
		return s.faultPresent(v, addr, p, e, f, write)
	case ok: // kept by PROT_NONE, though mprotect should have brought it back
		return atomic.CompareAndSwapUint64(p, e, v.entry(addr, f)) && !write, nil
	case e&(abi.PTEPresent|pteNone) != 0: // the guest made it up
		if atomic.CompareAndSwapUint64(p, e, 0) {
			s.shootdown()
		}
		return false, nil
	case v.anon():
		return s.faultAnon(v, addr, leaf, e)
	case v.flags&fShared == 0 && write:
		return s.faultCopy(v, addr, leaf, e)
	}
	return s.faultCached(v, addr, leaf, e, write)
}

// faultPresent handles a fault on an entry that is present.
func (s *Space) faultPresent(v *vma, addr uint64, p *uint64, e uint64, f frame, write bool) (bool, error) {
	switch {
	case !write || e&abi.PTEWrite != 0:
		// Nothing is missing but what a stale translation or a made-up entry lacks.
		want := e&^abi.PTENX | rights(v.prot)&abi.PTENX | abi.PTEUser
		if want != e {
			if !atomic.CompareAndSwapUint64(p, e, want) {
				return false, nil
			}
			if lostRights(e, want) {
				s.shootdown()
			}
		}
		s.m.stats.Spurious.Add(1)
		return true, nil
	case v.flags&fShared != 0:
		return s.writeShared(v, addr, p, e, f)
	case e&abi.PTEBusy != 0:
		// A copy that ring 0 left to the host, or one that is under way. Once it is settled everybody has seen the
		// new frame, so it may be written to.
		s.settle(p)
		return s.endBusy(p), nil
	case atomic.LoadUint32(s.m.ref(f)) == 1:
		s.m.stats.COWReuse.Add(1)
		return atomic.CompareAndSwapUint64(p, e, e&^abi.PTECOW|abi.PTEWrite), nil
	}
	return s.copyFrame(p, e, f)
}

// copyFrame is the copy of copy-on-write: the new frame goes in read-only and busy, all translations of the old one
// go, then the page becomes writable and the old frame loses a reference. In another order a processor could read the
// old frame after another has written the new one.
func (s *Space) copyFrame(p *uint64, e uint64, f frame) (bool, error) {
	m := s.m
	m.hold(f) // taking a frame may free others
	defer m.drop(f)
	nf, err := m.userFrame(false)
	if err != nil {
		return false, err
	}
	copy(m.frames.page(nf), m.frames.page(f))
	busy := e&^(abi.PTEAddr|abi.PTEWrite) | uint64(nf.gpa()) | abi.PTECOW | abi.PTEBusy | abi.PTEAccessed
	if !atomic.CompareAndSwapUint64(p, e, busy) {
		m.drop(nf)
		return false, nil
	}
	s.shootdown()
	m.drop(f)
	m.stats.COWCopy.Add(1)
	return s.endBusy(p), nil
}

// endBusy ends a copy whose shootdown is done: the page becomes writable if it really has one user. It reports whether
// it is writable.
func (s *Space) endBusy(p *uint64) bool {
	e := atomic.LoadUint64(p)
	if !isBusy(e) {
		return e&abi.PTEWrite != 0
	}
	now := e &^ abi.PTEBusy
	if f, ok := s.m.entryFrame(e); ok && atomic.LoadUint32(s.m.ref(f)) == 1 {
		now = now&^abi.PTECOW | abi.PTEWrite
	}
	return atomic.CompareAndSwapUint64(p, e, now) && now&abi.PTEWrite != 0
}

// faultAnon puts a zeroed frame at addr, and offers the untouched rest of the area in this leaf table to ring 0. No
// further page is populated: ring 0 does that without an exit, and mincore tells the truth.
func (s *Space) faultAnon(v *vma, addr uint64, leaf *table, e uint64) (bool, error) {
	f, err := s.m.userFrame(true)
	if err != nil {
		return false, err
	}
	at := int(addr >> abi.PageShift & 511)
	if !atomic.CompareAndSwapUint64(&leaf[at], e, uint64(f.gpa())|abi.PTEPresent|abi.PTEAccessed|rights(v.prot)) {
		s.m.drop(f)
		return false, nil
	}
	s.m.stats.Demand.Add(1)
	s.offerAround(v, addr, leaf)
	return true, nil
}

// faultCopy serves a write to a page of a private file mapping that is not mapped yet: the copy is made at once. Those around
// it are mapped, for ring 0 to copy: programs relocate whole sections.
func (s *Space) faultCopy(v *vma, addr uint64, leaf *table, e uint64) (bool, error) {
	m := s.m
	f, err := m.userFrame(false)
	if err != nil {
		return false, err
	}
	src, again, err := v.obj.get(v.index(addr), v.obj.npages())
	if err != nil || again {
		m.drop(f)
		return false, err
	}
	copy(m.frames.page(f), m.frames.page(src.f))
	if !atomic.CompareAndSwapUint64(&leaf[addr>>abi.PageShift&511], e, v.entry(addr, f)) {
		m.drop(f)
		return false, nil
	}
	m.stats.COWCopy.Add(1)
	s.mapAround(v, addr, leaf)
	return true, nil
}

// faultCached maps the page-cache page at addr, and on a read those around it that are cached and not mapped.
func (s *Space) faultCached(v *vma, addr uint64, leaf *table, e uint64, write bool) (bool, error) {
	size := v.obj.npages()
	pg, again, err := v.obj.get(v.index(addr), size)
	if err != nil || again {
		return false, err
	}
	if write {
		s.dirty(v, pg)
	}
	if !s.mapCached(v, addr, leaf, e, pg) {
		return false, nil
	}
	s.m.stats.File.Add(1)
	if write {
		return true, nil
	}
	s.mapAround(v, addr, leaf)
	return true, nil
}

// mapCached puts a page-cache page into the entry for addr if that is still e.
func (s *Space) mapCached(v *vma, addr uint64, leaf *table, e uint64, pg *page) bool {
	s.m.hold(pg.f)
	if !atomic.CompareAndSwapUint64(&leaf[addr>>abi.PageShift&511], e, v.entry(addr, pg.f)) {
		s.m.drop(pg.f)
		return false
	}
	return true
}

// writeShared makes a present page of a shared mapping writable.
func (s *Space) writeShared(v *vma, addr uint64, p *uint64, e uint64, f frame) (bool, error) {
	pg := v.obj.pages[v.index(addr)]
	if pg == nil || pg.f != f {
		// Not the cache's frame: truncated a moment ago, or made up by the guest.
		if atomic.CompareAndSwapUint64(p, e, 0) {
			s.shootdown()
			s.m.drop(f)
		}
		return false, nil
	}
	s.dirty(v, pg)
	s.m.stats.Shared.Add(1)
	return atomic.CompareAndSwapUint64(p, e, e&^(abi.PTECOW|abi.PTEBusy)|abi.PTEWrite), nil
}

// dirty marks a page that is about to become writable in a shared mapping.
func (s *Space) dirty(v *vma, pg *page) {
	if v.obj.back != nil {
		v.obj.markDirty(pg)
	}
}
