package mm

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// mlockall populates what is mapped and what will be, and munlockall takes it all off.
func TestMlockall(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s := mc.space()
	for _, flags := range []uint32{0, mclOnFault, 8} {
		if err := s.Mlockall(flags); !errors.Is(err, unix.EINVAL) {
			t.Errorf("mlockall(%d): %v", flags, err)
		}
	}
	a := mustMmap(t, s, MmapArgs{Len: 4 * pg, Prot: rw, Flags: anonPriv})
	if err := s.Mlockall(mclCurrent | mclFuture); err != nil {
		t.Fatal(err)
	}
	b := mustMmap(t, s, MmapArgs{Len: 2 * pg, Prot: rw, Flags: anonPriv})
	if u := s.Usage(); u.Locked != 6*pg || u.RSS() != 6*pg {
		t.Errorf("%d bytes locked, %d resident, want %d", u.Locked, u.RSS(), 6*pg)
	}
	for _, addr := range []uint64{a, b} {
		if err := s.Madvise(addr, pg, unix.MADV_DONTNEED); !errors.Is(err, unix.EINVAL) {
			t.Errorf("MADV_DONTNEED of locked memory: %v", err)
		}
	}
	s.Munlockall()
	if u := s.Usage(); u.Locked != 0 {
		t.Errorf("%d bytes locked after munlockall", u.Locked)
	}
	if err := s.Mlockall(mclFuture | mclOnFault); err != nil {
		t.Fatal(err)
	}
	mustMmap(t, s, MmapArgs{Len: 2 * pg, Prot: rw, Flags: anonPriv})
	if u := s.Usage(); u.Locked != 2*pg || u.RSS() != 6*pg {
		t.Errorf("with MCL_ONFAULT %d bytes locked, %d resident", u.Locked, u.RSS())
	}
	l := Unlimited()
	l.Memlock = pg
	s.SetLimits(l)
	if err := s.Mlockall(mclCurrent); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("mlockall past RLIMIT_MEMLOCK: %v", err)
	}
	l.Memlock = 0
	s.SetLimits(l)
	if err := errors.Join(s.Mlockall(mclFuture), s.Mlock(a, pg, 0)); !errors.Is(err, unix.EPERM) {
		t.Errorf("locks with RLIMIT_MEMLOCK 0: %v", err)
	}
	s.Release()
	mc.noLeak(0)
}

// mremap without a fixed address grows in place or finds a place, and contents follow.
func TestMremapMove(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	a := mustMmap(t, s, MmapArgs{Addr: 0x10000000, Len: 2 * pg, Prot: rw, Flags: anonPriv})
	mustWrite(t, v, a+pg, 7)
	if got, err := s.Mremap(a, 2*pg, 4*pg, 0, 0); got != a || err != nil {
		t.Errorf("growing in place: %#x, %v", got, err)
	}
	mustWrite(t, v, a+3*pg, 8)
	mustMmap(t, s, MmapArgs{Addr: a + 4*pg, Len: pg, Prot: 1, Flags: anonPriv | unix.MAP_FIXED})
	if _, err := s.Mremap(a, 4*pg, 8*pg, 0, 0); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("growing into a neighbour: %v", err)
	}
	b, err := s.Mremap(a, 4*pg, 1024*pg, mremapMayMove, 0)
	if err != nil || b == a {
		t.Fatalf("moving: %#x, %v", b, err)
	}
	mustRead(t, v, b+pg, 7)
	mustRead(t, v, b+3*pg, 8)
	mustRead(t, v, b+1023*pg, 0)
	_, err = v.read(a + pg)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, a+pg)
	// Shared memory can be mapped a second time.
	m := mustMmap(t, s, MmapArgs{Len: pg, Prot: rw, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS})
	n, err := s.Mremap(m, 0, pg, mremapMayMove, 0)
	if err != nil || n == m {
		t.Fatalf("duplicating: %#x, %v", n, err)
	}
	mustWrite(t, v, m, 9)
	mustRead(t, v, n, 9)
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

// A limit below the memory's size holds, for faults and blocks.
func TestSetLimit(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s := mc.space()
	mc.SetLimit(2 << 20)
	a := mustMmap(t, s, MmapArgs{Len: 8 << 20, Prot: rw, Flags: anonPriv})
	var err error
	n := uint64(0)
	for ; err == nil; n++ {
		err = s.Fault(a+n*pg, abi.PFUser|abi.PFWrite)
	}
	if u := mc.Usage(); !errors.Is(err, ErrOOM) || u.InUse > 2<<20 || u.Limit != 2<<20 {
		t.Errorf("%d pages, then %v with %d bytes in use", n, err, u.InUse)
	}
	if _, err := mc.AllocBlock(9); !errors.Is(err, ErrNoMem) {
		t.Errorf("a block of 2 MiB: %v", err)
	}
	mc.SetLimit(0)
	if err := s.Fault(a+n*pg, abi.PFUser|abi.PFWrite); err != nil {
		t.Errorf("after the limit went: %v", err)
	}
	s.Release()
	mc.noLeak(0)
}

// The words that ring 0 reads are those of the space, and Lookup finds what is cached only.
func TestIdentity(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, r := mc.space(), mc.space()
	if s.ID() == r.ID() || s.Guest().ID != s.ID() || s.Guest().CR3 != uint64(s.CR3()) || s.GVA() != abi.DirectBase+abi.GVA(s.gpa) {
		t.Errorf("space %+v with id %d, CR3 %#x, at %#x", *s.Guest(), s.ID(), s.CR3(), s.GVA())
	}
	top := tableAt(mc.ram, s.CR3())
	if top[abi.KernelSlot] != 0xd1 {
		t.Error("the upper half is not that of the template")
	}
	f := newFile(pattern(100))
	if o := mc.Lookup(f.Key()); o != nil {
		t.Error("an object that nobody made")
	}
	o := mc.Object(f)
	if got := mc.Lookup(f.Key()); got != o {
		t.Errorf("Lookup gives %p, want %p", got, o)
	}
	o.Put()
	o.Put()
	if got := mc.Lookup(f.Key()); got != nil || f.released.Load() != 1 {
		t.Errorf("an object without pages and users is kept: %p, released %d times", got, f.released.Load())
	}
	s.Release()
	r.Release()
	mc.noLeak(0)
}
