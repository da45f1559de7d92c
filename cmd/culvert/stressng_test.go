package main

import (
	"os"
	"path/filepath"
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
	"pipes": "pipe eventfd epoll poll pipeherd ring-pipe tee splice sendfile sockpair sockfd sockabuse sock fifo",
	"files": "dup close fcntl flock lockf lockofd access chdir chmod dentry dir dirdeep dirmany filename fallocate fpunch fstat getdent hdd " +
		"link open readahead rename revio seek symlink touch utime sync-file seal mknod copy-file",
}

// stressorDifferences are the stressors whose exit status in a VM is known not to be Linux's, with the reason.
var stressorDifferences = map[string]string{}

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
	for group, names := range stressors {
		t.Run(group, func(t *testing.T) {
			command := append([]string{"/bin/bash", script}, strings.Fields(names)...)
			want, _ := stressorStatus(t, append([]string{"env", "--default-signal"}, command...))
			got, log := stressorStatus(t, append([]string{os.Args[0], "run", "--cpus", "2", "--mount", script + ":" + script, "--"}, command...))
			for _, s := range strings.Fields(names) {
				why, known := stressorDifferences[s]
				if got[s] == want[s] == known {
					t.Errorf("%s: status %q in the VM, %q on Linux; listed as different: %t %s", s, got[s], want[s], known, why)
				}
			}
			if t.Failed() {
				t.Logf("in the VM:\n%s", log)
			}
		})
	}
}

// stressorStatus runs stressors with command and returns the exit status of each, and what those said that failed.
func stressorStatus(t *testing.T, command []string) (status map[string]string, log string) {
	t.Helper()
	const limit = 40 * time.Minute
	stdout, log := runPart(t, "", command, limit)
	status = make(map[string]string)
	for line := range strings.Lines(stdout) {
		name, s, _ := strings.Cut(strings.TrimSpace(line), " ")
		status[name] = s
	}
	return status, log
}
