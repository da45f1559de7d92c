package main

import (
	"strings"
	"testing"
)

// Programs that misbehave on purpose end in a VM as Linux would end them, or by a limit of the VM, and never by an error
// of culvert's. They do not run without a VM: some would take the machine with them.

// outOfMemory is the exit code of a program that the VM's memory limit ends.
const outOfMemory = 137

func TestKVMHostile(t *testing.T) {
	needKVM(t)
	for _, c := range []struct {
		source, modes string
		code          int
	}{
		{"hostile.c", "futexes fdrace stacks maprace exitrace execthreads sigstorm", 0},
		{"hostile.c", "deepdirs hugeargv fdbomb forkbomb", 0},
		{"hostile.c", "fuzz", 0},
		{"hostile.c", "tablebomb", outOfMemory},
		{"hostile.c", "membomb", outOfMemory},
		{"privileged.c", "", 0},
	} {
		t.Run(c.source+" "+c.modes, func(t *testing.T) {
			prog := builtC(t, "testdata/"+c.source)
			args := append([]string{"run", "--cpus", "2", "--mem", "64M", "--", prog}, strings.Fields(c.modes)...)
			if r := culvert(t, "", args...); r.code != c.code {
				t.Errorf("code %d, want %d\n%s%s", r.code, c.code, r.stdout, r.stderr)
			}
		})
	}
}

// TestHostilePrograms builds, where that is fast, what the test in VMs runs.
func TestHostilePrograms(t *testing.T) {
	for _, source := range []string{"hostile.c", "privileged.c"} {
		builtC(t, "testdata/"+source)
	}
}
