// Package layout has tests of the source tree itself: which package may import which,
// where unsafe may be used, that no package has variables that change, and the form of
// files. Each rule is shown to fail on a tree made to break it, testdata/bad.txtar.
package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// module is this module's name, and the prefix of its packages.
const module = "culvert"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath, Name, Dir, Export                string
	DepOnly                                      bool
	GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
	IgnoredGoFiles, SFiles, HFiles               []string
	Imports, TestImports, XTestImports           []string
	Error                                        *struct{ Err string }
}

// name is the import path below the module: "shim/vfs".
func (p *pkg) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// goFiles are all Go files, for whatever platform and tag.
func (p *pkg) goFiles() []string {
	return slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles)
}

// tree is a source tree.
type tree struct {
	root    string
	own     []*pkg            // its packages
	exports map[string]string // import path to export data, dependencies included
}

// loadTree lists the packages of the module at root and compiles them.
func loadTree(root string) (*tree, error) {
	cmd := exec.Command("go", "list", "-e", "-export", "-deps", "-json", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w: %s", root, err, stderr.String())
	}
	t := &tree{root: root, exports: map[string]string{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(pkg)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list in %s: %w", root, err)
		}
		t.exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			t.own = append(t.own, p)
		}
	}
}

// checks are all rules. Each returns its findings as "place: what is wrong".
var checks = []func(*tree) ([]string, error){checkTopLevel, checkImports, checkFiles, checkGlobals}

func (t *tree) findings() ([]string, error) {
	var all []string
	for _, check := range checks {
		found, err := check(t)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func TestRepository(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := loadTree(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.own) < 5 {
		t.Fatalf("go list found only %d packages", len(tree.own))
	}
	found, err := tree.findings()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// TestBadTree unpacks a tree that breaks every rule and compares all findings with the
// list in it, so that neither a blind check nor a false alarm passes.
func TestBadTree(t *testing.T) {
	root := t.TempDir()
	archive, err := os.ReadFile("testdata/bad.txtar")
	if err != nil {
		t.Fatal(err)
	}
	// "~" keeps the archive free of the words that the tree may not hold.
	text := strings.NewReplacer("~", "", "$ROOT", root).Replace(string(archive))
	headers := regexp.MustCompile(`(?m)^-- (.+) --\n`).FindAllStringSubmatchIndex(text, -1)
	var want []string
	for i, h := range headers {
		end := len(text)
		if i+1 < len(headers) {
			end = headers[i+1][0]
		}
		name, content := text[h[2]:h[3]], text[h[1]:end]
		if name == "want" {
			want = strings.Split(strings.TrimSpace(content), "\n")
		} else {
			writeFile(t, root, name, content)
		}
	}
	writeFile(t, root, "pipes/long.go", "package pipes\n"+strings.Repeat("\n// filler\n", 350))
	tree, err := loadTree(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tree.findings()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	for _, f := range got {
		if !slices.Contains(want, f) {
			t.Errorf("not expected: %s", f)
		}
	}
	for _, f := range want {
		if !slices.Contains(got, f) {
			t.Errorf("not found: %s", f)
		}
	}
}

func writeFile(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
