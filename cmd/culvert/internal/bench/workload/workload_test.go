package workload

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"culvert/vmm/leakcheck"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if Requested(os.Args) {
		os.Exit(Main(os.Args))
	}
	os.Exit(leakcheck.Main(m))
}

func start(t *testing.T, input string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{Word}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Every kind does as many operations as it is asked for, an empty batch too, and ends with its input.
func TestKinds(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			out, errs, code := start(t, "3\n0\n20\n", kind.Name)
			if code != 0 || errs != "" {
				t.Fatalf("exit code %d, said %q", code, errs)
			}
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			if len(lines) != 3 {
				t.Fatalf("answered %q, want 3 lines", out)
			}
			for i, ops := range []uint64{3, 0, 20} {
				var a struct {
					Ops, NS uint64
					Errno   int
				}
				if err := json.Unmarshal([]byte(lines[i]), &a); err != nil {
					t.Fatalf("line %q: %v", lines[i], err)
				}
				if a.Ops != ops || a.Errno != 0 || a.NS == 0 {
					t.Errorf("batch of %d answered %s", ops, lines[i])
				}
			}
		})
	}
}

// What is executed and fails must not be counted.
func TestExecFailure(t *testing.T) {
	w, err := newWork(Kind{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(w.memory); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		path string
		want string
	}{{"/nonexistent", `"errno":2`}, {"/bin/false", `"errno":1`}} {
		if err := w.program(c.path); err != nil {
			t.Fatal(err)
		}
		f := execWait(w, 1)
		n := w.text(0, `"errno":`)
		n = w.decimal(n, uint64(f&0xffff))
		if got := string(w.line[:n]); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
	if err := w.program("/" + strings.Repeat("x", lineAt)); err == nil {
		t.Error("a path longer than the memory was taken")
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{{nil, 2}, {[]string{"nonsense"}, 2}, {[]string{Nothing}, 0}, {[]string{"getppid", "more"}, 2}} {
		if _, errs, code := start(t, "", c.args...); code != c.code || (code == 0) != (errs == "") {
			t.Errorf("%q: exit code %d, said %q; want %d", c.args, code, errs, c.code)
		}
	}
	if out, _, code := start(t, "five\n", "getppid"); out != "" || code != 0 {
		t.Errorf("a command that is no number: %q, %d", out, code)
	}
}

// Code that runs without a runtime must not grow its stack: every function of the raw files is nosplit, but the one
// that only preparation calls.
func TestRawFunctions(t *testing.T) {
	files, err := filepath.Glob("raw*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no raw files: %v", err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Name.Name == "addressOf" {
				continue
			}
			for _, want := range []string{"//go:nosplit", "//go:norace"} {
				has := false
				if fn.Doc != nil {
					for _, c := range fn.Doc.List {
						has = has || c.Text == want
					}
				}
				if !has {
					t.Errorf("%s: %s lacks %s", name, fn.Name.Name, want)
				}
			}
		}
	}
}

// The driver may send commands in pieces, or several at once.
func TestPieces(t *testing.T) {
	many := strings.Repeat("1\n", 400) // more than one read takes
	if out, _, code := start(t, many, "getppid"); strings.Count(out, "\n") != 400 || code != 0 {
		t.Errorf("400 commands had %d answers, exit code %d", strings.Count(out, "\n"), code)
	}
}
