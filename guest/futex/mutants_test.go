package futex

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutants are wrong versions of futex.go, each of which the tests must notice; built with an overlay. Those of memory
// ordering are the explorer's.
var mutants = []struct {
	name, old, new string
	race           bool // built with the race detector, which must be the one to notice
}{
	{"the lock is not one", "atomic.CompareAndSwapUint64(word, 0, 1)", "true", true},
	{"the lock is released by a plain store", "{ atomic.StoreUint64(&t.Bucket[b&(Buckets-1)].Lock, 0) }",
		"{ t.Bucket[b&(Buckets-1)].Lock = 0 }", true},
	{"no second look in Leave", "if atomic.LoadUint64(word) == b {", "if b != 0 {", false},
	{"keys are not compared", "if n.Key == w.key && ", "if ", false},
	{"bits are not compared", " && n.Bits&w.bits != 0", "", false},
}

// TestMutants builds each mutant and lets the tests find it.
func TestMutants(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("builds the package many times; the plain long run does it")
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("futex.go")
	if err != nil {
		t.Fatal(err)
	}
	_, noC := exec.LookPath("gcc")
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if m.race && (noC != nil || os.Getenv("CGO_ENABLED") == "0") {
				t.Skip("no C compiler, so no race detector; the explorer has a like mutant")
			}
			if n := strings.Count(string(src), m.old); n != 1 {
				t.Fatalf("futex.go has the text that the mutant changes %d times", n)
			}
			tmp := t.TempDir()
			changed, list, bin := filepath.Join(tmp, "futex.go"), filepath.Join(tmp, "overlay"), filepath.Join(tmp, "mutant")
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(dir, "futex.go"): changed}})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(changed, []byte(strings.Replace(string(src), m.old, m.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(list, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", bin}
			if m.race {
				args = append(args, "-race")
			}
			if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			out, err := exec.Command(bin, "-test.run=^(TestStress.*|TestModel)$", "-test.short").CombinedOutput()
			if err == nil {
				t.Fatalf("not noticed:\n%s", out)
			}
			if m.race && !strings.Contains(string(out), "DATA RACE") {
				t.Errorf("noticed, but not by the race detector:\n%s", out)
			}
		})
	}
}
