package strace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// flatMem is memory at base, nothing elsewhere.
type flatMem struct {
	base  uint64
	bytes []byte
	read  int // bytes asked for so far
}

func (m *flatMem) CopyIn(addr uint64, p []byte) (int, error) {
	m.read += len(p)
	if addr < m.base || addr-m.base > uint64(len(m.bytes)) {
		return 0, unix.EFAULT
	}
	n := copy(p, m.bytes[addr-m.base:])
	if n < len(p) {
		return n, unix.EFAULT
	}
	return n, nil
}

// TestNumbers compares the table with the kernel's header.
func TestNumbers(t *testing.T) {
	const header = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
	b, err := os.ReadFile(header)
	if err != nil {
		t.Skip(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^#define __NR_(\w+) (\d+)$`).FindAllStringSubmatch(string(b), -1) {
		nr, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if nr > 462 {
			continue
		}
		if got := Name(nr); got != m[1] {
			t.Errorf("Name(%d) = %q, want %q", nr, got, m[1])
		}
		if got, ok := Number(m[1]); !ok || got != nr {
			t.Errorf("Number(%q) = %d, %v, want %d", m[1], got, ok, nr)
		}
	}
	if len(syscalls) != 463 {
		t.Errorf("the table ends at %d, want 462", len(syscalls)-1)
	}
	for nr := range syscalls { // 335 to 423 and nothing else is unused
		if gap := nr > 334 && nr < 424; (syscalls[nr].name == "") != gap {
			t.Errorf("call %d is named %q", nr, syscalls[nr].name)
		}
	}
	if name := Name(5000); name != "" {
		t.Errorf("Name(5000) = %q", name)
	}
	if _, ok := Number(""); ok {
		t.Error("the empty name has a number")
	}
}

func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		set  string
		has  string
		lack string
	}{
		{"", "read openat kill exit_group", ""},
		{"all", "read kill", ""},
		{"none", "", "read kill"},
		{"read", "read", "write kill"},
		{"read,write", "read write", "kill"},
		{"!read", "write kill", "read"},
		{"!read,write", "kill", "read write"},
		{"file", "openat stat execve", "read kill"},
		{"%file,read", "openat stat execve read", "kill write"},
		{"!%file", "read kill", "openat stat"},
		{"process", "clone exit_group wait4 kill", "read"},
		{"network", "socket sendfile", "read"},
		{"net", "socket", "read"},
		{"signal", "kill rt_sigaction", "read"},
		{"ipc", "shmget semop msgrcv", "read"},
		{"desc", "read close epoll_wait", "kill"},
		{"memory", "mmap brk", "read"},
		{"%creds", "getuid", "read"},
		{"none,read", "read", "write"},
	} {
		f, err := ParseFilter(tt.set)
		if err != nil {
			t.Errorf("%q: %v", tt.set, err)
			continue
		}
		for want, names := range map[bool]string{true: tt.has, false: tt.lack} {
			for _, name := range strings.Fields(names) {
				nr, ok := Number(name)
				if !ok || f.Has(nr) != want {
					t.Errorf("%q: Has(%s) = %v, want %v", tt.set, name, f.Has(nr), want)
				}
			}
		}
	}
	for set, unnamed := range map[string]bool{"all": true, "read": false, "!read": true, "none": false} {
		f, err := ParseFilter(set)
		if err != nil || f.Has(400) != unnamed || f.Has(1<<63) != unnamed {
			t.Errorf("%q: calls without a name: %v, %v, want %v", set, f.Has(400), err, unnamed)
		}
	}
	for _, set := range []string{"raed", "%read", "read,", ",", "!", "read,!write", "%", "%nonesuch", "READ"} {
		if _, err := ParseFilter(set); err == nil {
			t.Errorf("%q is accepted", set)
		} else if !strings.Contains(err.Error(), strconv.Quote(set)) {
			t.Errorf("%q: the error does not name it: %v", set, err)
		}
	}
}

// TestClasses compares the classes with strace's.
func TestClasses(t *testing.T) {
	bin := compile(t, "every")
	for _, c := range classes {
		f, err := ParseFilter("%" + c.name)
		if err != nil {
			t.Fatal(err)
		}
		strace, err := exec.LookPath("strace")
		if err != nil {
			t.Skip(err)
		}
		out, err := exec.Command(strace, "-e", "trace=%"+c.name, bin, "0").CombinedOutput()
		if err != nil {
			t.Fatalf("strace: %v", err)
		}
		want := map[string]bool{}
		for line := range strings.Lines(string(out)) {
			name, _, _ := strings.Cut(line, "(")
			want[name] = true
		}
		for nr := range uint64(451) { // strace 6.1 ends there
			// The program leaves out exit, which would end it.
			if name := Name(nr); name != "" && name != "exit" && f.Has(nr) != want[name] {
				t.Errorf("%%%s has %s: %v, want %v", c.name, name, f.Has(nr), want[name])
			}
		}
	}
}

// nr returns a call's number.
func nr(t *testing.T, name string) uint64 {
	t.Helper()
	n, ok := Number(name)
	if !ok {
		t.Fatalf("no call %q", name)
	}
	return n
}

// TestPrinter follows several processes. The text is what strace 6.1 -f writes for the same events.
func TestPrinter(t *testing.T) {
	var out strings.Builder
	p := NewPrinter(&out, All())
	mem := &flatMem{base: 0x1000, bytes: append([]byte("hello\x00"), make([]byte, 100)...)}
	chld := make([]byte, siginfoSize)
	le.PutUint32(chld, 17)
	le.PutUint32(chld[8:], 1)
	le.PutUint32(chld[16:], 8)
	segv := make([]byte, siginfoSize)
	le.PutUint32(segv, 11)
	le.PutUint32(segv[8:], 1)

	p.Entry(7, nr(t, "read"), [6]uint64{3, 0x1000, 100}, mem)
	p.Exit(7, 5, mem)
	p.Entry(7, nr(t, "clone"), [6]uint64{0x1200011, 0, 0, 0x2000, 0}, mem)
	p.Start(8)
	p.Entry(8, nr(t, "close"), [6]uint64{4}, mem)
	p.Exit(7, 8, mem)
	p.Exit(8, 0, mem)
	p.Entry(7, nr(t, "wait4"), [6]uint64{^uint64(0), 0, 0, 0}, mem)
	p.Entry(8, nr(t, "kill"), [6]uint64{7, 15}, mem)
	p.Exit(8, 0, mem)
	p.Entry(8, nr(t, "exit_group"), [6]uint64{3}, mem)
	p.Exited(8, 3)
	p.Exit(7, 8, mem)
	p.Signal(7, chld)
	p.Entry(7, nr(t, "pause"), [6]uint64{}, mem)
	p.Exit(7, ^uint64(513), mem)
	p.Stopped(7, 19)
	p.Entry(7, 5000, [6]uint64{1, 2, 3, 4, 5, 6}, mem)
	p.Exit(7, ^uint64(37), mem)
	p.Signal(7, segv)
	p.Entry(7, nr(t, "read"), [6]uint64{0, 0x1000, 1}, mem)
	p.Killed(7, 11, true)
	want := `
read(3, "hello", 100)                   = 5
clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>
[pid     8] close(4 <unfinished ...>
[pid     7] <... clone resumed>, child_tidptr=0x2000) = 8
[pid     8] <... close resumed>)        = 0
[pid     7] wait4(-1,  <unfinished ...>
[pid     8] kill(7, SIGTERM)            = 0
[pid     8] exit_group(3)               = ?
[pid     8] +++ exited with 3 +++
<... wait4 resumed>NULL, 0, NULL)       = 8
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8, si_uid=0, si_status=0, si_utime=0, si_stime=0} ---
pause()                                 = ? ERESTARTNOHAND (To be restarted if no handler)
--- stopped by SIGSTOP ---
syscall_0x1388(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)
--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---
read(0,  <unfinished ...>)              = ?
+++ killed by SIGSEGV (core dumped) +++
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
	if p.Err() != nil || len(p.calls) != 0 || len(p.alive) != 0 {
		t.Errorf("left over: %v, %d calls, %d processes", p.Err(), len(p.calls), len(p.alive))
	}
}

// TestProcesses runs a shell with children under both tracers and compares what each process did. The order of lines of
// different processes is not compared.
func TestProcesses(t *testing.T) {
	sh, err := exec.LookPath("dash")
	if err != nil {
		t.Skip(err)
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip(err)
	}
	argv := []string{sh, "-c", "/bin/true; /bin/echo a | /bin/cat; exit 3"}
	var real []byte
	noRandom(t, func() {
		cmd := exec.Command(strace, append([]string{"-f", "-e", "trace=!none", "--"}, argv...)...)
		cmd.Env = []string{"A=b"}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run() // exit status 3
		real = stderr.Bytes()
	})
	own := ownTrace(t, argv, follow)
	for _, call := range []string{"clone(", "execve(", "exit_group(", "+++ exited with 0", "+++ exited with 3", "write(1, \"a\\n\""} {
		// The tracer of this test attaches after the first execve.
		got, want := strings.Count(own, call), bytes.Count(real, []byte(call))
		if call == "execve(" {
			want--
		}
		if got != want || got == 0 {
			t.Errorf("%q occurs %d times, want %d\n%s", call, got, want, own)
		}
	}
	if !strings.Contains(own, "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=") { // two may become one
		t.Errorf("no SIGCHLD\n%s", own)
	}
	prefixed := regexp.MustCompile(`(?m)^\[pid +\d+\] (\+\+\+|---|<\.\.\. \w+ resumed>|\w+\()`)
	for line := range strings.Lines(own) {
		if strings.HasPrefix(line, "[pid") && !prefixed.MatchString(line) {
			t.Errorf("malformed line %q", line)
		}
	}
	if strings.Count(own, "<unfinished ...>\n") != strings.Count(own, " resumed>") {
		t.Error("lines that were broken were not all resumed")
	}
}

// TestSuperseded lets a thread that does not lead its process execute a program.
func TestSuperseded(t *testing.T) {
	var out strings.Builder
	p := NewPrinter(&out, All())
	mem := &flatMem{base: 0x1000, bytes: []byte("/p\x00")}
	p.Entry(7, nr(t, "pause"), [6]uint64{}, mem)
	p.Entry(8, nr(t, "execve"), [6]uint64{0x1000}, mem)
	p.Superseded(7, 8)
	p.Exit(7, 0, mem)
	p.Exited(7, 0)
	want := `
pause( <unfinished ...>
[pid     8] execve("/p", NULL, NULL <unfinished ...>
[pid     7] +++ superseded by execve in pid 8 +++
<... execve resumed>)                   = 0
+++ exited with 0 +++
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
	if len(p.calls) != 0 || len(p.alive) != 0 {
		t.Errorf("left over: %d calls, %d processes", len(p.calls), len(p.alive))
	}
}

func TestFilterInPrinter(t *testing.T) {
	var out strings.Builder
	f, err := ParseFilter("close")
	if err != nil {
		t.Fatal(err)
	}
	p := NewPrinter(&out, f)
	mem := &flatMem{}
	for _, name := range []string{"read", "close", "write"} {
		p.Entry(7, nr(t, name), [6]uint64{3}, mem)
		p.Exit(7, 0, mem)
	}
	if got, want := out.String(), "close(3)                                = 0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type failingWriter struct{ n int }

func (w *failingWriter) Write(p []byte) (int, error) {
	w.n++
	return 0, io.ErrClosedPipe
}

func TestWriteError(t *testing.T) {
	w := &failingWriter{}
	p := NewPrinter(w, All())
	p.Entry(1, nr(t, "getpid"), [6]uint64{}, &flatMem{})
	p.Exit(1, 1, &flatMem{})
	if !errors.Is(p.Err(), io.ErrClosedPipe) || w.n != 1 {
		t.Errorf("error %v after %d writes, want one failed write", p.Err(), w.n)
	}
}

// decode shows one call that returned ret.
func decode(c call, ret uint64, mem Memory) string {
	b := enter(nil, &c, mem)
	return string(exit(b, len(b), &c, ret, mem))
}

// TestBounds gives each call arguments that point at endless hostile memory, and checks what it costs.
func TestBounds(t *testing.T) {
	for nr := range uint64(len(syscalls) + 1) {
		for _, fill := range []byte{0xff, 0x01, 0x00, 'A'} {
			for _, huge := range []uint64{1 << 20, 1<<32 - 1, 1 << 40, ^uint64(0) >> 1} {
				m := &endless{fill: fill}
				c := call{nr: nr, args: [6]uint64{huge, 0x10000, huge, 0x10000, huge, 0x10000}}
				c2 := call{nr: nr, args: [6]uint64{0x10000, huge, 0x10000, huge, 0x10000, huge}}
				for _, c := range []call{c, c2} {
					m.read, m.calls = 0, 0
					text := decode(c, huge, m)
					if m.read > 2*maxRead || m.calls > 8192 || len(text) > 3*(maxText+8) {
						t.Fatalf("%s(%x), memory of %#x: read %d bytes in %d calls, %d bytes of text",
							callName(nr), c.args, fill, m.read, m.calls, len(text))
					}
				}
			}
		}
	}
}

// endless is memory that is mapped everywhere.
type endless struct {
	fill        byte
	read, calls int
}

func (m *endless) CopyIn(_ uint64, p []byte) (int, error) {
	m.read += len(p)
	m.calls++
	for i := range p {
		p[i] = m.fill
	}
	return len(p), nil
}

// FuzzDecode decodes any call with any arguments and memory. The text must be one line of printable characters.
func FuzzDecode(f *testing.F) {
	f.Add(uint64(0), uint64(3), uint64(0x1000), uint64(5), uint64(0), uint64(0), uint64(0), uint64(5), []byte("hello"))
	for nr := range uint64(len(syscalls)) {
		for _, v := range []uint64{0, 0x1000, 2} {
			f.Add(nr, v, uint64(0x1000), uint64(0x1010), uint64(0x1000), uint64(0x1008), v, uint64(1), bytes.Repeat([]byte{16, 0x10, 0, 0, 0, 0, 0, 0}, 16))
		}
	}
	f.Fuzz(func(t *testing.T, nr, a0, a1, a2, a3, a4, a5, ret uint64, mem []byte) {
		m := &flatMem{base: 0x1000, bytes: mem}
		text := decode(call{nr: nr, args: [6]uint64{a0, a1, a2, a3, a4, a5}}, ret, m)
		if m.read > 2*maxRead || len(text) > 3*(maxText+8) {
			t.Fatalf("read %d bytes, %d bytes of text", m.read, len(text))
		}
		for i, c := range []byte(text) {
			if c < ' ' || c > '~' {
				t.Fatalf("byte %#x at %d of %q", c, i, text)
			}
		}
		var out strings.Builder
		p := NewPrinter(&out, All())
		p.Signal(1, mem)
		if s := out.String(); strings.Count(s, "\n") != 1 || !strings.HasPrefix(s, "--- ") {
			t.Fatalf("signal %q", s)
		}
	})
}

func ExamplePrinter() {
	var out strings.Builder
	f, err := ParseFilter("file,!nothing")
	fmt.Println(err)
	f, err = ParseFilter("%file")
	if err != nil {
		fmt.Println(err)
		return
	}
	p := NewPrinter(&out, f)
	mem := &flatMem{base: 0x1000, bytes: []byte("/etc/passwd\x00")}
	atFDCWD := ^uint64(99)
	p.Entry(1, unix.SYS_OPENAT, [6]uint64{atFDCWD, 0x1000, unix.O_CLOEXEC}, mem)
	p.Exit(1, ^uint64(unix.ENOENT-1), mem)
	fmt.Print(out.String())
	// Output:
	// set of system calls "file,!nothing": "!nothing" is neither a system call nor a class (%file, %process, %network, %net, %signal, %ipc, %desc, %memory, %creds, %clock, %pure)
	// openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)
}
