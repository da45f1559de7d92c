package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// stressors are those of stress-ng that need neither a network, nor devices, nor extensions of Linux that README lists as
// missing; by what they lean on.
var stressors = map[string]string{
	"calls":   "sysbadaddr enosys procfs get set sysinfo env getrandom urandom null zero full",
	"signals": "sigsegv signal sigq sigsuspend sigpending signest sigfd sigchld sigfpe sigpipe sigtrap sigrt sigabrt sigio bad-altstack stack kill",
	"processes": "fork vfork vforkmany clone exec spawn wait zombie daemon session exit-group pthread mutex futex membarrier " +
		"rlimit resources prctl pidfd schedpolicy affinity switch yield context nice",
	"memory": "mmap mmapfixed mmapfork mmapaddr mmapmany mprotect mremap munmap madvise mincore msync mlock brk remap stackmmap " +
		"shm memfd vm vm-segv vm-splice fault rmap tlb-shootdown malloc bigheap dev-shm",
	"time":  "timer itimer timerfd hrtimers alarm nanosleep clock sleep",
	"pipes": "pipe eventfd epoll poll pipeherd ring-pipe tee splice sendfile sockpair sockfd fifo",
	"files": "dup close fcntl flock lockf lockofd access chdir chmod dentry dir dirdeep dirmany filename fallocate fpunch fstat getdent hdd " +
		"link open readahead rename revio seek symlink touch utime sync-file seal mknod copy-file",
}

// stressorDifferences are the stressors whose exit status in a VM is known not to be Linux's, with the reason.
var stressorDifferences = map[string]string{
	"vm-segv": "its child stops itself to be traced, and there is no ptrace",
}

// TestStressorsInVM compares the exit status of stress-ng's stressors, which verify what they do, with that on Linux. It is
// part of scripts/conformance, as the tests of pysuite_test.go are.
func TestStressorsInVM(t *testing.T) {
	if os.Getenv("CULVERT_CONFORMANCE") == "" {
		t.Skip("takes long; scripts/conformance runs it")
	}
	needKVM(t)
	needProgram(t, "/usr/bin/stress-ng", "stress-ng")
	script, err := filepath.Abs("testdata/stressors.bash")
	if err != nil {
		t.Fatal(err)
	}
	table := "| stressors | number | end with 0 | end otherwise on both sides | differ | minutes |\n|---|---|---|---|---|---|\n"
	for _, group := range slices.Sorted(maps.Keys(stressors)) {
		names := strings.Fields(stressors[group])
		t.Run(group, func(t *testing.T) {
			start := time.Now()
			command := append([]string{"/bin/bash", script}, names...)
			want, _ := stressorStatus(t, append([]string{"env", "--default-signal"}, command...))
			got, log := stressorStatus(t, append([]string{os.Args[0], "run", "--cpus", "2", "--mount", script + ":" + script, "--"}, command...))
			table += compareStressors(t, group, names, want, got) + fmt.Sprintf(" %.0f |\n", time.Since(start).Minutes())
			if t.Failed() {
				t.Logf("in the VM:\n%s", log)
			}
		})
	}
	fmt.Print(table) // as TestPythonSuiteInVM does
}

// compareStressors reports every stressor whose exit status differs and is not listed, or is listed and does not differ. It
// returns the first columns of the group's row in the table.
func compareStressors(t *testing.T, group string, names []string, want, got map[string]string) (row string) {
	t.Helper()
	var ok, bad, differ int
	for _, s := range names {
		why, known := stressorDifferences[s]
		if got[s] == want[s] == known {
			t.Errorf("%s: status %q in the VM, %q on Linux; listed as different: %t %s", s, got[s], want[s], known, why)
		}
		switch {
		case got[s] != want[s]:
			differ++
		case got[s] == "0":
			ok++
		default:
			bad++
		}
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %d |", group, len(names), ok, bad, differ)
}

// stressorStatus runs stressors with command and returns the exit status of each, and what those said that failed.
func stressorStatus(t *testing.T, command []string) (status map[string]string, log string) {
	t.Helper()
	stdout, log := runPart(t, "", command, partLimit)
	status = make(map[string]string)
	for line := range strings.Lines(stdout) {
		name, s, _ := strings.Cut(strings.TrimSpace(line), " ")
		status[name] = s
	}
	return status, log
}
