package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestArgumentLimits finds, for several shapes of arguments and stack limits, the size at which Parse starts to fail,
// and executes exactly there on the host.
func TestArgumentLimits(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &old); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_STACK, &old); err != nil {
			t.Error(err)
		}
	}()
	prog := writeExec(t, "prog", program(elf.ET_EXEC, 0x400000).bytes())
	script := writeExec(t, "script", []byte("#!"+prog+" some argument\n"))
	large := strings.Repeat("a", 100000)
	shapes := []struct {
		name string
		make func(n int) (argv, envp []string)
	}{
		{"one string", func(n int) ([]string, []string) { return []string{"p", strings.Repeat("x", n)}, nil }},
		{"many large", func(n int) ([]string, []string) {
			return append(slices.Repeat([]string{large}, n/100000), large[:n%100000]), []string{"A=b"}
		}},
		{"many empty", func(n int) ([]string, []string) { return make([]string, n), nil }},
		{"large environment", func(n int) ([]string, []string) {
			return []string{"p"}, append(slices.Repeat([]string{large}, n/100000), large[:n%100000])
		}},
	}
	for _, limit := range []uint64{4096, 64 << 10, 256 << 10, 1 << 20, 8 << 20, 64 << 20, unix.RLIM_INFINITY} {
		for _, path := range []string{prog, script} {
			for _, shape := range shapes {
				t.Run(fmt.Sprintf("%d/%s/%s", limit>>10, path[strings.LastIndexByte(path, '/')+1:], shape.name), func(t *testing.T) {
					if limit > old.Max {
						t.Skip("above the hard limit")
					}
					parse := func(n int) error {
						argv, envp := shape.make(n)
						f, err := openHost(path)
						if err != nil {
							t.Fatal(err)
						}
						defer f.Close()
						im, err := Parse(f, Args{Path: path, Argv: argv, Envp: envp, StackLimit: limit}, openHost)
						if err != nil {
							if !errors.Is(err, unix.E2BIG) {
								t.Fatal(err)
							}
							return err
						}
						return im.Close()
					}
					bad := sort.Search(7<<20, func(n int) bool { return parse(n) != nil })
					if err := unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
						t.Fatal(err)
					}
					for _, n := range []int{bad - 1, bad} {
						argv, envp := shape.make(n)
						// An accepted program may still find no room for the pointers and die.
						err := (&exec.Cmd{Path: path, Args: argv, Env: append([]string{}, envp...)}).Run()
						if got, want := errors.Is(err, unix.E2BIG), n == bad; got != want {
							t.Errorf("size %d: the host says %v, Parse says E2BIG: %v", n, err, want)
						}
					}
				})
			}
		}
	}
}

func TestEmptyArgv(t *testing.T) {
	im, err := Parse(newFile(program(elf.ET_EXEC, 0x400000).bytes()), Args{Path: "/p"}, nil)
	if err != nil || !slices.Equal(im.Argv(), []string{""}) {
		t.Errorf("Parse: %v, argv %q, want one empty string", err, im.Argv())
	}
	_, err = Parse(newFile(nil), Args{Path: "/p", Argv: []string{"a\x00b"}}, nil)
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("NUL in an argument: %v, want EINVAL", err)
	}
}

func TestScriptArguments(t *testing.T) {
	files := map[string]*memFile{
		"/bin/x": newFile(program(elf.ET_EXEC, 0x400000).bytes()),
		"in":     newFile([]byte("#!/bin/x a b \n")),
	}
	open := func(path string) (File, error) {
		f, ok := files[path]
		if !ok {
			return nil, unix.ENOENT
		}
		return f, nil
	}
	own := newFile([]byte("#!in\n"))
	im, err := Parse(own, Args{Path: "./s", Argv: []string{"zero", "one", "two"}}, open)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/bin/x", "a b", "in", "./s", "one", "two"}; !slices.Equal(im.Argv(), want) {
		t.Errorf("argv %q, want %q", im.Argv(), want)
	}
	if im.File() != File(files["/bin/x"]) {
		t.Error("File is not the last interpreter")
	}
	if err := errors.Join(im.Close(), im.Close()); err != nil {
		t.Fatal(err)
	}
	if *files["/bin/x"].closed != 1 || *files["in"].closed != 1 || *own.closed != 0 {
		t.Errorf("closed %d and %d times, the caller's %d; want 1, 1, 0",
			*files["/bin/x"].closed, *files["in"].closed, *own.closed)
	}
	_, err = Parse(own, Args{Path: "/dev/fd/3", PathInaccessible: true}, open)
	if !errors.Is(err, unix.ENOENT) {
		t.Errorf("script on a close-on-exec descriptor: %v, want ENOENT", err)
	}
	files["/bin/x"] = newFile([]byte("junk"))
	if _, err = Parse(own, Args{Path: "./s"}, open); !errors.Is(err, unix.ENOEXEC) {
		t.Errorf("junk interpreter: %v, want ENOEXEC", err)
	}
	if *files["/bin/x"].closed != 1 || *files["in"].closed != 2 {
		t.Error("a failed Parse left interpreters open")
	}
}

func TestReadErrors(t *testing.T) {
	for _, tt := range []struct{ err, want error }{
		{unix.EACCES, unix.EACCES}, {fmt.Errorf("disk: %w", unix.ENODEV), unix.ENODEV}, {errors.New("gone"), unix.EIO},
		{io.EOF, unix.ENOEXEC},
	} {
		if _, err := Parse(errFile{tt.err}, Args{Path: "/p"}, nil); !errors.Is(err, tt.want) {
			t.Errorf("read fails with %v: %v, want %v", tt.err, err, tt.want)
		}
	}
}

func TestRandomOffsets(t *testing.T) {
	rnd := Random{PIE: 0x12345000, SP: 8191, Brk: 0x777000}
	load := func(im *image, rnd Random) *Start {
		t.Helper()
		open := func(string) (File, error) { return newFile(program(elf.ET_DYN, 0).bytes()), nil }
		img, err := Parse(newFile(im.bytes()), Args{Path: "/p", Argv: []string{"p"}, StackLimit: 8 << 20}, open)
		if err != nil {
			t.Fatal(err)
		}
		s, err := img.Load(newSpace(t), Platform{}, rnd)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	pie := func() *image { return program(elf.ET_DYN, 0).addInterp("/ld.so") }
	a, b := load(pie(), Random{}), load(pie(), rnd)
	if b.Bias-a.Bias != rnd.PIE || b.Brk-a.Brk != rnd.PIE+rnd.Brk+pageSize {
		t.Errorf("PIE moved by %#x, its break by %#x", b.Bias-a.Bias, b.Brk-a.Brk)
	}
	if d := a.SP - b.SP; d < 8176 || d > 8192 || b.SP%16 != 0 {
		t.Errorf("stack pointer moved by %d to %#x", d, b.SP)
	}
	static := load(program(elf.ET_DYN, 0), rnd)
	if want := pageStart(elfETDynBase+pageMask) + rnd.Brk; static.Brk != want {
		t.Errorf("break of a static PIE at %#x, want %#x", static.Brk, want)
	}
}

// TestLoadErrors lets each call of Load on its address space fail in turn.
func TestLoadErrors(t *testing.T) {
	data := program(elf.ET_DYN, 0).add(seg(rw, 0x1234, 0x5234, 0x234, 0x5234)).addInterp("/ld.so").bytes()
	ld := newFile(data)
	im, err := Parse(newFile(data), Args{Path: "/p", Argv: []string{"p"}, StackLimit: 8 << 20},
		func(string) (File, error) { return ld, nil })
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		as := &failing{fakeSpace: newSpace(t), left: n}
		_, err := im.Load(as, Platform{}, Random{})
		if as.left > 0 {
			if err != nil || n < 8 {
				t.Fatalf("no call failed, %d calls: %v", n, err)
			}
			return
		}
		if !errors.Is(err, unix.ENOMEM) {
			t.Errorf("call %d fails: %v, want ENOMEM", n, err)
		}
	}
}

// failing lets the call that brings left to 0 fail.
type failing struct {
	*fakeSpace
	left int
}

func (as *failing) fail() error {
	if as.left--; as.left == 0 {
		return unix.ENOMEM
	}
	return nil
}

func (as *failing) MapFile(f File, off, addr, length uint64, prot int, how Placement) (uint64, error) {
	if err := as.fail(); err != nil {
		return 0, err
	}
	return as.fakeSpace.MapFile(f, off, addr, length, prot, how)
}

func (as *failing) MapAnonymous(addr, length uint64, prot int) error {
	if err := as.fail(); err != nil {
		return err
	}
	return as.fakeSpace.MapAnonymous(addr, length, prot)
}

func (as *failing) Unmap(addr, length uint64) error {
	if err := as.fail(); err != nil {
		return err
	}
	return as.fakeSpace.Unmap(addr, length)
}

func (as *failing) MapStack(size uint64, prot int) (uint64, error) {
	if err := as.fail(); err != nil {
		return 0, err
	}
	return as.fakeSpace.MapStack(size, prot)
}

func (as *failing) CopyOut(addr uint64, p []byte) (int, error) {
	if err := as.fail(); err != nil {
		return 0, err
	}
	return as.fakeSpace.CopyOut(addr, p)
}

// FuzzParse parses and loads a hostile program with a hostile interpreter, and checks what comes out: errors carry an
// errno, Load keeps its promises to the address space (fakeSpace fails if not), and the stack is well formed. Inputs are
// large: run it with -fuzzminimizetime=5x.
func FuzzParse(f *testing.F) {
	interp := program(elf.ET_DYN, 0).bytes()
	dir := f.TempDir()
	for _, set := range [][]hostileCase{headerCases, segmentCases, interpCases, scriptCases} {
		for _, tt := range set {
			f.Add(tt.make(dir), interp, tt.name)
		}
	}
	small := program(elf.ET_DYN, 0).addInterp("/ld.so")
	f.Add(small.bytes(), program(elf.ET_EXEC, 0x400000).bytes(), "A=b")
	f.Fuzz(func(t *testing.T, prog, interp []byte, arg string) {
		opened, closed := 0, 0
		open := func(path string) (File, error) {
			if strings.IndexByte(path, 0) >= 0 || path == "" {
				t.Fatalf("opened %q", path)
			}
			opened++
			return countingFile{newFile(interp), &closed}, nil
		}
		args := Args{Path: "/p", Argv: []string{arg, "x"}, Envp: []string{arg}, StackLimit: 8 << 20}
		im, err := Parse(newFile(prog), args, open)
		if err == nil {
			as := newSpace(t)
			as.min = 0x10000
			var s *Start
			if s, err = im.Load(as, Platform{Random: [16]byte{1}}, Random{}); err == nil {
				checkStart(t, as, im, s)
			}
			if cerr := im.Close(); cerr != nil {
				t.Fatal(cerr)
			}
		}
		if errno := unix.Errno(0); err != nil && !errors.As(err, &errno) {
			t.Fatalf("no errno in %v", err)
		}
		if opened != closed || opened > MaxInterpreters+2 {
			t.Fatalf("%d interpreters opened, %d closed", opened, closed)
		}
	})
}

type countingFile struct {
	File
	closed *int
}

func (f countingFile) Close() error { *f.closed++; return nil }

func checkStart(t *testing.T, as *fakeSpace, im *Image, s *Start) {
	if s.Entry >= taskSize || s.SP%16 != 0 || s.SP >= taskSize {
		t.Fatalf("entry %#x, stack pointer %#x", s.Entry, s.SP)
	}
	buf := make([]byte, taskSize-s.SP)
	if err := as.read(s.SP, buf); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if n := le.Uint64(buf); n != uint64(len(im.argv)) {
		t.Fatalf("argc %d, want %d", n, len(im.argv))
	}
	for i, want := range im.argv {
		at := le.Uint64(buf[8+8*i:]) - s.SP
		if !bytes.HasPrefix(buf[at:], append([]byte(want), 0)) {
			t.Fatalf("argument %d is not %q", i, want)
		}
	}
}
