package shim

import (
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkForkExitWait is the shim's share of fork, exit and wait4 of a small program with 256 pages touched.
func BenchmarkForkExitWait(b *testing.B) {
	_, x := newWorld(b)
	for a := uint64(0); a < testScratch; a += 4096 {
		x.poke(a, 1)
	}
	for b.Loop() {
		c, pid := x.fork()
		c.call(unix.SYS_EXIT_GROUP, 0)
		x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), 0, 0, 0)
	}
}

// BenchmarkForwardedCall is the shim's share of a call that it answers at once.
func BenchmarkForwardedCall(b *testing.B) {
	_, x := newWorld(b)
	for b.Loop() {
		x.call(unix.SYS_GETPGRP)
	}
}

// BenchmarkThread is the shim's share of a thread that ends at once and is joined.
func BenchmarkThread(b *testing.B) {
	_, x := newWorld(b)
	for b.Loop() {
		x.cloneThread(0, testBase+0x100).call(unix.SYS_EXIT, 0)
	}
}
