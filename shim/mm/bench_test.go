package mm

import (
	"testing"

	"golang.org/x/sys/unix"

	"culvert/guest"
	"culvert/shim/abi"
)

// A program of the size of a shell: 300 pages of its own, 300 of files.
func shellSpace(b *testing.B) (*machine, *Space) {
	mc := newMachine(b, 64<<20, 1)
	s := mc.space()
	f := newFile(pattern(300 * 4096))
	o := mc.Object(f)
	mustMmap(b, s, fileArgs(o, f, 300*pg, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_POPULATE))
	o.Put()
	for range 10 {
		mustMmap(b, s, MmapArgs{Len: 30 * pg, Prot: rw, Flags: anonPriv | unix.MAP_POPULATE})
	}
	return mc, s
}

func BenchmarkForkExit(b *testing.B) {
	_, s := shellSpace(b)
	for b.Loop() {
		c, err := s.Fork()
		if err != nil {
			b.Fatal(err)
		}
		c.Release()
	}
}

func BenchmarkMmapMunmap(b *testing.B) {
	_, s := shellSpace(b)
	for b.Loop() {
		a := mustMmap(b, s, MmapArgs{Len: 16 * pg, Prot: rw, Flags: anonPriv})
		if err := s.Munmap(a, 16*pg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMmapTouchMunmap(b *testing.B) {
	_, s := shellSpace(b)
	for b.Loop() {
		a := mustMmap(b, s, MmapArgs{Len: 16 * pg, Prot: rw, Flags: anonPriv})
		if err := s.Fault(a, abi.PFUser|abi.PFWrite); err != nil {
			b.Fatal(err)
		}
		if err := s.Munmap(a, 16*pg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCopyOut(b *testing.B) {
	_, s := shellSpace(b)
	a := mustMmap(b, s, MmapArgs{Len: 16 * pg, Prot: rw, Flags: anonPriv | unix.MAP_POPULATE})
	buf := make([]byte, 64)
	for b.Loop() {
		if _, err := s.CopyOut(a+100, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFileFault(b *testing.B) {
	mc := newMachine(b, 64<<20, 1)
	s := mc.space()
	f := newFile(pattern(16 * 4096))
	o := mc.Object(f)
	a := mustMmap(b, s, fileArgs(o, f, 16*pg, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_POPULATE))
	for b.Loop() {
		if err := s.Madvise(a, 16*pg, unix.MADV_DONTNEED); err != nil {
			b.Fatal(err)
		}
		if err := s.Fault(a, abi.PFUser); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRefill(b *testing.B) {
	mc := newMachine(b, 256<<20, 1)
	p := mc.vcpus[0].pool
	for b.Loop() {
		mc.Refill(p, guest.PoolFrames)
		mc.Drain(p)
	}
}
