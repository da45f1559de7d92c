package sig

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"

	"culvert/guest/signals"
)

// TestContextIsTheFrame: ring 0's view of a frame and the offsets here are the same.
func TestContextIsTheFrame(t *testing.T) {
	var c signals.Context
	for what, pair := range map[string][2]uintptr{
		"flags":              {unsafe.Offsetof(c.Flags), offFlags},
		"stack":              {unsafe.Offsetof(c.Stack), offStack},
		"flags of the stack": {unsafe.Offsetof(c.Stack) + unsafe.Offsetof(c.Stack.Flags), offStack + 8},
		"size of the stack":  {unsafe.Offsetof(c.Stack) + unsafe.Offsetof(c.Stack.Size), offStack + 16},
		"regs":               {unsafe.Offsetof(c.Regs), offRegs},
		"rflags":             {unsafe.Offsetof(c.Regs) + unsafe.Offsetof(c.Regs.RFLAGS), offRegs + 17*8},
		"cs":                 {unsafe.Offsetof(c.Segments), offSegments},
		"err":                {unsafe.Offsetof(c.Err), offErr},
		"cr2":                {unsafe.Offsetof(c.CR2), offCR2},
		"fpstate":            {unsafe.Offsetof(c.FPState), offFPState},
		"mask":               {unsafe.Offsetof(c.Mask), offMask},
		"end":                {unsafe.Sizeof(c), contextSize},
	} {
		want := pair[1]
		if what != "end" {
			want -= offContext
		}
		if pair[0] != want {
			t.Errorf("%s at %d, not %d", what, pair[0], want)
		}
	}
	if n := unsafe.Sizeof(signals.Frame{}); n != FrameSize || unsafe.Offsetof(signals.Frame{}.Context) != ContextOffset ||
		unsafe.Offsetof(signals.Frame{}.Info) != InfoOffset {
		t.Errorf("Frame has %d bytes", n)
	}
	if n := unsafe.Sizeof(signals.FPHead{}); n != signals.XSaveHeader-signals.OffHead {
		t.Errorf("FPHead has %d bytes", n)
	}
}

// fuzzSizes are FPU areas of machines with FXSAVE, with AVX and with AVX-512.
var fuzzSizes = []XState{{Size: 512}, {Size: 832, XCR0: 7}, {Size: 2696, XCR0: 0xe7}}

// aligned is a buffer of n bytes at a multiple of 64.
func aligned(n int) []byte {
	b := make([]byte, n+64)
	skip := -uintptr(unsafe.Pointer(&b[0])) & 63
	return b[skip : skip+uintptr(n)]
}

// memory is a program's, of which all but the first mapped bytes fault.
type memory struct {
	bytes  []byte
	mapped int
}

// copyIn is guest.PerCPU.Copy: it returns what was left at a fault, of 16 bytes and fewer all.
func (m memory) copyIn(dst, src unsafe.Pointer, n uint64) uint64 {
	off := int(uintptr(src) - uintptr(unsafe.Pointer(&m.bytes[0])))
	can := min(max(m.mapped-off, 0), int(n))
	if n <= 16 && can < int(n) {
		return n
	}
	copy(unsafe.Slice((*byte)(dst), n), m.bytes[off:off+can])
	return n - uint64(can)
}

// copyOut is guest.PerCPU.Copy the other way.
func (m memory) copyOut(dst, src unsafe.Pointer, n uint64) uint64 {
	off := int(uintptr(dst) - uintptr(unsafe.Pointer(&m.bytes[0])))
	can := min(max(m.mapped-off, 0), int(n))
	if n <= 16 && can < int(n) {
		return n
	}
	copy(m.bytes[off:off+can], unsafe.Slice((*byte)(src), n))
	return n - uint64(can)
}

// FuzzRingRestore: what ring 0 makes of a frame's FPU state is what the shim makes of it, or it leaves it to the shim. It never
// accepts what the shim refuses, nor what it could not read, and the header is safe even when it refuses.
func FuzzRingRestore(f *testing.F) {
	for i, x := range fuzzSizes {
		area := make([]byte, x.Size)
		x.Init(area)
		good := x.Save(area)
		f.Add(i, good, 0, uint8(0), 4096, 0)
		for _, at := range []int{signals.OffMXCSR + 3, signals.OffMXCSR, offSW, offSW + 4, offSW + 8, offSW + 17, offXSTATEBV, offXSTATEBV + 7,
			offXCOMPBV, offXCOMPBV + 7, signals.XSaveHeader - 1, x.Size, signals.OffMXCSRMask} {
			f.Add(i, good, at, uint8(0xff), 4096, 0)
			f.Add(i, good, at, uint8(0x41), 4096, 0)
			f.Add(i, good, 0, uint8(0), at, 0)
		}
		f.Add(i, good, 0, uint8(0), 4096, 16)
	}
	f.Fuzz(func(t *testing.T, which int, state []byte, at int, flip uint8, mapped, misplaced int) {
		x := fuzzSizes[uint(which)%uint(len(fuzzSizes))]
		m := memory{aligned(4096), mapped}
		user := m.bytes[uint(misplaced)%64:][:x.FrameSize()]
		copy(user, state)
		user[uint(at)%uint(len(user))] ^= flip
		ring, host := aligned(x.Size), make([]byte, x.Size)
		x.Init(ring)
		x.Init(host)
		for i := range signals.OffHead { // whatever the thread's state was
			if i < signals.OffMXCSR || i >= 32 {
				ring[i], host[i] = 0x5a, 0x5a
			}
		}
		addr := uint64(uintptr(unsafe.Pointer(&user[0])))
		var head signals.FPHead
		var magic uint32
		a := signals.FPArea{Area: unsafe.Pointer(&ring[0]), Size: uint64(x.Size), XCR0: x.XCR0}
		done := a.Restore(addr, &head, &magic, m.copyIn)
		err := x.Restore(host, user, addr)
		if x.XCR0 != 0 {
			bv := binary.LittleEndian.Uint64(ring[offXSTATEBV:])
			if bv&^x.XCR0 != 0 || !bytes.Equal(ring[offXCOMPBV:signals.XSaveHeader], make([]byte, 56)) {
				t.Fatalf("header %x", ring[offXSTATEBV:signals.XSaveHeader])
			}
		}
		last := len(user) + int(addr-uint64(uintptr(unsafe.Pointer(&m.bytes[0]))))
		if x.XCR0 == 0 {
			last -= signals.FXSaveSize - signals.OffHead // FXRSTOR ignores the end
		}
		switch {
		case !done && err == nil && flip == 0 && mapped >= last && addr&63 == 0 && x.features0(user) == x.XCR0:
			t.Fatal("a state of the kernel's was refused")
		case done && err != nil:
			t.Fatalf("ring 0 accepts what the shim refuses: %v", err)
		case done && mapped < last:
			t.Fatal("ring 0 accepts what it could not read")
		case done && !bytes.Equal(ring, host):
			t.Fatalf("ring 0 has\n%x, the shim\n%x", ring, host)
		}
	})
}

// FuzzRingStore: the state that ring 0 writes to a frame is the one that the shim writes, and a handler's is the same.
func FuzzRingStore(f *testing.F) {
	for i, x := range fuzzSizes {
		area := make([]byte, x.Size)
		x.Init(area)
		f.Add(i, area, 4096)
		f.Add(i, bytes.Repeat([]byte{0x5a}, x.Size), 600)
	}
	f.Fuzz(func(t *testing.T, which int, state []byte, mapped int) {
		x := fuzzSizes[uint(which)%uint(len(fuzzSizes))]
		area := aligned(x.Size)
		copy(area, state)
		if x.XCR0 != 0 { // what XSAVE never writes
			clear(area[offSW:offXSTATEBV])
			clear(area[offXCOMPBV:signals.XSaveHeader])
		}
		m := memory{aligned(4096), mapped}
		user := m.bytes[:x.FrameSize()]
		a := signals.FPArea{Area: unsafe.Pointer(&area[0]), Size: uint64(x.Size), XCR0: x.XCR0}
		if a.FrameSize() != uint64(len(user)) {
			t.Fatalf("%d bytes, not %d", a.FrameSize(), len(user))
		}
		head, magic := new(signals.FPHead), new(uint32)
		head.Compact[3] = 0x1234 // of another program
		done := a.Store(uint64(uintptr(unsafe.Pointer(&user[0]))), head, magic, m.copyOut)
		if done != (mapped >= len(user)) {
			t.Fatalf("stored: %t, with %d of %d bytes there", done, mapped, len(user))
		}
		if want := x.Save(area); done && !bytes.Equal(user, want) {
			t.Fatalf("ring 0 writes\n%x, the shim\n%x", user, want)
		}
		a.Reset()
		fresh := make([]byte, x.Size)
		x.Init(fresh)
		same := min(x.Size, signals.XSaveHeader)
		if x.XCR0 == 0 {
			same = signals.OffHead // the bytes behind are software's
		}
		if !bytes.Equal(area[:same], fresh[:same]) {
			t.Fatalf("a handler starts with\n%x, a program with\n%x", area[:same], fresh[:same])
		}
	})
}

// features0 is XState.features, of a state of FXSAVE too.
func (x XState) features0(state []byte) uint64 {
	if x.XCR0 == 0 {
		return 0
	}
	h := headOf(state)
	if int(h.Size) != x.Size {
		return 0 // of fewer components: the shim's
	}
	return x.features(&h, state)
}
