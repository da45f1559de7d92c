package kvm

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

// page is a scripted kvm_run area: what the kernel would have written, by offset.
type page struct{ mem []byte }

func newPage(reason uint32) *page {
	p := &page{make([]byte, 3*4096)}
	return p.u32(8, reason)
}

func (p *page) u8(off int, v uint8) *page   { p.mem[off] = v; return p }
func (p *page) u16(off int, v uint16) *page { binary.LittleEndian.PutUint16(p.mem[off:], v); return p }
func (p *page) u32(off int, v uint32) *page { binary.LittleEndian.PutUint32(p.mem[off:], v); return p }
func (p *page) u64(off int, v uint64) *page { binary.LittleEndian.PutUint64(p.mem[off:], v); return p }

// io writes the io part of kvm_run, with the data in the second page.
func (p *page) io(direction, size uint8, port uint16, count uint32, off uint64) *page {
	return p.u8(0x20, direction).u8(0x21, size).u16(0x22, port).u32(0x24, count).u64(0x28, off)
}

func TestDecode(t *testing.T) {
	const junk = 0x8877665544332211
	for _, c := range []struct {
		name string
		page *page
		want Exit
		text string // part of the description
	}{
		{"out byte", newPage(2).io(1, 1, 0x500, 1, 4096).u64(4096, junk),
			Exit{Reason: ExitIO, Port: 0x500, Size: 1, Count: 1, Write: true, Value: 0x11}, "write of 1 bytes at port 0x500, value 0x11"},
		{"out word", newPage(2).io(1, 2, 0xffff, 1, 4096).u64(4096, junk),
			Exit{Reason: ExitIO, Port: 0xffff, Size: 2, Count: 1, Write: true, Value: 0x2211}, "KVM_EXIT_IO"},
		{"out long", newPage(2).io(1, 4, 0x500, 1, 4096).u64(4096, junk),
			Exit{Reason: ExitIO, Port: 0x500, Size: 4, Count: 1, Write: true, Value: 0x44332211}, "0x44332211"},
		{"rep outs keeps the first value", newPage(2).io(1, 4, 1, 512, 4096).u64(4096, junk),
			Exit{Reason: ExitIO, Port: 1, Size: 4, Count: 512, Write: true, Value: 0x44332211}, "count 512"},
		{"in has no value", newPage(2).io(0, 4, 0x60, 1, 4096).u64(4096, junk),
			Exit{Reason: ExitIO, Port: 0x60, Size: 4, Count: 1}, "read of 4 bytes"},
		{"data past the area", newPage(2).io(1, 4, 1, 1, 3*4096),
			Exit{Reason: ExitIO, Port: 1, Size: 4, Count: 1, Write: true}, ""},
		{"data offset that wraps", newPage(2).io(1, 4, 1, 1, math.MaxUint64-2),
			Exit{Reason: ExitIO, Port: 1, Size: 4, Count: 1, Write: true}, ""},
		{"size of 255", newPage(2).io(1, 255, 1, 1, 4096).u64(4096, junk),
			Exit{Reason: ExitIO, Port: 1, Size: 255, Count: 1, Write: true, Value: junk}, ""},
		{"mmio write", newPage(6).u64(0x20, 0xfee00000).u64(0x28, junk).u32(0x30, 2).u8(0x34, 1),
			Exit{Reason: ExitMMIO, Addr: 0xfee00000, Size: 2, Write: true, Value: 0x2211}, "write of 2 bytes at address 0xfee00000"},
		{"mmio write of 8", newPage(6).u64(0x20, 1<<40).u64(0x28, junk).u32(0x30, 8).u8(0x34, 1),
			Exit{Reason: ExitMMIO, Addr: 1 << 40, Size: 8, Write: true, Value: junk}, ""},
		{"mmio read", newPage(6).u64(0x20, 0x1000).u64(0x28, junk).u32(0x30, 4),
			Exit{Reason: ExitMMIO, Addr: 0x1000, Size: 4}, "read of 4 bytes at address 0x1000"},
		{"mmio length out of range", newPage(6).u32(0x30, math.MaxUint32),
			Exit{Reason: ExitMMIO, Size: 8}, ""},
		{"halt", newPage(5), Exit{Reason: ExitHLT}, "KVM_EXIT_HLT"},
		{"window", newPage(7), Exit{Reason: ExitIRQWindow}, "KVM_EXIT_IRQ_WINDOW_OPEN"},
		{"triple fault", newPage(8), Exit{Reason: ExitShutdown}, "KVM_EXIT_SHUTDOWN"},
		{"unknown", newPage(0).u64(0x20, 77), Exit{Reason: ExitUnknown, Value: 77}, "hardware reason 0x4d"},
		{"failed entry", newPage(9).u64(0x20, 0x80000021).u32(0x28, 3),
			Exit{Reason: ExitFailEntry, Value: 0x80000021, Suberror: 3}, "hardware reason 0x80000021 on host CPU 3"},
		{"internal error", newPage(17).u32(0x20, 1), Exit{Reason: ExitInternalError, Suberror: 1}, "suberror 1 (KVM_INTERNAL_ERROR_EMULATION"},
		{"internal error not known", newPage(17).u32(0x20, 99), Exit{Reason: ExitInternalError, Suberror: 99}, "suberror 99 (not a known"},
		{"internal error 0", newPage(17), Exit{Reason: ExitInternalError}, "not a known"},
		{"system event", newPage(24).u32(0x20, 2), Exit{Reason: ExitSystemEvent, Suberror: 2}, "type 2"},
		{"not decoded", newPage(33), Exit{Reason: 33}, "KVM_EXIT_33"},
		{"not known", newPage(math.MaxUint32), Exit{Reason: math.MaxUint32}, "KVM_EXIT_4294967295"},
	} {
		got := decode(c.page.mem)
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		if !strings.Contains(got.String(), c.text) {
			t.Errorf("%s: described as %q, which lacks %q", c.name, got, c.text)
		}
	}
}

func TestInternalErrorData(t *testing.T) {
	p := newPage(17).u32(0x20, 1).u32(0x24, 2).u64(0x28, 7).u64(0x30, 9)
	if got := internalData(p.mem); len(got) != 2 || got[0] != 7 || got[1] != 9 {
		t.Errorf("got %v, want [7 9]", got)
	}
	if got := internalData(newPage(17).u32(0x24, math.MaxUint32).mem); len(got) != maxInternalData {
		t.Errorf("a huge ndata gives %d words, want %d", len(got), maxInternalData)
	}
	if got := internalData(newPage(2).u32(0x24, 5).mem); got != nil {
		t.Errorf("after another exit: got %v, want nil", got)
	}
}

// TestControl checks that the two requests do not disturb each other's byte, nor the
// padding behind them, and that the flags are read from the right bytes.
func TestControl(t *testing.T) {
	mem := newPage(0).mem
	c := &VCPU{mem: mem, control: controlWord(mem)}
	for i, step := range []struct {
		do   func(bool)
		on   bool
		want [4]byte
	}{
		{c.SetImmediateExit, true, [4]byte{0, 1}},
		{c.RequestInterruptWindow, true, [4]byte{1, 1}},
		{c.SetImmediateExit, true, [4]byte{1, 1}},
		{c.SetImmediateExit, false, [4]byte{1, 0}},
		{c.RequestInterruptWindow, false, [4]byte{0, 0}},
	} {
		step.do(step.on)
		if got := [4]byte(mem); got != step.want {
			t.Errorf("step %d: control word %v, want %v", i, got, step.want)
		}
	}
	if c.ReadyForInterruptInjection() || c.IfFlag() {
		t.Error("flags are set on an empty page")
	}
	mem[12] = 1
	if !c.ReadyForInterruptInjection() || c.IfFlag() {
		t.Error("ready_for_interrupt_injection is not read from byte 12")
	}
	mem[12], mem[13] = 0, 1
	if c.ReadyForInterruptInjection() || !c.IfFlag() {
		t.Error("if_flag is not read from byte 13")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint32(2), []byte{1, 4, 0, 5, 1, 0, 0, 0, 0, 16})
	f.Add(uint32(17), []byte{1, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, reason uint32, union []byte) {
		p := newPage(reason)
		copy(p.mem[0x20:0x120], union)
		if e := decode(p.mem); e.String() == "" {
			t.Error("no description")
		}
		if n := len(internalData(p.mem)); n > maxInternalData {
			t.Errorf("%d words of data", n)
		}
	})
}
