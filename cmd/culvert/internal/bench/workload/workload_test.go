package workload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
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

func launch(t *testing.T, input string, args ...string) (stdout, stderr string, code int) {
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

// commands are lines for batches of that many operations, the last for single ones.
func commands(ops []uint64) string {
	var b strings.Builder
	for _, n := range ops {
		fmt.Fprintf(&b, "%d\n", n)
	}
	return strings.TrimSuffix(b.String(), "\n") + "s\n"
}

// answers checks the answers to commands.
func answers(t *testing.T, ops []uint64, out string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(ops) {
		t.Fatalf("answered %q, want %d lines", out, len(ops))
	}
	for i, n := range ops {
		var a struct {
			Ops, NS, Ticks uint64
			Errno          int
			Each           []uint64
		}
		if err := json.Unmarshal([]byte(lines[i]), &a); err != nil {
			t.Fatalf("line %q: %v", lines[i], err)
		}
		if a.Ops != n || a.Errno != 0 || a.NS == 0 {
			t.Errorf("batch of %d answered %s", n, lines[i])
		}
		if i < 3 {
			continue // no single operations
		}
		var sum uint64
		for _, x := range a.Each {
			sum += x
		}
		if uint64(len(a.Each)) != n || sum == 0 || sum > a.Ticks {
			t.Errorf("single operations: %s", lines[i])
		}
	}
}

// Every kind does as many operations as it is asked for, an empty batch too, and ends with its input.
func TestKinds(t *testing.T) {
	for _, kind := range Kinds(Params{Blocks: []int{1, 5000, MaxBlock}, Processes: 5}) {
		t.Run(kind.Name, func(t *testing.T) {
			ops := []uint64{3, 0, 20, 2}
			if kind.Group == "program" { // takes long
				ops = []uint64{1, 0, 1, 1}
			}
			if kind.Across {
				answers(t, ops, across(t, kind.Name, commands(ops)))
				return
			}
			if kind.Pipeline {
				ops = ops[:3]
				answers(t, ops, pipeline(t, kind.Name, strings.ReplaceAll(commands(ops), "s", "")))
				return
			}
			out, errs, code := launch(t, commands(ops), kind.Name)
			if code == ExitMissing {
				t.Skip(errs)
			}
			if code != 0 || errs != "" {
				t.Fatalf("exit code %d, said %q", code, errs)
			}
			answers(t, ops, out)
		})
	}
}

// across runs a measurement across a boundary that is none.
func across(t *testing.T, name, commands string) string {
	t.Helper()
	peer := exec.Command(os.Args[0], Word, name, Peer)
	in, err := peer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := peer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	host := exec.Command(os.Args[0], Word, name, Host)
	host.Stdin = strings.NewReader(commands)
	host.ExtraFiles = []*os.File{out.(*os.File), in.(*os.File)}
	text, err := host.Output()
	if err != nil {
		t.Error(err)
	}
	// The measuring process has told the peer to stop, so that it ends although its input is open.
	if err := peer.Wait(); err != nil {
		t.Errorf("the peer: %v", err)
	}
	return string(text)
}

// pipeline runs both programs of a pipeline, with a pipe between them.
func pipeline(t *testing.T, name, commands string) string {
	t.Helper()
	first, second := exec.Command(os.Args[0], Word, name, Source), exec.Command(os.Args[0], Word, name, Sink)
	first.Stdin = strings.NewReader(commands)
	link, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	second.Stdin = link
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	out, err := second.Output()
	if err := errors.Join(err, first.Wait()); err != nil {
		t.Error(err)
	}
	return string(out)
}

func TestFind(t *testing.T) {
	for _, name := range []string{"pipe-1", "pipe-1048576", "ring-2", "stdin-77", "exec-go"} {
		if k, ok := Find(name); !ok || k.Name != name {
			t.Errorf("%s: %+v, %v", name, k, ok)
		}
	}
	for _, name := range []string{"", "pipe", "pipe-0", "pipe-1048577", "pipe--1", "pipe-x", "ring-1", "ring-513", "nonsense"} {
		if _, ok := Find(name); ok {
			t.Errorf("%s was found", name)
		}
	}
}

// An agent runs one workload after the other on the same standard input and output, and says how each ended.
func TestAgent(t *testing.T) {
	cmd := exec.Command(os.Args[0], Word, Agent)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for _, step := range []struct{ send, want string }{
		{"\n", `{"ended":0,"said":"ready"}`},
		{"getppid\n", ""}, {"7\n", `{"ops":7,`}, {End, `{"ended":0}`},
		{"nonsense\n", `{"ended":2,"said":"`},
		{End, ""}, {"100\n", ""}, {"100s\n", ""}, // come late
		{"pingpong\n", ""}, {"1\n", `{"ops":1,`}, {End, `{"ended":0}`},
	} {
		if _, err := io.WriteString(in, step.send); err != nil {
			t.Fatal(err)
		}
		if step.want == "" {
			continue
		}
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, step.want) {
			t.Errorf("%q was answered with %q, %v; want %s", step.send, line, err, step.want)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// The vDSO's function, where there is one, tells the time that the system call tells.
func TestVDSO(t *testing.T) {
	w, err := newWork(Kind{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(w.memory); err != nil {
			t.Error(err)
		}
	})
	if err := vdso(w); err != nil {
		t.Fatal(err)
	}
	if w.clock == 0 {
		t.Skip("this system has no vDSO")
	}
	before, _ := w.now()
	if f := clockLibc(w, 1); f != 0 {
		t.Fatalf("failure %#x", f)
	}
	told := load64(w.time)*1e9 + load64(w.time+8)
	after, _ := w.now()
	if told < before || told > after {
		t.Errorf("the vDSO says %d, between %d and %d", told, before, after)
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
	}{{nil, 2}, {[]string{"nonsense"}, 2}, {[]string{Nothing}, 0}, {[]string{"getppid", "more"}, 2},
		{[]string{"getppid", Peer}, 2}, {[]string{"stdin-1"}, 2}} {
		if _, errs, code := launch(t, "", c.args...); code != c.code || (code == 0) != (errs == "") {
			t.Errorf("%q: exit code %d, said %q; want %d", c.args, code, errs, c.code)
		}
	}
	if out, _, code := launch(t, "five\n", "getppid"); out != "" || code != 0 {
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
	if out, _, code := launch(t, many, "getppid"); strings.Count(out, "\n") != 400 || code != 0 {
		t.Errorf("400 commands had %d answers, exit code %d", strings.Count(out, "\n"), code)
	}
}
