package mm

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/guest"
	"culvert/shim/abi"
)

// hostileRun makes calls chosen by data while it overwrites page-table entries, counts, pools and guest.Space blocks.
// The host must not panic, loop or believe it; the allocator's own books must stay right.
func hostileRun(t testing.TB, data []byte) {
	mc := newMachine(t, 8<<20, 2)
	next := func() uint64 {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return uint64(b)
	}
	f := newFile(pattern(10 * 4096))
	o := mc.Object(f)
	s := mc.space()
	spaces := []*Space{s}
	const base = uint64(0x10000000)
	mustMmap(t, s, MmapArgs{Addr: base, Len: 32 * pg, Prot: rw, Flags: anonPriv | unix.MAP_FIXED})
	a := fileArgs(o, f, 8*pg, rw, unix.MAP_SHARED|unix.MAP_FIXED)
	a.Addr = base + 32*pg
	mustMmap(t, s, a)
	buf := make([]byte, 3*pg)
	for len(data) > 0 {
		s := spaces[next()%uint64(len(spaces))]
		v := mc.vcpus[next()%2]
		v.load(s)
		addr := base + next()%40*pg
		n := (next()%8 + 1) * pg
		switch next() % 16 {
		case 0, 1, 2, 3:
			corrupt(mc, s, addr, next(), next())
		case 4:
			_, _ = s.CopyOut(addr, buf)
		case 5:
			_, _ = s.CopyIn(addr, buf)
		case 6, 7:
			_ = v.write(addr, 1)
		case 8:
			_ = s.Mprotect(addr, n, uint32(next()%8))
		case 9:
			_ = s.Munmap(addr, n)
		case 10:
			_, _ = s.Mmap(MmapArgs{Addr: addr, Len: n, Prot: rw, Flags: anonPriv | unix.MAP_FIXED})
		case 11:
			_, _ = s.Mremap(addr, n, n, 3, base+next()%64*pg)
		case 12:
			_ = s.Madvise(addr, n, int(next()%24))
			_ = s.Smaps()
		case 13:
			if c, err := s.Fork(); err == nil {
				if spaces = append(spaces, c); len(spaces) > 4 {
					spaces[1].Release()
					spaces = append(spaces[:1], spaces[2:]...)
				}
			}
		case 14:
			_ = o.Sync()
			o.Truncate(uint64(f.Size()))
			if p, err := s.Spans(addr, n, next()%2 == 0); err == nil {
				p.Unpin()
			}
		case 15:
			mc.Refill(v.pool, guest.PoolFrames)
			mc.Reap()
		}
	}
	for _, v := range mc.vcpus {
		v.load(nil)
		mc.Drain(v.pool)
	}
	for _, s := range spaces {
		s.Release()
	}
	o.Put()
	mc.mu.Lock()
	defer mc.unlock()
	if err := mc.frames.check(); err != nil {
		t.Fatal(err)
	}
}

// corrupt does what a compromised ring 0 might do, aimed at what the host reads.
func corrupt(mc *machine, s *Space, addr, how, with uint64) {
	leaf := s.lookupLeaf(addr)
	i := addr >> abi.PageShift & 511
	gpas := []uint64{0, 0x1000, testRefs, uint64(s.root.gpa), uint64(s.gpa) &^ abi.PageMask, 8<<20 - 4096, 8 << 20, 1 << 40, abi.PTEAddr, with << 12, testStart + with<<12}
	bits := []uint64{abi.PTEPresent, abi.PTEWrite, abi.PTEUser, abi.PTECOW, abi.PTEBusy, abi.PTEDemand, pteNone, abi.PTENX, abi.PTEShared, 1 << 53, abi.PTEHuge}
	switch how % 8 {
	case 0, 1:
		if leaf != nil {
			atomic.StoreUint64(&leaf[i], gpas[with%uint64(len(gpas))]|abi.PTEPresent|abi.PTEUser|with&2)
		}
	case 2, 3:
		if leaf != nil {
			atomic.StoreUint64(&leaf[i], leaf[i]^bits[with%uint64(len(bits))])
		}
	case 4:
		if leaf != nil {
			if f := leaf[i] & abi.PTEAddr >> 12; f < 8<<8 {
				atomic.StoreUint32(mc.ref(frame(f)), []uint32{0, 1, 2, ^uint32(0)}[with%4])
			}
		}
	case 5:
		top := tableAt(mc.ram, s.root.gpa)
		atomic.StoreUint64(&top[with%256], gpas[how%uint64(len(gpas))]|pteTable)
	case 6:
		p := mc.vcpus[0].pool
		p.NumZero, p.NumDirty = []uint64{0, 1, 320, 321, 1 << 63}[with%5], []uint64{0, 1, 190, 191, 1 << 63}[how/8%5]
		p.Zero[with%guest.PoolFrames], p.Dirty[with%guest.PoolDirty] = gpas[how%uint64(len(gpas))], gpas[with%uint64(len(gpas))]
	case 7:
		*s.guest = guest.Space{CR3: gpas[with%uint64(len(gpas))] &^ 0xfff, Active: with & 3, ID: with}
	}
}

func FuzzHostile(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		b := make([]byte, 2000)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { hostileRun(t, data[:min(len(data), 4000)]) })
}
