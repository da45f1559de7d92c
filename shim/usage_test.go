package shim

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// setTSC gives the world a counter of nanoseconds that the test moves.
func (w *world) setTSC() *atomic.Uint64 {
	var now atomic.Uint64
	now.Store(1e9)
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	w.k.cfg.TSCKHz, w.k.cfg.TSC = 1e6, now.Load
	return &now
}

// rusage is getrusage of who.
func (x *task) rusage(who int64) (user, system time.Duration, counts [14]uint64) {
	x.mustCall(unix.SYS_GETRUSAGE, uint64(who), testBase+0x400)
	b := make([]byte, 144)
	for i := range 18 {
		binary.LittleEndian.PutUint64(b[8*i:], x.peek(testBase+0x400+uint64(8*i)))
	}
	tv := func(i int) time.Duration {
		return time.Duration(binary.LittleEndian.Uint64(b[8*i:]))*time.Second +
			time.Duration(binary.LittleEndian.Uint64(b[8*i+8:]))*time.Microsecond
	}
	for i := range counts {
		counts[i] = binary.LittleEndian.Uint64(b[32+8*i:])
	}
	return tv(0), tv(2), counts
}

// A thread's time is what ring 0 has charged, and what passed since then; what the host serves is system time.
func TestUsageSplit(t *testing.T) {
	w, x := newWorld(t)
	now := w.setTSC()
	s := x.slot
	atomic.StoreUint64(&s.TSCRun, 5e9)
	atomic.StoreUint64(&s.TSCIn, now.Load())
	if user, system, _ := x.rusage(unix.RUSAGE_SELF); user != 5*time.Second || system != 0 {
		t.Errorf("user %v, system %v", user, system)
	}
	// The thread runs for two seconds; nobody has charged it.
	atomic.StoreUint64(&s.OnCPU, 1)
	now.Add(2e9)
	if user, system, _ := x.rusage(unix.RUSAGE_THREAD); user != 7*time.Second || system != 0 {
		t.Errorf("running: user %v, system %v", user, system)
	}
	// A request takes a second on the host.
	th := x.thread()
	w.k.mu.Lock()
	th.serveFrom(now.Load())
	now.Add(1e9)
	if user, system := th.splitTime(); user != 7*time.Second || system != time.Second {
		t.Errorf("in a request: user %v, system %v", user, system)
	}
	th.serveEnd()
	w.k.mu.Unlock()
	if user, system, _ := x.rusage(unix.RUSAGE_SELF); user != 7*time.Second || system != time.Second {
		t.Errorf("after it: user %v, system %v", user, system)
	}
	// The kernel's lies: time that goes back, counts that cannot be.
	atomic.StoreUint64(&s.TSCRun, 0)
	atomic.StoreUint64(&s.TSCIn, ^uint64(0))
	atomic.StoreUint64(&s.Faults, ^uint64(0))
	atomic.StoreUint64(&s.Waits, 7)
	atomic.StoreUint64(&s.Yields, 9)
	user, system, counts := x.rusage(unix.RUSAGE_SELF)
	if user != 7*time.Second || system != time.Second {
		t.Errorf("after a lie: user %v, system %v", user, system)
	}
	if counts[12] != 7 || counts[13] != 9 || int64(counts[4]) < 0 {
		t.Errorf("counts %v", counts)
	}
	atomic.StoreUint64(&s.OnCPU, 0)
}

// RLIMIT_CPU: SIGXCPU at the soft limit, each second from then on; SIGKILL at the hard one.
func TestCPULimit(t *testing.T) {
	w, x := newWorld(t)
	w.setTSC()
	x.action(sig.SIGXCPU, 0x1000, 0, 0)
	x.mustCall(unix.SYS_SETRLIMIT, unix.RLIMIT_CPU, x.poke(0x100, 2, 4))
	th := x.thread()
	pending := func() bool {
		w.k.mu.Lock()
		defer w.k.mu.Unlock()
		return th.p.pending.Set().Has(sig.SIGXCPU)
	}
	time.Sleep(3 * cpuTimerStep)
	if pending() {
		t.Fatal("SIGXCPU before its time")
	}
	await := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	atomic.StoreUint64(&x.slot.TSCRun, 2e9)
	await("no SIGXCPU", pending)
	w.k.mu.Lock()
	if cur := th.p.limits[unix.RLIMIT_CPU].cur; cur != 3 {
		t.Errorf("the soft limit is %d, want 3", cur)
	}
	w.k.mu.Unlock()
	atomic.StoreUint64(&x.slot.TSCRun, 5e9)
	await("not killed", func() bool {
		w.k.mu.Lock()
		defer w.k.mu.Unlock()
		return th.killed
	})
}
