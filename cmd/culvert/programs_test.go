package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// built returns the program that command makes of source files, from a cache in the user's cache directory: on an emulated
// machine, which sees that cache, a compiler takes seconds for each. OUT in the command stands for the program.
func built(t *testing.T, sources []string, command ...string) string {
	t.Helper()
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", command)
	for _, s := range sources {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %d\n%s", s, len(b), b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir() // no HOME: built each time
	}
	dir := filepath.Join(cache, "culvert", "test-programs")
	prog := filepath.Join(dir, fmt.Sprintf("%x", h.Sum(nil)[:12]))
	if _, err := os.Stat(prog); err == nil {
		return prog
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Under its final name it is whole, whoever else builds it at the same time.
	part := fmt.Sprintf("%s.%d", prog, os.Getpid())
	defer os.Remove(part)
	args := slices.Clone(command)
	args[slices.Index(args, "OUT")] = part
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, msg)
	}
	if err := os.Rename(part, prog); err != nil {
		t.Fatal(err)
	}
	return prog
}

// builtC is built with gcc, statically linked; headers are further files that the program includes.
func builtC(t *testing.T, source string, headers ...string) string {
	t.Helper()
	return built(t, append([]string{source}, headers...), "gcc", "-O1", "-static", "-pthread", "-w", source, "-o", "OUT")
}

// plainEnv is the environment that culvert run gives a program, which programs without a VM are to have too.
var plainEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
