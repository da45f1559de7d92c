package epoll

import "unsafe"

// Addresses in these words are of memory that does not move and is no Go memory: guest RAM as ring 0 maps it. Only ring 0
// follows them (Walk, Peek), and tests in memory of their own; the host follows no address that lies in guest memory.

// itemShift is log2 of an item's size: the number of an item in its chunk is in its address.
const itemShift = 6

// These do not compile unless an item is a cache line and a chunk a page, and an instance fits one.
const (
	_ uint = -(uint(unsafe.Sizeof(Item{})) ^ 1<<itemShift)
	_ uint = -(uint(unsafe.Sizeof(Chunk{})) ^ 1<<12)
	_ uint = 1<<12 - uint(unsafe.Sizeof(Instance{}))
	_ uint = -(uint(unsafe.Sizeof(head{})) ^ 1<<itemShift)
)

// chunkOf returns the chunk that the item at an address is in.
//
//go:nosplit
func chunkOf(item uint64) *Chunk {
	item &^= 1<<12 - 1
	return *(**Chunk)(unsafe.Pointer(&item))
}

// instanceAt returns the instance at an address.
//
//go:nosplit
func instanceAt(addr uint64) *Instance { return *(**Instance)(unsafe.Pointer(&addr)) }

// head is the chunk's own words, in the place of item 0. Sound because both are a cache line of words.
//
//go:nosplit
func (c *Chunk) head() *head { return (*head)(unsafe.Pointer(&c.items[0])) }
