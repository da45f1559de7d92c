package shim

import (
	"encoding/binary"

	"culvert/shim/mm"

	"golang.org/x/sys/unix"
)

// addressSpace is a process's memory with a count of the threads that use it (mm_users). mm.Space has a count of its
// own: one for each Thread until ring 0 has left it. CopyIn and CopyOut are all or nothing, as most calls want them;
// it is a vfs.UserMemory.
type addressSpace struct {
	*mm.Space
	k     *Kernel
	users int
}

// CopyIn reads len(dst) bytes at addr, every byte once; EFAULT if one of them is not there.
func (s *addressSpace) CopyIn(dst []byte, addr uint64) error {
	if len(dst) == 0 {
		return nil
	}
	_, err := s.Space.CopyIn(addr, dst)
	return s.k.memError(err)
}

// CopyOut writes src at addr; EFAULT if not all of it could be written.
func (s *addressSpace) CopyOut(addr uint64, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	_, err := s.Space.CopyOut(addr, src)
	return s.k.memError(err)
}

// copyIn reads user memory.
func (t *Thread) copyIn(addr uint64, dst []byte) error { return t.mm.CopyIn(dst, addr) }

// copyOut writes user memory.
func (t *Thread) copyOut(addr uint64, src []byte) error { return t.mm.CopyOut(addr, src) }

// readU32 and the like are get_user and put_user; the address need not be aligned.
func (t *Thread) readU32(addr uint64) (uint32, error) {
	var b [4]byte
	err := t.copyIn(addr, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

func (t *Thread) readU64(addr uint64) (uint64, error) {
	var b [8]byte
	err := t.copyIn(addr, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

func (t *Thread) writeU32(addr uint64, v uint32) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return t.copyOut(addr, b[:])
}

func (t *Thread) writeU64(addr uint64, v uint64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return t.copyOut(addr, b[:])
}

// readString reads a string that ends within limit bytes, its NUL counted; ENAMETOOLONG if it does not.
func (t *Thread) readString(addr uint64, limit int) (string, error) {
	if limit <= 0 {
		return "", unix.ENAMETOOLONG
	}
	s, err := t.mm.CopyInString(addr, limit)
	if err == unix.ENAMETOOLONG {
		return "", err
	}
	return s, t.k.memError(err)
}

// readPath reads a path name as getname() does.
func (t *Thread) readPath(addr uint64) (string, error) { return t.readString(addr, pathMax) }
