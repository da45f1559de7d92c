package side

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/cmd/culvert/internal/bench/tinyelf"
	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/emulate/kernel"
	"culvert/vmm/leakcheck"
)

func TestMain(m *testing.M) {
	if workload.Requested(os.Args) {
		os.Exit(workload.Main(os.Args))
	}
	os.Exit(leakcheck.Main(m))
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// nativeAgent is an agent on this machine.
func nativeAgent(t *testing.T) *agent {
	t.Helper()
	theirs, ours, err := stdio()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self(t), workload.Word, workload.Agent)
	cmd.Stdin, cmd.Stdout = theirs[0], theirs[1]
	err = cmd.Start()
	closeAll(theirs[:]...)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{in: ours[0], out: ours[1], lines: bufio.NewReader(ours[1]), said: &Tail{}, wait: cmd.Wait,
		cpu: func() (time.Duration, error) { return 0, nil }, kill: func() { _ = cmd.Process.Kill() }}
	if _, err := a.await(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}

// A workload does batches and single operations, on bare Linux and through an agent, which goes on after one that fails.
func TestBatch(t *testing.T) {
	a := nativeAgent(t)
	starts := map[string]func(args ...string) (*Process, error){
		"native": Native{Self: self(t)}.Start,
		"agent":  func(args ...string) (*Process, error) { return a.start(args) },
	}
	for name, start := range starts {
		p, err := start("pingpong")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Batch(10); err != nil || got.Ops != 10 || got.NS == 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if got, err := p.Singles(3); err != nil || len(got.Each) != 3 || got.Ticks == 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if err := p.End(false); err != nil {
			t.Errorf("%s: end: %v", name, err)
		}
		p, err = start("nonsense")
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Batch(1)
		err = errors.Join(err, p.Abort())
		var end *EndError
		if !errors.As(err, &end) || end.Code != 2 || !strings.Contains(end.Said, "no such measurement") || Missing(err) {
			t.Errorf("%s: a workload that is none: %v", name, err)
		}
	}
	if a.broken.Load() {
		t.Error("the agent was given up")
	}
}

// What breaks in a system with an agent takes the system with it, and says so.
func TestAgentBroken(t *testing.T) {
	a := nativeAgent(t)
	p, err := a.start([]string{"pingpong"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Abort(); err == nil || !a.broken.Load() {
		t.Errorf("a workload ended by force: %v, broken: %v", err, a.broken.Load())
	}
	if _, err := p.Batch(1); !errors.Is(err, ErrEnded) {
		t.Errorf("a batch after the end: %v", err)
	}
}

// A pipeline takes commands at its one end and answers at the other.
func TestPipeline(t *testing.T) {
	p, err := Pipeline(Native{Self: self(t)}, "vm-to-vm-4096")
	if err != nil {
		t.Fatal(err)
	}
	for _, ops := range []uint64{100, 0, 3} {
		if a, err := p.Batch(ops); err != nil || a.Ops != ops {
			t.Errorf("%d: %+v, %v", ops, a, err)
		}
	}
	if cpu, err := p.CPU(); err != nil || cpu <= 0 {
		t.Errorf("processor time %v, %v", cpu, err)
	}
	if err := p.End(false); err != nil {
		t.Error(err)
	}
	if _, err := Pipeline(&LinuxVM{}, "vm-to-vm-1"); !Missing(err) {
		t.Errorf("a side without pipelines: %v", err)
	}
}

// A system that does not start says why.
func TestAwait(t *testing.T) {
	for _, text := range []string{"", "nonsense\n", "{}\n"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		w.Close()
		said := &Tail{text: []byte("no room")}
		a := &agent{in: r, out: r, lines: bufio.NewReader(r), said: said, kill: func() {}, wait: func() error { return nil }}
		if _, err := a.await(); err == nil || !strings.Contains(err.Error(), "no room") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMissing(t *testing.T) {
	if !Missing(&EndError{Code: workload.ExitMissing}) || Missing(&EndError{Code: 1}) || Missing(errors.New("x")) || Missing(nil) {
		t.Error("wrong")
	}
}

func TestTail(t *testing.T) {
	var s Tail
	for range 100 {
		if n, err := io.WriteString(&s, "some \r\n words\n"); n != 14 || err != nil {
			t.Fatal(n, err)
		}
	}
	if text := s.String(); !strings.HasPrefix(text, "some words some words") || len(text) > 1<<10 {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

// A system that is not installed is an error that says what to install.
func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := NewRunsc(RunscName, "", self(t)); err == nil || !strings.Contains(err.Error(), "install runsc") {
		t.Errorf("runsc: %v", err)
	}
	if _, err := NewRunsc(RunscName, "/nonexistent", self(t)); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("runsc: %v", err)
	}
	if _, err := NewLinuxVM(self(t), 1, io.Discard); err == nil || !strings.Contains(err.Error(), "qemu-system-x86") {
		t.Errorf("linux-vm: %v", err)
	}
}

// fakeRunsc answers as runsc does when it is asked for its version, and otherwise executes the bundle's program.
const fakeRunsc = `#!/bin/sh
case $1 in --version) echo "runsc version fake"; echo more; exit ;; esac
for a; do case $a in --bundle=*) bundle=${a#--bundle=} ;; esac; done
exec $(sed 's/.*"args":\[\([^]]*\)\].*/\1/; s/[",]/ /g' $bundle/config.json)
`

// The sandbox is started once, for all workloads, and again after it broke; its program is this one, with the agent's word.
func TestRunsc(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runsc")
	if err := os.WriteFile(path, []byte(fakeRunsc), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := NewRunsc(RunscSystrapName, path, self(t))
	if err != nil {
		t.Fatal(err)
	}
	if about := r.About(); !strings.Contains(about, "runsc version fake, platform systrap") {
		t.Errorf("about: %s", about)
	}
	for i := range 3 {
		p, err := r.Start("getppid")
		if err != nil {
			t.Fatal(err)
		}
		first := r.agent
		if _, err := p.Batch(5); err != nil {
			t.Fatal(err)
		}
		if cpu, err := p.CPU(); err != nil || cpu <= 0 {
			t.Errorf("processor time %v, %v", cpu, err)
		}
		if i < 2 {
			if err := p.End(false); err != nil {
				t.Error(err)
			}
			continue
		}
		_ = p.Abort() // by force: its error is that of a killed system
		if _, err := r.Start("getppid"); err != nil || r.agent == first {
			t.Errorf("not started again: %v", err)
		}
	}
	l, err := r.Launch("/bin/true", "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Cmd.Run(); err != nil {
		t.Error(err)
	}
	l.Free()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.dir); err == nil {
		t.Errorf("%s is left", r.dir)
	}
}

func TestBundle(t *testing.T) {
	text, err := json.Marshal(bundleConfig([]string{"/a", "b"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"args":["/a","b"]`, `"root":{"path":"/","readonly":true}`, `"type":"network"`, `"noNewPrivileges":true`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
}

// The guest's archive has the program as its first process and the modules up to the port's, in order.
func TestInitramfs(t *testing.T) {
	dir := t.TempDir()
	l := &LinuxVM{kernel: &kernel.Kernel{Dir: dir, Modules: []string{"virtio.ko", "virtio_console.ko", "9p.ko"}}, cpus: 2, qemu: "qemu", accel: []string{"-accel", "kvm"}}
	for _, name := range append([]string{"program"}, l.kernel.Modules...) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("this is "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := l.initramfs(filepath.Join(dir, "program"), l.portModules())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, want := range []string{"dev/console\x00", "bench\x00", "this is program", "modules/00.ko\x00", "this is virtio.ko", "modules/01.ko\x00", "this is virtio_console.ko", "TRAILER!!!"} {
		at := bytes.Index(archive, []byte(want))
		if at < last {
			t.Errorf("%q is at %d, after %d", want, at, last)
		}
		last = at
	}
	if bytes.Contains(archive, []byte("9p")) {
		t.Error("a module that is not needed is there")
	}
	args := l.command("stdio", "rdinit=/x", f).Args
	for _, want := range []string{"microvm", "kvm", "2", "1024M"} {
		if !slices.Contains(args, want) {
			t.Errorf("%q lacks %s", args, want)
		}
	}
	l.kernel.Modules = []string{"9p.ko"} // virtio_console is built in
	if m := l.portModules(); m != nil {
		t.Errorf("modules %q", m)
	}
}

// static reports whether a program runs without a dynamic loader.
func static(t *testing.T, program string) bool {
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// A Linux guest boots, does batches and what crosses its boundary, and starts a program alone. Here QEMU emulates the
// processor, so that the test needs no KVM.
func TestLinuxVM(t *testing.T) {
	if testing.Short() {
		t.Skip("boots Linux twice")
	}
	if cache, err := os.UserCacheDir(); err != nil {
		t.Skip(err)
	} else if found, _ := filepath.Glob(filepath.Join(cache, "culvert", "kernel-*")); len(found) == 0 {
		t.Skip("no kernel has been downloaded yet")
	}
	if !static(t, self(t)) {
		t.Skip("the guest has no dynamic loader for this test's binary: CGO_ENABLED=0 makes one without")
	}
	l, err := NewLinuxVM(self(t), 1, os.Stderr)
	if err != nil {
		t.Skip(err)
	}
	l.accel = []string{"-accel", "tcg", "-cpu", "max"}
	l.clock = fmt.Sprintf("tsc_early_khz=%d lpj=4000000", khz(t))
	defer l.Close()
	p, err := l.Start("pingpong")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := p.Batch(10); err != nil || a.NS == 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := p.End(false); err != nil {
		t.Fatal(err)
	}
	if p, err = l.Start("python"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Batch(1); !Missing(err) {
		t.Errorf("python3, which is not there: %v", err)
	}
	for _, name := range []string{"stdout-4096", "stdin-4096"} {
		across(t, l, name)
	}
	image, err := tinyelf.Hello()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(program, image, 0o755); err != nil {
		t.Fatal(err)
	}
	launch, err := l.Launch(program, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer launch.Free()
	time.AfterFunc(2*time.Minute, launch.Kill)
	// The kernel panics when its first process ends, and so the guest ends.
	if out, err := launch.Cmd.Output(); err != nil || !bytes.Contains(out, []byte{tinyelf.Mark}) {
		t.Errorf("said %q, %v", out, err)
	}
}

// across measures across the boundary of a side, from this machine.
func across(t *testing.T, s Side, name string) {
	t.Helper()
	peer, err := s.Start(name, workload.Peer)
	if err != nil {
		t.Fatal(err)
	}
	host, err := Native{Self: self(t)}.StartWith([]*os.File{peer.Out, peer.In}, name, workload.Host)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := host.Batch(30); err != nil || a.NS == 0 {
		t.Errorf("%s: %+v, %v", name, a, err)
	}
	if err := errors.Join(host.End(false), peer.End(true)); err != nil {
		t.Errorf("%s: end: %v", name, err)
	}
}

// Where gVisor is installed, the same holds of it.
func TestGVisor(t *testing.T) {
	r, err := NewRunsc(RunscSystrapName, "", self(t))
	if err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range []string{"pingpong", "exec", "signal", "futex", "ring-4"} {
		p, err := r.Start(name)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := p.Batch(8); err != nil || a.NS == 0 {
			t.Fatalf("%s: %+v, %v", name, a, errors.Join(err, p.Abort()))
		}
		if err := p.End(false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"stdout-4096", "stdin-4096"} {
		across(t, r, name)
	}
}

// khz is the rate of the time-stamp counter, which QEMU's emulation passes on: the guest has nothing else to measure it by.
func khz(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "cpu MHz")
	var mhz float64
	if _, err := fmt.Sscanf(strings.TrimLeft(rest, " \t:"), "%g", &mhz); err != nil {
		t.Skipf("the processor's rate is not known: %v", err)
	}
	return int(mhz * 1000)
}
