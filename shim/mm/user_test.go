package mm

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUserMemory(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	a := mustMmap(t, s, MmapArgs{Addr: 0x10000000, Len: 4 * pg, Prot: rw, Flags: anonPriv})
	ro := a + 3*pg
	if err := s.Mprotect(ro, pg, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	// Bad ranges fail whole.
	b := make([]byte, 2*pg)
	for _, addr := range []uint64{0, userEnd - pg, userEnd, userEnd + 1, 0x8000_0000_0000, 0xffff_8800_0000_0000, ^uint64(0), ^uint64(0) - pg} {
		if n, err := s.CopyIn(addr, b); n != 0 || !errors.Is(err, unix.EFAULT) {
			t.Errorf("CopyIn from %#x: %d, %v", addr, n, err)
		}
		if n, err := s.CopyOut(addr, b); n != 0 || !errors.Is(err, unix.EFAULT) {
			t.Errorf("CopyOut to %#x: %d, %v", addr, n, err)
		}
		if _, err := s.LoadUint32(addr &^ 3); !errors.Is(err, unix.EFAULT) {
			t.Errorf("LoadUint32 of %#x: %v", addr, err)
		}
		if _, err := s.Spans(addr, 2*pg, true); !errors.Is(err, unix.EFAULT) {
			t.Errorf("Spans of %#x: %v", addr, err)
		}
		if _, err := s.FutexKey(addr&^3, false); !errors.Is(err, unix.EFAULT) {
			t.Errorf("FutexKey of %#x: %v", addr, err)
		}
	}
	// Partial progress.
	if n, err := s.CopyOut(ro-100, b); n != 100 || !errors.Is(err, unix.EFAULT) {
		t.Errorf("CopyOut into a read-only page: %d, %v", n, err)
	}
	if n, err := s.CopyIn(ro+pg-100, b); n != 100 || !errors.Is(err, unix.EFAULT) {
		t.Errorf("CopyIn past the end: %d, %v", n, err)
	}
	if n, err := s.Zero(ro-10, 20); n != 10 || !errors.Is(err, unix.EFAULT) {
		t.Errorf("Zero: %d, %v", n, err)
	}
	if n, err := s.CopyIn(0, nil); n != 0 || err != nil {
		t.Errorf("an empty copy: %d, %v", n, err)
	}
	// Strings.
	if _, err := s.CopyOut(a+pg-3, []byte("hello\x00")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.CopyInString(a+pg-3, 100); got != "hello" || err != nil {
		t.Errorf("CopyInString: %q, %v", got, err)
	}
	if _, err := s.CopyInString(a+pg-3, 5); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("CopyInString of 5: %v", err)
	}
	if got, err := s.CopyInString(a+pg-3, 6); got != "hello" || err != nil {
		t.Errorf("CopyInString of 6: %q, %v", got, err)
	}
	if _, err := s.CopyOut(a+2*pg, []byte(strings.Repeat("x", int(pg)))); err != nil {
		t.Fatal(err)
	}
	// Words.
	if err := s.StoreUint32(a, 7); err != nil {
		t.Fatal(err)
	}
	if was, err := s.CompareAndSwapUint32(a, 7, 8); was != 7 || err != nil {
		t.Errorf("cmpxchg: %d, %v", was, err)
	}
	if was, err := s.CompareAndSwapUint32(a, 7, 9); was != 8 || err != nil {
		t.Errorf("cmpxchg: %d, %v", was, err)
	}
	mustRead(t, v, a, 8)
	if _, err := s.LoadUint32(a + 2); !errors.Is(err, unix.EINVAL) {
		t.Errorf("unaligned word: %v", err)
	}
	if err := s.StoreUint64(ro, 1); !errors.Is(err, unix.EFAULT) {
		t.Errorf("store to a read-only page: %v", err)
	}
	// Futex keys: shared memory has one key in all spaces and at all addresses.
	sh := mustMmap(t, s, MmapArgs{Len: 2 * pg, Prot: rw, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS})
	c, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	k1, err1 := s.FutexKey(sh+pg+8, false)
	if _, err := c.Mremap(sh, 2*pg, 2*pg, 3, 0x30000000); err != nil {
		t.Fatal(err)
	}
	k2, err2 := c.FutexKey(0x30000000+pg+8, false)
	if k1 != k2 || err1 != nil || err2 != nil || k1.Object == nil || k1.Offset != pg+8 {
		t.Errorf("keys %+v and %+v, %v, %v", k1, k2, err1, err2)
	}
	k1, _ = s.FutexKey(a, false)
	k2, _ = c.FutexKey(a, false)
	if k1 == k2 {
		t.Error("private memory has the same key in parent and child")
	}
	if g1, err := s.Frame(sh+8, false); err != nil || g1&0xfff != 8 {
		t.Errorf("Frame: %#x, %v", g1, err)
	}
	v.load(nil)
	s.Release()
	c.Release()
	mc.noLeak(0)
}

// Pinned memory outlives its mapping.
func TestSpans(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s := mc.space()
	a := mustMmap(t, s, MmapArgs{Len: 8 * pg, Prot: rw, Flags: anonPriv})
	if err := s.Munmap(a+4*pg, pg); err != nil {
		t.Fatal(err)
	}
	p, err := s.Spans(a+10, 8*pg, true)
	if err != nil || p.Len != 4*pg-10 {
		t.Fatalf("%d bytes, %v", p.Len, err)
	}
	n := uint64(0)
	for _, b := range p.Spans {
		for i := range b {
			b[i] = byte(n)
			n++
		}
	}
	if n != p.Len {
		t.Errorf("%d bytes in the spans", n)
	}
	b := make([]byte, 3)
	if _, err := s.CopyIn(a+10+2*pg, b); err != nil || b[0] != 0 || b[1] != 1 {
		t.Errorf("memory has %v, %v", b, err)
	}
	q, err := s.Spans(a, pg, false)
	if err != nil {
		t.Fatal(err)
	}
	used := mc.Usage().InUse
	if err := s.Munmap(a, 4*pg); err != nil {
		t.Fatal(err)
	}
	if mc.Usage().InUse < used-pg { // a page table may have gone
		t.Error("pinned frames were freed")
	}
	p.Unpin()
	q.Unpin()
	if len(mc.pins) != 0 {
		t.Errorf("%d pins left", len(mc.pins))
	}
	s.Release()
	mc.noLeak(0)
}
