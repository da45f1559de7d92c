package vmm

import (
	"runtime/debug"
	"time"
)

// trimPeriod is the least time between two trims of a VM that falls idle again and again.
const trimPeriod = 10 * time.Second

// trim gives what Go's heap has freed back to the host, when the VM falls idle: to start a program takes several times the
// memory that a program which waits needs, and the runtime would keep it for minutes, in huge pages where the host has them.
func (vm *VM) trim() {
	if now := time.Now(); vm.trimmed.IsZero() || now.Sub(vm.trimmed) >= trimPeriod {
		vm.trimmed = now
		debug.FreeOSMemory()
	}
}
