package kvm

import (
	"errors"
	"unsafe"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// Request numbers, from <linux/kvm.h>. The direction and the argument's size are
// part of a request, so a wrong struct is refused by the kernel with ENOTTY.
const (
	nrGetSupportedCPUID   = 0x05
	nrCheckExtension      = 0x03
	nrSetUserMemoryRegion = 0x46
	nrSetIdentityMapAddr  = 0x48
	nrIOEventFD           = 0x79
	nrRun                 = 0x80
	nrGetRegs             = 0x81
	nrSetRegs             = 0x82
	nrGetSregs            = 0x83
	nrSetSregs            = 0x84
	nrInterrupt           = 0x86
	nrGetMSRs             = 0x88
	nrSetMSRs             = 0x89
	nrSetSignalMask       = 0x8b
	nrSetCPUID2           = 0x90
	nrEnableCap           = 0xa3
	nrGetXCRS             = 0xa6
	nrSetXCRS             = 0xa7
)

// retries bounds how often an interrupted set-up call is made again. A signal
// storm at the rate of Go's preemption (one per 10 ms) interrupts a call a few
// times at most; whoever reaches this has a host that cannot make progress.
const retries = 128

// retry makes a set-up call until it is not interrupted.
func retry(call func() (uintptr, error)) (r uintptr, err error) {
	for range retries {
		if r, err = call(); !errors.Is(err, unix.EINTR) {
			return r, err
		}
	}
	return r, err
}

// ioctlValue makes a request whose argument is a number.
func ioctlValue(fd int, req, arg uintptr) (uintptr, error) {
	return retry(func() (uintptr, error) { return gokvm.Ioctl(uintptr(fd), req, arg) })
}

// ioctl makes a request whose argument is a struct.
//
// It is sound for any p, also one on the stack: p stays a pointer up to the call of
// unix.Syscall, where the conversion is one of the patterns that package unsafe
// allows, and the stack does not move while the thread is in the system call.
func ioctl[T any](fd int, req uintptr, p *T) (uintptr, error) {
	return retry(func() (uintptr, error) {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(p)))
		if errno != 0 {
			return r, errno
		}
		return r, nil
	})
}

// runOnce is KVM_RUN, with no retry and no allocation.
func runOnce(fd int) unix.Errno {
	const kvmRun = gokvm.KVMIO<<8 | nrRun
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), kvmRun, 0)
	return errno
}

// sizeOf is the size that goes into a request's number.
func sizeOf[T any]() uintptr {
	var v T
	return unsafe.Sizeof(v)
}

// addressOf is the host address of mapped memory.
//
// The result outlives the pointer on purpose: the kernel keeps it in a memory slot.
// It stays valid because callers pass memory from mmap, which never moves.
func addressOf(mem []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
}

// controlWord is the first word of kvm_run: request_interrupt_window is its lowest
// byte, immediate_exit the next.
//
// It is aligned, since mem starts a page, and valid until mem is unmapped.
func controlWord(mem []byte) *uint32 {
	return (*uint32)(unsafe.Pointer(unsafe.SliceData(mem)))
}
