package pump

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// vector is the memory for the pieces of a readv(2) or writev(2). Those of x/sys allocate theirs for each call, which makes a
// pump the reason of most garbage collections of a VM that only moves bytes.
type vector [2]unix.Iovec

// call is the system call nr on those of two pieces of a ring that are not empty. It must not wait: Go's scheduler is not told of
// it, for the reason of longcall.Ring.
func (v *vector) call(nr uintptr, fd int, a, b []byte) (int, error) {
	n := 0
	for _, part := range [...][]byte{a, b} {
		if len(part) != 0 {
			v[n].Base = unsafe.SliceData(part)
			v[n].SetLen(len(part))
			n++
		}
	}
	// SAFETY: the kernel is done with v and the pieces when the call returns.
	done, _, errno := unix.RawSyscall(nr, uintptr(fd), uintptr(unsafe.Pointer(v)), uintptr(n))
	if errno != 0 {
		return 0, errno
	}
	return int(done), nil
}
