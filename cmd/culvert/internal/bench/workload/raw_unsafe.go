package workload

import (
	"sync/atomic"
	"unsafe"
)

// The addresses that these functions take lie in mappings that the workload made for itself, or in its work, which lives as
// long as the program: both stay where they are, so an address kept as a number stays good. Only the workload's own code
// makes such addresses.

//go:nosplit
//go:norace
//go:nocheckptr
func load(addr uintptr) byte { return *(*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))) }

//go:nosplit
//go:norace
//go:nocheckptr
func load64(addr uintptr) uint64 { return *(*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))) }

//go:nosplit
//go:norace
//go:nocheckptr
func store64(addr uintptr, v uint64) { *(*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))) = v }

// load32 and store32 are atomic: threads wait for each other with them.
//
//go:nosplit
//go:norace
//go:nocheckptr
func load32(addr uintptr) uint32 {
	return atomic.LoadUint32((*uint32)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))))
}

//go:nosplit
//go:norace
//go:nocheckptr
func store32(addr uintptr, v uint32) {
	atomic.StoreUint32((*uint32)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), v)
}

// addressOf is where v lies: mapped memory, or an object of Go's heap that is kept alive, and which do not move.
func addressOf[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }
