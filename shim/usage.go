package shim

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// usage is what getrusage(2) reports.
type usage struct {
	user, system   time.Duration
	maxRSS         uint64 // bytes
	minflt, majflt int64
	nvcsw, nivcsw  int64
}

// add adds the usage of a child or thread.
func (u *usage) add(v *usage) {
	u.user += v.user
	u.system += v.system
	u.maxRSS = max(u.maxRSS, v.maxRSS)
	u.minflt += v.minflt
	u.majflt += v.majflt
	u.nvcsw += v.nvcsw
	u.nivcsw += v.nivcsw
}

// addThread adds what a thread used.
func (u *usage) addThread(t *Thread) {
	v := t.usage()
	u.add(&v)
}

// usage returns what the thread has used. Ring 0 counts TSC ticks; time in the guest kernel counts as user time, as
// Linux without tick accounting could not tell either.
func (t *Thread) usage() usage {
	return usage{user: t.cpuTime(), minflt: t.flt.minor, majflt: t.flt.major}
}

// cpuTime returns how long the thread ran on a vCPU, up to when ring 0 last charged it: at every switch.
func (t *Thread) cpuTime() time.Duration {
	return t.k.ticksToTime(atomic.LoadUint64(&t.slot.TSCRun))
}

// ticksToTime converts TSC ticks, which are the guest's word: any value must do no harm.
func (k *Kernel) ticksToTime(n uint64) time.Duration {
	khz := k.cfg.TSCKHz
	if khz == 0 {
		return 0
	}
	// 128-bit product, so that days of ticks do not overflow.
	hi, lo := bits.Mul64(n, uint64(time.Millisecond))
	if hi >= khz {
		return 1<<62 - 1
	}
	v, _ := bits.Div64(hi, lo, khz)
	return time.Duration(min(v, 1<<62-1))
}

// usageSelf is RUSAGE_SELF: gone threads and living ones.
func (p *Process) usageSelf() usage {
	u := p.usage
	for _, t := range p.threads {
		u.addThread(t)
	}
	if p.mm != nil {
		u.maxRSS = max(u.maxRSS, p.mm.Usage().PeakRSS)
	}
	return u
}
