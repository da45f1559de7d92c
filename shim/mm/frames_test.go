package mm

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"culvert/guest"
)

// Random allocations and frees: nothing is handed out twice, zeroed frames are zero, and the allocator's invariants
// hold throughout.
func TestFramesModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const size = 16 << 20
		ram, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Munmap(ram) }()
		refuse := rapid.IntRange(0, 3).Draw(rt, "discard fails") == 0
		first := frame(rapid.IntRange(1, 70).Draw(rt, "first"))
		a := newFrames(ram, first, size/4096, rapid.IntRange(1, 300).Draw(rt, "high"), func(b []byte) error {
			if refuse {
				return unix.EINVAL
			}
			return unix.Madvise(b, unix.MADV_DONTNEED)
		})
		type block struct {
			f     frame
			order int
			st    uint8
		}
		var have []block
		owner := map[frame]bool{}
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			if len(have) > 0 && rapid.IntRange(0, 2).Draw(rt, "free") == 0 {
				i := rapid.IntRange(0, len(have)-1).Draw(rt, "which")
				b := have[i]
				if !a.put(b.f, b.st) || a.put(b.f, b.st) {
					rt.Fatalf("freeing %v failed, or worked twice", b)
				}
				for f := b.f; f < b.f+1<<b.order; f++ {
					delete(owner, f)
				}
				have = append(have[:i], have[i+1:]...)
				continue
			}
			b := block{st: stUser}
			if rapid.Bool().Draw(rt, "block") {
				b.st, b.order = stHead, rapid.IntRange(0, MaxOrder).Draw(rt, "order")
			}
			b.f, err = a.takeZero(b.order, b.st)
			if errors.Is(err, ErrNoMem) {
				continue
			}
			for f := b.f; f < b.f+1<<b.order; f++ {
				if owner[f] || f < first || f >= size/4096 {
					rt.Fatalf("frame %#x was handed out twice or does not exist", f)
				}
				owner[f] = true
				p := a.page(f)
				if p[0] != 0 || p[4095] != 0 {
					rt.Fatalf("frame %#x is not zero", f)
				}
				p[0], p[4095] = 1, 1
			}
			have = append(have, b)
		}
		if err := a.check(); err != nil {
			rt.Fatal(err)
		}
		for _, b := range have {
			a.put(b.f, b.st)
		}
		a.flush()
		if err := a.check(); err != nil || a.inUse != 0 {
			rt.Fatalf("%d frames in use at the end: %v", a.inUse, err)
		}
		// Everything has merged again: the largest blocks can be had.
		n := 0
		for {
			if _, err := a.take(MaxOrder, stHead); err != nil {
				break
			}
			n++
		}
		if n < size>>22-1 {
			rt.Fatalf("%d blocks of 4 MiB left", n)
		}
	})
}

// Freed memory goes back to the host in batches, and then costs nothing.
func TestDiscard(t *testing.T) {
	mc := newMachine(t, 64<<20, 1)
	s := mc.space()
	v := mc.vcpus[0]
	v.load(s)
	const n = 8000
	a := mustMmap(t, s, MmapArgs{Len: n * pg, Prot: rw, Flags: anonPriv})
	for i := range uint64(n) {
		mustWrite(t, v, a+i*pg, 1)
	}
	resident := func() (pages int) {
		for i := 0; i < len(mc.ram); i += 1 << 20 {
			vec := make([]byte, 256)
			if e := mincore(addrOf(mc.ram[i:]), vec); e != 0 {
				t.Fatal(e)
			}
			for _, b := range vec {
				pages += int(b)
			}
		}
		return pages
	}
	before := resident()
	if err := s.Munmap(a, n*pg); err != nil {
		t.Fatal(err)
	}
	after := resident()
	kept := mc.cfg.FreeHigh
	if before-after < n-kept-100 || mc.discards == 0 || mc.discards > 200 {
		t.Errorf("%d pages resident before, %d after unmapping %d, by %d calls; at most %d may be kept", before, after, n, mc.discards, kept)
	}
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

func TestBlocks(t *testing.T) {
	mc := newMachine(t, 16<<20, 0)
	a, err := mc.AllocBlock(4)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mc.AllocBlock(MaxOrder)
	if err != nil || b%(4<<20) != 0 {
		t.Fatalf("block at %#x: %v", b, err)
	}
	for _, bad := range []uint64{0, uint64(a) + 4096, 1 << 40, 15 << 20} {
		if err := mc.FreeBlock(frame(bad >> 12).gpa()); err == nil {
			t.Errorf("freeing a block at %#x worked", bad)
		}
	}
	if _, err := mc.AllocBlock(MaxOrder + 1); !errors.Is(err, ErrNoMem) {
		t.Errorf("a block of 8 MiB: %v", err)
	}
	for range 3 {
		if _, err = mc.AllocBlock(MaxOrder); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrNoMem) {
		t.Errorf("more blocks than memory: %v", err)
	}
	if OrderFor(1) != 0 || OrderFor(4097) != 1 || OrderFor(65536) != 4 || OrderFor(4<<20) != 10 {
		t.Error("OrderFor is wrong")
	}
	for _, g := range []uint64{uint64(a), uint64(b)} {
		if err := mc.FreeBlock(frame(g >> 12).gpa()); err != nil {
			t.Error(err)
		}
	}
}

func TestConfig(t *testing.T) {
	mc := newMachine(t, 16<<20, 0)
	good := mc.cfg
	for name, change := range map[string]func(c *Config){
		"odd RAM":           func(c *Config) { c.RAM = c.RAM[:100] },
		"unaligned RAM":     func(c *Config) { c.RAM = c.RAM[8:] },
		"no frames":         func(c *Config) { c.End = c.Start },
		"frames past RAM":   func(c *Config) { c.End += 4096 },
		"frames at 0":       func(c *Config) { c.Start = 0 },
		"counts in frames":  func(c *Config) { c.Refs = c.Start },
		"counts past RAM":   func(c *Config) { c.Refs = 16<<20 - 4096 },
		"template past RAM": func(c *Config) { c.Template = 16 << 20 },
		"no flusher":        func(c *Config) { c.Flusher = nil },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What a vCPU's pool says is hostile.
func TestPool(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	p := mc.vcpus[0].pool
	mc.Refill(p, guest.PoolFrames)
	if p.NumZero < 16 {
		t.Fatalf("%d frames in the pool", p.NumZero)
	}
	seen := map[uint64]bool{}
	for _, g := range p.Zero[:p.NumZero] {
		if seen[g] || !mc.isUser(g>>12) || *mc.ref(frame(g >> 12)) != 1 {
			t.Fatalf("frame %#x in the pool", g)
		}
		seen[g] = true
	}
	f := frame(p.Zero[0] >> 12)
	*mc.ref(f) = 0 // dropped by ring 0
	p.Dirty[0], p.Dirty[1], p.Dirty[2], p.Dirty[3] = uint64(f.gpa()), 1<<60, 0x1000, uint64(f.gpa())
	p.NumDirty = 4
	p.Zero[0] = p.Zero[p.NumZero-1]
	p.NumZero--
	used := mc.Usage().InUse
	mc.takeDirty(p)
	if got := mc.Usage().InUse; got != used-pg {
		t.Errorf("taking one frame back changed %d to %d", used, got)
	}
	if n := mc.stats.BadRefs.Load(); n != 3 {
		t.Errorf("%d lies counted, want 3", n)
	}
	p.NumZero, p.NumDirty = 1<<63, 1<<63
	mc.Refill(p, guest.PoolFrames)
	mc.Drain(p)
}
