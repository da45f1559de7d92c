package shim

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"culvert/guest"
	"culvert/shim/abi"
)

// structAt returns the struct of type T at a guest-physical address. Sound because the address comes from a Layout
// that checkLayout accepted: page-aligned or a multiple of T's size from such an address, and inside RAM, which lives
// as long as the Kernel.
func structAt[T any](ram []byte, a abi.GPA) *T {
	// Nothing is dereferenced for a size; a variable would be allocated, some hundred KiB of it for the largest structs.
	_ = ram[a : uint64(a)+uint64(unsafe.Sizeof(*(*T)(nil)))]
	return (*T)(unsafe.Pointer(&ram[a]))
}

// vmSpaces is where the address spaces' blocks lie in the VM page.
const vmSpaces = abi.GPA(unsafe.Offsetof(guest.VM{}.Spaces))

// firstLeaf is where the entries of leaf 0 lie in a guest.FileTable.
const firstLeaf = abi.GPA(unsafe.Offsetof(guest.FileTable{}.First))

// slotAt returns slot i of the thread table.
func slotAt(ram []byte, l *Layout, i int) *guest.Thread {
	return structAt[guest.Thread](ram, l.Threads+abi.GPA(i*l.ThreadSize))
}

// fpu returns the FPU area of the thread's slot, which has room for it: checkLayout.
func (t *Thread) fpu() []byte { return unsafe.Slice(&t.slot.XSave[0], t.k.xstate.Size) }

// checkLayout refuses a Layout with which host pointers would leave RAM.
func checkLayout(ram []byte, l *Layout) error {
	if unsafe.Sizeof(guest.Thread{}) != abi.ThreadSize {
		return fmt.Errorf("shim: guest.Thread has %d bytes, not %d", unsafe.Sizeof(guest.Thread{}), abi.ThreadSize)
	}
	if l.ThreadSize != guest.ThreadSize(l.XSaveSize) || l.XSaveSize < 512 || l.XSaveSize > guest.MaxXSave || l.XCR0 != 0 && l.XSaveSize < 576 {
		return fmt.Errorf("shim: an FPU area of %d bytes does not fit a thread slot of %d", l.XSaveSize, l.ThreadSize)
	}
	const line = 64
	size := uint64(len(ram))
	for _, area := range []struct {
		what  string
		start abi.GPA
		bytes uint64
		align abi.GPA
	}{
		{"VM page", l.VMPage, uint64(unsafe.Sizeof(guest.VM{})), line},
		{"thread table", l.Threads, uint64(max(l.NumThreads, 0)) * uint64(l.ThreadSize), abi.PageSize},
		{"open-file table", l.Files, uint64(max(l.NumFiles, 0)) * uint64(unsafe.Sizeof(guest.File{})), line},
		{"reference counts", l.Refs, size / abi.PageSize * 4, abi.PageSize},
		{"table of futexes", l.Futexes, uint64(guest.FutexBytes), abi.PageSize},
	} {
		if area.start%area.align != 0 || uint64(area.start) > size || area.bytes > size-uint64(area.start) {
			return fmt.Errorf("shim: the %s (%d bytes at %#x) is not aligned to %d inside the %d bytes of RAM",
				area.what, area.bytes, area.start, area.align, size)
		}
	}
	if l.NumThreads < 1 || l.NumThreads > abi.MaxThreads {
		return fmt.Errorf("shim: %d thread slots, not 1 to %d", l.NumThreads, abi.MaxThreads)
	}
	return nil
}

// setSlotSpace, setSlotFiles and setSlotSignals store guest addresses in a slot's pointer words: ring 0 dereferences them, the host
// must not see them as pointers of its own.
func setSlotSpace(s *guest.Thread, a abi.GVA) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&s.Space)), uint64(a))
}

func setSlotFiles(s *guest.Thread, a uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&s.Files)), a)
}

func setSlotSignals(s *guest.Thread, a uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&s.Signals)), a)
}

// slotSpace returns the address that setSlotSpace stored.
func slotSpace(s *guest.Thread) uint64 { return atomic.LoadUint64((*uint64)(unsafe.Pointer(&s.Space))) }
