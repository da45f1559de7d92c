package mm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"culvert/shim/abi"
)

// The kernel of the machine is the specification: random calls are made on a Space and, at the same addresses, in this
// process, in a region that nothing else uses. Results, the list of areas, contents and residency must agree.

const (
	modelBase  = uint64(0x2000_0000_0000)
	modelPages = 48
	modelEnd   = modelBase + modelPages*pg
	filePages  = 12
)

// both is one test's Space and the kernel beside it.
type both struct {
	t    *rapid.T
	s    *Space
	obj  *Object
	file *fakeFile
	real *os.File
	pipe [2]int
	// freed: MADV_FREE was used, which frees at once here; contents and residency cannot be compared any more.
	freed bool
	log   []string
}

func errnoOf(err error) unix.Errno {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	if err != nil {
		return 9999
	}
	return 0
}

// agree compares a call's result.
func (b *both) agree(call string, ours error, theirs unix.Errno) {
	b.log = append(b.log, fmt.Sprintf("%s = %v", call, theirs))
	if errnoOf(ours) != theirs {
		b.fail("%s: %v, Linux says %v", call, ours, theirs)
	}
}

func (b *both) fail(format string, args ...any) {
	b.t.Fatalf("%s\nafter:\n%s\nours:\n%s", fmt.Sprintf(format, args...), strings.Join(b.log, "\n"), b.s.Maps())
}

func raw(nr, a0, a1, a2, a3, a4, a5 uintptr) unix.Errno {
	_, _, e := syscall.RawSyscall6(nr, a0, a1, a2, a3, a4, a5)
	return e
}

// area is a normalised line of a list of areas: neighbours that differ only in that they were not merged are joined.
type area struct {
	start, end uint64
	perms      string
	off        uint64
	file       bool
}

func normalise(in []area) (out []area) {
	for _, a := range in {
		if k := len(out) - 1; k >= 0 && out[k].end == a.start && out[k].perms == a.perms && out[k].file == a.file &&
			(!a.file || out[k].off+out[k].end-out[k].start == a.off) {
			out[k].end = a.end
			continue
		}
		if !a.file {
			a.off = 0
		}
		out = append(out, a)
	}
	return out
}

func (b *both) areas() []area {
	var out []area
	for _, m := range b.s.Mappings() {
		out = append(out, area{m.Start, m.End, m.Perms, m.Offset, m.Path != ""})
	}
	return normalise(out)
}

func (b *both) kernelAreas() []area {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	var out []area
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var a area
		var dev, path string
		var ino uint64
		_, _ = fmt.Sscanf(sc.Text(), "%x-%x %s %x %s %d %s", &a.start, &a.end, &a.perms, &a.off, &dev, &ino, &path)
		if a.start >= modelBase && a.end <= modelEnd+16*pg {
			a.file = path != ""
			out = append(out, a)
		}
	}
	return normalise(out)
}

func (b *both) compareAreas() {
	ours, theirs := b.areas(), b.kernelAreas()
	if fmt.Sprint(ours) != fmt.Sprint(theirs) {
		b.fail("areas differ:\nours   %s\nLinux  %s", show(ours), show(theirs))
	}
}

// addr draws a page of the region, rarely off a page border; size a length in bytes, rarely odd or 0.
func (b *both) addr() uint64 {
	a := modelBase + rapid.Uint64Range(0, modelPages-1).Draw(b.t, "page")*pg
	if rapid.IntRange(0, 19).Draw(b.t, "odd") == 0 {
		a += 12
	}
	return a
}

func (b *both) size() uint64 {
	n := rapid.Uint64Range(1, 10).Draw(b.t, "pages") * pg
	switch rapid.IntRange(0, 19).Draw(b.t, "odd") {
	case 0:
		return 0
	case 1:
		return n - 100
	}
	return n
}

func (b *both) prot() uint32 {
	return rapid.SampledFrom([]uint32{0, 1, 3, 3, 3, 5, 7, 2}).Draw(b.t, "prot")
}

func (b *both) mmap() {
	a := MmapArgs{Addr: b.addr(), Len: b.size(), Prot: b.prot(), Readable: true, Writable: true}
	a.Flags = rapid.SampledFrom([]uint32{unix.MAP_PRIVATE, unix.MAP_SHARED, 0, unix.MAP_SHARED_VALIDATE}).Draw(b.t, "type")
	if rapid.IntRange(0, 4).Draw(b.t, "how") == 0 {
		a.Flags |= unix.MAP_FIXED_NOREPLACE
	} else {
		a.Flags |= unix.MAP_FIXED
	}
	for _, f := range []uint32{unix.MAP_POPULATE, unix.MAP_NORESERVE, unix.MAP_STACK, unix.MAP_LOCKED} {
		if rapid.IntRange(0, 9).Draw(b.t, "flag") == 0 {
			a.Flags |= f
		}
	}
	fd := ^uintptr(0)
	if rapid.Bool().Draw(b.t, "file") {
		a.Object, a.Name = b.obj, b.file
		a.Off = rapid.Uint64Range(0, filePages).Draw(b.t, "off") * pg
		fd = b.real.Fd()
	} else {
		a.Flags |= unix.MAP_ANONYMOUS
	}
	_, err := b.s.Mmap(a)
	e := raw(unix.SYS_MMAP, uintptr(a.Addr), uintptr(a.Len), uintptr(a.Prot), uintptr(a.Flags), fd, uintptr(a.Off))
	b.agree(fmt.Sprintf("mmap(%#x, %#x, %d, %#x, file %v, %#x)", a.Addr, a.Len, a.Prot, a.Flags, a.Object != nil, a.Off), err, e)
}

func (b *both) mremap() {
	addr, old, n, to := b.addr(), b.size(), b.size(), b.addr()
	flags := rapid.SampledFrom([]uint32{0, 3, 3, 7, 2, 8}).Draw(b.t, "flags")
	_, err := b.s.Mremap(addr, old, n, flags, to)
	e := raw(unix.SYS_MREMAP, uintptr(addr), uintptr(old), uintptr(n), uintptr(flags), uintptr(to), 0)
	b.agree(fmt.Sprintf("mremap(%#x, %#x, %#x, %d, %#x)", addr, old, n, flags, to), err, e)
}

func (b *both) madvise() {
	advice := rapid.SampledFrom([]int{0, 3, 4, 4, 4, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23, 77}).Draw(b.t, "advice")
	if rapid.IntRange(0, 39).Draw(b.t, "free") == 0 {
		advice = unix.MADV_FREE
	}
	addr, n := b.addr(), b.size()
	b.freed = b.freed || advice == unix.MADV_FREE
	if advice == unix.MADV_REMOVE && b.mapsFile(addr, n) {
		return // refused here for files of the tree
	}
	err := b.s.Madvise(addr, n, advice)
	e := raw(unix.SYS_MADVISE, uintptr(addr), uintptr(n), uintptr(advice), 0, 0, 0)
	b.agree(fmt.Sprintf("madvise(%#x, %#x, %d)", addr, n, advice), err, e)
}

// mapsFile says whether a mapping of the file lies in the range.
func (b *both) mapsFile(addr, n uint64) bool {
	for _, v := range b.s.vmas {
		if v.obj == b.obj && v.start < addr+n && v.end > addr {
			return true
		}
	}
	return false
}

func (b *both) write() {
	addr := b.addr() + rapid.Uint64Range(0, pg-1).Draw(b.t, "in page")
	buf := []byte{rapid.Byte().Draw(b.t, "byte")}
	_, err := b.s.CopyOut(addr, buf)
	b.agree(fmt.Sprintf("write(%#x, %d)", addr, buf[0]), err, viaPipe(b.pipe[0], b.pipe[1], true, addr, buf))
}

// compareContent reads the first byte of each page and the residency of the region, through both.
func (b *both) compareContent() {
	for p := modelBase; p < modelEnd; p += pg {
		ours, theirs := make([]byte, pg), make([]byte, pg)
		_, err := b.s.CopyIn(p, ours)
		e := viaPipe(b.pipe[0], b.pipe[1], false, p, theirs)
		if errnoOf(err) != e || string(ours) != string(theirs) {
			b.fail("page %#x: %v and %v, content equal: %v", p, err, e, string(ours) == string(theirs))
		}
	}
}

// compareResidency compares mincore of areas of private anonymous memory; the state of the page cache is not ours.
func (b *both) compareResidency() {
	for _, a := range b.areas() {
		if a.file || a.perms[3] == 's' {
			continue
		}
		vec, kvec := make([]byte, (a.end-a.start)/pg), make([]byte, (a.end-a.start)/pg)
		if err := b.s.Mincore(a.start, vec); err != nil {
			b.fail("mincore: %v", err)
		}
		if e := mincore(a.start, kvec); e != 0 || string(vec) != string(kvec) {
			b.fail("mincore of %#x-%#x: %v, Linux %v (%v)", a.start, a.end, vec, kvec, e)
		}
	}
}

func (b *both) step() {
	switch rapid.IntRange(0, 11).Draw(b.t, "op") {
	case 0, 1, 2:
		b.mmap()
	case 3:
		addr, n := b.addr(), b.size()
		b.agree(fmt.Sprintf("munmap(%#x, %#x)", addr, n), b.s.Munmap(addr, n), raw(unix.SYS_MUNMAP, uintptr(addr), uintptr(n), 0, 0, 0, 0))
	case 4, 5:
		addr, n, prot := b.addr(), b.size(), b.prot()
		if rapid.IntRange(0, 19).Draw(b.t, "bad") == 0 {
			prot |= rapid.SampledFrom([]uint32{8, 16, unix.PROT_GROWSDOWN, unix.PROT_GROWSUP}).Draw(b.t, "bad prot")
		}
		b.agree(fmt.Sprintf("mprotect(%#x, %#x, %#x)", addr, n, prot), b.s.Mprotect(addr, n, prot),
			raw(unix.SYS_MPROTECT, uintptr(addr), uintptr(n), uintptr(prot), 0, 0, 0))
	case 6, 7:
		b.mremap()
	case 8:
		b.madvise()
	case 9:
		addr, n, flags := b.addr(), b.size(), rapid.SampledFrom([]uint32{0, 1, 2, 4, 5, 6, 8}).Draw(b.t, "flags")
		b.agree(fmt.Sprintf("msync(%#x, %#x, %d)", addr, n, flags), b.s.Msync(addr, n, flags),
			raw(unix.SYS_MSYNC, uintptr(addr), uintptr(n), uintptr(flags), 0, 0, 0))
	case 10:
		addr, n := b.addr(), b.size()
		switch rapid.IntRange(0, 2).Draw(b.t, "lock") {
		case 0:
			b.agree(fmt.Sprintf("mlock(%#x, %#x)", addr, n), b.s.Mlock(addr, n, 0), raw(unix.SYS_MLOCK, uintptr(addr), uintptr(n), 0, 0, 0, 0))
		case 1:
			b.agree(fmt.Sprintf("mlock2(%#x, %#x, 1)", addr, n), b.s.Mlock(addr, n, 1), raw(unix.SYS_MLOCK2, uintptr(addr), uintptr(n), 1, 0, 0, 0))
		case 2:
			b.agree(fmt.Sprintf("munlock(%#x, %#x)", addr, n), b.s.Munlock(addr, n), raw(unix.SYS_MUNLOCK, uintptr(addr), uintptr(n), 0, 0, 0, 0))
		}
	case 11:
		b.write()
	}
}

// TestAgainstKernel compares random calls with the kernel's.
func TestAgainstKernel(t *testing.T) {
	if e := raw(unix.SYS_MUNMAP, uintptr(modelBase), uintptr(modelEnd-modelBase), 0, 0, 0, 0); e != 0 {
		t.Fatal(e)
	}
	dir := t.TempDir()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	rapid.Check(t, func(rt *rapid.T) {
		mc := newMachine(t, 8<<20, 1)
		data := make([]byte, filePages*abi.PageSize-1000)
		for i := range data {
			data[i] = byte(i * 7 >> 3)
		}
		name := filepath.Join(dir, "file")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		real, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer real.Close()
		b := &both{t: rt, s: mc.space(), file: newFile(data), real: real, pipe: pipe}
		b.s.limits.CapIPCLock = true
		b.obj = mc.Object(b.file)
		defer func() {
			raw(unix.SYS_MUNMAP, uintptr(modelBase), uintptr(modelEnd-modelBase)+uintptr(16*pg), 0, 0, 0, 0)
		}()
		for range rapid.IntRange(1, 50).Draw(rt, "steps") {
			b.step()
			b.compareAreas()
		}
		if !b.freed {
			b.compareResidency()
			b.compareContent()
		}
		b.s.Release()
		want, err := os.ReadFile(name)
		if err != nil || string(want) != string(b.file.data) {
			b.fail("file contents differ (%v)", err)
		}
		b.obj.Put()
		mc.mu.Lock()
		mc.shrinkCache(1 << 20)
		mc.unlock()
		mc.noLeak(0)
	})
}

func show(list []area) string {
	var b strings.Builder
	for _, a := range list {
		fmt.Fprintf(&b, "%x-%x %s %x %v; ", a.start, a.end, a.perms, a.off, a.file)
	}
	return b.String()
}
