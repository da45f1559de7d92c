package pipes

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutants are wrong versions of this package's own text, each of which TestStress must notice. They are built
// with an overlay, so that no trace of them is in the product.
var mutants = []struct {
	name, file string
	edits      []string // old and new text in turn
	race       bool     // built with the race detector, which must be the one to notice
}{
	{"Tail is published before the bytes are there", "pipe.go", early, false},
	{"Tail is stored without a barrier", "pipe.go", []string{"atomic.StoreUint64(&p.Tail, next)", "p.Tail = next"}, true},
	{"the lock is not one", "pipe.go", []string{"atomic.CompareAndSwapUint64(word, 0, 1)", "true"}, false},
	{"a reader does not pass on", "pipe.go", []string{"tail != next && !p.RWait.Empty()", "tail != next && false"}, false},
	{"a writer does not pass on", "pipe.go", []string{
		"if !p.WWait.Empty() && size-(next-atomic.LoadUint64(&p.Head)) >= abi.PIPE_BUF {", "if false {"}, false},
	{"no second look before sleep", "pipe.go", []string{
		"return head != atomic.LoadUint64(&p.Tail) || p.Writers() == 0", "return head != head"}, false},
	{"the last close wakes nobody", "ends.go", []string{
		"w.Flags = p.told(w.Events) | WakeAll", "w.Flags = p.told(w.Events)"}, false},
	{"pollers are forgotten", "pipe.go", []string{"flags = WakePollers", "flags = 0"}, false},
	{"POLLOUT with one byte free", "pipe.go", []string{
		"return atomic.LoadUint64(&p.Size)-(tail-atomic.LoadUint64(&p.Head)) >= abi.PIPE_BUF",
		"return atomic.LoadUint64(&p.Size)-(tail-atomic.LoadUint64(&p.Head)) >= 1"}, false},
	{"short atomic writes", "pipe.go", []string{"need = n\n", "need = 1\n"}, false},
	{"a packet's entry stays", "packet.go", []string{"p.Packet[pos>>abi.PageShift&(packets-1)] = 0\n", ""}, false},
	{"two closes are the last", "ends.go", []string{"if readers == 0 && writers == 0 {", "if readers == 0 {"}, false},
}

// early publishes in BeginWrite what EndWrite should.
var early = []string{
	"return spanAt(tail, min(n, free), size), OK",
	"if mode != Packet { atomic.StoreUint64(&p.Tail, tail+min(n, free)) }\n\treturn spanAt(tail, min(n, free), size), OK",
	"tail := atomic.LoadUint64(&p.Tail)\n\tnext := tail + n\n",
	"tail := atomic.LoadUint64(&p.Tail)\n\tnext := tail\n",
}

// TestMutants builds each mutant and lets TestStress find it.
func TestMutants(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("builds the package many times; the plain long run does it")
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	race := canRace(t)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if m.race && !race {
				t.Log("no C compiler, so no race detector; the explorer has the same mutant")
				return
			}
			src, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			text := string(src)
			for i := 0; i < len(m.edits); i += 2 {
				if n := strings.Count(text, m.edits[i]); n != 1 {
					t.Fatalf("%s has the text that the mutant changes %d times: %s", m.file, n, m.edits[i])
				}
				text = strings.Replace(text, m.edits[i], m.edits[i+1], 1)
			}
			tmp := t.TempDir()
			changed := filepath.Join(tmp, m.file)
			if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(dir, m.file): changed}})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(tmp, "overlay"), overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			bin := filepath.Join(tmp, "mutant")
			args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", filepath.Join(tmp, "overlay"), "-o", bin}
			if m.race {
				args = append(args, "-race")
			}
			if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			out, err := exec.Command(bin, "-test.run=^TestStress$", "-test.short").CombinedOutput()
			if err == nil {
				t.Fatalf("not noticed:\n%s", out)
			}
			if m.race && !strings.Contains(string(out), "DATA RACE") {
				t.Errorf("noticed, but not by the race detector:\n%s", out)
			}
			t.Logf("%s", firstLine(string(out)))
		})
	}
}

// canRace reports whether this machine can build with the race detector.
func canRace(t *testing.T) bool {
	t.Helper()
	out, err := exec.Command("go", "env", "CGO_ENABLED").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, err = exec.LookPath("gcc")
	return err == nil && strings.TrimSpace(string(out)) == "1"
}

// firstLine returns the line of a test's output that says what failed.
func firstLine(out string) string {
	for _, l := range strings.Split(out, "\n") {
		if strings.Contains(l, "DATA RACE") || strings.Contains(l, "_test.go") && !strings.Contains(l, "seed") ||
			strings.HasPrefix(l, "panic:") {
			return strings.TrimSpace(l)
		}
	}
	return "failed"
}
