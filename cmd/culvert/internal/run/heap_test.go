package run

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// exempt matches the size and the flags of a part of the address space that is exempt from huge pages.
var exempt = regexp.MustCompile(`(?m)^Size: +(\d+) kB(?:\n[^-\n]*)*?\nVmFlags:.* nh\b`)

// exemptBytes are those of the process that are exempt from huge pages.
func exemptBytes(t *testing.T) int {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, m := range exempt.FindAllSubmatch(smaps, -1) {
		kib, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		sum += kib << 10
	}
	return sum
}

// TestSmallPages: a piece of the heap is exempt from huge pages after the call, and was not before.
func TestSmallPages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no huge pages")
	}
	// In a process of its own: here the heap may have what an earlier call made.
	if os.Getenv("FRESH_HEAP") == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSmallPages$")
		cmd.Env = append(os.Environ(), "FRESH_HEAP=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	before := exemptBytes(t)
	smallPages()
	if after := exemptBytes(t); after-before < smallPagesSize {
		t.Errorf("%d bytes are exempt, %d were before", after, before)
	}
}
