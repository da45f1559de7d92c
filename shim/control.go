package shim

import (
	"culvert/shim/mm"
	"culvert/shim/sig"
)

// Signal sends a signal to the first process from outside the VM, as kill(2) from a parent namespace does.
func (k *Kernel) Signal(signo int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended || k.init == nil || signo < 1 || signo > 64 {
		return
	}
	k.send(k.init, nil, sig.User(signo, sig.SI_USER, 0, 0))
}

// PeakMemory is the most guest memory that was in use at one time, in bytes, the kernel's own tables aside.
func (k *Kernel) PeakMemory() uint64 { return k.memory.Usage().Peak }

// FaultCounts are the page faults that the shim served, by kind.
func (k *Kernel) FaultCounts() *mm.Counters { return k.memory.Counters() }
