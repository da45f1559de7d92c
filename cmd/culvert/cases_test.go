package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The programs of testdata/cases, on Linux and in VMs.

// caseDifferences are the cases in which VMs are known to differ from Linux, with the reason.
var caseDifferences = map[string]string{}

// caseTries is how often a case may be tried whose bounds are some milliseconds: what else runs on the host may stop a whole
// emulated machine for longer. A VM that is slow fails each time.
var caseTries = map[string]int{"84": 3, "85": 3, "86": 3, "95": 3}

// caseCommand is the command that runs a case.
func caseCommand(t *testing.T, file string) []string {
	t.Helper()
	switch filepath.Ext(file) {
	case ".sh":
		return []string{"/bin/bash", file}
	case ".py":
		needProgram(t, "/usr/bin/python3", "python3")
		return []string{"/usr/bin/python3", file}
	}
	return []string{builtC(t, file, filepath.Join(filepath.Dir(file), "case.h"))}
}

// eachCase runs test for every case.
func eachCase(t *testing.T, test func(t *testing.T, name, file string)) {
	var files []string
	for _, ext := range []string{"c", "sh", "py"} {
		found, err := filepath.Glob("testdata/cases/[0-9]*." + ext)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 84 {
		t.Fatalf("only %d cases in testdata/cases", len(files))
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
		t.Run(name, func(t *testing.T) { test(t, name, f) })
	}
}

// caseLimit is more than the watchdog in the programs allows.
const caseLimit = 3 * time.Minute

// runNative runs a case without a VM; what fails there says nothing about VMs.
func runNative(t *testing.T, command []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), caseLimit)
	defer cancel()
	// Children begin with the default for what is caught here; what nohup(1) ignores they would ignore too.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGHUP)
	defer signal.Stop(caught)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = plainEnv
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("this machine is at fault: on its Linux, without a VM, the case fails too: %v\n%s", err, out)
	}
}

// TestCases runs the cases on Linux, and so builds, where that is fast, what the tests in VMs run.
func TestCases(t *testing.T) {
	eachCase(t, func(t *testing.T, _, file string) {
		runNative(t, caseCommand(t, file))
	})
}

func TestKVMCases(t *testing.T) {
	needKVM(t)
	eachCase(t, func(t *testing.T, name, file string) {
		command := caseCommand(t, file)
		runNative(t, command)
		for _, cpus := range []string{"1", "2"} {
			t.Run("cpus"+cpus, func(t *testing.T) {
				args := append([]string{"run", "--cpus", cpus, "--"}, command...)
				r := culvert(t, "", args...)
				for try := 1; r.code != 0 && try < caseTries[name]; try++ {
					t.Logf("try %d: code %d\n%s%s", try, r.code, r.stdout, r.stderr)
					r = culvert(t, "", args...)
				}
				why, differs := caseDifferences[name]
				switch {
				case r.code != 0 && !differs:
					t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
				case r.code == 0 && differs:
					t.Errorf("passes, but is listed as different: %s", why)
				}
			})
		}
	})
}
