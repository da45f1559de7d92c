package vmm

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"culvert/guest"
	"culvert/kvm"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// rdtsc reads this processor's time-stamp counter.
func rdtsc() uint64

// clock keeps guest.Clock, from which programs (through the vDSO) and ring 0 tell the time without an exit. There is one
// only where KVM says that the TSC is stable (KVM_CLOCK_TSC_STABLE): then the guest's TSC is the host's plus a constant,
// on every vCPU.
//
// The host's clocks are slewed, so the line from TSC to time is laid anew every clockPeriod: it begins where the
// old one is by then, and its slope leads to the host's time one period later. The beginning is read from the TSC while
// Seq is odd. So nobody has read the old line at a later time than that, however long this thread is kept from its
// processor: guest time never goes back.
type clock struct {
	page   *guest.Clock // nil until ShowClock
	offset uint64       // guest TSC - host TSC
	rate   uint64       // ns per tick, fixed point, as far as is known
	first  sample       // the rate is measured from here
	next   time.Time
}

const (
	msrTSC = 0x10
	// clockPeriod is how often the line is laid anew, while the VM runs.
	clockPeriod = 200 * time.Millisecond
	// maxSlew bounds the correction per period in parts of the slope (1/1024), so that a step of the host's clock
	// does not become a leap of the guest's.
	maxSlew = 1024
	// rateAfter is when the measured rate of the TSC is better than what KVM says.
	rateAfter = time.Second
)

// startClock makes the clock if KVM allows it. Preconditions: every vCPU exists, vCPU 0 has run, and none runs.
func (vm *VM) startClock() error {
	stable, err := vm.kvm.ClockStable()
	if err != nil || !stable || vm.tscKHz == 0 {
		return err
	}
	offset, err := tscOffset(vm.raw[0])
	if err != nil {
		return err
	}
	c := &clock{offset: offset, rate: slope(vm.tscKHz)}
	c.first = c.sample()
	vm.clock = c
	return nil
}

// ShowClock puts the clock into a page of guest memory and has ring 0 use it. Programs may see the page; nobody but the
// machine may write it. Preconditions: Run has not been called.
func (vm *VM) ShowClock(page abi.GPA) error {
	if page&abi.PageMask != 0 || uint64(page)+abi.PageSize > uint64(len(vm.ram)) {
		return fmt.Errorf("the clock's page %#x is no page of guest memory", page)
	}
	c := vm.clock
	if c == nil {
		return nil // the page says that it is not stable
	}
	c.page = view[guest.Clock](vm.ram, page)
	now := c.sample()
	c.write(now, now.mono, c.rate)
	atomic.StoreUint64(&c.page.Stable, 1)
	vm.page.Clock = uint64(abi.DirectBase) + uint64(page)
	return nil
}

// tscOffset is the constant between the two counters. Where KVM does not say it, it is measured: of several tries the
// one that took the least time.
func tscOffset(v *kvm.VCPU) (uint64, error) {
	if offset, err := v.GetTSCOffset(); err == nil {
		return offset, nil
	}
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
	q, _ := bits.Div64(1_000_000>>(64-guest.ClockShift), 1_000_000<<guest.ClockShift, khz)
	return q
}

// sample is a moment: the guest's TSC and CLOCK_MONOTONIC, and how far other clocks are ahead of that.
type sample struct {
	tsc, mono uint64
	ahead     [guest.NumClocks]uint64
}

// aheadClocks are the clocks that differ from CLOCK_MONOTONIC. The coarse ones are served as the fine ones.
var aheadClocks = [...]struct{ clock, as int32 }{
	{unix.CLOCK_REALTIME, unix.CLOCK_REALTIME}, {unix.CLOCK_REALTIME_COARSE, unix.CLOCK_REALTIME},
	{unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME}, {unix.CLOCK_TAI, unix.CLOCK_TAI},
}

// hostTime reads a clock of the host.
func hostTime(id int32) uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // does not fail with the clocks that are asked for here
	return uint64(ts.Nano())
}

// sample reads the guest's TSC and the host's clocks at one moment, as nearly as can be.
func (c *clock) sample() sample {
	var s sample
	best := ^uint64(0)
	const tries = 4
	for range tries {
		before := rdtsc()
		mono := hostTime(unix.CLOCK_MONOTONIC)
		after := rdtsc()
		if after-before < best {
			best, s.mono, s.tsc = after-before, mono, before+(after-before)/2+c.offset
		}
	}
	for _, a := range aheadClocks {
		s.ahead[a.clock] = between(unix.CLOCK_MONOTONIC, a.as)
	}
	return s
}

// between is how far clock b is ahead of clock a: of several tries the one that took the least time.
func between(a, b int32) uint64 {
	best, ahead := ^uint64(0), uint64(0)
	const tries = 3
	for range tries {
		before := hostTime(a)
		then := hostTime(b)
		if took := hostTime(a) - before; took < best {
			best, ahead = took, then-(before+took/2)
		}
	}
	return ahead
}

// write publishes a line that begins with mono at s.tsc, under the sequence lock.
func (c *clock) write(s sample, mono, mult uint64) {
	atomic.AddUint64(&c.page.Seq, 1)
	c.store(&s, s.tsc, mono, mult)
	atomic.AddUint64(&c.page.Seq, 1)
}

// store writes the words of a line. Preconditions: Seq is odd.
func (c *clock) store(s *sample, tsc, mono, mult uint64) {
	p := c.page
	atomic.StoreUint64(&p.TSCBase, tsc)
	atomic.StoreUint64(&p.Mult, mult)
	for i := range p.Base {
		atomic.StoreUint64(&p.Base[i], mono+s.ahead[i])
	}
}

// shown is what the line says at a TSC, and at its beginning before that.
func (c *clock) shown(tsc uint64) uint64 {
	base := atomic.LoadUint64(&c.page.TSCBase)
	hi, lo := bits.Mul64(max(tsc, base)-base, atomic.LoadUint64(&c.page.Mult))
	return atomic.LoadUint64(&c.page.Base[unix.CLOCK_MONOTONIC]) + (hi<<(64-guest.ClockShift) | lo>>guest.ClockShift)
}

// update lays the line anew if its period is over. The realtime clock may step, as the host's does.
func (c *clock) update(now time.Time) {
	if c.page == nil || now.Before(c.next) {
		return
	}
	c.next = now.Add(clockPeriod)
	s := c.sample()
	mult := c.lead(&s)
	atomic.AddUint64(&c.page.Seq, 1)
	tsc := max(rdtsc()+c.offset, atomic.LoadUint64(&c.page.TSCBase))
	c.store(&s, tsc, c.shown(tsc), mult)
	atomic.AddUint64(&c.page.Seq, 1)
}

// lead is the slope that leads from what is shown at s to the host's time one period later. Where the guest is ahead
// (behind) by d ns, it is less (more) than the rate by d per period.
func (c *clock) lead(s *sample) uint64 {
	if ran := s.mono - c.first.mono; ran > uint64(rateAfter) && s.tsc > c.first.tsc {
		// ns per tick = ran / ticks; the quotient is less than 2^64 for every TSC above 1 Hz.
		ticks := s.tsc - c.first.tsc
		if hi, lo := bits.Mul64(ran, 1<<guest.ClockShift); hi < ticks {
			c.rate, _ = bits.Div64(hi, lo, ticks)
		}
	}
	d := int64(s.mono - c.shown(s.tsc))
	// d * rate / period: in ticks of the fixed point.
	fix := c.rate / maxSlew
	if hi, lo := bits.Mul64(abs(d), c.rate); hi < uint64(clockPeriod) {
		q, _ := bits.Div64(hi, lo, uint64(clockPeriod))
		fix = min(fix, q)
	}
	if d < 0 {
		fix = -fix
	}
	return c.rate + fix
}

func abs(d int64) uint64 {
	if d < 0 {
		return uint64(-d)
	}
	return uint64(d)
}

// TSC returns a function that reads the guest's time-stamp counter, by which CPU time is counted; nil if the counter is not
// stable.
func (vm *VM) TSC() func() uint64 {
	if vm.clock == nil {
		return nil
	}
	offset := vm.clock.offset
	return func() uint64 { return rdtsc() + offset }
}
