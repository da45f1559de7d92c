package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Python's own test suite, as Debian packages it, on Linux and in a VM of two vCPUs. testdata/CONFORMANCE.md has the
// results in words.

// suiteModule is a module of the suite.
type suiteModule struct {
	name string
	// local gives the module AF_UNIX sockets in place of its TCP ones: a VM has no others.
	local bool
	// leftOut are tests that run on neither side, with the reason.
	leftOut map[string]string
	// differs are the tests whose outcome in a VM is known not to be Linux's, with the reason.
	differs map[string]string
}

var suiteModules = []suiteModule{
	{name: "test_wait3"},
	{name: "test_wait4"},
	{name: "test_fork1"},
	{name: "test_thread"},
	{name: "test_time", differs: map[string]string{
		"test_time.TimeTestCase.test_monotonic_settime": "the clock of a VM cannot be set; the test skips on EPERM",
	}},
	{name: "test_mmap"},
	{name: "test_select"},
	{name: "test_epoll", local: true},
	{name: "test_selectors", differs: map[string]string{
		"test_selectors.EpollSelectorTestCase.test_above_fd_setsize": "watches as many descriptors as a process may have; an epoll instance holds 24,192 of them, and the test skips on ENOSPC",
	}},
	{name: "test_signal", local: true, leftOut: map[string]string{
		"test_signal.StressTest.test_stress_modifying_handlers": "ignores a signal 20,000 times in each round, an exit each",
	}},
	{name: "test_threading"},
	{name: "test_subprocess"},
}

// outcomes are what a run of the suite printed: by test, whether it was ok, skipped, a failure or an error.
func outcomes(stdout string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(stdout) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) >= 2 {
			m[strings.TrimPrefix(f[1], "test.")] = f[0]
		}
	}
	return m
}

// Classes of a module run together until they have partTests tests, and for partLimit at most: a machine that is lost or slow
// costs a part, not a module.
const (
	partTests = 30
	partLimit = 40 * time.Minute
)

// TestPythonSuiteInVM takes more than an hour where KVM is emulated, so it is not among the tests that scripts/test runs there:
// scripts/conformance is its own.
func TestPythonSuiteInVM(t *testing.T) {
	if os.Getenv("CULVERT_CONFORMANCE") == "" {
		t.Skip("takes long; scripts/conformance runs it")
	}
	needKVM(t)
	needProgram(t, python, "python3")
	found, err := filepath.Glob("/usr/lib/python3*/test/test_subprocess.py")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		needProgram(t, "/usr/lib/python3*/test/test_subprocess.py", "libpython3.N-testsuite, N as in python3 --version")
	}
	runner := suiteRunner(t)
	table := "| module | tests | ok | skipped | fail on Linux too | differ | minutes |\n|---|---|---|---|---|---|---|\n"
	for _, m := range suiteModules {
		t.Run(m.name, func(t *testing.T) {
			start := time.Now()
			want, got := make(map[string]string), make(map[string]string)
			for _, part := range suiteParts(t, runner, m) {
				t.Run(strings.TrimPrefix(part[0], m.name+"."), func(t *testing.T) { runSuitePart(t, runner, m, part, want, got) })
			}
			table += compareOutcomes(t, m, want, got) + fmt.Sprintf(" %.0f |\n", time.Since(start).Minutes())
		})
	}
	// Where the tests run on an emulated machine, this is the way out.
	fmt.Print(table)
}

const python = "/usr/bin/python3"

// runSuitePart runs some classes of a module on Linux and in a VM, and adds the outcomes to want and got.
func runSuitePart(t *testing.T, runner string, m suiteModule, classes []string, want, got map[string]string) {
	t.Helper()
	command := []string{python, runner}
	if m.local {
		command = append(command, "-local")
	}
	command = append(command, classes...)
	if len(m.leftOut) > 0 {
		command = append(command, "-x")
		for id := range m.leftOut {
			command = append(command, "test."+id)
		}
	}
	native, log := suiteRun(t, t.TempDir(), append([]string{"env", "--default-signal"}, command...))
	if len(native) == 0 {
		t.Fatalf("this machine is at fault: no test ran without a VM\n%s", log)
	}
	vm, log := suiteRun(t, "/", append([]string{os.Args[0], "run", "--cpus", "2", "--workdir", "/tmp",
		"--mount", runner + ":" + runner, "--"}, command...))
	maps.Copy(want, native)
	maps.Copy(got, vm)
	if !maps.Equal(native, vm) {
		t.Logf("in the VM:\n%s", log)
	}
}

// suiteParts divides the classes of a module into parts.
func suiteParts(t *testing.T, runner string, m suiteModule) (parts [][]string) {
	t.Helper()
	out, err := exec.Command(python, runner, "-list", m.name).Output()
	if err != nil {
		t.Fatalf("the classes of %s: %v", m.name, err)
	}
	tests := partTests
	for line := range strings.Lines(string(out)) {
		class, count, _ := strings.Cut(strings.TrimSpace(line), "\t")
		n, err := strconv.Atoi(count)
		if err != nil {
			t.Fatalf("the classes of %s: %q: %v", m.name, line, err)
		}
		if tests+n > partTests {
			parts, tests = append(parts, nil), 0
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], class)
		tests += n
	}
	return parts
}

// suiteRunner is the program that runs modules of the suite.
func suiteRunner(t *testing.T) string {
	t.Helper()
	runner, err := filepath.Abs("testdata/pysuite.py")
	if err != nil {
		t.Fatal(err)
	}
	return runner
}

// compareOutcomes reports every test whose outcome differs and is not listed, or is listed and does not differ. It returns
// the first columns of the module's row in the table.
func compareOutcomes(t *testing.T, m suiteModule, want, got map[string]string) (row string) {
	t.Helper()
	ids := make(map[string]bool)
	for _, set := range []map[string]string{want, got, m.differs} {
		for id := range set {
			ids[id] = true
		}
	}
	var ok, skipped, fail, differ int
	for id := range ids {
		why, known := m.differs[id]
		switch same := got[id] == want[id]; {
		case same == known:
			t.Errorf("%s: %q in the VM, %q on Linux; listed as different: %t %s", id, got[id], want[id], known, why)
			differ++
		case !same:
			differ++
		case got[id] == "ok":
			ok++
		case got[id] == "skip":
			skipped++
		default:
			fail++
		}
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d |", m.name, len(ids), ok, skipped, fail, differ)
}

// suiteRun runs the suite with command, in a directory, and returns the outcomes and all that was said about them.
func suiteRun(t *testing.T, dir string, command []string) (outcome map[string]string, log string) {
	t.Helper()
	stdout, log := runPart(t, dir, command, partLimit)
	return outcomes(stdout), log
}

// runPart runs a part of somebody's suite, which may take as long as limit. A failure is seen in what it prints, which is also
// passed on as it comes: a part takes minutes.
func runPart(t *testing.T, dir string, command []string, limit time.Duration) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	cmd.Env = append(slices.Clone(plainEnv), asCulvert+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, os.Stderr), &errs
	_ = cmd.Run()
	if ctx.Err() != nil {
		t.Errorf("%q did not end in %v", command, limit)
	}
	return out.String(), errs.String()
}

// TestPythonSuiteOutcomes: what the runner prints on Linux is read as it is meant.
func TestPythonSuiteOutcomes(t *testing.T) {
	needProgram(t, python, "python3")
	found, err := filepath.Glob("/usr/lib/python3*/test/test_wait4.py")
	if err != nil || len(found) == 0 {
		t.Skipf("the test suite of %s is not installed (%v)", python, err)
	}
	const leftOut = "test_select.SelectTestCase.test_error_conditions"
	got, log := suiteRun(t, t.TempDir(), []string{python, suiteRunner(t), "test_select", "-x", "test." + leftOut})
	if got[leftOut] != "" || got["test_select.SelectTestCase.test_errno"] != "ok" || len(got) < 4 {
		t.Errorf("outcomes %v\n%s", got, log)
	}
}
