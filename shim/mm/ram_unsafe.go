package mm

import (
	"sync/atomic"
	"unsafe"

	"culvert/guest"
	"culvert/shim/abi"
)

// The helpers of this file turn guest-physical addresses into pointers. Each slices the RAM first, so an address
// outside it fails a bounds check, an internal bug, rather than reaching other memory: callers pass only addresses
// that the host itself allocated or has checked. RAM is page-aligned (New checks that), so the words are aligned.

// table is a page table, or any page seen as 512 words. Its words are read and written by sync/atomic only.
type table = [512]uint64

// tableAt returns the page at gpa as words.
func tableAt(ram []byte, gpa abi.GPA) *table {
	p := ram[gpa : gpa+abi.PageSize : gpa+abi.PageSize]
	// Sound: p has the size of a table and gpa is a multiple of the page size.
	return (*table)(unsafe.Pointer(unsafe.SliceData(p)))
}

// spaceAt returns the guest.Space at gpa.
func spaceAt(ram []byte, gpa abi.GPA) *guest.Space {
	p := ram[gpa : gpa+spaceSize : gpa+spaceSize]
	// Sound: p has the struct's size, gpa is a multiple of it, and the struct holds no pointers.
	return (*guest.Space)(unsafe.Pointer(unsafe.SliceData(p)))
}

// spaceSize is the size of a guest.Space: a power of two that divides a page.
const spaceSize = abi.GPA(unsafe.Sizeof(guest.Space{}))

// A guest.Space must not straddle pages.
var _ [0]struct{} = [abi.PageSize % spaceSize]struct{}{}

// word32 returns the aligned word at offset off of a page.
func word32(page []byte, off uint64) *uint32 {
	p := page[off&^3 : off&^3+4]
	// Sound: four bytes, aligned by the mask and by the page.
	return (*uint32)(unsafe.Pointer(unsafe.SliceData(p)))
}

// word64 returns the aligned word at offset off of a page.
func word64(page []byte, off uint64) *uint64 {
	p := page[off&^7 : off&^7+8]
	// Sound: eight bytes, aligned by the mask and by the page.
	return (*uint64)(unsafe.Pointer(unsafe.SliceData(p)))
}

// refsAt returns the table of reference counts at gpa, for the frames below end.
func refsAt(ram []byte, gpa abi.GPA, end frame) []uint32 {
	p := ram[gpa : uint64(gpa)+4*uint64(end)]
	// Sound: four bytes for each of end counts; gpa is a multiple of the page size.
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(p))), end)
}

// pageAligned says whether ram begins at a host page.
func pageAligned(ram []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(ram)))&abi.PageMask == 0
}

// prefault makes the host populate the page without changing it: a fault taken here costs less than one taken by
// the guest. The locked operation is a write as far as the host's page tables are concerned.
func prefault(page []byte) { atomic.AndUint64(word64(page, 0), ^uint64(0)) }

// gpaOf returns the address of a page of RAM.
func (m *Memory) gpaOf(page []byte) abi.GPA {
	return abi.GPA(uintptr(unsafe.Pointer(unsafe.SliceData(page))) - uintptr(unsafe.Pointer(unsafe.SliceData(m.ram))))
}
