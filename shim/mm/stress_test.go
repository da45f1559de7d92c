package mm

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// stressTime is how long each stress test runs.
func stressTime() time.Duration {
	if testing.Short() {
		return 300 * time.Millisecond
	}
	return 2 * time.Second
}

// TestConcurrentCOW: vCPUs in one address space count up in pages of their own while it is forked again and again. Each
// child must see contents that do not change, and no vCPU may lose one of its writes: both fail if a stale translation
// or an upgrade by an old count survives.
func TestConcurrentCOW(t *testing.T) {
	// One writer lets ring 0 copy by itself; with several the host copies and shoots down.
	t.Run("1", func(t *testing.T) { concurrentCOW(t, 1) })
	t.Run("3", func(t *testing.T) { concurrentCOW(t, 3) })
}

func concurrentCOW(t *testing.T, writers int) {
	const pages = 6
	mc := newMachine(t, 32<<20, writers+1)
	s := mc.space()
	base := mustMmap(t, s, MmapArgs{Len: uint64(writers) * pages * pg, Prot: rw, Flags: anonPriv})
	var stop atomic.Bool
	var wg sync.WaitGroup
	var writes atomic.Int64
	// One more page has a byte of each writer, who announces it after writing; nobody may read an older one then.
	common := mustMmap(t, s, MmapArgs{Len: pg, Prot: rw, Flags: anonPriv})
	announced := make([]atomic.Uint32, writers)
	own := func(v *vcpu, w, i int, val *[pages]byte) bool {
		// The pages of the writers are interleaved, so they share leaf tables.
		addr := base + uint64(i*writers+w)*pg
		if got, err := v.read(addr); err != nil || got != val[i] {
			t.Errorf("writer %d reads %d, %v; it wrote %d", w, got, err, val[i])
			return false
		}
		val[i]++
		if err := v.write(addr, val[i]); err != nil {
			t.Error(err)
			return false
		}
		writes.Add(1)
		return true
	}
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			v := mc.vcpus[w]
			v.load(s)
			defer v.load(nil)
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			var val [pages]byte
			for !stop.Load() {
				if rnd.IntN(8) == 0 && !own(v, w, rnd.IntN(pages), &val) {
					return // seldom, or all writers would wait for the host most of the time
				}
				next := announced[w].Load() + 1
				if err := v.write(common+uint64(w), byte(next)); err != nil {
					t.Error(err)
					return
				}
				announced[w].Store(next)
				for o := range announced {
					least := announced[o].Load()
					got, err := v.read(common + uint64(o))
					// If the writer has gone round meanwhile, a byte says nothing.
					if err != nil || announced[o].Load()-least < 100 && int8(got-byte(least)) < 0 {
						t.Errorf("writer %d reads a stale %d of writer %d, who has announced %d (%v)", w, got, o, byte(least), err)
						return
					}
				}
			}
		}()
	}
	child := mc.vcpus[writers]
	forks := 0
	for end := time.Now().Add(stressTime()); time.Now().Before(end) && !t.Failed(); forks++ {
		c, err := s.Fork()
		if err != nil {
			t.Error(err)
			break
		}
		child.load(c)
		first := make([]byte, writers*pages)
		for round := range 3 {
			for i := range first {
				got, err := child.read(base + uint64(i)*pg)
				if err != nil || round > 0 && got != first[i] {
					t.Errorf("page %d of the child reads %d, %v; before it was %d", i, got, err, first[i])
				}
				first[i] = got
			}
		}
		for i := range first {
			if err := child.write(base+uint64(i)*pg, ^first[i]); err != nil {
				t.Error(err)
			}
		}
		child.load(nil)
		c.Release()
	}
	stop.Store(true)
	wg.Wait()
	s.Release()
	t.Logf("%d forks, %d writes, %d copies and %d reuses by the host", forks, writes.Load(), mc.stats.COWCopy.Load(), mc.stats.COWReuse.Load())
	if n := mc.stats.BadRefs.Load() + mc.stats.BadPTEs.Load(); n != 0 {
		t.Errorf("%d counts or entries were found wrong", n)
	}
	mc.noLeak(0)
}

// TestConcurrentMappings: vCPUs touch memory that the host unmaps, maps, moves and protects. An access works or
// faults; what it reads is zero, what somebody wrote or what the file has; nothing leaks.
func TestConcurrentMappings(t *testing.T) {
	const vcpus, pages = 3, 64
	mc := newMachine(t, 32<<20, vcpus)
	s := mc.space()
	const base = uint64(0x40000000 - pages/2*abi.PageSize)
	mustMmap(t, s, MmapArgs{Addr: base, Len: pages * pg, Prot: rw, Flags: anonPriv | unix.MAP_FIXED})
	f := newFile(pattern(pages * 4096))
	o := mc.Object(f)
	var inFile [256]bool
	for p := range pages {
		for w := range vcpus {
			inFile[f.data[p*int(pg)+w]] = true
		}
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range vcpus {
		wg.Add(1)
		go func() {
			defer wg.Done()
			v := mc.vcpus[w]
			v.load(s)
			defer v.load(nil)
			rnd := rand.New(rand.NewPCG(uint64(w), 2))
			for !stop.Load() {
				addr := base + uint64(rnd.IntN(pages))*pg + uint64(w)
				var sig *SignalError
				var err error
				switch rnd.IntN(4) {
				case 0:
					_, err = s.CopyOut(addr, []byte{1})
				case 1:
					err = v.write(addr, 1)
				default:
					var got byte
					// The first bytes of a page are 0, 1, or what the file has there in one of its pages.
					got, err = v.read(addr)
					if err == nil && got > 1 && !inFile[got] {
						t.Errorf("read %d at %#x", got, addr)
					}
				}
				if err != nil && !errors.As(err, &sig) && !errors.Is(err, unix.EFAULT) {
					t.Error(err)
					return
				}
			}
		}()
	}
	rnd := rand.New(rand.NewPCG(9, 9))
	for end := time.Now().Add(stressTime()); time.Now().Before(end) && !t.Failed(); {
		addr, n := base+uint64(rnd.IntN(pages-8))*pg, uint64(rnd.IntN(8)+1)*pg
		switch rnd.IntN(8) {
		case 0:
			_ = s.Munmap(addr, n)
		case 1, 2:
			_, _ = s.Mmap(MmapArgs{Addr: addr, Len: n, Prot: rw, Flags: anonPriv | unix.MAP_FIXED})
		case 3:
			a := fileArgs(o, f, n, rw, []uint32{unix.MAP_PRIVATE, unix.MAP_SHARED}[rnd.IntN(2)]|unix.MAP_FIXED)
			a.Addr, a.Off = addr, uint64(rnd.IntN(pages))*pg
			_, _ = s.Mmap(a)
		case 4:
			_ = s.Mprotect(addr, n, uint32(rnd.IntN(4)))
		case 5:
			_, _ = s.Mremap(addr, n, n, 3, base+uint64(rnd.IntN(pages-8))*pg)
		case 6:
			_ = s.Madvise(addr, n, unix.MADV_DONTNEED)
		case 7:
			_ = o.Sync()
			o.Truncate(uint64(f.Size()))
		}
	}
	stop.Store(true)
	wg.Wait()
	s.Release()
	o.Put()
	mc.mu.Lock()
	mc.shrinkCache(1 << 20)
	mc.unlock()
	if n := mc.stats.BadRefs.Load() + mc.stats.BadPTEs.Load(); n != 0 {
		t.Errorf("%d counts or entries were found wrong", n)
	}
	mc.noLeak(0)
}
