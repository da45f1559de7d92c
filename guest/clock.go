package guest

import (
	"math/bits"
	"unsafe"

	"culvert/shim/abi"
)

// nsPerSec is a second.
const nsPerSec = 1_000_000_000

// nsPerMicro is a microsecond.
const nsPerMicro = 1000

// sysClockGettime is clock_gettime(2) where KVM says that the TSC is stable. Programs that use the vDSO do not come here.
//
//go:nosplit
func sysClockGettime(p *PerCPU, t *Thread) bool {
	id, addr := t.RDI&0xffffffff, t.RSI // the clock is an int
	if id >= NumClocks || ServedClocks>>id&1 == 0 || addr > uint64(abi.UserEnd)-16 {
		return false
	}
	ns, ok := readClock(p, id)
	if !ok {
		return false
	}
	p.TimeSpec[0] = ns / nsPerSec
	p.TimeSpec[1] = ns % nsPerSec
	if p.Copy(at(addr), unsafe.Pointer(&p.TimeSpec), 16) != 0 {
		return false // the shim resolves the fault, or answers EFAULT
	}
	t.RAX = 0
	return true
}

// readClock reads a clock under its sequence lock: odd while the host writes, and a change means to read again.
// Preconditions: id is less than NumClocks.
//
//go:nosplit
func readClock(p *PerCPU, id uint64) (ns uint64, ok bool) {
	if p.VM.Clock == 0 {
		return 0, false
	}
	c := (*Clock)(at(p.VM.Clock))
	for {
		seq := load(&c.Seq)
		if seq&1 != 0 {
			p.Pause()
			continue
		}
		if load(&c.Stable) == 0 {
			return 0, false
		}
		base, tscBase, mult := load(&c.Base[id&(NumClocks-1)]), load(&c.TSCBase), load(&c.Mult)
		// The counters of two processors may differ by a few ticks: the line has no time before its beginning.
		tsc := max(p.RDTSC(), tscBase)
		hi, lo := bits.Mul64(tsc-tscBase, mult)
		if load(&c.Seq) == seq {
			return base + (hi<<(64-ClockShift) | lo>>ClockShift), true
		}
	}
}
