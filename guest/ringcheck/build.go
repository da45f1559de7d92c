package ringcheck

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Build is a way to build a main package.
type Build struct {
	Dir     string   // where go runs
	Package string   // the main package, as go build takes it
	Flags   []string // of go build
	Env     []string // added to the environment
}

// Verify builds the package and runs both checks on the result. cfg.Packages are import
// paths; the code of the main package itself is meant by "main". Breaches of the
// rules, relocations included, are in the report.
func Verify(b Build, cfg Config) (*Report, error) {
	dir, err := os.MkdirTemp("", "ringcheck")
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", b.Package, err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "binary")
	if _, err := b.run("build", b.flags("-o", binary, b.Package)...); err != nil {
		return nil, fmt.Errorf("verify %s: %w", b.Package, err)
	}
	rep, err := Check(binary, cfg)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", b.Package, err)
	}
	findings, err := b.checkRelocs(rep.Funcs, &cfg)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", b.Package, err)
	}
	rep.Findings = append(rep.Findings, findings...)
	return rep, nil
}

// objects builds the packages as for the binary and returns their object files.
func (b Build) objects(packages []string) ([]string, error) {
	var args []string
	for _, p := range packages {
		if p == "main" {
			p = b.Package
		}
		args = append(args, p)
	}
	out, err := b.run("list", b.flags(append([]string{"-export", "-f", "{{.Export}}"}, args...)...)...)
	return strings.Fields(string(out)), err
}

// flags puts the build's flags in front of other arguments.
func (b Build) flags(args ...string) []string { return append(slices.Clone(b.Flags), args...) }

// run runs a go command; its error has what the command said.
func (b Build) run(verb string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{verb}, args...)...)
	cmd.Dir = b.Dir
	cmd.Env = append(os.Environ(), b.Env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
