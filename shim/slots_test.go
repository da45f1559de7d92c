package shim

import (
	"bytes"
	"testing"

	"culvert/guest"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// FPU areas of each size have room in their slots, and a child's slot is the one beside its parent's.
func TestSlots(t *testing.T) {
	for name, x := range map[string]struct {
		xcr0 uint64
		area int
		slot int
	}{
		"AVX":     {7, 832, abi.ThreadSize},
		"largest": {7, abi.ThreadSize - guest.XSaveOffset, abi.ThreadSize},
		"AVX-512": {0xe7, 2696, abi.BigThreadSize},
	} {
		t.Run(name, func(t *testing.T) {
			l := testLayout()
			l.XCR0, l.XSaveSize, l.ThreadSize = x.xcr0, x.area, x.slot
			w, parent := newWorldIn(t, l)
			child := w.task(int(parent.mustCall(unix.SYS_FORK)))
			if child.i != parent.i^1 {
				t.Errorf("the child has slot %d, its parent %d", child.i, parent.i)
			}
			first, second := w.k.slots[parent.i&^1], w.k.slots[parent.i|1]
			before := second.slot.ThreadHead
			area := bytes.Clone(second.fpu())
			if len(area) != x.area {
				t.Errorf("an FPU area has %d bytes, not %d", len(area), x.area)
			}
			for i, full := 0, first.fpu(); i < len(full); i++ {
				full[i] = 0xff
			}
			if second.slot.ThreadHead != before || !bytes.Equal(second.fpu(), area) {
				t.Error("an FPU area reaches into the next slot")
			}
		})
	}
}

// A layout that would have host pointers leave RAM, or slots overlap, is refused.
func TestLayoutRefused(t *testing.T) {
	ram := make([]byte, 8<<20)
	good := testLayout()
	if err := checkLayout(ram, &good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(l *Layout){
		"slots too small":       func(l *Layout) { l.XSaveSize = 2696 },
		"slots too large":       func(l *Layout) { l.ThreadSize = abi.BigThreadSize },
		"no slot fits":          func(l *Layout) { l.XSaveSize = guest.MaxXSave + 1; l.ThreadSize = abi.BigThreadSize },
		"no header":             func(l *Layout) { l.XSaveSize = 512 },
		"VM not aligned":        func(l *Layout) { l.VMPage += 8 },
		"files not aligned":     func(l *Layout) { l.Files += 32 },
		"threads not aligned":   func(l *Layout) { l.Threads += 2048 },
		"VM outside":            func(l *Layout) { l.VMPage = abi.GPA(len(ram)) - 64 },
		"threads outside":       func(l *Layout) { l.Threads = abi.GPA(len(ram)) - abi.PageSize },
		"files far outside":     func(l *Layout) { l.Files = 1 << 62 },
		"no threads":            func(l *Layout) { l.NumThreads = 0 },
		"more threads than may": func(l *Layout) { l.NumThreads = abi.MaxThreads + 1 },
	} {
		l := testLayout()
		spoil(&l)
		if checkLayout(ram, &l) == nil {
			t.Errorf("%s: the layout is accepted", name)
		}
	}
}
