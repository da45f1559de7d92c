package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The programs of testdata/personality print what the system answers to them, the same wherever it is right: processes,
// signals, memory, timers, CPU time, futexes with priority inheritance.

// eachPersonality runs test with every program's name, its file, and what it prints on this machine's Linux.
func eachPersonality(t *testing.T, test func(t *testing.T, program, want string)) {
	files, err := filepath.Glob("testdata/personality/*.c")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d programs in testdata/personality, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".c"), func(t *testing.T) {
			program := builtC(t, f)
			cmd := exec.Command(program)
			cmd.Env = plainEnv
			want, err := cmd.Output()
			if err != nil {
				t.Fatalf("on this machine's Linux: %v\n%s", err, want)
			}
			test(t, program, string(want))
		})
	}
}

// TestPersonality builds the programs where that is fast, and shows that they run on Linux.
func TestPersonality(t *testing.T) {
	eachPersonality(t, func(t *testing.T, _, want string) {
		if strings.Count(want, "\n") < 10 {
			t.Errorf("the program prints only %q", want)
		}
	})
}

// TestKVMPersonality: in a VM they print the same.
func TestKVMPersonality(t *testing.T) {
	needKVM(t)
	eachPersonality(t, func(t *testing.T, program, want string) {
		r := culvert(t, "", "run", "--cpus", "2", "--", program)
		if r.code != 0 {
			t.Errorf("code %d, %s", r.code, r.stderr)
		}
		got, lines := strings.Split(r.stdout, "\n"), strings.Split(want, "\n")
		for i, line := range lines {
			if i >= len(got) {
				t.Errorf("line %d is missing, and what follows: %q", i+1, line)
				break
			}
			if got[i] != line {
				t.Errorf("line %d\n--- got\n%s\n--- Linux\n%s", i+1, got[i], line)
			}
		}
		if len(got) > len(lines) {
			t.Errorf("%d lines more than Linux: %q", len(got)-len(lines), got[len(lines)])
		}
	})
}
