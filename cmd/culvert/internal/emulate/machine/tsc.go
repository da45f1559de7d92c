package machine

import (
	"time"
)

// rdtsc reads the time-stamp counter.
func rdtsc() uint64

// tscKHz measures the counter's rate. QEMU's software emulation shows the
// host's counter to the machine, whose kernel would otherwise calibrate it
// against an emulated timer: that takes time, and on a busy host it sometimes
// fails, after which the machine never gets on.
func tscKHz() uint64 {
	const span = 10 * time.Millisecond
	// The clock is read between two reads of the counter; of a few tries, the
	// one with the least time between them is the most exact.
	stamp := func() (uint64, time.Time) {
		var best uint64 = 1 << 63
		var tsc uint64
		var at time.Time
		for range 8 {
			a := rdtsc()
			now := time.Now()
			b := rdtsc()
			if b-a < best {
				best, tsc, at = b-a, a+(b-a)/2, now
			}
		}
		return tsc, at
	}
	c0, t0 := stamp()
	time.Sleep(span)
	c1, t1 := stamp()
	ns := uint64(t1.Sub(t0).Nanoseconds())
	return (c1 - c0) * 1e6 / ns
}
