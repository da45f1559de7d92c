package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"culvert/cmd/culvert/internal/run"
)

// sameAsLinux runs a program of testdata on the host and in VMs and wants the same output. It returns the statistics
// of each VM.
func sameAsLinux(t *testing.T, source string, args ...string) []run.Stats {
	t.Helper()
	return sameAsLinuxOn(t, []string{"1", "2"}, source, args...)
}

// sameAsLinuxOn is sameAsLinux in VMs with as many CPUs as said.
func sameAsLinuxOn(t *testing.T, counts []string, source string, args ...string) []run.Stats {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", source))
	if err != nil {
		t.Fatal(err)
	}
	prog := compile(t, string(text), "-static", "-pthread")
	want, err := exec.Command(prog, args...).Output()
	if err != nil {
		t.Fatalf("%s on this machine: %v", source, err)
	}
	var all []run.Stats
	for _, cpus := range counts {
		stats := filepath.Join(t.TempDir(), "stats.json")
		r := culvert(t, "", append([]string{"run", "--cpus", cpus, "--stats=" + stats, "--", prog}, args...)...)
		if r.code != 0 || r.stdout != string(want) {
			t.Errorf("%s with --cpus %s: code %d, %s\n--- got\n%s--- Linux\n%s", source, cpus, r.code, r.stderr, r.stdout, want)
		}
		data, err := os.ReadFile(stats)
		if err != nil {
			t.Fatal(err)
		}
		var s run.Stats
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		all = append(all, s)
	}
	return all
}

// TestKVMVectors: readv and writev on pipes are served in ring 0, with Linux's answers.
func TestKVMVectors(t *testing.T) {
	needKVM(t)
	for _, s := range sameAsLinux(t, "vec.c") {
		if s.SyscallsRing0["readv"] < 10 || s.SyscallsRing0["writev"] < 10 {
			t.Errorf("ring 0 served readv %d times, writev %d times", s.SyscallsRing0["readv"], s.SyscallsRing0["writev"])
		}
	}
}

// TestKVMFutexes: futexes give Linux's answers, whoever waits and wakes; and what threads do to each other through
// private ones costs no exits, however often they do it.
func TestKVMFutexes(t *testing.T) {
	needKVM(t)
	sameAsLinux(t, "futex.c")
	few := sameAsLinux(t, "futex.c", "100")
	many := sameAsLinux(t, "futex.c", "1500")
	for i := range few {
		calls := many[i].SyscallsRing0["futex"] - few[i].SyscallsRing0["futex"]
		exits := int64(many[i].ExitsTotal) - int64(few[i].ExitsTotal)
		if calls < 2000 || exits > int64(calls)/20 {
			t.Errorf("run %d: %d more calls in ring 0, and %d more exits", i, calls, exits)
		}
	}
}

// TestKVMSignals: handlers, what they find and change in their frames, and waits that signals end give Linux's answers. A signal
// to oneself costs no exit, and two that signal each other in turn one for each signal, on one CPU: ring 0 serves the waits and
// the returns from handlers.
func TestKVMSignals(t *testing.T) {
	needKVM(t)
	for _, s := range sameAsLinux(t, "signals.c") {
		if n := s.SyscallsRing0["kill"]; n < 200 {
			t.Errorf("ring 0 served kill %d times, of a program that raises 200 signals", n)
		}
	}
	const few, many = 100, 600
	on := []string{"1"}
	less, more := sameAsLinuxOn(t, on, "signals.c", "100")[0], sameAsLinuxOn(t, on, "signals.c", "600")[0]
	const signals = 4 * (many - few) // two among threads, two among processes
	for _, call := range []string{"rt_sigreturn", "rt_sigsuspend"} {
		if n := more.SyscallsRing0[call] - less.SyscallsRing0[call]; n < signals*9/10 {
			t.Errorf("ring 0 served %s %d times more for %d signals", call, n, signals)
		}
	}
	if n := int64(more.ExitsTotal) - int64(less.ExitsTotal); n > signals*5/4 {
		t.Errorf("%d exits more for %d signals", n, signals)
	}
}
