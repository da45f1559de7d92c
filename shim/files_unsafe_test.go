package shim

import "unsafe"

// sliceAddr is the address of memory that is not the garbage collector's.
func sliceAddr(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }
