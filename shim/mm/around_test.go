package mm

import (
	"testing"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// hostFaults counts the faults that cost an exit.
func (mc *machine) hostFaults() uint64 {
	c := &mc.stats
	return c.Demand.Load() + c.File.Load() + c.COWCopy.Load() + c.COWReuse.Load() + c.Spurious.Load()
}

// TestNewMemoryIsOffered: heaps and stacks that grow cost no fault of the host, at the ends that are touched first; what may not
// be touched is still refused.
func TestNewMemoryIsOffered(t *testing.T) {
	mc := newMachine(t, 64<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	anon := func(pages uint64, prot uint32) uint64 {
		return mustMmap(t, s, MmapArgs{Len: pages * pg, Prot: prot, Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS})
	}
	touch := func(addrs ...uint64) {
		t.Helper()
		for _, a := range addrs {
			mustRead(t, v, a, 0)
			mustWrite(t, v, a, 7)
		}
	}
	touch(anon(1, rw)) // fills the pool
	before := mc.hostFaults()
	a := anon(2*offerWindow, rw)
	for i := range uint64(2 * offerWindow) {
		touch(a + i*pg)
	}
	big := anon(5000, rw)
	touch(big, big+63*pg, big+5000*pg-1, big+(5000-64)*pg)
	stack := anon(2048, 0)
	_, err := v.read(stack)
	wantSignal(t, err, unix.SIGSEGV, SEGV_ACCERR, stack)
	if err := s.Mprotect(stack+pg, 2047*pg, rw); err != nil {
		t.Fatal(err)
	}
	touch(stack+2047*pg, stack+pg)
	_, err = v.read(stack)
	wantSignal(t, err, unix.SIGSEGV, SEGV_ACCERR, stack)
	brk := s.Brk(0)
	for i := range uint64(3) {
		if got := s.Brk(brk + (i+1)*33*pg); got != brk+(i+1)*33*pg {
			t.Fatalf("brk %#x", got)
		}
		touch((brk + abi.PageMask + i*33*pg) &^ abi.PageMask)
	}
	if n := mc.hostFaults() - before; n != 0 {
		t.Errorf("%d faults of the host", n)
	}
	touch(big + 2500*pg)
	if n := mc.hostFaults() - before; n != 1 {
		t.Errorf("%d faults of the host after one in the middle", n)
	}
	// Memory that is read-only, or unmapped again, is not offered.
	ro := anon(4, unix.PROT_READ)
	wantSignal(t, v.write(ro, 1), unix.SIGSEGV, SEGV_ACCERR, ro)
	if err := s.Munmap(a, 2*offerWindow*pg); err != nil {
		t.Fatal(err)
	}
	_, err = v.read(a)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, a)
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

// TestWritesMapAround: of a section that is written page by page only the first costs a fault of the host, and the file stays as
// it is.
func TestWritesMapAround(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	const pages = readWindow
	f := newFile(pattern(pages * 4096))
	o := mc.Object(f)
	a := mustMmap(t, s, fileArgs(o, f, pages*pg, rw, unix.MAP_PRIVATE))
	o.Put()
	for i := range uint64(pages) {
		mustWrite(t, v, a+i*pg+1, byte(i)^0xff)
	}
	for i := range uint64(pages) {
		mustRead(t, v, a+i*pg, f.data[i*pg])
		mustRead(t, v, a+i*pg+1, byte(i)^0xff)
		if f.data[i*pg+1] != pattern(pages * 4096)[i*pg+1] {
			t.Fatal("the file changed")
		}
	}
	// Windows in the file and around faults need not be aligned to each other.
	if n := mc.hostFaults(); n > 2 {
		t.Errorf("%d faults of the host for %d pages", n, pages)
	}
	if v.cows < pages-2 {
		t.Errorf("ring 0 copied %d pages", v.cows)
	}
	v.load(nil)
	s.Release()
	mc.mu.Lock()
	mc.shrinkCache(1000)
	mc.unlock()
	mc.noLeak(0)
}
