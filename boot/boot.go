// Package boot makes the first state of a machine as pure bytes and values: page tables, GDT, IDT, TSS, the guest
// kernel's pages and tables in guest RAM, and the registers of each vCPU. It makes no system call; vmm carries the
// result to KVM.
//
// A vCPU starts in long mode with paging on: no BIOS, no real mode, no devices. All that ring 0 uses lies below
// Layout.FirstFree in RAM, in the order of the fields of Layout.
package boot

import (
	"fmt"

	"culvert/guest"
	"culvert/shim/abi"
)

// Features are what the processor offers to the guest, as decided by vmm from CPUID.
type Features struct {
	SMEP, SMAP, UMIP bool
	// XCR0 has the state components that the guest may use; 0 = no XSAVE, ring 0 uses FXSAVE.
	XCR0 uint64
}

// Config describes the machine to build.
type Config struct {
	RAM   []byte // all zero; a multiple of 2 MiB
	VCPUs int
	Text  []*guest.Page // as guest.Text returns it
	Code  guest.Code
	// ForwardAll: ring 0 serves no system call.
	ForwardAll bool
	Features   Features
	XSaveSize  int // bytes of a thread's FPU area
	Links      int // how many windows of abi.LinkStride at abi.LinkGPA the kernel's address space has
}

// Layout says where the shared structures lie in guest RAM.
type Layout struct {
	VMPage     abi.GPA
	KernelCR3  abi.GPA
	Pools      []abi.GPA // guest.Pool, by vCPU
	PerCPU     []abi.GPA // guest.PerCPU, by vCPU
	Calls      []abi.GPA // guest.Call, by vCPU
	Files      abi.GPA
	NumFiles   int
	Threads    abi.GPA
	NumThreads int
	ThreadSize int // bytes of one
	Refs       abi.GPA
	Futexes    abi.GPA
	FirstFree  abi.GPA
}

// Machine is what vmm loads.
type Machine struct {
	Layout Layout
	VCPUs  []VCPU
	// Text is the contents of the read-only slot at abi.TextGPA.
	Text []byte
	// TextSpan maps addresses of ring 0's code in this process to guest addresses and back.
	TextSpan TextSpan
}

// TextSpan translates code addresses: the guest kernel keeps the distances of the running binary.
type TextSpan struct {
	base uintptr
	size uintptr
}

// GVA returns the guest address of code at addr in this process.
func (s TextSpan) GVA(addr uintptr) uint64 { return uint64(abi.TextBase) + uint64(addr-s.base) }

// Host returns the address in this process of guest code at gva; inText is false outside the guest kernel's text.
func (s TextSpan) Host(gva uint64) (addr uintptr, inText bool) {
	off := gva - uint64(abi.TextBase)
	return s.base + uintptr(off), off < uint64(s.size)
}

// build is the state of one Build.
type build struct {
	cfg  Config
	next abi.GPA
	m    Machine
}

// Build fills cfg.RAM and returns the machine. It fails if RAM is too small for the kernel's structures, if there is
// no text, or if the text spans more than its window.
func Build(cfg Config) (*Machine, error) {
	switch {
	case len(cfg.RAM)%abi.HugeSize != 0 || len(cfg.RAM) < abi.MinRAM || len(cfg.RAM) > abi.MaxRAM:
		return nil, fmt.Errorf("boot: guest memory of %d bytes: want a multiple of 2 MiB from %d MiB to %d GiB",
			len(cfg.RAM), abi.MinRAM>>20, abi.MaxRAM>>30)
	case cfg.VCPUs < 1 || cfg.VCPUs > abi.MaxVCPUs:
		return nil, fmt.Errorf("boot: %d vCPUs: want 1 to %d", cfg.VCPUs, abi.MaxVCPUs)
	case len(cfg.Text) == 0:
		return nil, fmt.Errorf("boot: no guest-kernel text")
	}
	first, last := cfg.Text[0].Addr, cfg.Text[len(cfg.Text)-1].Addr
	const window = uint64(abi.VCPUBase - abi.TextBase - abi.PageSize) // the page before VCPUBase is never mapped
	if uint64(last-first) >= window {
		return nil, fmt.Errorf("boot: guest-kernel text spans %d bytes, its window has %d", last-first, window)
	}
	b := &build{cfg: cfg, next: abi.KernelStart}
	b.m.TextSpan = TextSpan{base: first, size: last - first + abi.PageSize}
	b.structures()
	if uint64(b.next) > uint64(len(cfg.RAM))/2 {
		return nil, fmt.Errorf("boot: guest memory of %d MiB is too small: the kernel's tables take %d MiB of it",
			len(cfg.RAM)>>20, b.next>>20)
	}
	b.pageTables()
	b.fill()
	b.m.Layout.FirstFree = b.next
	return &b.m, nil
}

// structures places the shared tables.
func (b *build) structures() {
	l := &b.m.Layout
	ram := len(b.cfg.RAM)
	for range b.cfg.VCPUs {
		l.Pools = append(l.Pools, b.alloc(abi.PageSize))
		pages := b.alloc(abi.VCPUEnd - perCPUPage)
		l.PerCPU = append(l.PerCPU, pages+abi.VCPUPage-perCPUPage)
		l.Calls = append(l.Calls, b.alloc(abi.PageSize))
	}
	// A slot of each table per so many bytes of RAM: 1 GiB has all 4096 threads and 65536 open files.
	l.NumThreads = min(max(ram>>18, abi.MinThreads), abi.MaxThreads) &^ 63
	l.NumFiles = min(max(ram>>14, 1024), 1<<16)
	l.ThreadSize = guest.ThreadSize(b.cfg.XSaveSize)
	l.VMPage = b.alloc(guest.VMOffset+vmSize+l.NumFiles*fileSize) + guest.VMOffset
	l.Files = l.VMPage + abi.GPA(vmSize)
	l.Threads = b.alloc(l.NumThreads * l.ThreadSize)
	l.Refs = b.alloc(ram / abi.PageSize * 4)
	l.Futexes = b.alloc(int(guest.FutexBytes))
}

// alloc takes pages of RAM, which are zero.
func (b *build) alloc(bytes int) abi.GPA {
	gpa := b.next
	b.next += abi.GPA((bytes + abi.PageMask) &^ abi.PageMask)
	return gpa
}

// gva is the direct-map address of a structure.
func gva(gpa abi.GPA) uint64 { return uint64(abi.DirectBase) + uint64(gpa) }
