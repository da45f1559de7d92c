package vmm

import (
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// smallPagesSize is more than Go's heap takes in a VM's life, as long as the guest asks for little.
const smallPagesSize = 4 << 20

// smallPages has the heap grow into small pages. Go's heap begins anywhere in its first 4 MiB, so that what a VM needs, some
// 3 MiB, lies in two or three huge pages of the host by chance, and the runtime cannot give back a part of one which it has
// never used.
func smallPages() {
	fresh := make([]byte, smallPagesSize)         // not touched: memory fresh from the host is zero
	_ = unix.Madvise(fresh, unix.MADV_NOHUGEPAGE) // EINVAL: the host's kernel has no huge pages
	runtime.GC()
}

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
