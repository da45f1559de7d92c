package mm

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Anonymous memory is filled on touch, by host and ring 0, and copied on write after a fork.
func TestAnonymousForkCOW(t *testing.T) {
	mc := newMachine(t, 32<<20, 2)
	s := mc.space()
	v := mc.vcpus[0]
	v.load(s)
	a := mustMmap(t, s, MmapArgs{Len: 64 * pg, Prot: rw, Flags: anonPriv})
	for i := range uint64(64) {
		mustRead(t, v, a+i*pg, 0)
		mustWrite(t, v, a+i*pg, byte(i))
	}
	if v.demands != 63 {
		t.Errorf("ring 0 served %d of 64 first touches, want all but the first", v.demands)
	}
	c, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	w := mc.vcpus[1]
	w.load(c)
	for i := range uint64(64) {
		mustRead(t, w, a+i*pg, byte(i))
		mustWrite(t, w, a+i*pg, byte(i)+100)
		mustRead(t, v, a+i*pg, byte(i))
		mustWrite(t, v, a+i*pg, byte(i)+1)
		mustRead(t, w, a+i*pg, byte(i)+100)
	}
	if w.cows != 63 || v.reuses != 64 { // the first fault finds the pool empty
		t.Errorf("%d copies and %d reuses in ring 0, want 63 and 64", w.cows, v.reuses)
	}
	_, err = w.read(a + 64*pg)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, a+64*pg)
	for _, v := range mc.vcpus {
		v.load(nil)
	}
	s.Release()
	c.Release()
	mc.noLeak(0)
}
