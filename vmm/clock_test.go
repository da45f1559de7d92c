package vmm

import (
	"math/bits"
	"sync/atomic"
	"testing"
	"time"

	"culvert/guest"
)

// show is what ring 0 makes of the page at a TSC.
func show(c *guest.Clock, tsc uint64) uint64 {
	hi, lo := bits.Mul64(tsc-c.TSCBase, c.Mult)
	return c.Mono + (hi<<(64-c.Shift) | lo>>c.Shift)
}

// A clock whose rate was taken wrongly by 0.05 % catches up with the host's and never goes back on the way.
func TestClockSlews(t *testing.T) {
	page := &guest.Clock{}
	khz := hostKHz(t)
	c := &clock{page: page, khz: khz + khz/2000}
	tsc, mono, real := c.sample()
	c.write(tsc, mono, real, slope(c.khz))
	last := uint64(0)
	var errors []int64
	for range 6 {
		for end := time.Now().Add(clockPeriod / 2); time.Now().Before(end); {
			if now := show(page, rdtsc()); now < last {
				t.Fatalf("time went back from %d to %d", last, now)
			} else {
				last = now
			}
		}
		c.next = time.Time{}
		c.update(time.Now())
		tsc, mono, _ := c.sample()
		errors = append(errors, int64(show(page, tsc)-mono))
	}
	if atomic.LoadUint64(&page.Seq)&1 != 0 {
		t.Error("the sequence is odd after a write")
	}
	if e := errors[len(errors)-1]; abs(e) > 500_000 {
		t.Errorf("after %d periods the clock is %d ns off: %v", len(errors), e, errors)
	}
}

// hostKHz measures the TSC's rate.
func hostKHz(t *testing.T) uint64 {
	t.Helper()
	c := &clock{}
	t0, m0, _ := c.sample()
	time.Sleep(50 * time.Millisecond)
	t1, m1, _ := c.sample()
	return (t1 - t0) * 1_000_000 / (m1 - m0)
}
