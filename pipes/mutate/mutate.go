// Package mutate is for tests of tests: it builds wrong versions of a package's own text and wants a test of the package
// to notice each. The changed text goes in by an overlay, so no trace of it is in the product.
package mutate

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mutant is a wrong version of a file of the package under test.
type Mutant struct {
	Name, File string
	Edits      []string // old and new text in turn; each old text is in the file once
	Race       bool     // built with the race detector, which must be the one to notice
}

// tries is how often the tests may miss a mutant: whether two threads meet where it is wrong is a matter of luck.
const tries = 3

// Run builds each mutant and runs the tests whose names match test on it, with -short: they must fail.
func Run(t *testing.T, mutants []Mutant, test string) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	_, noC := exec.LookPath("gcc")
	for _, m := range mutants {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			if m.Race && noC != nil {
				t.Skip("no C compiler, so no race detector; the explorer has the same mutant")
			}
			bin := m.build(t, dir)
			var out []byte
			err := error(nil)
			for try := 0; try < tries && err == nil; try++ {
				out, err = exec.Command(bin, "-test.run=^("+test+")$", "-test.short").CombinedOutput()
			}
			if err == nil {
				t.Fatalf("not noticed:\n%s", out)
			}
			if m.Race && !strings.Contains(string(out), "DATA RACE") {
				t.Errorf("noticed, but not by the race detector:\n%s", out)
			}
			t.Logf("%s", firstLine(string(out)))
		})
	}
}

// build returns the path of the mutant's test binary.
func (m *Mutant) build(t *testing.T, dir string) string {
	t.Helper()
	src, err := os.ReadFile(m.File)
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i < len(m.Edits); i += 2 {
		if n := strings.Count(text, m.Edits[i]); n != 1 {
			t.Fatalf("%s has the text that the mutant changes %d times: %s", m.File, n, m.Edits[i])
		}
		text = strings.Replace(text, m.Edits[i], m.Edits[i+1], 1)
	}
	tmp := t.TempDir()
	changed := filepath.Join(tmp, m.File)
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(dir, m.File): changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tmp, "overlay"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(tmp, "mutant")
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", filepath.Join(tmp, "overlay"), "-o", bin}
	build := exec.Command("go")
	if m.Race {
		args = append(args, "-race")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	build.Args = append(append(build.Args, args...), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// firstLine returns the line of a test's output that says what failed.
func firstLine(out string) string {
	for _, l := range strings.Split(out, "\n") {
		if strings.Contains(l, "DATA RACE") || strings.Contains(l, "_test.go") && !strings.Contains(l, "seed") ||
			strings.HasPrefix(l, "panic:") || strings.Contains(l, "lost wake-up") {
			return strings.TrimSpace(l)
		}
	}
	return "failed"
}
