package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"culvert/cmd/culvert/internal/run"
)

// TestKVMVDSO: programs find the vDSO, and what it says agrees with Linux and with the system calls; no thread sees time go
// back on the way from one processor to another.
func TestKVMVDSO(t *testing.T) {
	needKVM(t)
	sameAsLinux(t, "vdso.c")
}

// TestKVMVDSOIsUsed: a C and a Go program tell the time without a system call.
func TestKVMVDSOIsUsed(t *testing.T) {
	needKVM(t)
	self, err := os.Executable() // a Go program, whose runtime asks for the time at its start
	if err != nil {
		t.Fatal(err)
	}
	c := compile(t, `#include <time.h>
#include <sys/time.h>
int main(void) {
	struct timespec ts; struct timeval tv;
	for (int i = 0; i < 1000; i++) { clock_gettime(i % 2, &ts); gettimeofday(&tv, 0); time(0); }
	return 0;
}`)
	for name, args := range map[string][]string{
		"C":  {"--", c},
		"Go": {"--env", asCulvert + "=1", "--", self, "syscalls", "--summary"},
	} {
		stats := filepath.Join(t.TempDir(), "stats.json")
		if r := culvert(t, "", append([]string{"run", "--stats=" + stats}, args...)...); r.code != 0 {
			t.Errorf("%s: %+v", name, r)
			continue
		}
		data, err := os.ReadFile(stats)
		if err != nil {
			t.Fatal(err)
		}
		var s run.Stats
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		for _, call := range []string{"clock_gettime", "gettimeofday", "time"} {
			if f, r := s.SyscallsForwarded[call], s.SyscallsRing0[call]; f != 0 || r != 0 {
				t.Errorf("%s: %s went %d times to the shim, %d times to ring 0", name, call, f, r)
			}
		}
	}
}
