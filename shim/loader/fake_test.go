package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"testing"

	"golang.org/x/sys/unix"
)

// memFile is an executable in memory.
type memFile struct {
	*bytes.Reader
	closed *int
}

func newFile(b []byte) *memFile { return &memFile{bytes.NewReader(b), new(int)} }

func (f *memFile) Close() error { *f.closed++; return nil }

// errFile fails every read.
type errFile struct{ err error }

func (f errFile) ReadAt([]byte, int64) (int, error) { return 0, f.err }
func (f errFile) Close() error                      { return nil }

// openHost opens files of the host, as open_exec would.
func openHost(path string) (File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return nil, unix.EACCES
	}
	return os.Open(path)
}

// area is a mapping. file is nil for anonymous memory.
type area struct {
	start, end uint64
	prot       int
	file       File
	off        uint64
}

// fakeSpace models an address space with Linux's layout under ADDR_NO_RANDOMIZE and an 8 MiB stack limit.
type fakeSpace struct {
	t     testing.TB
	areas []area // sorted, disjoint
	pages map[uint64][]byte
	brk   uint64
	base  uint64 // mmap_base
	min   uint64 // mmap_min_addr
}

func newSpace(t testing.TB) *fakeSpace {
	return &fakeSpace{t: t, pages: map[uint64][]byte{}, base: taskSize - 128<<20}
}

// check holds what Load promises of each range.
func (as *fakeSpace) check(addr, length uint64) {
	as.t.Helper()
	if addr&pageMask != 0 || length&pageMask != 0 || length == 0 || length > taskSize || addr > taskSize-length {
		as.t.Fatalf("Load broke its contract: %#x bytes at %#x", length, addr)
	}
}

func (as *fakeSpace) MapFile(f File, off, addr, length uint64, prot int, how Placement) (uint64, error) {
	as.check(addr, length)
	if off&pageMask != 0 || off+length < off {
		as.t.Fatalf("Load broke its contract: offset %#x", off)
	}
	if off > 1<<63-1-length {
		return 0, unix.EOVERFLOW
	}
	switch {
	case how == Hint && (addr == 0 || !as.free(addr, length)):
		var ok bool
		if addr, ok = as.find(length); !ok {
			return 0, unix.ENOMEM
		}
	case how == FixedNoReplace && !as.free(addr, length):
		return 0, unix.EEXIST
	}
	return addr, as.put(area{addr, addr + length, prot, f, off})
}

func (as *fakeSpace) MapAnonymous(addr, length uint64, prot int) error {
	as.check(addr, length)
	return as.put(area{addr, addr + length, prot, nil, 0})
}

func (as *fakeSpace) Unmap(addr, length uint64) error {
	as.check(addr, length)
	as.cut(addr, addr+length)
	return nil
}

func (as *fakeSpace) MapStack(size uint64, prot int) (uint64, error) {
	as.check(taskSize-size, size)
	return taskSize, as.put(area{taskSize - size, taskSize, prot, nil, 0})
}

func (as *fakeSpace) SetBrk(start uint64) {
	if start&pageMask != 0 || start > taskSize {
		as.t.Fatalf("Load broke its contract: break at %#x", start)
	}
	as.brk = start
}

func (as *fakeSpace) put(a area) error {
	if a.start < as.min {
		return unix.EPERM
	}
	as.cut(a.start, a.end)
	as.areas = append(as.areas, a)
	sort.Slice(as.areas, func(i, j int) bool { return as.areas[i].start < as.areas[j].start })
	return nil
}

func (as *fakeSpace) cut(start, end uint64) {
	var keep []area
	for _, a := range as.areas {
		if a.end <= start || a.start >= end {
			keep = append(keep, a)
			continue
		}
		if a.start < start {
			l := a
			l.end = start
			keep = append(keep, l)
		}
		if a.end > end {
			r := a
			r.start, r.off = end, a.off+end-a.start
			keep = append(keep, r)
		}
	}
	as.areas = keep
	for p := range as.pages {
		if p >= start && p < end {
			delete(as.pages, p)
		}
	}
}

func (as *fakeSpace) free(addr, length uint64) bool {
	for _, a := range as.areas {
		if a.start < addr+length && addr < a.end {
			return false
		}
	}
	return true
}

// find looks for the highest gap below mmap_base.
func (as *fakeSpace) find(length uint64) (uint64, bool) {
	end := as.base
	for i := len(as.areas) - 1; i >= 0; i-- {
		a := as.areas[i]
		if a.start >= end {
			continue
		}
		if a.end <= end && end-a.end >= length {
			break
		}
		end = min(end, a.start)
	}
	if end < length || end-length < 0x10000 {
		return 0, false
	}
	return end - length, true
}

func (as *fakeSpace) at(addr uint64) *area {
	for i := range as.areas {
		if a := &as.areas[i]; a.start <= addr && addr < a.end {
			return a
		}
	}
	return nil
}

var errSIGBUS = errors.New("SIGBUS")

// page returns the page at addr for reading.
func (as *fakeSpace) page(addr uint64) ([]byte, error) {
	addr = pageStart(addr)
	if p, ok := as.pages[addr]; ok {
		return p, nil
	}
	a := as.at(addr)
	if a == nil {
		return nil, unix.EFAULT
	}
	p := make([]byte, pageSize)
	if a.file != nil {
		n, err := a.file.ReadAt(p, int64(a.off+addr-a.start))
		if err != nil && err != io.EOF {
			return nil, err
		}
		if n == 0 {
			return nil, fmt.Errorf("%w: %w", errSIGBUS, unix.EFAULT)
		}
	}
	return p, nil
}

func (as *fakeSpace) CopyOut(addr uint64, p []byte) (int, error) {
	done := 0
	for done < len(p) {
		at := addr + uint64(done)
		a := as.at(at)
		if a == nil || a.prot&unix.PROT_WRITE == 0 {
			return done, unix.EFAULT
		}
		page, err := as.page(at)
		if err != nil {
			return done, err
		}
		as.pages[pageStart(at)] = page
		done += copy(page[pageOffset(at):], p[done:])
	}
	return done, nil
}

// read reads memory whatever its protection.
func (as *fakeSpace) read(addr uint64, p []byte) error {
	for done := 0; done < len(p); {
		page, err := as.page(addr + uint64(done))
		if err != nil {
			return err
		}
		done += copy(p[done:], page[pageOffset(addr+uint64(done)):])
	}
	return nil
}
