package mm

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// viaPipe copies between buf and addr of this process through a pipe: system calls report bad addresses instead of
// raising a signal, and reach memory by the rights of its page-table entries, as the shim does.
func viaPipe(r, w int, write bool, addr uint64, buf []byte) unix.Errno {
	call := func(nr, fd uintptr, p uintptr) unix.Errno {
		_, _, e := syscall.RawSyscall(nr, fd, p, uintptr(len(buf)))
		return e
	}
	// addr is a number to Go, of memory that Go does not own; buf stays where it is while its address is in use.
	own := uintptr(unsafe.Pointer(&buf[0]))
	if !write {
		if e := call(unix.SYS_WRITE, uintptr(w), uintptr(addr)); e != 0 {
			return e
		}
		return call(unix.SYS_READ, uintptr(r), own)
	}
	if e := call(unix.SYS_WRITE, uintptr(w), own); e != 0 {
		return e
	}
	e := call(unix.SYS_READ, uintptr(r), uintptr(addr))
	if e != 0 {
		call(unix.SYS_READ, uintptr(r), own)
	}
	return e
}

func mincore(addr uint64, vec []byte) unix.Errno {
	_, _, e := syscall.Syscall(unix.SYS_MINCORE, uintptr(addr), uintptr(len(vec))*uintptr(pg), uintptr(unsafe.Pointer(&vec[0])))
	for i := range vec {
		vec[i] &= 1
	}
	return e
}

func addrOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }
