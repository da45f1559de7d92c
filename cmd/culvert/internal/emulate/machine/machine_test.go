package machine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/cmd/culvert/internal/emulate/kernel"
	"culvert/cmd/culvert/internal/emulate/wire"
)

func TestTSC(t *testing.T) {
	a, b := tscKHz(), tscKHz()
	if a < 100_000 || a > 20_000_000 {
		t.Errorf("%d kHz is no processor's rate", a)
	}
	if d := max(a, b) - min(a, b); d > a/100 {
		t.Errorf("two measurements differ by more than 1%%: %d and %d kHz", a, b)
	}
}

func TestArgumentsQuoteCommas(t *testing.T) {
	cfg := Config{CPUs: 3, Mem: 1 << 30, Roots: 2, Kernel: &kernel.Kernel{HZ: 250}, Exports: []Export{{"share0", "/a,b,readonly=off"}}}
	line := strings.Join(arguments(cfg, 2_000_000), " ")
	for _, want := range []string{
		"-smp 3 -m 1024M", "path=/a,,b,,readonly=off,security_model", "mount_tag=root0", "mount_tag=root1",
		"tsc_early_khz=2000000 lpj=8000000", "culvert.roots=2",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %s", want, line)
		}
	}
	for _, arg := range arguments(cfg, 1) {
		if strings.Contains(arg, "id=root") && !strings.Contains(arg, "readonly=on") {
			t.Errorf("the host's root is exported writable: %s", arg)
		}
	}
}

func TestQEMUEnd(t *testing.T) {
	failed := exec.Command("sh", "-c", "exit 1").Run()
	killed := exec.Command("sh", "-c", "kill -9 $$").Run()
	var dead *DeadError
	if err := qemuEnd(failed, "qemu: no such CPU\nmore", ""); errors.As(err, &dead) || !strings.Contains(err.Error(), "no such CPU") {
		t.Errorf("QEMU's own complaint is not worth another try: %v", err)
	}
	for name, in := range map[string]error{"killed": killed, "reset": nil} {
		if err := qemuEnd(in, "", ""); !errors.As(err, &dead) {
			t.Errorf("%s: %v, want a DeadError", name, err)
		}
	}
}

func TestFirstBytes(t *testing.T) {
	var f firstBytes
	for range 3 {
		if n, err := f.Write(make([]byte, 3000)); n != 3000 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if n := len(f.String()); n != 4096 {
		t.Errorf("%d bytes are kept, want 4096", n)
	}
}

func TestSnapshotName(t *testing.T) {
	dir := t.TempDir()
	file := func(name, body string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	file("vmlinux", "k")
	base := Config{
		CPUs: 2, Mem: 1 << 30, CPU: "m", Thread: "single", Init: file("init", "1"), Roots: 1,
		Exports: []Export{{"a", "/x"}}, Kernel: &kernel.Kernel{Dir: dir, HZ: 250}, Snapshots: dir,
	}
	name := func(c Config) string {
		p, err := snapshotPath(c, c.Init)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := name(base)
	same := base
	same.Exports = []Export{{"a", "/y"}} // not part of the state
	if name(same) != first {
		t.Error("the path of an export changes the name")
	}
	for what, edit := range map[string]func(*Config){
		"CPUs":    func(c *Config) { c.CPUs = 1 },
		"memory":  func(c *Config) { c.Mem = 2 << 30 },
		"model":   func(c *Config) { c.CPU = "n" },
		"thread":  func(c *Config) { c.Thread = "multi" },
		"roots":   func(c *Config) { c.Roots = 2 },
		"exports": func(c *Config) { c.Exports = nil },
		"append":  func(c *Config) { c.Append = "quiet" },
		"init":    func(c *Config) { c.Init = file("init2", "2") },
	} {
		c := base
		edit(&c)
		if name(c) == first {
			t.Errorf("another %s has the same name", what)
		}
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for i, n := range []string{"old", "older", "oldest", "newest", "new"} {
		age := map[string]int{"newest": 0, "new": 1, "old": 2, "older": 3, "oldest": 4}[n]
		p := filepath.Join(dir, snapshotPrefix+n)
		if err := os.WriteFile(p, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		at := now.Add(-time.Duration(age) * time.Hour)
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for name, age := range map[string]time.Duration{"other": time.Hour, unfinishedPrefix + "1": time.Hour, unfinishedPrefix + "2": 0} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	prune(dir)
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, strings.TrimPrefix(e.Name(), snapshotPrefix))
	}
	if want := []string{"other", "new", "newest", "old", unfinishedPrefix + "2"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

// fake makes a Machine whose QEMU is a program that does nothing.
func fake(t *testing.T) *Machine {
	console, err := memfd("console")
	if err != nil {
		t.Fatal(err)
	}
	port, theirs, err := socketpair()
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{
		out: wire.NewWriter(port), gone: make(chan struct{}), console: console,
		sessions: map[uint32]func(wire.Frame){},
	}
	if err := m.exec("/bin/sleep", []string{"60"}, []*os.File{theirs}, port); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	t.Cleanup(func() { m.fail(errors.New("over")); <-m.gone; console.Close() })
	return m
}

// TestSilence: a machine that says nothing is killed, its runs are told, and
// the error says that another try may help.
func TestSilence(t *testing.T) {
	m := fake(t)
	got := make(chan wire.Frame, 1)
	if _, err := m.Open(func(f wire.Frame) { got <- f }); err != nil {
		t.Fatal(err)
	}
	go m.watch(2)
	select {
	case f := <-got:
		if f.Kind != wire.Died {
			t.Errorf("frame %v, want Died", f)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the machine was not given up")
	}
	var dead *DeadError
	if err := m.Cause(); !errors.As(err, &dead) || !strings.Contains(err.Error(), "silent for 2 s") {
		t.Errorf("cause: %v", err)
	}
	if _, err := m.Open(nil); err == nil {
		t.Error("a dead machine takes a session")
	}
}

// TestHeard: a machine that speaks is left alone.
func TestHeard(t *testing.T) {
	m := fake(t)
	go m.watch(2)
	for range 35 {
		m.heard.Store(true)
		time.Sleep(100 * time.Millisecond)
	}
	if err := m.Cause(); err != nil {
		t.Errorf("given up: %v", err)
	}
}

func TestBootNeedsStaticInit(t *testing.T) {
	sh, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkStatic(sh); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("a dynamic binary: %v", err)
	}
	if err := checkStatic([]byte("#!/bin/sh\n")); err == nil {
		t.Error("a script was accepted")
	}
}

func TestBootWithoutQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Boot(context.Background(), Config{})
	if err == nil || !strings.Contains(err.Error(), "install the package qemu-system-x86") {
		t.Errorf("%v", err)
	}
}
