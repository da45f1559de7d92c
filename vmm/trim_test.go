package vmm

import (
	"runtime"
	"testing"
)

// TestTrim: what the heap has freed goes back to the host, and not again before trimPeriod is over.
func TestTrim(t *testing.T) {
	var vm VM
	garbage := make([]byte, 64<<20)
	for i := 0; i < len(garbage); i += 4096 {
		garbage[i] = 1
	}
	runtime.KeepAlive(garbage)
	garbage = nil
	var first, second runtime.MemStats
	vm.trim()
	runtime.ReadMemStats(&first)
	if kept := first.HeapIdle - first.HeapReleased; kept > 16<<20 {
		t.Errorf("%d bytes of a heap that is idle are kept", kept)
	}
	vm.trim()
	runtime.ReadMemStats(&second)
	if second.NumForcedGC != first.NumForcedGC {
		t.Error("the second time came at once")
	}
}
