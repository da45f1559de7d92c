package vmm

import (
	"math/bits"
	"sync/atomic"
	"time"

	"culvert/guest"
	"culvert/kvm"

	"golang.org/x/sys/unix"
)

// rdtsc reads this processor's time-stamp counter.
func rdtsc() uint64

// clock keeps guest.VM.Clock, from which ring 0 answers clock_gettime without an exit. It is on only where KVM says that
// the TSC is stable (KVM_CLOCK_TSC_STABLE): then the guest's TSC is the host's plus a constant, on every vCPU.
//
// The host's clocks are slewed, so the line from TSC to time is laid anew every clockPeriod: it begins where the
// old one is by then, and its slope leads to the host's time one period later. So guest time never goes back.
type clock struct {
	page   *guest.Clock
	offset uint64 // guest TSC - host TSC
	khz    uint64
	next   time.Time
}

const (
	msrTSC = 0x10
	// clockShift is the fixed point of the slope. 2^24 ns per tick is far beyond any TSC.
	clockShift = 32
	// clockPeriod is how often the slope is laid anew, while the VM runs.
	clockPeriod = 200 * time.Millisecond
	// maxSlew bounds the correction per period in parts of the slope (1/1024), so that a step of the host's clock
	// does not become a leap of the guest's.
	maxSlew = 1024
)

// startClock turns the clock on if KVM allows it. Preconditions: every vCPU exists, vCPU 0 has run, and none runs.
func (vm *VM) startClock() error {
	stable, err := vm.kvm.ClockStable()
	if err != nil || !stable || vm.tscKHz == 0 {
		return err
	}
	offset, err := tscOffset(vm.raw[0])
	if err != nil {
		return err
	}
	c := &clock{page: &vm.page.Clock, offset: offset, khz: vm.tscKHz}
	tsc, mono, real := c.sample()
	c.write(tsc, mono, real, slope(c.khz))
	atomic.StoreUint64(&c.page.Stable, 1)
	vm.clock = c
	return nil
}

// tscOffset measures the constant between the two counters: of several tries the one that took the least time.
func tscOffset(v *kvm.VCPU) (uint64, error) {
	const tries = 8
	best, offset := ^uint64(0), uint64(0)
	for range tries {
		m := []kvm.MSR{{Index: msrTSC}}
		before := rdtsc()
		err := v.GetMSRs(m)
		after := rdtsc()
		if err != nil {
			return 0, err
		}
		if after-before < best {
			best, offset = after-before, m[0].Data-(before+(after-before)/2)
		}
	}
	return offset, nil
}

// slope is nanoseconds per tick, in fixed point.
func slope(khz uint64) uint64 {
	q, _ := bits.Div64(1_000_000>>(64-clockShift), 1_000_000<<clockShift, khz)
	return q
}

// sample reads the guest's TSC and the host's clocks at one moment, as nearly as can be.
func (c *clock) sample() (tsc, mono, real uint64) {
	var m, r unix.Timespec
	best := ^uint64(0)
	const tries = 4
	for range tries {
		var tm, tr unix.Timespec
		before := rdtsc()
		// Neither fails with these clocks.
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &tm)
		_ = unix.ClockGettime(unix.CLOCK_REALTIME, &tr)
		after := rdtsc()
		if after-before < best {
			best, m, r, tsc = after-before, tm, tr, before+(after-before)/2+c.offset
		}
	}
	return tsc, uint64(m.Nano()), uint64(r.Nano())
}

// write publishes a line under the sequence lock.
func (c *clock) write(tsc, mono, real, mult uint64) {
	p := c.page
	atomic.AddUint64(&p.Seq, 1)
	atomic.StoreUint64(&p.TSCBase, tsc)
	atomic.StoreUint64(&p.Mult, mult)
	atomic.StoreUint64(&p.Shift, clockShift)
	atomic.StoreUint64(&p.Mono, mono)
	atomic.StoreUint64(&p.Realtime, real)
	atomic.AddUint64(&p.Seq, 1)
}

// update lays the line anew if its period is over. The realtime clock may step, as the host's does.
func (c *clock) update(now time.Time) {
	if now.Before(c.next) {
		return
	}
	c.next = now.Add(clockPeriod)
	tsc, mono, real := c.sample()
	mult := atomic.LoadUint64(&c.page.Mult)
	hi, lo := bits.Mul64(tsc-atomic.LoadUint64(&c.page.TSCBase), mult)
	shown := atomic.LoadUint64(&c.page.Mono) + (hi<<(64-clockShift) | lo>>clockShift)
	nominal := slope(c.khz)
	ticks := c.khz * uint64(clockPeriod/time.Millisecond)
	// Where the guest is ahead (behind) by d ns, the slope is less (more) by d per period.
	d := int64(mono - shown)
	hi, lo = bits.Mul64(abs(d), 1<<clockShift)
	fix := nominal / maxSlew
	if hi < ticks {
		q, _ := bits.Div64(hi, lo, ticks)
		fix = min(fix, q)
	}
	if d < 0 {
		fix = -fix
	}
	c.write(tsc, shown, real-mono+shown, nominal+fix)
}

func abs(d int64) uint64 {
	if d < 0 {
		return uint64(-d)
	}
	return uint64(d)
}
