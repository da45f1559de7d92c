package guest

import (
	"unsafe"

	"culvert/shim/abi"
)

// onStart is where a vCPU begins. vCPU 0 first tries what a bad build would break: a copy that faults at its first
// byte, the answer of the fault fix-up, and copies that work, of each size that has code of its own. Any difference
// ends in a report instead of NoteStarted.
//
//go:nosplit
func onStart(p *PerCPU, _ *Thread) {
	if p.ID == 0 {
		c := p.Call
		c.Args[0] = selfTest(p)
		hypercall(p, nil, abi.KindNote, abi.NoteStarted)
	}
	p.TSC = p.RDTSC()
	schedule(p)
	leave(p)
}

// selfTest returns 0, or the number of the check that failed.
//
//go:nosplit
func selfTest(p *PerCPU) uint64 {
	word := unsafe.Pointer(&p.Scratch)
	p.CopyErr = ^uint64(0)
	if p.Copy(word, at(selfTestAddr), 8) != 8 || p.CopyCR2 != selfTestAddr {
		return 1
	}
	if p.CopyErr&(abi.PFPresent|abi.PFUser|abi.PFWrite) != 0 {
		return 2
	}
	if _, fault := p.LoadUser(at(selfTestAddr)); fault == 0 {
		return 3
	}
	if p.Copy(word, unsafe.Pointer(&p.Self), 8) != 0 || p.Scratch != p.Self {
		return 4
	}
	if v, fault := p.LoadUser(word); v != p.Self || fault != 0 {
		return 5
	}
	for n := uint64(1); n <= 16; n++ {
		p.TimeSpec = [2]uint64{}
		buf := unsafe.Pointer(&p.TimeSpec)
		if p.Copy(buf, at(selfTestAddr), n) != n || p.Copy(at(selfTestAddr), buf, n) != n {
			return 6
		}
		if p.Copy(buf, unsafe.Pointer(&p.Self), n) != 0 || p.TimeSpec[0] != p.Self&lowBytes(n) ||
			p.TimeSpec[1] != p.KStack&lowBytes(max(n, 8)-8) {
			return 7
		}
	}
	return 0
}

// lowBytes masks the first n bytes of a word.
//
//go:nosplit
func lowBytes(n uint64) uint64 {
	if n >= 8 {
		return ^uint64(0)
	}
	return 1<<(n*8&63) - 1
}

// selfTestAddr is a user address; the kernel's address space maps none.
const selfTestAddr = 0x1000

// onPanic provokes a bounds panic: the runtime's panic is not mapped, so the VM must end in the gate's report, with
// an instruction fetch outside the guest kernel's text. The host tries it before the first vCPU starts.
//
//go:nosplit
func onPanic(p *PerCPU, _ *Thread) {
	var table [4]uint64
	table[p.Probe]++
	p.Probe = table[0]
}
