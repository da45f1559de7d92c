// Package ring is a small piece of ring-0 code that keeps the rules.
package ring

import (
	"sync/atomic"
	"unsafe"
)

// CPU is the per-vCPU page: assembly reaches Go, and Go assembly, through it.
type CPU struct {
	OnCall  uintptr
	Copy    func(dst, src, n uintptr) uintptr
	Lock    uint64
	Buf     [256]uint64
	Head    uint64
	Scratch [8]uint64
}

// onCall is entered from assembly by its address in CPU.OnCall.
//
//go:nosplit
func onCall(c *CPU, kind uint64) uint64 {
	if kind == 1 {
		return push(c, kind)
	}
	if kind == 2 {
		c.Scratch = [8]uint64{}
		return uint64(c.Copy(uintptr(unsafe.Pointer(&c.Buf)), uintptr(unsafe.Pointer(&c.Scratch)), 64))
	}
	return sum(c.Buf[:], 1<<(kind&63))
}

//go:nosplit
//go:noinline
func push(c *CPU, v uint64) uint64 {
	for !atomic.CompareAndSwapUint64(&c.Lock, 0, 1) {
	}
	h := c.Head
	c.Buf[h&255] = v
	c.Head = h + 1
	atomic.StoreUint64(&c.Lock, 0)
	return h
}

// sum is generic and inlined: a generic function that is called gets a dictionary, which
// lies in .rodata.
//
//go:nosplit
func sum[T uint64 | uint32](list []T, start T) T {
	for i := 0; i < len(list); i++ {
		start += list[i] << (start & 31)
	}
	return start
}

func addresses(p *[2]uintptr)

// Addresses keeps the code in the binary: the entry stub, the helper and onCall.
func Addresses() [3]uintptr {
	var a [2]uintptr
	addresses(&a)
	f := onCall
	return [3]uintptr{a[0], a[1], **(**uintptr)(unsafe.Pointer(&f))}
}
