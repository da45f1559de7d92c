package shim

import (
	"culvert/guest"
	"culvert/shim/abi"
)

// Machine is what the personality needs of the virtual machine under it. None of its methods takes Kernel.mu, and
// Kick and WakeIdle do not wait.
type Machine interface {
	// RAM is guest memory; the index is the guest-physical address.
	RAM() []byte
	// Kick makes the vCPU visit ring 0's tick soon, where it sees Thread.Attn.
	Kick(vcpu int)
	// WakeIdle lets the vCPU's host thread, asleep for KindIdle, return to the guest.
	WakeIdle(vcpu int)
	// Shootdown returns when no vCPU can use a translation of the space that was taken away before the call. self is
	// the vCPU whose hypercall this is, or -1.
	Shootdown(space *guest.Space, self int)
}

// Layout says where the structures that ring 0 and shim share lie in guest RAM. The boot code decides; VM page and
// open-file table are aligned to cache lines, all others to pages.
type Layout struct {
	VMPage     abi.GPA // guest.VM
	Threads    abi.GPA // NumThreads slots of ThreadSize bytes
	NumThreads int
	ThreadSize int     // guest.ThreadSize of XSaveSize
	Files      abi.GPA // NumFiles entries of guest.File
	NumFiles   int
	Refs       abi.GPA   // one uint32 per frame of RAM
	Futexes    abi.GPA   // futex.Table
	Pools      []abi.GPA // guest.Pool of each vCPU
	KernelCR3  abi.GPA   // the page table without a user half, whose upper half every space copies
	FirstFree  abi.GPA   // frames from here to the end of RAM belong to mm
	XSaveSize  int       // bytes of the XSAVE area in use; 512 where FXSAVE is used
	XCR0       uint64    // state components that the guest may use; 0 where FXSAVE is used
}
