package kvm

import (
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// device is where Linux puts KVM.
const device = "/dev/kvm"

// apiVersion is the only value KVM_GET_API_VERSION has had since Linux 2.6.22.
const apiVersion = 12

// minRunSize is the least size of a vCPU's shared area: struct kvm_run and one page
// of port data behind it.
const minRunSize = 2 * 4096

// Cap names one of the kernel's KVM_CAP_* constants.
type Cap = gokvm.Capability

// The capabilities culvert asks for or reports.
const (
	CapUserMemory       Cap = gokvm.CapUserMemory
	CapNrVCPUs          Cap = gokvm.CapNRVCPUS // recommended number of vCPUs
	CapNrMemSlots       Cap = gokvm.CapNRMemSlots
	CapSyncMMU          Cap = gokvm.CapSyncMMU // unmapping host memory unmaps it in the guest
	CapIOEventFD        Cap = gokvm.CapIOEventFD
	CapXSave            Cap = gokvm.CapXSave
	CapXCRS             Cap = gokvm.CapXCRS
	CapTSCControl       Cap = gokvm.CapTSCControl
	CapGetTSCKHz        Cap = gokvm.CapGetTSCkHz
	CapMaxVCPUs         Cap = 66
	CapSyncRegs         Cap = gokvm.CapSyncRegs
	CapReadonlyMem      Cap = 81
	CapEnableCapVM      Cap = 98
	CapSplitIRQChip     Cap = gokvm.CapSplitIRQChip
	CapIOEventFDAnyLen  Cap = gokvm.CapIOEventFDAnyLength
	CapMaxVCPUID        Cap = 128
	CapX2APICAPI        Cap = gokvm.CapX2APICAPI
	CapImmediateExit    Cap = gokvm.CapImmediateExit
	CapX86DisableExits  Cap = gokvm.CapX86DisableExits
	CapX86UserSpaceMSR  Cap = gokvm.CapX86UserSpaceMSR
	CapX86MSRFilter     Cap = gokvm.CapX86MSRFilter
	CapTripleFaultEvent Cap = 218
)

// CPUIDEntry is struct kvm_cpuid_entry2.
type CPUIDEntry = gokvm.CPUIDEntry2

// CPUIDSignificantIndex is KVM_CPUID_FLAG_SIGNIFCANT_INDEX: the entry answers one
// sub-leaf (ECX on input) and not all of them.
const CPUIDSignificantIndex = 1

// maxCPUID is KVM_MAX_CPUID_ENTRIES.
const maxCPUID = 256

// cpuid2 is struct kvm_cpuid2 with room for all entries.
type cpuid2 struct {
	n       uint32
	_       uint32
	entries [maxCPUID]CPUIDEntry
}

// System is an open /dev/kvm.
type System struct {
	fd      int
	runSize int // bytes of a vCPU's shared area
}

// Open opens /dev/kvm and checks that it is a KVM this package can talk to. The
// error wraps ErrNoDevice, ErrPermission or ErrAPIVersion where it is one of them.
func Open() (*System, error) { return open(device) }

func open(path string) (*System, error) {
	fd, err := retry(func() (uintptr, error) {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return uintptr(fd), err
	})
	if err != nil {
		return nil, openError(path, err)
	}
	s := &System{fd: int(fd)}
	if err := s.check(path); err != nil {
		return nil, closeAfter(s.fd, err)
	}
	return s, nil
}

// check asks for the API version and for the size of a vCPU's shared area.
func (s *System) check(path string) error {
	version, err := s.APIVersion()
	if err != nil {
		// A file of another kind does not know the request.
		return fail(fmt.Errorf("%w (%w)", ErrNoDevice, err), "KVM_GET_API_VERSION on %s", path)
	}
	if version != apiVersion {
		return fail(fmt.Errorf("%w (got %d)", ErrAPIVersion, version), "KVM_GET_API_VERSION on %s", path)
	}
	size, err := retry(func() (uintptr, error) { return gokvm.GetVCPUMMmapSize(uintptr(s.fd)) })
	if err == nil && (size < minRunSize || size > 1<<20) {
		err = fmt.Errorf("size %d is outside %d..%d", size, minRunSize, 1<<20)
	}
	s.runSize = int(size)
	return fail(err, "KVM_GET_VCPU_MMAP_SIZE on %s", path)
}

// Close closes the descriptor. VMs made from it go on working.
func (s *System) Close() error {
	err := closeFD(&s.fd)
	return fail(err, "close %s", device)
}

// APIVersion is KVM_GET_API_VERSION.
func (s *System) APIVersion() (int, error) {
	v, err := retry(func() (uintptr, error) { return gokvm.GetAPIVersion(uintptr(s.fd)) })
	return int(v), fail(err, "KVM_GET_API_VERSION")
}

// CheckExtension is KVM_CHECK_EXTENSION: 0 when the kernel lacks the capability,
// else a positive number, which for some is a count or a set of bits.
func (s *System) CheckExtension(c Cap) (int, error) { return checkExtension(s.fd, c) }

func checkExtension(fd int, c Cap) (int, error) {
	v, err := ioctlValue(fd, reqCheckExtension, uintptr(c))
	return int(v), fail(err, "KVM_CHECK_EXTENSION %d", uint32(c))
}

// SupportedCPUID is KVM_GET_SUPPORTED_CPUID: what processor and KVM can give a guest.
func (s *System) SupportedCPUID() ([]CPUIDEntry, error) {
	c := &cpuid2{n: maxCPUID}
	if _, err := ioctl(s.fd, reqGetSupportedCPUID, c); err != nil {
		return nil, fail(err, "KVM_GET_SUPPORTED_CPUID")
	}
	return c.entries[:min(c.n, maxCPUID)], nil
}

// CreateVM is KVM_CREATE_VM.
func (s *System) CreateVM() (*VM, error) {
	fd, err := retry(func() (uintptr, error) { return gokvm.CreateVM(uintptr(s.fd)) })
	if err != nil {
		return nil, fail(err, "KVM_CREATE_VM")
	}
	return &VM{fd: int(fd), runSize: s.runSize}, nil
}

// closeFD closes a descriptor once; a second call does nothing. Linux frees the
// descriptor even when close reports EINTR, so that is not a failure.
func closeFD(fd *int) error {
	if *fd < 0 {
		return nil
	}
	err := unix.Close(*fd)
	*fd = -1
	if err == unix.EINTR {
		return nil
	}
	return err
}

// closeAfter closes a descriptor because of err, which it returns.
func closeAfter(fd int, err error) error {
	if cerr := closeFD(&fd); cerr != nil {
		return fmt.Errorf("%w (and close failed: %w)", err, cerr)
	}
	return err
}
