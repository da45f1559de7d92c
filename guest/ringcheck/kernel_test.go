package ringcheck

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const kernel = "culvert/guest."

// kernelConfig is what is said of the guest kernel. Its roots are read from its own
// source: all code whose address is given to the processor or stored in a table.
func kernelConfig(t *testing.T) Config {
	t.Helper()
	cfg := Config{
		Packages:  kernelPackages(t),
		HostFiles: "host_",
		// A quarter of a vCPU's stack. A fault in a copy takes another hundred bytes.
		MaxStack: 4096,
	}
	assembly := names(t, "../host_code_amd64.s", `ADDR\(·(\w+),`)
	entries := names(t, "../host_code.go", `codePC\((on\w+)\)`)
	// The rest of the table: what serves system calls in ring 0.
	calls := slices.DeleteFunc(names(t, "../host_code.go", `codePC\((\w+)\)`), func(n string) bool { return slices.Contains(entries, n) })
	cfg.Roots = slices.Concat(assembly, entries, calls)
	// Compiled code calls the helpers, which are the stubs that nothing enters.
	isHelper := func(name string) bool {
		return !regexp.MustCompile(`\.(gate\d+|sysEntry|startCPU|panicCPU)$`).MatchString(name)
	}
	var helpers []string
	for _, name := range assembly {
		if isHelper(name) {
			helpers = append(helpers, name)
		}
	}
	cfg.Indirect = map[string][]string{
		kernel + "sysEntry":  {kernel + "onSyscall"},
		kernel + "startCPU":  {kernel + "onStart"},
		kernel + "panicCPU":  {kernel + "onPanic"},
		kernel + "gate":      {kernel + "onTrap"},
		kernel + "onSyscall": slices.Concat(helpers, calls),
	}
	for _, p := range cfg.Packages {
		cfg.Indirect[p+".*"] = helpers
	}
	return cfg
}

// names finds the functions of the guest kernel that a source file's lines name.
func names(t *testing.T, file, pattern string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		list = append(list, kernel+m[1])
	}
	if len(list) == 0 {
		t.Fatalf("nothing in %s matches %s", file, pattern)
	}
	return list
}

// kernelPackages are the packages of this module that the guest kernel consists of.
func kernelPackages(t *testing.T) []string {
	t.Helper()
	out, err := (Build{}).run("list", "-deps", "culvert/guest")
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Fields(string(out))
	return slices.DeleteFunc(own, func(p string) bool { return !strings.HasPrefix(p, "culvert/") })
}

// TestKernel checks the guest kernel in each mode that is shipped, as it is linked into
// culvert, or into a program of its own in a tree without the command.
func TestKernel(t *testing.T) {
	program := "../../cmd/culvert"
	if files, err := filepath.Glob(program + "/*.go"); err != nil || len(files) == 0 {
		program = "./testdata/kernel"
	}
	for _, mode := range []struct {
		name  string
		flags []string
	}{
		{name: "default"},
		{name: "pie", flags: []string{"-buildmode=pie"}},
		{name: "stripped", flags: []string{"-trimpath", "-ldflags=-s -w"}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			rep, err := Verify(Build{Package: program, Flags: mode.flags, Env: []string{"CGO_ENABLED=0"}}, kernelConfig(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := rep.Err(); err != nil {
				t.Error(err)
			}
			// The entry stubs save these two and no others.
			for _, x := range rep.XMM {
				if x != "X14" && x != "X15" {
					t.Errorf("compiled code uses %s, which the entry stubs do not save", x)
				}
			}
			t.Logf("%s: %d functions, %d instructions, %d pages, stack of a call %d bytes, terminal calls %q",
				program, len(rep.Funcs), rep.Instructions, rep.Pages, rep.Stack[kernel+"sysEntry"], rep.Terminals)
		})
	}
	t.Run("race", func(t *testing.T) {
		rep, err := Verify(Build{Package: program, Flags: []string{"-race"}, Env: []string{"CGO_ENABLED=1"}}, kernelConfig(t))
		if err != nil {
			t.Fatal(err)
		}
		wantFinding(t, rep, "-race=true")
	})
	t.Run("v3", func(t *testing.T) {
		rep, err := Verify(Build{Package: program, Env: []string{"CGO_ENABLED=0", "GOAMD64=v3"}}, kernelConfig(t))
		if err != nil {
			t.Fatal(err)
		}
		wantFinding(t, rep, "GOAMD64=v3")
	})
}
