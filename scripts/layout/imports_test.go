package layout

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// rule says what packages may import of this module.
type rule struct {
	// of names a package, or with "/..." a package and all below it. The first rule
	// that fits a package counts.
	of string
	// may lists what it may import, in the same form.
	may []string
	why string
}

// rules are the design's import directions, the most special first.
var rules = []rule{
	{"shim/abi", nil,
		"it has constants and layouts only, which ring 0 and all host packages share"},
	{"pipes/mutate", nil,
		"it changes and builds text, whosever it is"},
	{"pipes/tso", nil,
		"it explores protocols, whosever they are"},
	{"pipes/...", []string{"shim/abi", "pipes/..."},
		"a pipe knows no descriptor, no system call and no VM, so that it runs in ring 0 and in a plain test"},
	{"epoll/...", []string{"shim/abi", "pipes", "epoll/..."},
		"epoll shares pipes' sets of waiting threads and poll bits, and meets the objects by shared words only: an interface call needs data that ring 0 does not map"},
	{"guest/ringcheck", nil,
		"it looks at binaries, not at our packages"},
	{"guest/...", []string{"shim/abi", "pipes/...", "epoll/...", "guest/..."},
		"ring 0 runs without the host's packages"},
	{"boot/...", []string{"guest", "shim/abi"},
		"the first state is bytes and values, made without a descriptor or an ioctl"},
	{"kvm/...", nil,
		"it is file descriptors and ioctls, with no policy"},
	{"shim/...", []string{"shim/...", "guest", "guest/futex", "guest/signals", "pipes/...", "epoll/..."},
		"the Linux personality must run without KVM, on the host's own threads"},
	{"vmm/leakcheck", nil,
		"every package's tests may use it"},
	{"vmm/...", []string{"vmm/...", "boot/...", "guest", "kvm", "shim/...", "pipes/...", "epoll/..."},
		"a VM's life knows nothing of flags and subcommands"},
	{"cmd/...", []string{"cmd/...", "vmm/...", "shim/..."},
		"commands reach the machine through vmm alone"},
	{"scripts/...", nil,
		"checks of the tree do not depend on what they check"},
}

// gokvm may be imported by package kvm alone: its run loop and its pointers are not
// sound, see there.
const gokvm = "github.com/bobuhiro11/gokvm"

// onlyInTests may be imported by any package's tests.
var onlyInTests = []string{"vmm/leakcheck", "guest/ringcheck", "pipes/tso", "pipes/mutate"}

func matches(pattern, name string) bool {
	prefix, below := strings.CutSuffix(pattern, "/...")
	return name == prefix || below && strings.HasPrefix(name, prefix+"/")
}

// checkImports compares imports with the rules. Tests may import more, to set
// packages against each other, but vmm stays above all but cmd, and gokvm in kvm.
func checkImports(t *tree) ([]string, error) {
	var bad []string
	for _, p := range t.own {
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.of, p.name()) })
		if i < 0 {
			bad = append(bad, p.name()+": no rule says what this package may import; add one to the table")
			continue
		}
		for _, imp := range p.Imports {
			bad = append(bad, checkEdge(p.name(), imp, rules[i])...)
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			bad = append(bad, checkTestEdge(p.name(), imp)...)
		}
	}
	return bad, nil
}

func checkEdge(from, imp string, r rule) []string {
	if bad := checkGokvm(from, imp); bad != nil {
		return bad
	}
	to, own := strings.CutPrefix(imp, module+"/")
	if !own || slices.ContainsFunc(r.may, func(pattern string) bool { return matches(pattern, to) }) {
		return nil
	}
	return []string{fmt.Sprintf("%s imports %s: %s", from, to, r.why)}
}

func checkTestEdge(from, imp string) []string {
	to, own := strings.CutPrefix(imp, module+"/")
	if !own || slices.Contains(onlyInTests, to) {
		return checkGokvm(from, imp)
	}
	for _, top := range []string{"vmm/...", "cmd/..."} {
		if matches(top, to) && !matches(top, from) && !matches("cmd/...", from) {
			return []string{fmt.Sprintf("%s imports %s in a test: such a test belongs to %s", from, to, to)}
		}
	}
	return nil
}

func checkGokvm(from, imp string) []string {
	if matches(gokvm+"/...", imp) && from != "kvm" {
		return []string{fmt.Sprintf("%s imports gokvm: package kvm is its only importer, since parts of it are not sound", from)}
	}
	return nil
}

// topLevel is what may lie at the top of the tree, the program that is built there
// included. Names that start with a dot may too.
var topLevel = []string{"go.mod", "go.sum", "README.md", "LICENSE", "culvert",
	"cmd", "vmm", "kvm", "guest", "shim", "pipes", "epoll", "boot", "scripts"}

func checkTopLevel(t *tree) ([]string, error) {
	entries, err := os.ReadDir(t.root)
	if err != nil {
		return nil, err
	}
	var bad []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			bad = append(bad, e.Name()+": the top level is fixed; this belongs below one of its directories")
		}
	}
	return bad, nil
}
