package mm

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"culvert/guest"
)

// flat is what an address space should contain: per page of the arena its first byte, whether it is mapped, and its
// rights.
type flat struct {
	s      *Space
	val    [modelArena]byte
	mapped [modelArena]bool
	ro     [modelArena]bool
	shared [modelArena]bool
}

const (
	modelArena  = 40
	arenaShared = 8 // the first pages are a shared mapping
)

// cowModel drives several address spaces on several vCPUs against flat copies.
type cowModel struct {
	t      *rapid.T
	mc     *machine
	base   uint64
	spaces []*flat
	shm    [arenaShared]byte
}

func (c *cowModel) page(i int) uint64 { return c.base + uint64(i)*pg }

// pick draws a space, a vCPU that has it loaded, and a page.
func (c *cowModel) pick() (*flat, *vcpu, int) {
	f := c.spaces[rapid.IntRange(0, len(c.spaces)-1).Draw(c.t, "space")]
	v := c.mc.vcpus[rapid.IntRange(0, len(c.mc.vcpus)-1).Draw(c.t, "vcpu")]
	if v.space != f.s {
		v.load(f.s)
	}
	v.dumb = rapid.IntRange(0, 3).Draw(c.t, "dumb") == 0
	v.abandon = rapid.IntRange(0, 3).Draw(c.t, "abandon") == 0
	if rapid.Bool().Draw(c.t, "refill") {
		c.mc.Refill(v.pool, guest.PoolFrames) // ring 0 can copy at once
	}
	return f, v, rapid.IntRange(0, modelArena-1).Draw(c.t, "page")
}

func (c *cowModel) want(f *flat, i int) byte {
	if f.shared[i] {
		return c.shm[i]
	}
	return f.val[i]
}

func (c *cowModel) checkErr(f *flat, i int, write bool, err error) {
	var sig *SignalError
	fault := errors.As(err, &sig) || errors.Is(err, unix.EFAULT)
	should := !f.mapped[i] || write && f.ro[i]
	if fault != should || err != nil && !fault {
		c.t.Fatalf("page %d, write %v: %v, but mapped %v, read-only %v", i, write, err, f.mapped[i], f.ro[i])
	}
}

func (c *cowModel) write() {
	f, v, i := c.pick()
	b := rapid.Byte().Draw(c.t, "byte")
	var err error
	if rapid.IntRange(0, 3).Draw(c.t, "by host") == 0 {
		_, err = f.s.CopyOut(c.page(i), []byte{b})
	} else {
		err = v.write(c.page(i), b)
	}
	c.checkErr(f, i, true, err)
	if err != nil {
		return
	}
	if f.shared[i] {
		c.shm[i] = b
	} else {
		f.val[i] = b
	}
}

func (c *cowModel) read() {
	f, v, i := c.pick()
	got, err := v.read(c.page(i))
	if rapid.IntRange(0, 3).Draw(c.t, "by host") == 0 {
		var b [1]byte
		_, err = f.s.CopyIn(c.page(i), b[:])
		got = b[0]
	}
	c.checkErr(f, i, false, err)
	if err == nil && got != c.want(f, i) {
		c.t.Fatalf("page %d reads %d, want %d", i, got, c.want(f, i))
	}
}

func (c *cowModel) fork() {
	if len(c.spaces) >= 6 {
		return
	}
	f, _, _ := c.pick()
	s, err := f.s.Fork()
	if err != nil {
		c.t.Fatal(err)
	}
	g := *f
	g.s = s
	c.spaces = append(c.spaces, &g)
}

func (c *cowModel) exit() {
	if len(c.spaces) < 2 {
		return
	}
	i := rapid.IntRange(0, len(c.spaces)-1).Draw(c.t, "exit")
	s := c.spaces[i].s
	for _, v := range c.mc.vcpus {
		if v.space == s && rapid.Bool().Draw(c.t, "unload first") {
			v.load(nil)
		}
	}
	s.Release()
	c.spaces = append(c.spaces[:i], c.spaces[i+1:]...)
	for _, v := range c.mc.vcpus {
		if v.space == s {
			v.load(nil)
		}
	}
}

// rangeOp does something to a few private pages.
func (c *cowModel) rangeOp() {
	f, _, _ := c.pick()
	lo := rapid.IntRange(arenaShared, modelArena-1).Draw(c.t, "from")
	n := rapid.IntRange(1, min(8, modelArena-lo)).Draw(c.t, "pages")
	addr, size := c.page(lo), uint64(n)*pg
	var err error
	set := func(fn func(i int)) {
		for i := lo; i < lo+n; i++ {
			fn(i)
		}
	}
	switch rapid.IntRange(0, 4).Draw(c.t, "range op") {
	case 0:
		err = f.s.Munmap(addr, size)
		set(func(i int) { f.mapped[i] = false })
	case 1:
		_, err = f.s.Mmap(MmapArgs{Addr: addr, Len: size, Prot: rw, Flags: anonPriv | unix.MAP_FIXED})
		set(func(i int) { f.mapped[i], f.ro[i], f.val[i] = true, false, 0 })
	case 2:
		if err = f.s.Madvise(addr, size, unix.MADV_DONTNEED); errors.Is(err, unix.ENOMEM) {
			err = nil // holes
		}
		set(func(i int) { f.val[i] = 0 })
	case 3:
		ro := rapid.Bool().Draw(c.t, "read-only")
		prot := uint32(rw)
		if ro {
			prot = unix.PROT_READ
		}
		err = f.s.Mprotect(addr, size, prot)
		for i := lo; i < lo+n && f.mapped[i]; i++ {
			f.ro[i] = ro
		}
		if errors.Is(err, unix.ENOMEM) {
			err = nil // holes: Linux stops at the first, as the loop does
		}
	case 4:
		// To PROT_NONE and back: contents stay.
		for _, prot := range []uint32{unix.PROT_NONE, rw} {
			if err = f.s.Mprotect(addr, size, prot); errors.Is(err, unix.ENOMEM) {
				err = nil
			}
		}
		for i := lo; i < lo+n && f.mapped[i]; i++ {
			f.ro[i] = false
		}
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestCOWModel: random reads, writes, forks, exits and changes of mappings on three vCPUs.
func TestCOWModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mc := newMachine(t, 16<<20, 3)
		c := &cowModel{t: rt, mc: mc, base: 0x7000_0000_0000 - modelArena/2*pg}
		first := &flat{s: mc.space()}
		mustMmap(t, first.s, MmapArgs{Addr: c.base, Len: arenaShared * pg, Prot: rw, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS | unix.MAP_FIXED})
		mustMmap(t, first.s, MmapArgs{Addr: c.page(arenaShared), Len: (modelArena - arenaShared) * pg, Prot: rw, Flags: anonPriv | unix.MAP_FIXED})
		for i := range modelArena {
			first.mapped[i], first.shared[i] = true, i < arenaShared
		}
		c.spaces = []*flat{first}
		for range rapid.IntRange(1, 150).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "op") {
			case 0:
				c.fork()
			case 1:
				c.exit()
			case 2, 3:
				c.rangeOp()
			case 4, 5, 6:
				c.read()
			default:
				c.write()
			}
		}
		for _, v := range mc.vcpus {
			v.load(nil)
		}
		for _, f := range c.spaces {
			for i := range modelArena {
				var b [1]byte
				_, err := f.s.CopyIn(c.page(i), b[:])
				c.checkErr(f, i, false, err)
				if err == nil && b[0] != c.want(f, i) {
					rt.Fatalf("page %d is %d at the end, want %d", i, b[0], c.want(f, i))
				}
			}
			f.s.Release()
		}
		mc.noLeak(0)
		if n := mc.stats.BadRefs.Load() + mc.stats.BadPTEs.Load(); n != 0 {
			rt.Fatalf("%d counts or entries were found wrong", n)
		}
	})
}
