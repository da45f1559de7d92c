package vmm

import (
	"fmt"
	"unsafe"

	"culvert/guest"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// newRAM maps guest memory: private, anonymous, populated as it is touched, in huge pages where the host has them. It
// begins at a multiple of a huge page, as guest-physical addresses do: KVM maps a huge page of the host as one only where
// both have the same offset in it (kvm_alloc_memslot_metadata of arch/x86/kvm/x86.c), and the guest's TLB misses are walks
// of one level less then.
func newRAM(bytes int) ([]byte, error) {
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(bytes+abi.HugeSize), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map %d MiB of guest memory: %w (try a smaller --mem)", bytes>>20, err)
	}
	head := -uintptr(base) % abi.HugeSize
	start := unsafe.Add(base, head)
	err = unix.MunmapPtr(unsafe.Add(start, bytes), abi.HugeSize-head)
	if err == nil && head != 0 {
		err = unix.MunmapPtr(base, head)
	}
	if err != nil {
		return nil, fmt.Errorf("align guest memory: %w", err)
	}
	ram := unsafe.Slice((*byte)(start), bytes)
	// A child of this process must not share the guest's pages.
	if err := unix.Madvise(ram, unix.MADV_DONTFORK); err != nil {
		freeRAM(ram)
		return nil, fmt.Errorf("madvise guest memory: %w", err)
	}
	// EINVAL: the host's kernel has no huge pages.
	if err := unix.Madvise(ram, unix.MADV_HUGEPAGE); err != nil && err != unix.EINVAL {
		freeRAM(ram)
		return nil, fmt.Errorf("madvise guest memory: %w", err)
	}
	return ram, nil
}

// freeRAM unmaps what newRAM has mapped: unix.Munmap knows unix.Mmap's mappings only.
func freeRAM(ram []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(ram)), uintptr(len(ram)))
}

// newText puts the guest kernel's text into a sealed memfd and maps it read-only.
func newText(text []byte) ([]byte, error) {
	fd, err := unix.MemfdCreate("culvert-text", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd for the guest kernel: %w", err)
	}
	defer unix.Close(fd)
	if n, err := unix.Write(fd, text); err != nil || n != len(text) {
		return nil, fmt.Errorf("write %d bytes of guest kernel: %d written, %w", len(text), n, err)
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal the guest kernel: %w", err)
	}
	mem, err := unix.Mmap(fd, 0, len(text), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the guest kernel: %w", err)
	}
	return mem, nil
}

// view is a shared struct in guest RAM. Sound: gpa comes from boot.Layout, page-aligned and within RAM.
func view[T any](ram []byte, gpa abi.GPA) *T {
	_ = ram[gpa : uint64(gpa)+uint64(unsafe.Sizeof(*(*T)(nil)))]
	return (*T)(unsafe.Pointer(&ram[gpa]))
}

// spaceVCPUs returns the mask of vCPUs that may have the space loaded.
func spaceVCPUs(s *guest.Space) *uint64 { return &s.Active }
