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
