package kvm

import (
	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// Flags of a memory slot.
const (
	MemLogDirtyPages uint32 = 1 << 0 // KVM_MEM_LOG_DIRTY_PAGES
	MemReadOnly      uint32 = 1 << 1 // KVM_MEM_READONLY: a write is an MMIO exit
)

// Flags of an ioeventfd (KVM_IOEVENTFD_FLAG_*).
const (
	IOEventFDDataMatch uint32 = 1 << 0 // only when the guest writes the given value
	ioEventFDPIO       uint32 = 1 << 1 // a port, not an address
	IOEventFDDeassign  uint32 = 1 << 2 // take it away again
)

// ioEventFD is struct kvm_ioeventfd.
type ioEventFD struct {
	datamatch uint64
	addr      uint64
	len       uint32
	fd        int32
	flags     uint32
	_         [36]byte
}

// enableCap is struct kvm_enable_cap.
type enableCap struct {
	cap  uint32
	_    uint32
	args [4]uint64
	_    [64]byte
}

// clockData is struct kvm_clock_data, of which only the flags matter here.
type clockData struct {
	_     uint64 // clock
	flags uint32
	_     uint32
	_     uint64 // realtime
	_     uint64 // host_tsc
	_     [4]uint32
}

// clockTSCStable is KVM_CLOCK_TSC_STABLE.
const clockTSCStable = 1 << 1

// VM is one virtual machine.
type VM struct {
	fd      int
	runSize int
}

// Close closes the VM's descriptor. The kernel keeps the VM until its vCPUs are
// closed too, and holds no memory of the caller's after that.
func (vm *VM) Close() error {
	err := closeFD(&vm.fd)
	return fail(err, "close VM")
}

// CheckExtension is KVM_CHECK_EXTENSION asked of this VM, whose answer can differ
// from the system's.
func (vm *VM) CheckExtension(c Cap) (int, error) { return checkExtension(vm.fd, c) }

// SetUserMemoryRegion makes mem the guest's memory at gpa. Empty mem deletes the slot.
//
// mem must come from mmap, start and end on a page, and stay mapped until the slot
// is deleted or the VM and its vCPUs are closed.
func (vm *VM) SetUserMemoryRegion(slot, flags uint32, gpa uint64, mem []byte) error {
	return vm.SetUserMemoryAt(slot, flags, gpa, addressOf(mem), uint64(len(mem)))
}

// SetUserMemoryAt is SetUserMemoryRegion for memory known by its host address, under
// the same conditions. Size 0 deletes the slot.
func (vm *VM) SetUserMemoryAt(slot, flags uint32, gpa, addr, size uint64) error {
	r := gokvm.UserspaceMemoryRegion{Slot: slot, Flags: flags, GuestPhysAddr: gpa, MemorySize: size, UserspaceAddr: addr}
	_, err := ioctl(vm.fd, reqSetUserMemoryRegion, &r)
	return fail(err, "KVM_SET_USER_MEMORY_REGION slot %d flags %#x gpa %#x size %#x", slot, flags, gpa, size)
}

// SetTSSAddr gives Intel processors three pages of guest-physical space, below 4 GiB
// and clear of every slot, for running real mode without "unrestricted guest". AMD
// processors accept and ignore it. Call it before the first CreateVCPU.
func (vm *VM) SetTSSAddr(gpa uint32) error {
	_, err := retry(func() (uintptr, error) { return 0, gokvm.SetTSSAddr(uintptr(vm.fd), gpa) })
	return fail(err, "KVM_SET_TSS_ADDR %#x", gpa)
}

// SetIdentityMapAddr gives Intel processors one more such page, for the identity map
// that real mode runs on with nested paging. Call it before the first CreateVCPU.
func (vm *VM) SetIdentityMapAddr(gpa uint64) error {
	_, err := ioctl(vm.fd, reqSetIdentityMapAddr, &gpa)
	return fail(err, "KVM_SET_IDENTITY_MAP_ADDR %#x", gpa)
}

// EnableCap is KVM_ENABLE_CAP. What the arguments mean depends on the capability.
func (vm *VM) EnableCap(c Cap, args ...uint64) error {
	e := enableCap{cap: uint32(c)}
	if len(args) > len(e.args) {
		return fail(unix.EINVAL, "KVM_ENABLE_CAP %d with %d arguments", uint32(c), len(args))
	}
	copy(e.args[:], args)
	_, err := ioctl(vm.fd, reqEnableCap, &e)
	return fail(err, "KVM_ENABLE_CAP %d", uint32(c))
}

// IOEventFD makes a guest's OUT of size bytes (1, 2, 4, or 0 for any) to port add
// one to the eventfd fd in the kernel, without an exit to this process. With
// IOEventFDDataMatch only an OUT of datamatch does; others exit as usual.
func (vm *VM) IOEventFD(port uint16, size int, datamatch uint64, fd int, flags uint32) error {
	e := ioEventFD{datamatch: datamatch, addr: uint64(port), len: uint32(size), fd: int32(fd), flags: flags | ioEventFDPIO}
	_, err := ioctl(vm.fd, reqIOEventFD, &e)
	return fail(err, "KVM_IOEVENTFD port %#x size %d flags %#x", port, size, flags)
}

// CreateVCPU is KVM_CREATE_VCPU, and maps the vCPU's kvm_run area. Ids count from 0
// and double as the initial APIC ids.
func (vm *VM) CreateVCPU(id int) (*VCPU, error) {
	if id < 0 {
		return nil, fail(unix.EINVAL, "KVM_CREATE_VCPU %d", id)
	}
	fd, err := retry(func() (uintptr, error) { return gokvm.CreateVCPU(uintptr(vm.fd), id) })
	if err != nil {
		return nil, fail(err, "KVM_CREATE_VCPU %d", id)
	}
	mem, err := unix.Mmap(int(fd), 0, vm.runSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, closeAfter(int(fd), fail(err, "map kvm_run of vCPU %d (%d bytes)", id, vm.runSize))
	}
	return &VCPU{fd: int(fd), mem: mem, control: controlWord(mem)}, nil
}

// ClockStable reports whether KVM says that the guest's TSC is stable: the host's own
// clock is the TSC, and all vCPUs' counters agree. KVM decides it at a vCPU's entry, so
// ask after each has run or before more than one does.
func (vm *VM) ClockStable() (bool, error) {
	c := &clockData{}
	if _, err := ioctl(vm.fd, reqGetClock, c); err != nil {
		return false, fail(err, "KVM_GET_CLOCK")
	}
	return c.flags&clockTSCStable != 0, nil
}
