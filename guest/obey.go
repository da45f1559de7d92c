package guest

import (
	"math/bits"

	"culvert/pipes"
	"culvert/shim/abi"
)

// What operations on pipes need beside the plain case: faults in copies, and others than one reader to be woken.

// copyUser copies n bytes between user memory and kernel memory; it returns what was left at a fault.
//
//go:nosplit
func copyUser(p *PerCPU, user, kernel, n uint64, in bool) uint64 {
	if in {
		return p.Copy(at(kernel), at(user), n)
	}
	return p.Copy(at(user), at(kernel), n)
}

// resolveCopy makes good the fault that stopped a copy, with no lock held: here if it can be, else by the shim.
//
//go:nosplit
func resolveCopy(p *PerCPU, t *Thread) bool {
	if fixFault(p, p.CopyCR2, p.CopyErr) {
		return true
	}
	c := p.Call
	c.Vector, c.Err, c.CR2, c.Copy = abi.VecPF, p.CopyErr|abi.PFUser, p.CopyCR2, 1
	hypercall(p, t, abi.KindFault, 0)
	return c.Ret == 0 && c.Action == abi.ActReturn
}

// obey wakes whom an operation says, with no lock held, and tells the shim if it watches the pipe.
//
//go:nosplit
func obey(p *PerCPU, t *Thread, f *File, w pipes.Wake) {
	if w.Reader >= 0 {
		wake(p, uint64(w.Reader))
	}
	if w.Writer >= 0 {
		wake(p, uint64(w.Writer))
	}
	if w.Flags == 0 {
		return
	}
	if w.Flags&pipes.WakePollers != 0 {
		wakeAll(p, &pipeOf(f).PWait)
	}
	if w.Flags&pipes.WakeWatch != 0 {
		tell(p, t, &pipeOf(f).Watch, w.Events)
	}
	if w.Flags&pipes.WakeNote != 0 {
		p.Call.Args[0] = f.Index
		hypercall(p, t, abi.KindNote, abi.NotePipe)
	}
}

// wakeAll wakes all threads of a wait set.
//
//go:nosplit
func wakeAll(p *PerCPU, s *pipes.WaitSet) {
	for i := uint64(0); i < pipes.SetWords; i++ {
		for set := s.TakeWord(i); set != 0; set &= set - 1 {
			wake(p, i<<6+uint64(bits.TrailingZeros64(set)))
		}
	}
}
