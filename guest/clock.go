package guest

import (
	"math/bits"
	"unsafe"

	"culvert/shim/abi"
)

// Clock ids that are served here (include/uapi/linux/time.h). The coarse ones may be finer than Linux's.
const (
	clockRealtime        = 0
	clockMonotonic       = 1
	clockRealtimeCoarse  = 5
	clockMonotonicCoarse = 6
	clockBoottime        = 7
)

// nsPerSec is a second.
const nsPerSec = 1_000_000_000

// sysClockGettime is clock_gettime(2) where KVM says that the TSC is stable.
//
//go:nosplit
func sysClockGettime(p *PerCPU, t *Thread) bool {
	c := &p.VM.Clock
	id, addr := t.RDI, t.RSI
	if id > clockBoottime || addr > uint64(abi.UserEnd)-16 {
		return false
	}
	real := id == clockRealtime || id == clockRealtimeCoarse
	if !real && id != clockMonotonic && id != clockMonotonicCoarse && id != clockBoottime {
		return false
	}
	ns, ok := readClock(p, c, real)
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

// readClock reads the clock under its sequence lock: odd while the host writes, and a change means to read again.
//
//go:nosplit
func readClock(p *PerCPU, c *Clock, real bool) (ns uint64, ok bool) {
	for {
		seq := load(&c.Seq)
		if seq&1 != 0 {
			p.Pause()
			continue
		}
		if load(&c.Stable) == 0 {
			return 0, false
		}
		base := load(&c.Mono)
		if real {
			base = load(&c.Realtime)
		}
		tscBase, mult, shift := load(&c.TSCBase), load(&c.Mult), load(&c.Shift)
		hi, lo := bits.Mul64(p.RDTSC()-tscBase, mult)
		if load(&c.Seq) == seq {
			return base + (hi<<(64-shift&63) | lo>>(shift&63)), true
		}
	}
}
