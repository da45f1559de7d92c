package mm

import (
	"bytes"
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// This file is the only way in which the shim reaches user memory. An address is a page of the low half whose entry
// is present, PTEUser and, for writing, PTEWrite, and names a user frame; anything else is resolved as the processor's
// fault would be, or ends in EFAULT. What is copied out is the caller's own; nothing is looked at in place.

// UserMemory is user memory of one address space. *Space implements it. Errors are unix.EFAULT, or ErrOOM if a page
// could not be made for want of memory.
type UserMemory interface {
	CopyIn(addr uint64, p []byte) (int, error)
	CopyOut(addr uint64, p []byte) (int, error)
	CopyInString(addr uint64, max int) (string, error)
	Zero(addr, n uint64) (uint64, error)
	LoadUint32(addr uint64) (uint32, error)
	LoadUint64(addr uint64) (uint64, error)
	StoreUint32(addr uint64, v uint32) error
	StoreUint64(addr uint64, v uint64) error
	CompareAndSwapUint32(addr uint64, old, new uint32) (uint32, error)
}

var _ UserMemory = (*Space)(nil)

// walkTries bounds how often an access faults a page in before it gives up: the guest can take it away each time.
const walkTries = 16

// walk returns the page of addr if its entry allows the access now.
func (s *Space) walk(addr uint64, write bool) ([]byte, bool) {
	leaf := s.lookupLeaf(addr)
	if leaf == nil {
		return nil, false
	}
	e := atomic.LoadUint64(&leaf[addr>>abi.PageShift&511])
	need := uint64(abi.PTEPresent | abi.PTEUser)
	if write {
		need |= abi.PTEWrite
	}
	if e&need != need {
		return nil, false
	}
	f, ok := s.m.entryFrame(e)
	if !ok {
		return nil, false
	}
	return s.m.frames.page(f), true
}

// resolve returns the page of addr, faulting it in if need be. It may release the lock for a while.
func (s *Space) resolve(addr uint64, write bool) ([]byte, error) {
	if addr >= userEnd || s.dead {
		return nil, unix.EFAULT
	}
	code := uint64(abi.PFUser)
	if write {
		code |= abi.PFWrite
	}
	for range walkTries {
		if p, ok := s.walk(addr, write); ok {
			return p, nil
		}
		if err := s.fault(addr, code); err != nil {
			if errors.Is(err, ErrOOM) {
				return nil, err
			}
			return nil, unix.EFAULT
		}
	}
	return nil, unix.EFAULT
}

// userRange checks that [addr, addr+n) is in the user half and does not wrap (access_ok).
func userRange(addr, n uint64) error {
	if n > userEnd || addr > userEnd-n {
		return unix.EFAULT
	}
	return nil
}

// eachPage calls fn with the bytes of [addr, addr+n), page by page, and returns how many bytes fn has seen.
func (s *Space) eachPage(addr, n uint64, write bool, fn func(p []byte) (more bool)) (uint64, error) {
	if err := userRange(addr, n); err != nil {
		return 0, err
	}
	done := uint64(0)
	for done < n {
		p, err := s.resolve(addr+done, write)
		if err != nil {
			return done, err
		}
		off := (addr + done) & abi.PageMask
		p = p[off:min(abi.PageSize, off+n-done)]
		done += uint64(len(p))
		if !fn(p) {
			break
		}
	}
	return done, nil
}

// CopyIn copies user memory at addr to p. It returns how many bytes it copied before it met a bad page.
func (s *Space) CopyIn(addr uint64, p []byte) (int, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	done, err := s.eachPage(addr, uint64(len(p)), false, func(b []byte) bool {
		p = p[copy(p, b):]
		return true
	})
	return int(done), err
}

// CopyOut copies p to user memory at addr. It returns how many bytes it copied before it met a bad page.
func (s *Space) CopyOut(addr uint64, p []byte) (int, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	done, err := s.eachPage(addr, uint64(len(p)), true, func(b []byte) bool {
		p = p[copy(b, p):]
		return true
	})
	return int(done), err
}

// Zero clears n bytes at addr and returns how many it cleared before it met a bad page.
func (s *Space) Zero(addr, n uint64) (uint64, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	return s.eachPage(addr, n, true, func(b []byte) bool {
		clear(b)
		return true
	})
}

// CopyInString copies the NUL-terminated string at addr, without the NUL. It returns ENAMETOOLONG if there is no NUL
// in the first max bytes.
func (s *Space) CopyInString(addr uint64, max int) (string, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	var out []byte
	if addr >= userEnd {
		return "", unix.EFAULT
	}
	found := false
	n := min(uint64(max), userEnd-addr)
	_, err := s.eachPage(addr, n, false, func(b []byte) bool {
		from := len(out)
		out = append(out, b...) // copied first: another processor may change b while it is searched
		if i := bytes.IndexByte(out[from:], 0); i >= 0 {
			out, found = out[:from+i], true
		}
		return !found
	})
	switch {
	case err != nil:
		return "", err
	case found:
		return string(out), nil
	case n < uint64(max):
		return "", unix.EFAULT // the string runs into the end of user memory
	}
	return "", unix.ENAMETOOLONG
}

// word resolves the page of an aligned word. An unaligned address is EINVAL, as for a futex.
func (s *Space) word(addr, size uint64, write bool) ([]byte, error) {
	if addr&(size-1) != 0 {
		return nil, unix.EINVAL
	}
	if err := userRange(addr, size); err != nil {
		return nil, err
	}
	return s.resolve(addr, write)
}

// LoadUint32 loads the aligned word at addr atomically.
func (s *Space) LoadUint32(addr uint64) (uint32, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	p, err := s.word(addr, 4, false)
	if err != nil {
		return 0, err
	}
	return atomic.LoadUint32(word32(p, addr&abi.PageMask)), nil
}

// LoadUint64 loads the aligned word at addr atomically.
func (s *Space) LoadUint64(addr uint64) (uint64, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	p, err := s.word(addr, 8, false)
	if err != nil {
		return 0, err
	}
	return atomic.LoadUint64(word64(p, addr&abi.PageMask)), nil
}

// StoreUint32 stores the aligned word at addr atomically.
func (s *Space) StoreUint32(addr uint64, v uint32) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	p, err := s.word(addr, 4, true)
	if err == nil {
		atomic.StoreUint32(word32(p, addr&abi.PageMask), v)
	}
	return err
}

// StoreUint64 stores the aligned word at addr atomically.
func (s *Space) StoreUint64(addr uint64, v uint64) error {
	s.m.mu.Lock()
	defer s.m.unlock()
	p, err := s.word(addr, 8, true)
	if err == nil {
		atomic.StoreUint64(word64(p, addr&abi.PageMask), v)
	}
	return err
}

// CompareAndSwapUint32 stores new at addr if old is there, and returns what was there. If the word keeps changing
// between old and other values it gives up with EAGAIN, as futex_lock_pi does.
func (s *Space) CompareAndSwapUint32(addr uint64, old, new uint32) (uint32, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	p, err := s.word(addr, 4, true)
	if err != nil {
		return 0, err
	}
	w := word32(p, addr&abi.PageMask)
	for range casTries {
		was := atomic.LoadUint32(w)
		if was != old || atomic.CompareAndSwapUint32(w, old, new) {
			return was, nil
		}
	}
	return 0, unix.EAGAIN
}

// FutexKey identifies a word that threads wait on: two addresses share a queue if and only if their keys are equal.
type FutexKey struct {
	// Object and Offset identify a word of a shared mapping; Space and Offset (the address) one of private memory.
	Object *Object
	Space  uint64
	Offset uint64
}

// FutexKey returns the key of the word at addr (kernel/futex/core.c: get_futex_key). private is FUTEX_PRIVATE_FLAG:
// the caller promises that no other address space waits there, and the area is not looked up.
func (s *Space) FutexKey(addr uint64, private bool) (FutexKey, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	if addr&3 != 0 {
		return FutexKey{}, unix.EINVAL
	}
	if err := userRange(addr, 4); err != nil {
		return FutexKey{}, err
	}
	if private {
		return FutexKey{Space: s.id, Offset: addr}, nil
	}
	if _, err := s.resolve(addr, false); err != nil {
		return FutexKey{}, err
	}
	v := s.at(addr)
	if v == nil {
		return FutexKey{}, unix.EFAULT
	}
	if v.flags&fShared == 0 {
		if v.obj == nil && v.prot&protWrite == 0 {
			return FutexKey{}, unix.EFAULT // a page that never changes makes no sense for a futex
		}
		return FutexKey{Space: s.id, Offset: addr}, nil
	}
	return FutexKey{Object: v.obj, Offset: v.off + addr - v.start}, nil
}

// Frame returns the guest-physical address of the byte at addr, made present and, if write, writable.
func (s *Space) Frame(addr uint64, write bool) (abi.GPA, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	p, err := s.resolve(addr, write)
	if err != nil {
		return 0, err
	}
	return s.m.gpaOf(p) + abi.GPA(addr&abi.PageMask), nil
}
