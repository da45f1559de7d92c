// Package longcall makes system calls that are likely to last, a thread that waits for the host, and those that end such waits.
//
// Go's scheduler takes each system call for a short one. It leaves the thread its P, and its monitor thread (sysmon) looks every
// 20 us at first whether the call has returned, for 10 ms at least, where nobody else needs the P. That takes processor time from the
// VM, and each look is an exit. Of these calls the scheduler is told what they are: the P is given away at once, and sysmon
// sleeps.
package longcall

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// entersyscallblock and exitsyscall are around a system call that lasts. The runtime keeps them for programs that do so
// (go.dev/issue/67401). In between nothing may grow the stack or allocate.
//
//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// Poll waits for events of at least one of fds, without a limit of time.
//
//go:nosplit
func Poll(fds []unix.PollFd) (int, error) {
	entersyscallblock()
	// SAFETY: the memory outlives the call, and a stack does not move between the two.
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), 0, 0, 0, 0)
	exitsyscall()
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// ReadCount waits until an eventfd has been written to, and takes its count.
//
//go:nosplit
func ReadCount(fd int) error {
	var count uint64
	entersyscallblock()
	// SAFETY: as above.
	_, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
	exitsyscall()
	if errno != 0 {
		return errno
	}
	return nil
}

// Ring adds one to an eventfd that does not block, or whose count cannot be full. An eventfd that is full has been rung.
//
// Go's scheduler is not told of the call: who is woken may take the processor from the caller, for which it would find a call
// that lasts, and look every 20 us again.
//
//go:nosplit
func Ring(fd int) {
	one := uint64(1)
	// SAFETY: as above.
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// Rang takes the count of an eventfd that does not block, and reports whether there was one.
//
//go:nosplit
func Rang(fd int) bool {
	var count uint64
	// SAFETY: as above.
	_, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
	return errno == 0
}
