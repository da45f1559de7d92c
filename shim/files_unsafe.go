package shim

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hostIoctl makes an ioctl whose answer the host's kernel writes to buf.
//
// Preconditions: the request's struct has at most 64 bytes. Sound because the conversion stands in the call's
// argument list, where the compiler keeps buf alive and in place.
func hostIoctl(fd int, req uint32, buf *[64]byte) error {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(buf)))
	if e != 0 {
		return e
	}
	return nil
}
