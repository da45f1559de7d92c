package strace

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// procMem is the memory of a process of the host.
type procMem struct{ *os.File }

func (m procMem) CopyIn(addr uint64, p []byte) (int, error) {
	if addr > 1<<63-1 {
		return 0, unix.EFAULT
	}
	return m.ReadAt(p, int64(addr))
}

// noRandom runs f on a thread whose children have no address-space randomisation.
func noRandom(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread() // personality and ptrace belong to a thread
	defer runtime.UnlockOSThread()
	const noRandomize = 0x0040000 // ADDR_NO_RANDOMIZE
	old, _, errno := syscall.RawSyscall(syscall.SYS_PERSONALITY, noRandomize, 0, 0)
	if errno != 0 {
		t.Skipf("personality: %v", errno)
	}
	defer syscall.RawSyscall(syscall.SYS_PERSONALITY, old, 0, 0)
	f()
}

// follow is what ownTrace needs to trace children too.
const follow = syscall.PTRACE_O_TRACECLONE | syscall.PTRACE_O_TRACEFORK | syscall.PTRACE_O_TRACEVFORK

// ownTrace runs a program under ptrace and prints its system calls with this package.
func ownTrace(t *testing.T, argv []string, options int) string {
	t.Helper()
	var out bytes.Buffer
	noRandom(t, func() {
		cmd := &exec.Cmd{Path: argv[0], Args: argv, Env: []string{"A=b"}, Dir: t.TempDir(), SysProcAttr: &syscall.SysProcAttr{Ptrace: true}}
		if err := cmd.Start(); err != nil {
			t.Fatalf("start %s under ptrace: %v", argv[0], err)
		}
		tr := &tracer{t: t, p: NewPrinter(&out, All()), mem: map[int]procMem{}, inside: map[int]bool{}}
		tr.run(cmd.Process.Pid, options)
		for _, m := range tr.mem {
			m.Close()
		}
		_ = cmd.Wait() // the process was already waited for
	})
	return out.String()
}

type tracer struct {
	t      *testing.T
	p      *Printer
	mem    map[int]procMem
	inside map[int]bool // between entry and return
}

func (tr *tracer) add(pid int) {
	if _, ok := tr.mem[pid]; ok {
		return
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.mem[pid] = procMem{f}
	tr.p.Start(pid)
}

func (tr *tracer) run(pid, options int) {
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, syscall.WALL, nil); err != nil {
		tr.t.Fatal(err)
	}
	if err := syscall.PtraceSetOptions(pid, options|syscall.PTRACE_O_TRACESYSGOOD|syscall.PTRACE_O_TRACEEXEC|unix.PTRACE_O_EXITKILL); err != nil {
		tr.t.Fatal(err)
	}
	tr.add(pid)
	tr.cont(pid, 0)
	for len(tr.mem) > 0 {
		pid, err := syscall.Wait4(-1, &ws, syscall.WALL, nil)
		if err != nil {
			tr.t.Fatal(err)
		}
		tr.event(pid, ws)
	}
}

func (tr *tracer) cont(pid, sig int) {
	if err := syscall.PtraceSyscall(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		tr.t.Fatal(err)
	}
}

func (tr *tracer) event(pid int, ws syscall.WaitStatus) {
	switch {
	case ws.Exited():
		tr.p.Exited(pid, ws.ExitStatus())
		tr.drop(pid)
	case ws.Signaled():
		tr.p.Killed(pid, int(ws.Signal()), ws.CoreDump())
		tr.drop(pid)
	case ws.StopSignal() == syscall.SIGTRAP|0x80:
		tr.syscallStop(pid)
		tr.cont(pid, 0)
	case ws.StopSignal() == syscall.SIGTRAP && uint32(ws)>>16 != 0: // clone, exec and so on
		if uint32(ws)>>16 == syscall.PTRACE_EVENT_EXEC {
			tr.mem[pid].Close()
			delete(tr.mem, pid)
			tr.add(pid)
		}
		tr.cont(pid, 0)
	case ws.StopSignal() == syscall.SIGSTOP && tr.mem[pid].File == nil: // a new child
		tr.add(pid)
		tr.cont(pid, 0)
	default:
		info := make([]byte, siginfoSize)
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, unix.PTRACE_GETSIGINFO, uintptr(pid), 0,
			reflect.ValueOf(info).Pointer(), 0, 0)
		runtime.KeepAlive(info)
		if errno != 0 { // a group stop
			tr.p.Stopped(pid, int(ws.StopSignal()))
			tr.cont(pid, 0)
			return
		}
		tr.p.Signal(pid, info)
		tr.cont(pid, int(ws.StopSignal()))
	}
}

func (tr *tracer) drop(pid int) {
	if m, ok := tr.mem[pid]; ok {
		m.Close()
		delete(tr.mem, pid)
	}
}

func (tr *tracer) syscallStop(pid int) {
	var r syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(pid, &r); err != nil {
		tr.t.Fatal(err)
	}
	tr.add(pid)
	if tr.inside[pid] {
		tr.p.Exit(pid, r.Rax, tr.mem[pid])
	} else {
		tr.p.Entry(pid, r.Orig_rax, [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}, tr.mem[pid])
	}
	tr.inside[pid] = !tr.inside[pid]
}

// realTrace runs a program under strace.
func realTrace(t *testing.T, argv []string) string {
	t.Helper()
	bin, err := exec.LookPath("strace")
	if err != nil {
		t.Skip(err)
	}
	version, err := exec.Command(bin, "-V").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(bytes.SplitN(version, []byte("\n"), 2)[0], []byte(" 6.1")) {
		t.Skipf("the text to match is strace 6.1's: %.60s", version)
	}
	out := filepath.Join(t.TempDir(), "trace")
	noRandom(t, func() {
		cmd := exec.Command(bin, append([]string{"-o", out, "--"}, argv...)...)
		cmd.Env, cmd.Dir = []string{"A=b"}, t.TempDir()
		if b, err := cmd.CombinedOutput(); err != nil {
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
				t.Fatalf("strace: %v: %s", err, b)
			}
		}
	})
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compile builds a C program of testdata.
func compile(t *testing.T, name string) string {
	t.Helper()
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip(err)
	}
	// The name is long enough to be the same under both tracers: the path lies on the program's stack.
	bin := filepath.Join(t.TempDir(), name)
	if b, err := exec.Command(cc, "-O1", "-static", "-o", bin, filepath.Join("testdata", name+".c")).CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", name, err, b)
	}
	return bin
}

var pidPrefix = regexp.MustCompile(`(?m)^(\d+ +|\[pid +\d+\] )`)

// lines splits a trace of one process and drops what comes before the first line with mark.
func lines(t *testing.T, trace, mark string) []string {
	t.Helper()
	trace = pidPrefix.ReplaceAllString(trace, "")
	_, rest, ok := strings.Cut(trace, mark)
	if !ok {
		t.Fatalf("no %q in the trace:\n%.2000s", mark, trace)
	}
	return strings.Split(strings.TrimSpace(rest), "\n")
}
