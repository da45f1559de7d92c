package guest

import (
	"sync/atomic"
	"unsafe"

	"culvert/shim/abi"
)

// Short names for the atomic operations; the compiler makes single instructions of them. All are sequentially
// consistent: store is an XCHG, or and and are locked, as the wake and shootdown protocols need.

//go:nosplit
func load(p *uint64) uint64 { return atomic.LoadUint64(p) }

//go:nosplit
func store(p *uint64, v uint64) { atomic.StoreUint64(p, v) }

//go:nosplit
func cas(p *uint64, old, new uint64) bool { return atomic.CompareAndSwapUint64(p, old, new) }

//go:nosplit
func add(p *uint64, n uint64) uint64 { return atomic.AddUint64(p, n) }

//go:nosplit
func or(p *uint64, bits uint64) uint64 { return atomic.OrUint64(p, bits) }

//go:nosplit
func and(p *uint64, bits uint64) uint64 { return atomic.AndUint64(p, bits) }

// at makes a pointer of a guest-virtual address. The conversion goes through memory, since vet takes a plain one for
// a mistake; the address is no Go object, so the collector does not mind.
//
//go:nosplit
func at(addr uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// direct makes a pointer of a guest-physical address through the direct map.
//
//go:nosplit
func direct(gpa uint64) unsafe.Pointer { return at(uint64(abi.DirectBase) + gpa) }

// cur returns the running thread's slot.
//
//go:nosplit
func cur(p *PerCPU) *Thread { return (*Thread)(at(p.Cur)) }

// thread returns slot i of the thread table; i is masked to the largest table, so a wild index stays in kernel memory.
//
//go:nosplit
func thread(vm *VM, i uint64) *Thread {
	return (*Thread)(at(vm.Threads + (i&(abi.MaxThreads-1))<<(vm.ThreadShift&63)))
}
