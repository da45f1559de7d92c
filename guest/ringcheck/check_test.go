package ringcheck

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const testdata = "culvert/guest/ringcheck/testdata/"

// good is what is said of testdata/good, the program that must pass.
func good() Config {
	ring := testdata + "good/ring"
	return Config{
		Packages: []string{ring},
		Roots:    []string{ring + ".entry", ring + ".copyMem", ring + ".onCall"},
		Indirect: map[string][]string{
			ring + ".entry":   {ring + ".onCall"},
			ring + ".onCall":  {ring + ".copyMem"},
			ring + ".copyMem": {ring + ".move"},
		},
		MaxStack: 400,
	}
}

// TestModes checks every mode that is shipped, and refuses the others by name.
func TestModes(t *testing.T) {
	for _, mode := range []struct {
		name       string
		flags, env []string
		refusal    string // part of the findings; empty: the build must pass
	}{
		{name: "default"},
		{name: "pie", flags: []string{"-buildmode=pie"}},
		{name: "stripped", flags: []string{"-trimpath", "-ldflags=-s -w"}},
		{name: "stripped pie", flags: []string{"-trimpath", "-ldflags=-s -w", "-buildmode=pie"}},
		{name: "race", flags: []string{"-race"}, env: []string{"CGO_ENABLED=1"}, refusal: "-race=true cannot run in ring 0"},
		{name: "race calls", flags: []string{"-race"}, env: []string{"CGO_ENABLED=1"}, refusal: "refers to runtime.race"},
		{name: "v3", env: []string{"GOAMD64=v3"}, refusal: "GOAMD64=v3 cannot run in ring 0"},
		{name: "v3 code", env: []string{"GOAMD64=v3"}, refusal: "VEX or EVEX code"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			rep, err := Verify(Build{Package: "./testdata/good", Flags: mode.flags, Env: append([]string{"CGO_ENABLED=0"}, mode.env...)}, good())
			if err != nil {
				t.Fatal(err)
			}
			if mode.refusal == "" {
				checkGood(t, rep)
			} else {
				wantFinding(t, rep, mode.refusal)
			}
		})
	}
}

// checkGood compares the report on testdata/good with what is in its source.
func checkGood(t *testing.T, rep *Report) {
	t.Helper()
	if err := rep.Err(); err != nil {
		t.Fatal(err)
	}
	var funcs []string
	for _, f := range rep.Funcs {
		funcs = append(funcs, strings.TrimPrefix(f, testdata+"good/ring."))
	}
	if want := []string{"copyMem", "entry", "leave", "move", "onCall", "push"}; !slices.Equal(funcs, want) {
		t.Errorf("closure is %q, want %q", funcs, want)
	}
	// X15 clears CPU.Scratch.
	if !slices.Equal(rep.XMM, []string{"X15"}) {
		t.Errorf("compiled code uses %q, want X15 alone", rep.XMM)
	}
	if len(rep.Indirect) != 3 {
		t.Errorf("indirect calls: %q, want 3", rep.Indirect)
	}
	if rep.Pages < 1 || rep.Pages > 3 || rep.Instructions < 50 {
		t.Errorf("%d instructions on %d pages", rep.Instructions, rep.Pages)
	}
	ring := testdata + "good/ring"
	move := rep.Stack[ring+".copyMem"] // its own return address, then that of move
	call := rep.Stack[ring+".onCall"]
	entry := rep.Stack[ring+".entry"]
	if move != 16 || call <= move || entry != 8+16+call {
		t.Errorf("stack: copyMem %d, onCall %d, entry %d; entry pushes 16 and calls onCall, which calls copyMem, which calls move", move, call, entry)
	}
}

func wantFinding(t *testing.T, rep *Report, text string) {
	t.Helper()
	if rep.Err() == nil || !strings.Contains(rep.Err().Error(), text) {
		t.Errorf("no finding has %q; there are:\n%v", text, rep.Err())
	}
}

// TestBad builds programs that break one rule each. Both checks are asked, and each
// finding that names the breach is wanted, so that neither check hides behind the other.
func TestBad(t *testing.T) {
	for _, c := range []struct {
		dir      string
		roots    []string
		indirect map[string][]string
		want     []string
	}{
		{dir: "global", want: []string{"refers to .noptrdata main.table", "relocation R_PCREL main.table"}},
		{dir: "alloc", want: []string{"CALL refers to runtime.makemap", "relocation R_CALL runtime.makemap", "lacks //go:nosplit", "runtime.writeBarrier"}},
		{dir: "jumptable", want: []string{"jumps through a table", "refers to .rodata", "relocation R_PCREL main.root.jump"}},
		{dir: "stringcompare", want: []string{"CALL refers to runtime.memequal", "relocation R_CALL runtime.memequal"}},
		{dir: "iface", want: []string{"indirect call that is not on the list"}},
		{dir: "iface", indirect: map[string][]string{"main.*": nil}, want: []string{"relocation R_USEIFACEMETHOD type:main.reader"}},
		{dir: "writebarrier", want: []string{"runtime.writeBarrier", "refers to runtime.gcWriteBarrier", "relocation R_CALL runtime.gcWriteBarrier"}},
		{dir: "morestack", want: []string{"lacks //go:nosplit", "CALL refers to runtime.morestack"}},
		{dir: "float", want: []string{"refers to .rodata", "relocation R_PCREL $f64."}},
		{dir: "recursion", indirect: map[string][]string{"main.other": {"main.root"}}, want: []string{"recursion: main.root -> main.other -> main.root"}},
		{dir: "recursion", indirect: map[string][]string{"main.other": {"main.gone"}}, want: []string{"may call main.gone, which is not in the binary"}},
		{dir: "generic", want: []string{"refers to .rodata main..dict.leaf[uint64]", "relocation R_PCREL main..dict.leaf[...]"}},
		{dir: "deep", want: []string{"bytes of stack, more than 400"}},
		{dir: "asmcall", want: []string{"uses FS", "relocation R_TLS_LE"}},
		{dir: "asmbytes", roots: []string{"main.vex"}, want: []string{"+0x0: VEX or EVEX code"}},
		{dir: "asmbytes", roots: []string{"main.unknown"}, want: []string{"+0x0: cannot be decoded"}},
		{dir: "asmbytes", roots: []string{"main.sys"}, want: []string{"+0x0: system call in ring 0"}},
		{dir: "asmbytes", roots: []string{"main.middle"}, want: []string{"middle of an instruction: main.target+0x1"}},
		{dir: "asmbytes", roots: []string{"main.loop"}, want: []string{"its stack has no bound"}},
		{dir: "asmbytes", roots: []string{"main.runoff"}, want: []string{"runs off the function's end"}},
		{dir: "asmbytes", roots: []string{"main.xsetbv"}, want: []string{"XCR0 is set by the host alone"}},
		{dir: "asmbytes", roots: []string{"main.fs"}, want: []string{"uses FS"}},
		{dir: "asmbytes", roots: []string{"main.nosuch"}, want: []string{"main.nosuch: root is not in the binary"}},
	} {
		roots := c.roots
		if roots == nil {
			roots = []string{"main.root"}
		}
		t.Run(c.dir+" "+strings.Join(roots, " "), func(t *testing.T) {
			cfg := Config{Packages: []string{"main"}, Roots: roots, Indirect: c.indirect, MaxStack: 400}
			rep, err := Verify(Build{Package: "./testdata/bad/" + c.dir, Env: []string{"CGO_ENABLED=0"}}, cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range c.want {
				wantFinding(t, rep, text)
			}
		})
	}
}

// TestOneRule shows that each part of the configuration matters: the good program
// fails once it is taken away.
func TestOneRule(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "good")
	if _, err := (Build{Package: "./testdata/good"}).run("build", "-o", binary, "./testdata/good"); err != nil {
		t.Fatal(err)
	}
	ring := testdata + "good/ring"
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"package", func(c *Config) { c.Packages = []string{ring + "x"} }, "refers to " + ring + ".leave"},
		{"list", func(c *Config) { delete(c.Indirect, ring+".onCall") }, "indirect call that is not on the list"},
		{"stack", func(c *Config) { c.MaxStack = 40 }, "needs "},
		{"host file", func(c *Config) { c.HostFiles = "rin" }, ".onCall +0x0: lies in ring.go, whose code is for the host only"},
		{"root", func(c *Config) { c.Roots = append(c.Roots, ring+".Onload") }, "root is not in the binary"},
		{"host code as a root", func(c *Config) { c.Roots = []string{ring + ".Addresses"} }, "lacks //go:nosplit"},
	} {
		cfg := good()
		c.change(&cfg)
		rep, err := Check(binary, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.name, func(t *testing.T) { wantFinding(t, rep, c.want) })
	}
}

func TestNotABinary(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/nonexistent", text, "/bin/true"} {
		if rep, err := Check(path, good()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Check(%q) = %v, %v", path, rep, err)
		}
	}
	if _, err := Verify(Build{Package: "./testdata/nosuch"}, good()); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("a package that is not there: %v", err)
	}
}

func TestShortName(t *testing.T) {
	for _, c := range [][2]string{
		{"a/b.f", "a/b.f"},
		{"a/b.f[go.shape.int]", "a/b.f[...]"},
		{"a/b.(*T[go.shape.[]int,string]).m.func1", "a/b.(*T[...]).m.func1"},
		{"a/b.f]x[", "a/b.f]x["},
	} {
		if got := shortName(c[0]); got != c[1] {
			t.Errorf("%q becomes %q, want %q", c[0], got, c[1])
		}
	}
}
