package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"culvert/pipes"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// hostTestFile opens a new file of the host.
func hostTestFile(t testing.TB, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "out"), os.O_CREATE|os.O_RDWR|flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// ringWrite writes as ring 0 does; false if it would leave the write to the shim.
func (vm *fileVM) ringWrite(fd int32, s string) bool {
	vm.Helper()
	var o *output
	vm.in(func() {
		f, err := vm.t.files.file(fd)
		if err != nil {
			vm.Fatal(err)
		}
		if atomic.LoadUint64(&vm.k.guestFile(f.index).Kind) == abi.FileOutput {
			o = f.impl.(*hostFile).output
		}
	})
	if o == nil {
		return false
	}
	_, _, st, err := o.End.Write([]byte(s), pipes.Atomic)
	if err != nil {
		vm.Fatal(err)
	}
	return st == pipes.OK
}

// request is what Call does before it serves a request.
func (vm *fileVM) request(nr uintptr, args ...uint64) (int64, unix.Errno) {
	vm.in(vm.k.flushOutputs)
	return vm.call(nr, args...)
}

func content(t testing.TB, f *os.File) string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What was written is in the file before anything else is done with it.
func TestOutputFile(t *testing.T) {
	f := hostTestFile(t, 0)
	vm := newFileVM(t, nil, f)
	if !vm.ringWrite(1, "12345") {
		t.Fatal("standard output has no ring")
	}
	if n, e := vm.request(unix.SYS_LSEEK, 1, 0, unix.SEEK_CUR); n != 5 || e != 0 {
		t.Errorf("lseek = %d, %v", n, e)
	}
	vm.ringWrite(1, "67")
	if n, e := vm.request(unix.SYS_WRITE, 1, vm.str("89"), 2); n != 2 || e != 0 {
		t.Errorf("write = %d, %v", n, e)
	}
	vm.ringWrite(1, "abc")
	if _, e := vm.request(unix.SYS_FTRUNCATE, 1, 4); e != 0 {
		t.Errorf("ftruncate = %v", e)
	}
	if _, e := vm.request(unix.SYS_FSYNC, 1); e != 0 {
		t.Errorf("fsync = %v", e)
	}
	vm.ringWrite(1, "last")
	vm.in(func() { vm.k.finish(ExitStatus{Kind: Exited}) })
	if err := vm.k.Close(); err != nil {
		t.Error(err)
	}
	if got := content(t, f); got != "1234\x00\x00\x00\x00\x00\x00\x00\x00last" {
		t.Errorf("the file has %q", got)
	}
}

// Which standard files have rings, and what order two of them keep.
func TestOutputFileShared(t *testing.T) {
	again := func(f *os.File, flags int) *os.File {
		g, err := os.OpenFile(f.Name(), os.O_WRONLY|flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		return g
	}
	dup := func(f *os.File) *os.File {
		fd, err := unix.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		g := os.NewFile(uintptr(fd), f.Name())
		t.Cleanup(func() { g.Close() })
		return g
	}
	for _, c := range []struct {
		name     string
		out      *os.File
		err      func(*os.File) *os.File
		out1, e2 bool // have rings
	}{
		{"> out 2>&1", hostTestFile(t, 0), dup, true, true},
		{">> out 2>&1", hostTestFile(t, os.O_APPEND), dup, true, true},
		{">> out 2>> out", hostTestFile(t, os.O_APPEND), func(f *os.File) *os.File { return again(f, os.O_APPEND) }, false, false},
		{"> out 2> err", hostTestFile(t, 0), func(*os.File) *os.File { return hostTestFile(t, 0) }, true, true},
		{"O_SYNC", hostTestFile(t, os.O_SYNC), dup, false, false},
	} {
		second := c.err(c.out)
		vm := newFileVM(t, nil, c.out, second)
		want := ""
		for i := range 20 {
			fd, line := int32(1+i%2), fmt.Sprintf("line %d\n", i)
			if got := vm.ringWrite(fd, line); got != [...]bool{c.out1, c.e2}[fd-1] {
				t.Fatalf("%s: descriptor %d has a ring: %v", c.name, fd, got)
			} else if !got {
				vm.write(uint64(fd), line)
			}
			want += line
		}
		vm.in(func() { vm.k.finish(ExitStatus{Kind: Exited}) })
		if err := vm.k.Close(); err != nil {
			t.Error(err)
		}
		if got := content(t, c.out); second.Name() == c.out.Name() && got != want {
			t.Errorf("%s: the file has %q", c.name, got)
		}
	}
}

// newFullVM has written 5 bytes to the ring of a standard output whose file turns out to have no room.
func newFullVM(t *testing.T) *fileVM {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { full.Close() })
	vm := newFileVM(t, nil, hostTestFile(t, 0))
	vm.in(func() { vm.k.outputs[0].FD = int(full.Fd()) })
	vm.ringWrite(1, "12345")
	return vm
}

// An error of the host is told once to a write and once to an fsync, and at the end.
func TestOutputFileError(t *testing.T) {
	vm := newFullVM(t)
	a := vm.str("x")
	for i, want := range []unix.Errno{unix.ENOSPC, 0} {
		if _, e := vm.request(unix.SYS_WRITE, 1, a, 1); e != want {
			t.Errorf("write %d: %v, want %v", i, e, want)
		}
		if _, e := vm.request(unix.SYS_FSYNC, 1); e != want {
			t.Errorf("fsync %d: %v, want %v", i, e, want)
		}
	}
	if vm.ringWrite(1, "6") {
		t.Error("there is a ring after an error")
	}
	vm.in(func() { vm.k.finish(ExitStatus{Kind: Exited}) })
	if err := vm.k.Close(); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "standard output: 5 bytes") {
		t.Errorf("at the end: %v", err)
	}
}

// A close tells of an error that no write has told of.
func TestOutputFileClose(t *testing.T) {
	vm := newFullVM(t)
	for _, want := range []unix.Errno{unix.ENOSPC, unix.EBADF} {
		if _, e := vm.request(unix.SYS_CLOSE, 1); e != want {
			t.Errorf("close: %v, want %v", e, want)
		}
	}
}

// Words that lie end the VM.
func TestOutputFileHostile(t *testing.T) {
	for name, lie := range map[string]func(*pipes.Pipe){
		"tail":   func(q *pipes.Pipe) { atomic.StoreUint64(&q.Tail, 1<<63) },
		"head":   func(q *pipes.Pipe) { atomic.StoreUint64(&q.Head, 1<<40) },
		"size":   func(q *pipes.Pipe) { atomic.StoreUint64(&q.Size, 1<<40); atomic.StoreUint64(&q.Tail, 1<<30) },
		"locked": func(q *pipes.Pipe) { atomic.StoreUint64(&q.ReadLock, 1); atomic.StoreUint64(&q.Tail, 10) },
	} {
		f := hostTestFile(t, 0)
		vm := newFileVM(t, nil, f)
		vm.in(func() { lie(vm.k.outputs[0].End.Pipe); vm.k.flushOutputs() })
		vm.k.Close()
		if st, err := f.Stat(); err != nil || st.Size() > 4<<20 {
			t.Errorf("%s: the file has %d bytes, %v", name, st.Size(), err)
		}
	}
}
