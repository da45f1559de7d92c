package main

import "testing"

// TestKVMUsage: CPU time is divided as Linux does, getrusage's counts are there, timers and limits on CPU time work also for
// programs that make no system call.
func TestKVMUsage(t *testing.T) {
	needKVM(t)
	sameAsLinux(t, "usage.c")
}
