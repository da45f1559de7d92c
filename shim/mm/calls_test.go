package mm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/guest"
	"culvert/shim/abi"
)

// Reservations of many TiB cost nothing, nor do fork and munmap of them.
func TestHugeReservations(t *testing.T) {
	mc := newMachine(t, 64<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	const tib = uint64(1) << 40
	start := time.Now()
	none := mustMmap(t, s, MmapArgs{Len: tib, Flags: anonPriv | unix.MAP_NORESERVE})
	big := mustMmap(t, s, MmapArgs{Len: 14 * tib, Prot: rw, Flags: anonPriv | unix.MAP_NORESERVE})
	mustMmap(t, s, MmapArgs{Len: 512 << 30, Prot: rw, Flags: anonPriv | unix.MAP_NORESERVE})
	for i := range uint64(64) {
		p := none + i*(tib/64)
		if err := s.Mprotect(p, 65536, rw); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, v, p+5, byte(i))
		mustWrite(t, v, big+i*(14*tib/64)+7, byte(i))
	}
	c, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := c.CopyIn(none+tib/64+5, b[:]); err != nil || b[0] != 1 {
		t.Errorf("the child reads %d, %v", b[0], err)
	}
	c.Release()
	if err := s.Madvise(big, 14*tib, unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	mustRead(t, v, big+14*tib/64+7, 0)
	if rss := s.Usage().RSS(); rss > 1<<20 {
		t.Errorf("%d bytes resident", rss)
	}
	if err := errors.Join(s.Munmap(none, tib), s.Munmap(big, 14*tib)); err != nil {
		t.Fatal(err)
	}
	if n := s.Usage().Tables; n > 8*pg {
		t.Errorf("%d bytes of page tables after everything was unmapped", n)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

// What cannot be mapped is refused, and the limits hold.
func TestLimits(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s := mc.space()
	sh := mc.NewObject(pg)
	defer sh.Put()
	for _, c := range []struct {
		name string
		a    MmapArgs
		want error
	}{
		{"more than the address space", MmapArgs{Len: 1 << 47, Prot: rw, Flags: anonPriv}, unix.ENOMEM},
		{"more than the machine has", MmapArgs{Len: 1 << 40, Prot: rw, Flags: anonPriv}, unix.ENOMEM},
		{"more than that, fixed", MmapArgs{Addr: 1 << 32, Len: 1 << 40, Prot: rw, Flags: anonPriv | unix.MAP_FIXED}, unix.ENOMEM},
		{"length that wraps", MmapArgs{Len: ^uint64(4095), Flags: anonPriv}, unix.ENOMEM},
		{"length that wraps when rounded", MmapArgs{Len: ^uint64(0), Flags: anonPriv}, unix.ENOMEM},
		{"length 0", MmapArgs{Prot: 1, Flags: anonPriv}, unix.EINVAL},
		{"no type", MmapArgs{Len: pg, Prot: 1, Flags: unix.MAP_ANONYMOUS}, unix.EINVAL},
		{"fixed past the end", MmapArgs{Addr: userEnd, Len: pg, Flags: anonPriv | unix.MAP_FIXED}, unix.ENOMEM},
		{"fixed in the kernel half", MmapArgs{Addr: 0xffff_8000_0000_0000, Len: pg, Flags: anonPriv | unix.MAP_FIXED}, unix.ENOMEM},
		{"fixed at 0", MmapArgs{Len: pg, Flags: anonPriv | unix.MAP_FIXED}, unix.EPERM},
		{"huge pages", MmapArgs{Len: 2 << 20, Prot: rw, Flags: anonPriv | unix.MAP_HUGETLB}, unix.ENOMEM},
		{"huge pages of 64 KiB", MmapArgs{Len: 2 << 20, Prot: rw, Flags: anonPriv | unix.MAP_HUGETLB | 16<<hugeSizeShift}, unix.EINVAL},
		{"offset past 2^64", MmapArgs{Len: 2 * pg, Off: ^uint64(4095), Flags: unix.MAP_PRIVATE, Object: sh, Readable: true}, unix.EOVERFLOW},
		{"offset inside a page", MmapArgs{Len: pg, Off: 1, Flags: unix.MAP_PRIVATE, Object: sh, Readable: true}, unix.EINVAL},
		{"unreadable file", MmapArgs{Len: pg, Prot: 1, Flags: unix.MAP_PRIVATE, Object: sh, Writable: true}, unix.EACCES},
		{"read-only file, shared and writable", MmapArgs{Len: pg, Prot: rw, Flags: unix.MAP_SHARED, Object: sh, Readable: true}, unix.EACCES},
		{"noexec", MmapArgs{Len: pg, Prot: 5, Flags: unix.MAP_PRIVATE, Object: sh, Readable: true, NoExec: true}, unix.EPERM},
		{"MAP_SYNC", MmapArgs{Len: pg, Prot: 1, Flags: unix.MAP_SHARED_VALIDATE | unix.MAP_SYNC, Object: sh, Readable: true}, unix.EOPNOTSUPP},
		{"shared and growing down", MmapArgs{Len: pg, Prot: 1, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS | unix.MAP_GROWSDOWN}, unix.EINVAL},
	} {
		if _, err := s.Mmap(c.a); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if n := len(s.vmas); n != 0 {
		t.Errorf("%d areas are left", n)
	}
	l := Unlimited()
	l.AS = 1 << 20
	s.SetLimits(l)
	if _, err := s.Mmap(MmapArgs{Len: 1<<20 + pg, Flags: anonPriv}); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("past RLIMIT_AS: %v", err)
	}
	a := mustMmap(t, s, MmapArgs{Len: 1 << 20, Prot: rw, Flags: anonPriv})
	mustMmap(t, s, MmapArgs{Addr: a, Len: 1 << 20, Prot: rw, Flags: anonPriv | unix.MAP_FIXED}) // replaces
	if _, err := s.Mremap(a, 1<<20, 2<<20, mremapMayMove, 0); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("mremap past RLIMIT_AS: %v", err)
	}
	l = Unlimited()
	l.Data = 1 << 20
	s.SetLimits(l)
	if _, err := s.Mmap(MmapArgs{Len: pg, Prot: rw, Flags: anonPriv}); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("past RLIMIT_DATA: %v", err)
	}
	b := mustMmap(t, s, MmapArgs{Len: pg, Prot: 1, Flags: anonPriv})
	if err := s.Mprotect(b, pg, rw); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("mprotect past RLIMIT_DATA: %v", err)
	}
	l = Unlimited()
	l.Memlock = pg
	s.SetLimits(l)
	if err := s.Mlock(a, 2*pg, 0); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("mlock past RLIMIT_MEMLOCK: %v", err)
	}
	if err := s.Mlock(a+1, 1, 0); err != nil {
		t.Error(err)
	}
	if _, err := s.Mmap(MmapArgs{Len: pg, Prot: rw, Flags: anonPriv | unix.MAP_LOCKED}); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("MAP_LOCKED past RLIMIT_MEMLOCK: %v", err)
	}
	s.SetLimits(Unlimited())
	s.Release()
	mc.noLeak(0)
}

// The number of areas is bounded by vm.max_map_count.
func TestMapCount(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s := mc.space()
	a := mustMmap(t, s, MmapArgs{Len: 2 * maxMaps * pg, Prot: rw, Flags: anonPriv | unix.MAP_NORESERVE})
	var err error
	i := uint64(0)
	for ; i < 2*maxMaps && err == nil; i += 2 {
		err = s.Mprotect(a+i*pg, pg, unix.PROT_READ)
	}
	if !errors.Is(err, unix.ENOMEM) || len(s.vmas) < maxMaps-2 || len(s.vmas) > maxMaps {
		t.Errorf("%d areas, then %v", len(s.vmas), err)
	}
	if _, err := s.Mmap(MmapArgs{Len: pg, Prot: 5, Flags: anonPriv}); len(s.vmas) == maxMaps && !errors.Is(err, unix.ENOMEM) {
		t.Errorf("one more: %v", err)
	}
	s.Release()
	mc.noLeak(0)
}

func TestStack(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	l := Unlimited()
	l.Stack = 1 << 20
	s.SetLimits(l)
	top := s.StackTop()
	mustMmap(t, s, MmapArgs{Addr: top - 2*pg, Len: 2 * pg, Prot: rw, Flags: anonPriv | unix.MAP_FIXED | unix.MAP_GROWSDOWN})
	s.SetStack(top - 100)
	mustWrite(t, v, top-1, 1)
	mustWrite(t, v, top-100*pg, 1) // a jump down, as of a large frame
	mustWrite(t, v, top-50*pg, 1)
	if n := mc.stats.StackGrow.Load(); n != 1 {
		t.Errorf("the stack grew %d times, want once", n)
	}
	_, err := v.read(top - 257*pg)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, top-257*pg)
	if !strings.HasSuffix(s.Maps(), "[stack]\n") {
		t.Errorf("no stack in\n%s", s.Maps())
	}
	// Something within the gap below stops the growth, unless it is inaccessible.
	mustMmap(t, s, MmapArgs{Addr: top - 300*pg, Len: pg, Prot: rw, Flags: anonPriv | unix.MAP_FIXED})
	_, err = v.read(top - 101*pg)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, top-101*pg)
	if err := s.Mprotect(top-300*pg, pg, 0); err != nil {
		t.Fatal(err)
	}
	mustRead(t, v, top-101*pg, 0)
	// mmap keeps clear of the gap.
	if a := mustMmap(t, s, MmapArgs{Addr: top - 200*pg, Len: pg, Prot: rw, Flags: anonPriv}); a == top-200*pg {
		t.Error("mmap took a hint inside the stack's gap")
	}
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

func TestBrk(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	const start = 0x555555560123
	s.SetBrk(start, 0)
	if got := s.Brk(0); got != start {
		t.Fatalf("brk(0) = %#x", got)
	}
	if got := s.Brk(start + 3*pg); got != start+3*pg {
		t.Fatalf("brk grew to %#x", got)
	}
	mustWrite(t, v, start+3*pg-1, 1)
	if m := s.Maps(); !strings.Contains(m, "rw-p 00000000 00:00 0                          [heap]\n") {
		t.Errorf("no heap in\n%s", m)
	}
	if got := s.Brk(start + 1<<46); got != start+3*pg {
		t.Errorf("brk past the stack = %#x", got)
	}
	if got := s.Brk(start - 1); got != start+3*pg {
		t.Errorf("brk below the start = %#x", got)
	}
	if got := s.Brk(start); got != start {
		t.Errorf("brk shrank to %#x", got)
	}
	_, err := v.read(start + 2*pg)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, start+2*pg)
	mustMmap(t, s, MmapArgs{Addr: 0x555555562000, Len: pg, Prot: rw, Flags: anonPriv | unix.MAP_FIXED})
	if got := s.Brk(start + pg); got != start {
		t.Errorf("brk into another mapping = %#x", got)
	}
	l := Unlimited()
	l.Data = pg
	s.SetLimits(l)
	if got := s.Brk(start + 2*pg); got != start {
		t.Errorf("brk past RLIMIT_DATA = %#x", got)
	}
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

// mmap_base, and thus where the first mapping goes, is Linux's.
func TestMmapBase(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s := mc.space()
	if s.MmapBase() != 0x7ffff7fff000 { // as every backtrace of gdb shows
		t.Errorf("mmap_base is %#x", s.MmapBase())
	}
	if a := mustMmap(t, s, MmapArgs{Len: pg, Prot: rw, Flags: anonPriv}); a != 0x7ffff7ffe000 {
		t.Errorf("the first mapping is at %#x", a)
	}
	if a := mustMmap(t, s, MmapArgs{Len: pg, Prot: rw, Flags: anonPriv | unix.MAP_32BIT}); a != 0x40000000 {
		t.Errorf("MAP_32BIT gives %#x", a)
	}
	if a := mustMmap(t, s, MmapArgs{Addr: 0x123, Len: pg, Prot: rw, Flags: anonPriv}); a != 0x7ffff7ffd000 {
		t.Errorf("a hint in page 0 gives %#x", a)
	}
	if a := mustMmap(t, s, MmapArgs{Addr: 0x1000, Len: pg, Prot: rw, Flags: anonPriv}); a != minAddr {
		t.Errorf("a hint of 0x1000 gives %#x", a)
	}
	n := uint64(0)
	r, err := mc.NewSpace(Layout{Limits: Unlimited(), Random: func() uint64 { n += 0x1234567; return n }})
	if err != nil {
		t.Fatal(err)
	}
	if r.MmapBase() == s.MmapBase() || r.MmapBase()%pg != 0 || r.StackTop() >= userEnd || r.MmapBase() > r.StackTop() {
		t.Errorf("randomised: mmap_base %#x, stack %#x", r.MmapBase(), r.StackTop())
	}
}

// The lines of /proc/self/maps of real processes come out byte for byte as Linux writes them.
func TestMapsFormat(t *testing.T) {
	name := t.TempDir() + "/a \n b"
	if err := os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	odd, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(odd) }()
	self, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	other, err := exec.Command("cat", "/proc/self/maps").Output()
	if err != nil {
		t.Fatal(err)
	}
	text := string(self) + string(other)
	var b strings.Builder
	for line := range strings.Lines(text) {
		parseMaps(t, line).write(&b)
	}
	if b.String() != text {
		t.Errorf("wrote\n%sLinux\n%s", b.String(), text)
	}
}

// smaps has the rows of Linux, in its order.
func TestSmapsRows(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s := mc.space()
	mustMmap(t, s, MmapArgs{Len: pg, Prot: rw, Flags: anonPriv | unix.MAP_POPULATE})
	rows := func(text string) (names []string) {
		for line := range strings.Lines(text) {
			name, _, ok := strings.Cut(line, ":")
			if ok && !strings.Contains(name, "-") && name != "ProtectionKey" {
				names = append(names, name)
			}
			if name == "VmFlags" {
				break
			}
		}
		return names
	}
	real, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(rows(s.Smaps()), " "), strings.Join(rows(string(real)), " "); got != want {
		t.Errorf("rows\n%s\nLinux\n%s", got, want)
	}
	if !strings.Contains(s.Smaps(), "Rss:                   4 kB\n") || !strings.Contains(s.Smaps(), "VmFlags: rd wr mr mw me ac \n") {
		t.Errorf("got\n%s", s.Smaps())
	}
}

// MADV_DONTFORK and MADV_WIPEONFORK.
func TestForkAdvice(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	a := mustMmap(t, s, MmapArgs{Len: 3 * pg, Prot: rw, Flags: anonPriv})
	for i := range uint64(3) {
		mustWrite(t, v, a+i*pg, 5)
	}
	if err := errors.Join(s.Madvise(a, pg, unix.MADV_DONTFORK), s.Madvise(a+pg, pg, unix.MADV_WIPEONFORK)); err != nil {
		t.Fatal(err)
	}
	c, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	v.load(c)
	_, err = v.read(a)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, a)
	mustRead(t, v, a+pg, 0)
	mustRead(t, v, a+2*pg, 5)
	v.load(nil)
	s.Release()
	c.Release()
	mc.noLeak(0)
}

// One operation, however many pages, is one shootdown; what takes no rights needs none.
func TestShootdowns(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	a := mustMmap(t, s, MmapArgs{Len: 500 * pg, Prot: rw, Flags: anonPriv})
	for i := range uint64(500) {
		mustWrite(t, v, a+i*pg, 1)
	}
	for _, c := range []struct {
		name string
		want int64
		do   func() error
	}{
		{"faults", 0, func() error { return nil }},
		{"mprotect to read-only", 1, func() error { return s.Mprotect(a, 500*pg, 1) }},
		{"mprotect to writable", 0, func() error { return s.Mprotect(a, 500*pg, rw) }},
		{"fork", 1, func() error {
			c, err := s.Fork()
			if err == nil {
				c.Release()
			}
			return err
		}},
		{"a second fork", 0, func() error {
			c, err := s.Fork()
			if err == nil {
				c.Release()
			}
			return err
		}},
		{"madvise", 1, func() error { return s.Madvise(a, 100*pg, unix.MADV_DONTNEED) }},
		{"madvise of nothing", 0, func() error { return s.Madvise(a, 100*pg, unix.MADV_DONTNEED) }},
		{"mremap", 1, func() error { _, err := s.Mremap(a, 500*pg, 600*pg, 3, 0x10000000); return err }},
		{"munmap", 1, func() error { return s.Munmap(0x10000000, 600*pg) }},
	} {
		before := mc.shoots.Load()
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := mc.shoots.Load() - before; got != c.want {
			t.Errorf("%s: %d shootdowns, want %d", c.name, got, c.want)
		}
	}
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

// While a shootdown waits, the old translations still work: nothing that they reach is free, and nobody can write to
// the copy that replaces it.
func TestShootdownOrder(t *testing.T) {
	mc := newMachine(t, 16<<20, 2)
	s, v, w := mc.space(), mc.vcpus[0], mc.vcpus[1]
	v.load(s)
	w.load(s)
	a := mustMmap(t, s, MmapArgs{Len: 2 * pg, Prot: rw, Flags: anonPriv})
	mustWrite(t, v, a, 1)
	c, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, w, a, 1)
	old := frame(w.tlb[a>>abi.PageShift] & abi.PTEAddr >> abi.PageShift)
	calls := 0
	mc.onShoot = func() {
		calls++
		clear(v.tlb)
		if _, ok := v.tryAccess(a, abi.PFWrite, func(*byte) {}); ok {
			t.Error("a processor wrote to the copy while another could read the old page")
		}
		if n := atomic.LoadUint32(mc.ref(old)); n < 2 {
			t.Errorf("the old page has %d references while a processor uses it", n)
		}
	}
	mustWrite(t, v, a, 2)
	mustRead(t, w, a, 2)
	mc.onShoot = func() {
		calls++
		if mc.frames.state[w.tlb[a>>abi.PageShift]&abi.PTEAddr>>abi.PageShift] != stUser {
			t.Error("a page was freed while a processor could reach it")
		}
	}
	if err := s.Madvise(a, pg, unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, w, a, 3)
	if err := s.Munmap(a, 2*pg); err != nil {
		t.Fatal(err)
	}
	mc.onShoot = nil
	if calls != 3 {
		t.Errorf("%d shootdowns, want 3", calls)
	}
	v.load(nil)
	w.load(nil)
	s.Release()
	c.Release()
	mc.noLeak(0)
}

// A copy that ring 0 leaves to the host in the middle is ended by the fault, and harmless to whatever the host does to
// the page before that.
func TestAbandonedCopy(t *testing.T) {
	for name, between := range map[string]func(s *Space, a uint64) error{
		"nothing":  func(*Space, uint64) error { return nil },
		"mprotect": func(s *Space, a uint64) error { return errors.Join(s.Mprotect(a, pg, 1), s.Mprotect(a, pg, rw)) },
		"none":     func(s *Space, a uint64) error { return errors.Join(s.Mprotect(a, pg, 0), s.Mprotect(a, pg, rw)) },
		"fork": func(s *Space, a uint64) error {
			c, err := s.Fork()
			if err == nil {
				c.Release()
			}
			return err
		},
		"move": func(s *Space, a uint64) error {
			_, err1 := s.Mremap(a, pg, pg, 3, 0x10000000)
			_, err2 := s.Mremap(0x10000000, pg, pg, 3, a)
			return errors.Join(err1, err2)
		},
		"write by the host": func(s *Space, a uint64) error { _, err := s.CopyOut(a+1, []byte{1}); return err },
	} {
		mc := newMachine(t, 16<<20, 1)
		s, v := mc.space(), mc.vcpus[0]
		v.load(s)
		a := mustMmap(t, s, MmapArgs{Len: pg, Prot: rw, Flags: anonPriv})
		mustWrite(t, v, a, 1)
		c, err := s.Fork()
		if err != nil {
			t.Fatal(err)
		}
		mc.Refill(v.pool, guest.PoolFrames)
		clear(v.tlb)
		v.abandon = true
		if e, ok := v.tryAccess(a, abi.PFWrite, func(*byte) {}); ok || !isBusy(atomic.LoadUint64(v.walk(a))) {
			t.Fatalf("%s: entry %#x is not busy", name, e)
		}
		v.abandon = false
		if err := between(s, a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Fault(a, abi.PFUser|abi.PFWrite|abi.PFPresent); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mustWrite(t, v, a, 2)
		mustRead(t, v, a, 2)
		v.load(c)
		mustRead(t, v, a, 1)
		v.load(nil)
		s.Release()
		c.Release()
		if n := mc.stats.BadRefs.Load() + mc.stats.BadPTEs.Load(); n != 0 {
			t.Errorf("%s: %d counts or entries were found wrong", name, n)
		}
		mc.noLeak(0)
	}
}

// Released spaces live as long as a vCPU has them loaded.
func TestReap(t *testing.T) {
	mc := newMachine(t, 16<<20, 2)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	a := mustMmap(t, s, MmapArgs{Len: pg, Prot: rw, Flags: anonPriv})
	mustWrite(t, v, a, 1)
	s.Acquire()
	s.Release()
	mustRead(t, v, a, 1)
	s.Release()
	if mc.live != 1 {
		t.Fatal("the space is gone while a vCPU has it loaded")
	}
	if _, err := s.CopyIn(a, make([]byte, 1)); !errors.Is(err, unix.EFAULT) {
		t.Errorf("access to a dead space: %v", err)
	}
	err := s.Fault(a, abi.PFUser)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, a)
	v.load(nil)
	mc.Reap()
	if mc.live != 0 {
		t.Error("the space is still there")
	}
	mc.noLeak(0)
}

// parseMaps reads a line of /proc/PID/maps.
func parseMaps(t *testing.T, line string) Mapping {
	t.Helper()
	var m Mapping
	if _, err := fmt.Sscanf(line, "%x-%x %s %x %x:%x %d", &m.Start, &m.End, &m.Perms, &m.Offset, &m.Major, &m.Minor, &m.Ino); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if len(line) > 73 {
		m.Path = strings.ReplaceAll(strings.TrimSuffix(line[73:], "\n"), `\012`, "\n")
	}
	return m
}

// What could never be backed is refused, unless the program says that it does not mind.
func TestOvercommit(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s := mc.space()
	for _, c := range []struct {
		prot, flags uint32
		want        error
	}{
		{rw, anonPriv, unix.ENOMEM},
		{rw, anonPriv | unix.MAP_NORESERVE, nil},
		{unix.PROT_READ, anonPriv, nil},
	} {
		if _, err := s.Mmap(MmapArgs{Len: 17 << 20, Prot: c.prot, Flags: c.flags}); err != c.want {
			t.Errorf("prot %d, flags %#x: %v, want %v", c.prot, c.flags, err, c.want)
		}
	}
}
