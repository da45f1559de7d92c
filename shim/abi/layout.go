// Package abi holds what guest kernel, boot code and shim must agree on and nothing else: Linux and hypercall
// numbers, the map of guest addresses, page-table bits and the sizes of shared slots. Constants and layouts only.
//
// # The map
//
// Guest-physical:
//
//	0                 RAM, --mem bytes; the kernel structures below begin at KernelStart
//	LinkGPA           the links to other VMs, one LinkStride each: slots over memfds that two VMs map
//	TextGPA           guest-kernel text: a read-only slot over a sealed memfd
//
// Guest-virtual, the same in every address space (supervisor, global, NX except text):
//
//	TextBase          guest-kernel text
//	VCPUBase          one VCPUStride window per vCPU: its page, its stacks with guard pages, its GDT and TSS
//	DirectBase        all of RAM: frames, page tables and shared tables are reached at DirectBase+GPA; links, too
//
// All three lie in one slot of the PML4, and text, windows and the first GiB of RAM in one page directory: a TLB miss after a
// switch reads page tables, and in a VM the address of each is a miss of its own (nested paging).
//
// User addresses end at UserEnd. The top page of the low half stays unmapped, so that SYSRET can never see a
// non-canonical RIP (see ring0 rule "SYSRET on Intel").
package abi

// GPA is a guest-physical address. GVA is a guest-virtual address.
type (
	GPA uint64
	GVA uint64
)

// Page geometry of x86-64.
const (
	PageShift = 12
	PageSize  = 1 << PageShift
	PageMask  = PageSize - 1
	HugeShift = 21
	HugeSize  = 1 << HugeShift
)

// Guest-physical layout.
const (
	// TextGPA lies above any RAM size that is accepted and below the 39 physical bits that every host has.
	TextGPA GPA = 1 << 38
	// LinkGPA is where links begin, above any RAM. A link is at most LinkStride long.
	LinkGPA    GPA = 1 << 37
	LinkStride     = HugeSize
	MaxLinks       = 2 // one for standard input, one for standard output
	// KernelStart is where the kernel structures begin. Page 0 stays unused: a zero address is always a mistake. What
	// follows it lies between the text and the windows in the sense of VCPUBase.
	KernelStart GPA = 16 * PageSize
	// MaxRAM is the largest --mem in bytes; MinRAM the smallest that holds the kernel structures and a program.
	MaxRAM = 64 << 30
	MinRAM = 16 << 20
)

// Guest-virtual layout of the shared upper half.
const (
	// UserEnd is the first address past user memory: TASK_SIZE_MAX of arch/x86/include/asm/page_64_types.h.
	UserEnd GVA = 0x7fff_ffff_f000
	// TextBase is where the guest kernel's text is mapped: the beginning of the PML4's slot KernelSlot.
	TextBase GVA = 0xffff_ff80_0000_0000
	// VCPUBase is the window of vCPU 0; vCPU i has VCPUBase + i*VCPUStride. Text and the first windows share a page table,
	// which a TLB miss of a nested guest pays for; and what one switch of threads touches, in the windows, in the text and
	// in the first pages of RAM (KernelStart), differs in its page numbers modulo 64, which pick the set of many a TLB,
	// QEMU's among them.
	VCPUBase = TextBase + 0x13_0000
	// VCPUStride is the size of one vCPU's window. Pages of it that are not named below are guard pages.
	VCPUStride = 0x10000
	// DirectBase is where RAM is mapped, supervisor-only, in the 2 MiB pages that follow the windows.
	DirectBase = TextBase + 2*HugeSize
)

// The windows end before DirectBase: this does not compile otherwise.
const _ = uint64(DirectBase - (VCPUBase + MaxVCPUs*VCPUStride))

// Offsets in a vCPU's window.
const (
	VCPUCall  = 0x1000 // guest.Call: the hypercall page
	VCPUStack = 0x3000 // kernel stack, grows down from VCPUPage; 0x2000 is its guard
	// VCPUPage is where guest.PerCPU begins, GS base: what it has to do with a switch lies in one page with the part of
	// the stack that a switch needs.
	VCPUPage   = 0x6500
	VCPUEnd    = 0x8000 // of guest.PerCPU
	VCPUIST    = 0x9000 // IST stack for #DF, NMI and #MC; 0x8000 is its guard
	VCPUISTEnd = 0xa000
	VCPUTables = 0xb000 // GDT and TSS; 0xa000 is a guard
	VCPUIDT    = 0xc000
)

// KernelSlot is the PML4 slot of the shared upper half, copied into every address space.
const KernelSlot = 511

// Limits of the shared tables.
const (
	MaxVCPUs   = 32
	MaxThreads = 4096
	ThreadSize = 2048 // bytes of one slot of the thread table
	// BigThreadSize is that where a thread's FPU area needs more: with AVX-512.
	BigThreadSize = 4096
	// MinThreads is the size of the thread table of the smallest VM.
	MinThreads = 64
)

// Page-table entry bits (Intel SDM vol. 3, 4.5), and the software bits through which the shim tells the guest
// kernel what it may do alone. A PTE changes by compare-and-swap on both sides.
const (
	PTEPresent  = 1 << 0
	PTEWrite    = 1 << 1
	PTEUser     = 1 << 2
	PTEAccessed = 1 << 5
	PTEDirty    = 1 << 6
	PTEHuge     = 1 << 7
	PTEGlobal   = 1 << 8
	// PTECOW: present, PTEWrite clear. A write makes the page private: PTEWrite is set if the frame has one
	// reference, else the page is copied.
	PTECOW = 1 << 9
	// PTEDemand: not present. A zeroed frame may be put here; PTEWrite, PTEUser and PTENX of this entry are the
	// rights that the page will have.
	PTEDemand = 1 << 10
	// PTEBusy: present, PTECOW set. One vCPU is copying this page; others wait for the bit to go.
	PTEBusy = 1 << 11
	// PTEShared: the frame belongs to a shared mapping: fork does not make it PTECOW.
	PTEShared = 1 << 52
	PTENX     = 1 << 63
	// PTEAddr masks the frame's address.
	PTEAddr = 0x000f_ffff_ffff_f000
)

// Page-fault error code bits (Intel SDM vol. 3, 4.7).
const (
	PFPresent = 1 << 0
	PFWrite   = 1 << 1
	PFUser    = 1 << 2
	PFRsvd    = 1 << 3
	PFFetch   = 1 << 4
)
