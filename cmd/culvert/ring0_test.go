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
func sameAsLinux(t *testing.T, source string) []run.Stats {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", source))
	if err != nil {
		t.Fatal(err)
	}
	prog := compile(t, string(text), "-static", "-pthread")
	want, err := exec.Command(prog).Output()
	if err != nil {
		t.Fatalf("%s on this machine: %v", source, err)
	}
	var all []run.Stats
	for _, cpus := range []string{"1", "2"} {
		stats := filepath.Join(t.TempDir(), "stats.json")
		r := culvert(t, "", "run", "--cpus", cpus, "--stats="+stats, "--", prog)
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
