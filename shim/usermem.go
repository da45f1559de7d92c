package shim

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// userSpace is what this package needs of a process's memory.
type userSpace interface {
	// CopyIn reads len(dst) bytes at addr, all of them or EFAULT.
	CopyIn(dst []byte, addr uint64) error
	// CopyOut writes src at addr, all of it or EFAULT.
	CopyOut(addr uint64, src []byte) error
}

// addressSpace counts the threads that hold a process's memory.
type addressSpace struct {
	userSpace
	refs int
}

// copyIn reads user memory: every byte once.
func (t *Thread) copyIn(addr uint64, dst []byte) error { return t.mm.CopyIn(dst, addr) }

// copyOut writes user memory.
func (t *Thread) copyOut(addr uint64, src []byte) error { return t.mm.CopyOut(addr, src) }

// readU32 and the like are get_user and put_user.
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
	return t.copyOut(addr, binary.LittleEndian.AppendUint32(nil, v))
}

func (t *Thread) writeU64(addr uint64, v uint64) error {
	return t.copyOut(addr, binary.LittleEndian.AppendUint64(nil, v))
}

// readString reads a string that ends within limit bytes, its NUL counted; ENAMETOOLONG if it does not.
func (t *Thread) readString(addr uint64, limit int) (string, error) {
	var out []byte
	for len(out) < limit {
		// Never past the page: the next one may not be mapped.
		n := min(limit-len(out), 4096-int(addr&4095))
		chunk := make([]byte, n)
		if err := t.copyIn(addr, chunk); err != nil {
			return "", err
		}
		for i, c := range chunk {
			if c == 0 {
				return string(append(out, chunk[:i]...)), nil
			}
		}
		out = append(out, chunk...)
		addr += uint64(n)
	}
	return "", unix.ENAMETOOLONG
}

// readPath reads a path name as getname() does.
func (t *Thread) readPath(addr uint64) (string, error) { return t.readString(addr, 4096) }
