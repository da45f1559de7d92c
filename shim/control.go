package shim

import (
	"culvert/shim/mm"
	"culvert/shim/sig"
)

// Signal sends a signal to the first process from outside the VM, as kill(2) from a parent namespace does. If the VM has
// ended but its output is not written yet, a signal that would end the process gives that up.
func (k *Kernel) Signal(signo int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.init == nil || signo < 1 || signo > 64 {
		return
	}
	if k.ended {
		if !(sig.Ignored | sig.Stops).Has(signo) {
			k.hurry(ExitStatus{Kind: Signalled, Signal: signo})
		}
		return
	}
	k.signalled = signo
	k.send(k.init, nil, sig.User(signo, sig.SI_USER, 0, 0))
}

// PeakMemory is the most guest memory that was in use at one time, in bytes, the kernel's own tables aside.
func (k *Kernel) PeakMemory() uint64 { return k.memory.Usage().Peak }

// FaultCounts are the page faults that the shim served, by kind.
func (k *Kernel) FaultCounts() *mm.Counters { return k.memory.Counters() }
