package pipes

import "unsafe"

// before is the lock order between pipes. The addresses are compared, never dereferenced; pipes lie in memory that
// does not move.
//
//go:nosplit
func before(a, b *Pipe) bool { return uintptr(unsafe.Pointer(a)) < uintptr(unsafe.Pointer(b)) }
