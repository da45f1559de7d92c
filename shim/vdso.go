package shim

import (
	"math/rand/v2"

	"culvert/shim/abi"
	"culvert/shim/mm"
	"culvert/shim/vdso"

	"golang.org/x/sys/unix"
)

// vdsoPages are the two pages that every program shares: the clock, which the machine writes, and the vDSO behind it.
type vdsoPages struct {
	object *mm.Object
	clock  abi.GPA
}

const vdsoSize = 2 * abi.PageSize

// init makes the pages. Until the machine writes the clock it is not stable: the vDSO makes system calls.
func (v *vdsoPages) init(m *mm.Memory, ram []byte) error {
	image, err := vdso.Image()
	if err != nil {
		return err
	}
	v.object = m.NewObject(vdsoSize)
	if v.clock, err = v.object.Page(0); err != nil {
		return err
	}
	code, err := v.object.Page(1)
	if err != nil {
		return err
	}
	copy(ram[code:code+abi.PageSize], image)
	return nil
}

// ClockPage is the page for guest.Clock that programs see.
func (k *Kernel) ClockPage() abi.GPA { return k.vdso.clock }

// mapVDSO maps the two pages and returns the vDSO's address (arch/x86/entry/vdso/vma.c: map_vdso_randomized). They are
// made present at once, as every dynamically linked program reads them.
func (t *Thread) mapVDSO(space *addressSpace) (uint64, error) {
	// vdso_addr: above the stack, in the same leaf table.
	start := space.StackTop()
	hint := uint64(0)
	if end := (start + abi.HugeSize - 1) &^ (abi.HugeSize - 1); t.p.persona&addrNoRandomize == 0 && end >= start+vdsoSize {
		hint = start + rand.Uint64N((end-vdsoSize-start)>>abi.PageShift+1)<<abi.PageShift
	}
	data, err := space.Mmap(mm.MmapArgs{
		Addr: hint, Len: vdsoSize, Prot: unix.PROT_READ, Flags: unix.MAP_PRIVATE | unix.MAP_POPULATE,
		Object: t.k.vdso.object, Readable: true, NoExec: true, NoWrite: true, Special: "[vvar]",
	})
	if err != nil {
		return 0, err
	}
	return space.Mmap(mm.MmapArgs{
		Addr: data + abi.PageSize, Len: abi.PageSize, Prot: unix.PROT_READ | unix.PROT_EXEC,
		Flags:  unix.MAP_PRIVATE | unix.MAP_POPULATE | unix.MAP_FIXED,
		Object: t.k.vdso.object, Off: abi.PageSize, Readable: true, Special: "[vdso]",
	})
}
