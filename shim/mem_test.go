package shim

import (
	"testing"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// touch makes page faults of ring 3 over a range, until the thread loses the vCPU.
func (x *task) touch(addr, n uint64) {
	for a := addr; a < addr+n && !x.gone && !x.w.ended(); a += abi.PageSize {
		if !x.hypercall(guest.Call{Kind: abi.KindFault, Vector: abi.VecPF, Err: abi.PFUser | abi.PFWrite, CR2: a}) {
			return
		}
	}
}

const hugeMap = 0x100000000

func (x *task) mapHuge(size uint64) {
	x.w.tb.Helper()
	x.mustCall(unix.SYS_MMAP, hugeMap, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED|unix.MAP_NORESERVE, ^uint64(0), 0)
}

// TestOOMKillsTheLargest: the process with the most memory dies, and the VM goes on.
func TestOOMKillsTheLargest(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	c.mapHuge(1 << 30)
	c.touch(hugeMap, 1<<30)
	if !c.gone {
		t.Fatal("the child has all memory and lives on")
	}
	st := x.poke(0x200, 0)
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), st, 0, 0)
	if v := x.peek32(st); v != sig.SIGKILL {
		t.Errorf("status %#x", v)
	}
	d, _ := x.fork()
	d.mapHuge(1 << 20)
	d.touch(hugeMap, 1<<20)
	if d.gone {
		t.Error("the memory did not come back")
	}
}

// TestOOMScoreAdj: who asked for it dies before the process with the most memory, and who is not to be killed lives on.
func TestOOMScoreAdj(t *testing.T) {
	w, x := newWorld(t)
	volunteer, pid := x.fork()
	volunteer.thread().p.oomScoreAdj = 1000
	hog, hogPID := volunteer.fork()
	if hog.thread().p.oomScoreAdj != 1000 {
		t.Error("a child does not inherit oom_score_adj")
	}
	hog.thread().p.oomScoreAdj = -1000
	hog.mapHuge(1 << 30)
	for a := uint64(hugeMap); !w.k.processes[int(pid)].oomKilled; a += 1 << 20 {
		if a >= hugeMap+1<<30 || hog.gone {
			t.Fatal("nobody was killed, or the one that is not to be")
		}
		hog.touch(a, 1<<20)
	}
	if w.k.processes[int(hogPID)].oomKilled || w.k.processes[1].oomKilled {
		t.Error("others were killed too")
	}
}

// TestOOMOfInit ends the VM, and says why.
func TestOOMOfInit(t *testing.T) {
	w, x := newWorld(t)
	x.mapHuge(1 << 30)
	x.touch(hugeMap, 1<<30)
	if s := w.status(); s.Kind != OOM {
		t.Errorf("ended with %+v", s)
	}
}

// TestOOMInACall: a call that writes to memory that cannot be had.
func TestOOMInACall(t *testing.T) {
	w, x := newWorld(t)
	x.mapHuge(1 << 30)
	for off := uint64(0); !w.ended(); off += 32 << 20 {
		if off >= 1<<30 {
			t.Fatal("a gigabyte fits into 64 MiB")
		}
		x.call(unix.SYS_GETRANDOM, hugeMap+off, 32<<20-4096, 0)
	}
	if s := w.status(); s.Kind != OOM {
		t.Errorf("ended with %+v", s)
	}
}

func TestMemoryCalls(t *testing.T) {
	_, x := newWorld(t)
	const at = 0x40000000
	prot := uint64(unix.PROT_READ | unix.PROT_WRITE)
	anon := uint64(unix.MAP_PRIVATE | unix.MAP_ANONYMOUS)
	x.wantCall(at, unix.SYS_MMAP, at, 0x10000, prot, anon|unix.MAP_FIXED, ^uint64(0), 0)
	x.wantCall(unix.EEXIST, unix.SYS_MMAP, at, 0x1000, prot, anon|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0)
	x.wantCall(unix.EBADF, unix.SYS_MMAP, 0, 0x1000, prot, unix.MAP_PRIVATE, 99, 0)
	x.wantCall(unix.EINVAL, unix.SYS_MMAP, 0, 0, prot, anon, 0, 0)
	x.wantCall(unix.EINVAL, unix.SYS_MMAP, 0, 0x1000, prot, anon, 0, 1)
	x.wantCall(0, unix.SYS_MPROTECT, at, 0x1000, unix.PROT_READ)
	x.wantCall(unix.ENOMEM, unix.SYS_MPROTECT, 0x50000000, 0x1000, unix.PROT_READ)
	x.wantCall(0, unix.SYS_MADVISE, at+0x2000, 0x1000, unix.MADV_DONTNEED)
	x.wantCall(0, unix.SYS_MINCORE, at, 0x10000, testBase)
	x.wantCall(unix.ENOMEM, unix.SYS_MINCORE, 0x50000000, 0x1000, testBase)
	x.wantCall(unix.EFAULT, unix.SYS_MINCORE, at, 0x1000, 0x10)
	x.wantCall(0, unix.SYS_MLOCK, at, 0x1000)
	x.wantCall(0, unix.SYS_MUNLOCK, at, 0x1000)
	// As without CONFIG_ANON_VMA_NAME: Go, which names each piece of its memory, then does not try again.
	x.wantCall(unix.EINVAL, unix.SYS_PRCTL, unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, at, 0x1000, x.pokeString(0x100, "a name"))
	x.wantCall(0, unix.SYS_MUNMAP, at, 0x10000)
	brk := x.mustCall(unix.SYS_BRK, 0)
	x.wantCall(int(brk+0x3000), unix.SYS_BRK, brk+0x3000)
	x.wantCall(int(brk+0x3000), unix.SYS_BRK, ^uint64(0))
	if x.call(unix.SYS_MREMAP, testBase, testScratch, 2*testScratch, unix.MREMAP_MAYMOVE, 0) < 0 {
		t.Error("mremap failed")
	}
}

// TestMmapFile: a page of a file is mapped and read through a fault.
func TestMmapFile(t *testing.T) {
	_, x := newWorld(t)
	fd := x.mustCall(unix.SYS_OPEN, x.pokeString(0x100, "/text"), unix.O_RDONLY, 0)
	at := x.mustCall(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, fd, 0)
	if v := x.peek(at); byte(v) != 'n' {
		t.Errorf("the page begins with %#x", v)
	}
	x.wantCall(unix.EACCES, unix.SYS_MMAP, 0, 4096, unix.PROT_WRITE, unix.MAP_SHARED, fd, 0)
	// Past the end of the file: SIGBUS.
	far := x.mustCall(unix.SYS_MMAP, 0, 8192, unix.PROT_READ, unix.MAP_PRIVATE, fd, 0)
	x.action(sig.SIGBUS, handlerAt, SA_SIGINFO, 0)
	x.slot.RSP = testBase + 0x90000
	x.hypercall(guest.Call{Kind: abi.KindFault, Vector: abi.VecPF, Err: abi.PFUser, CR2: far + 4096})
	x.inHandler(sig.SIGBUS)
	if code, addr := x.peek32(x.slot.RSI+8), x.peek(x.slot.RSI+16); code != sig.BUS_ADRERR || addr != far+4096 {
		t.Errorf("si_code %d, si_addr %#x", code, addr)
	}
}
