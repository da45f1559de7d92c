package main

import "testing"

// TestKVMStress: 64 threads over pipes, eventfds and epoll instances for a short time; stress.c says what it looks for.
func TestKVMStress(t *testing.T) {
	needKVM(t)
	sameAsLinuxOn(t, []string{"2", "4"}, "stress.c", "15")
}

// TestKVMInterrupted: what a signal does to each call that waits.
func TestKVMInterrupted(t *testing.T) {
	needKVM(t)
	sameAsLinuxOn(t, []string{"2"}, "eintr.c")
}

// TestKVMManyPipes: pipes by the thousand, and the share of a user without privileges.
func TestKVMManyPipes(t *testing.T) {
	needKVM(t)
	sameAsLinuxOn(t, []string{"1"}, "manypipes.c")
}

// TestKVMPolls: select, poll of many files, time-outs and signal masks give Linux's answers, without exits where something
// is ready.
func TestKVMPolls(t *testing.T) {
	needKVM(t)
	const calls = 200
	for _, s := range sameAsLinux(t, "polls.c", "200") {
		for _, name := range []string{"select", "pselect6", "poll", "ppoll", "epoll_pwait"} {
			if n, shim := s.SyscallsRing0[name], s.SyscallsForwarded[name]; n < calls || shim > 20 {
				t.Errorf("ring 0 served %s %d times, the shim %d times", name, n, shim)
			}
		}
	}
}

// TestKVMRings: programs of 64 processes, and what signalfd and timerfd say through epoll.
func TestKVMRings(t *testing.T) {
	needKVM(t)
	sameAsLinuxOn(t, []string{"1", "2", "4"}, "ring.c", "10", "10")
}

// TestKVMPingPong: messages between two processes take no exits, however many they are.
func TestKVMPingPong(t *testing.T) {
	needKVM(t)
	exits := func(messages string) uint64 {
		s := sameAsLinuxOn(t, []string{"1"}, "pingpong.c", messages)[0]
		return s.ExitsTotal - s.Exits["interrupted"] - s.Exits["irq_window"] // those of time slices and of the host
	}
	few, many := exits("2"), exits("20000")
	if many > few+50 || many > 1000 {
		t.Errorf("%d exits for 2 messages, %d for 20000", few, many)
	}
}
