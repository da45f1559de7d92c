package main

import "testing"

// TestKVMWaits: waits that ring 0 serves end as Linux's do.
func TestKVMWaits(t *testing.T) {
	needKVM(t)
	for _, s := range sameAsLinux(t, "waits.c") {
		if s.SyscallsRing0["epoll_wait"] < 100 || s.SyscallsForwarded["epoll_wait"] != 0 {
			t.Errorf("ring 0 served epoll_wait %d times, the shim %d times", s.SyscallsRing0["epoll_wait"],
				s.SyscallsForwarded["epoll_wait"])
		}
	}
}

// TestKVMWakes: two processes that wait for each other make no exit, with and without time-outs.
func TestKVMWakes(t *testing.T) {
	needKVM(t)
	const trips = 7 * 2000
	for _, s := range sameAsLinux(t, "wakes.c") {
		exits := s.Exits["syscall"] + s.Exits["note"] + s.Exits["fault"] + s.Exits["kick_idle"]
		if exits > trips/20 {
			t.Errorf("%d exits in %d round trips: %v", exits, trips, s.Exits)
		}
		if n := s.Exits["note"]; n > 100 {
			t.Errorf("%d notes", n)
		}
	}
}

// TestKVMWakesBound: a thread that only another vCPU may run is not left to wait when its waker's vCPU falls idle.
func TestKVMWakesBound(t *testing.T) {
	needKVM(t)
	sameAsLinux(t, "bound.c")
}

// TestKVMSelects: a select that waits ends as Linux's does, and costs no exit where ring 0 knows its files.
func TestKVMSelects(t *testing.T) {
	needKVM(t)
	sameAsLinux(t, "selects.c")
	const trips = 2000
	for _, s := range sameAsLinux(t, "selects.c", "2000") {
		exits := s.Exits["syscall"] + s.Exits["note"] + s.Exits["fault"] + s.Exits["kick_idle"]
		if exits > trips/10 || s.SyscallsRing0["select"] < 2*trips {
			t.Errorf("%d exits in %d round trips, ring 0 served select %d times: %v", exits, trips, s.SyscallsRing0["select"], s.Exits)
		}
	}
}
