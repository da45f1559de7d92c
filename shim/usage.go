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

// usage returns what the thread has used. The slot's words are the guest's: any value must do no harm.
func (t *Thread) usage() usage {
	count := func(word *uint64) int64 { return int64(atomic.LoadUint64(word) & (1<<62 - 1)) }
	s := t.slot
	u := usage{
		minflt: t.flt.minor + count(&s.Faults), majflt: t.flt.major,
		nvcsw: count(&s.Waits), nivcsw: count(&s.Yields),
	}
	u.user, u.system = t.splitTime()
	return u
}

// cpuTime returns how long the thread has run on a vCPU.
func (t *Thread) cpuTime() time.Duration { return t.k.ticksToTime(t.ran()) }

// splitTime divides that: what the host took to serve the thread's requests is system time. What ring 0 serves by itself
// is too short to be measured there, and counts as user time.
func (t *Thread) splitTime() (user, system time.Duration) {
	ran := t.ran()
	served := min(t.served+t.serving(), ran)
	return t.k.ticksToTime(ran - served), t.k.ticksToTime(served)
}

// ran returns the ticks that the thread has run on a vCPU: what ring 0 has charged, which it does at every request and
// switch, and the time since then if it runs. Ring 0 may charge the thread at the same moment, so that what it charges is
// counted twice here; then the thread's time stands still until it has caught up.
func (t *Thread) ran() uint64 {
	s := t.slot
	ran := atomic.LoadUint64(&s.TSCRun)
	if atomic.LoadUint64(&s.OnCPU) != 0 {
		if in, now := atomic.LoadUint64(&s.TSCIn), t.k.tsc(); in != 0 && in < now {
			ran += now - in
		}
	}
	t.shown = max(t.shown, ran)
	return t.shown
}

// serveFrom notes when the request that is about to be served came; serveEnd charges the time since then.
func (t *Thread) serveFrom(tsc uint64) { t.servedFrom = tsc }

func (t *Thread) serveEnd() {
	t.served += t.serving()
	t.servedFrom = 0
}

// serving is the time since the request came that is being served. The counters of two processors may differ a little.
func (t *Thread) serving() uint64 {
	if now := t.k.tsc(); t.servedFrom != 0 && now > t.servedFrom {
		return now - t.servedFrom
	}
	return 0
}

// tsc is the guest's time-stamp counter, 0 if it is not known.
func (k *Kernel) tsc() uint64 {
	if k.cfg.TSC == nil {
		return 0
	}
	return k.cfg.TSC()
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
	p.addPeak(&u)
	return u
}

// addPeak counts the resident memory of the program that runs.
func (p *Process) addPeak(u *usage) {
	if p.mm != nil {
		u.maxRSS = max(u.maxRSS, p.mm.PeakRSS())
	}
}

// splitTime is the user and system time of all threads of the process.
func (p *Process) splitTime() (user, system time.Duration) {
	user, system = p.usage.user, p.usage.system
	for _, t := range p.threads {
		u, s := t.splitTime()
		user, system = user+u, system+s
	}
	return user, system
}

// cpuTime is what all threads of the process have run.
func (p *Process) cpuTime() time.Duration {
	d := p.usage.user + p.usage.system
	for _, t := range p.threads {
		d += t.cpuTime()
	}
	return d
}

// userTime is the part of it that is user time.
func (p *Process) userTime() time.Duration {
	user, _ := p.splitTime()
	return user
}
