package kvm

import (
	"errors"
	"runtime"
	"unsafe"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// Requests, as <linux/kvm.h> encodes them: direction, size of the argument, KVMIO,
// number. The size makes the kernel refuse a wrong struct with ENOTTY. Structs that
// end in a flexible array count without it.
const (
	reqCheckExtension      = 0xae03
	reqGetSupportedCPUID   = 0xc008ae05
	reqSetUserMemoryRegion = 0x4020ae46
	reqSetIdentityMapAddr  = 0x4008ae48
	reqIOEventFD           = 0x4040ae79
	reqGetClock            = 0x8030ae7c
	reqRun                 = 0xae80
	reqGetRegs             = 0x8090ae81
	reqSetRegs             = 0x4090ae82
	reqGetSregs            = 0x8138ae83
	reqSetSregs            = 0x4138ae84
	reqInterrupt           = 0x4004ae86
	reqGetMSRs             = 0xc008ae88
	reqSetMSRs             = 0x4008ae89
	reqSetSignalMask       = 0x4004ae8b
	reqSetCPUID2           = 0x4008ae90
	reqEnableCap           = 0x4068aea3
	reqGetXCRS             = 0x8188aea6
	reqSetXCRS             = 0x4188aea7
	reqGetDeviceAttr       = 0x4018aee2
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

// deviceAttr is struct kvm_device_attr.
type deviceAttr struct {
	_, group   uint32 // flags: there are none
	attr, addr uint64
}

// getDeviceAttr is KVM_GET_DEVICE_ATTR for an attribute of 8 bytes. The kernel gets the value's address as a number: it is
// pinned, and so neither moves nor goes.
func getDeviceAttr(fd int, group uint32, attr uint64) (uint64, error) {
	value := new(uint64)
	var pin runtime.Pinner
	pin.Pin(value)
	defer pin.Unpin()
	_, err := ioctl(fd, reqGetDeviceAttr, &deviceAttr{group: group, attr: attr, addr: uint64(uintptr(unsafe.Pointer(value)))})
	return *value, err
}

// runOnce is KVM_RUN, with no retry and no allocation. It is not told to Go's scheduler: a thread that has not left its P for
// 10 ms, as one that makes call after call, would lose it at the next look of the scheduler's monitor thread, in each call anew.
func runOnce(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), reqRun, 0)
	return errno
}

// entersyscallblock and exitsyscall tell Go's scheduler that this thread is in a system call that lasts: it gives its P away
// at once. The runtime keeps them for programs that do so (go.dev/issue/67401).
//
//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// runLong is runOnce for a call that lasts. In between nothing may grow the stack or allocate.
//
//go:nosplit
func runLong(fd int) unix.Errno {
	entersyscallblock()
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), reqRun, 0)
	exitsyscall()
	return errno
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
