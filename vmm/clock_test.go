package vmm

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/guest"

	"golang.org/x/sys/unix"
)

// testClock is a clock in a page of the test's own, whose rate is wrong by a part in off.
func testClock(t *testing.T, off int) *clock {
	khz := hostKHz(t)
	c := &clock{page: &guest.Clock{}, rate: slope(uint64(int(khz) + int(khz)/off))}
	c.first = c.sample()
	c.write(c.first, c.first.mono, c.rate)
	return c
}

// relay lays the line anew.
func (c *clock) relay() {
	c.next = time.Time{}
	c.update(time.Now())
}

// A clock whose rate was taken wrongly by 0.05 % catches up with the host's.
func TestClockSlews(t *testing.T) {
	for _, off := range []int{2000, -2000} {
		c := testClock(t, off)
		var errors []int64
		for range 6 {
			time.Sleep(clockPeriod / 2)
			c.relay()
			s := c.sample()
			errors = append(errors, int64(c.shown(s.tsc)-s.mono))
		}
		if e := errors[len(errors)-1]; abs(e) > 500_000 {
			t.Errorf("off by 1/%d: after %d periods the clock is %d ns off: %v", off, len(errors), e, errors)
		}
		if atomic.LoadUint64(&c.page.Seq)&1 != 0 {
			t.Error("the sequence is odd after a write")
		}
	}
}

// read is the clock as vDSO and ring 0 read it.
func (c *clock) read() uint64 {
	for {
		seq := atomic.LoadUint64(&c.page.Seq)
		if seq&1 != 0 {
			continue
		}
		now := c.shown(rdtsc())
		if atomic.LoadUint64(&c.page.Seq) == seq {
			return now
		}
	}
}

// Two readers that tell each other the time never see it go back while the line is laid anew all the time, with slopes
// that differ much and a writer that is often kept from its processor.
func TestClockNeverGoesBack(t *testing.T) {
	c := testClock(t, 500)
	var last atomic.Uint64
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for range 100 {
					before := last.Load()
					now := c.read()
					if now < before {
						t.Errorf("time went back from %d to %d", before, now)
						return
					}
					last.CompareAndSwap(before, now)
				}
			}
		})
	}
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		c.relay()
		c.first.mono += 1000 // so that the slope changes
	}
	close(stop)
	readers.Wait()
}

// All clocks that are served agree with the host's.
func TestClockBases(t *testing.T) {
	c := testClock(t, 1<<30)
	c.relay()
	for id := range int32(guest.NumClocks) {
		if guest.ServedClocks>>id&1 == 0 {
			continue
		}
		ahead := atomic.LoadUint64(&c.page.Base[id]) - atomic.LoadUint64(&c.page.Base[unix.CLOCK_MONOTONIC])
		d := int64(hostTime(id) - (c.read() + ahead))
		// A coarse clock of Linux is a tick behind at most.
		if d > int64(time.Millisecond) || d < -int64(12*time.Millisecond) {
			t.Errorf("clock %d is %v off", id, time.Duration(-d))
		}
	}
}

// hostKHz measures the TSC's rate.
func hostKHz(t *testing.T) uint64 {
	t.Helper()
	c := &clock{}
	a := c.sample()
	time.Sleep(50 * time.Millisecond)
	b := c.sample()
	return (b.tsc - a.tsc) * 1_000_000 / (b.mono - a.mono)
}
