package vmm

import (
	"testing"
	"time"

	"culvert/shim/abi"
)

func TestBasics(t *testing.T) {
	h := newHarness(t, 1)
	h.start(0, h.newSpace(uint64(h.alloc())), 0, 0)
	h.run(20 * time.Second)
	want := map[uint64]uint64{0: 100, 1: 567, 2: 0x1234567, 3: 0x7654321, 5: 700, 6: 7, 7: 99, 8: 8}
	for k, v := range want {
		if h.reports[k] != v {
			t.Errorf("report %d is %#x, want %#x", k, h.reports[k], v)
		}
	}
	if got, bad := h.reports[4]; bad {
		t.Errorf("demand-zero page %d was not zero", got)
	}
	if h.exits[0] != 42 {
		t.Errorf("exit status %d, want 42", h.exits[0])
	}
	s := &h.vm.cpus[0].page.Stats
	if s.DemandZero != 700 || s.COWCopy != 1 {
		t.Errorf("ring 0 served %d demand-zero faults and %d copies, want 700 and 1", s.DemandZero, s.COWCopy)
	}
}

func TestParallelCounter(t *testing.T) {
	h := newHarness(t, 2)
	shared := uint64(h.alloc())
	const n = 300000
	h.start(0, h.newSpace(shared), 1, n)
	h.start(1, h.newSpace(shared), 1, n)
	h.run(60 * time.Second)
	if got := h.sharedWord(shared, 1); got != 2*n {
		t.Errorf("the counter is %d, want %d", got, 2*n)
	}
}

// Two busy threads on one vCPU both get on: time slices.
func TestPreemption(t *testing.T) {
	h := newHarness(t, 1)
	shared := uint64(h.alloc())
	h.start(0, h.newSpace(shared), 1, 1000)
	h.start(1, h.newSpace(shared), 1, 1000)
	h.run(60 * time.Second)
	if got := h.sharedWord(shared, 1); got != 2000 {
		t.Errorf("the counter is %d, want 2000", got)
	}
}

// A kick that comes while ring 0 runs is not lost, and none is injected there: a wrong one would run the gate with
// ring 0's GS base swapped away, and the VM would die.
func TestKickInRing0(t *testing.T) {
	h := newHarness(t, 1)
	h.start(0, h.newSpace(uint64(h.alloc())), 3, 400000)
	done := make(chan struct{})
	stopped := make(chan uint64)
	go func() {
		var sent uint64
		for {
			select {
			case <-done:
				stopped <- sent
				return
			case <-time.After(200 * time.Microsecond):
				h.vm.Kick(0)
				sent++
			}
		}
	}()
	var sent uint64
	func() {
		defer func() { close(done); sent = <-stopped }()
		h.run(120 * time.Second)
	}()
	if h.exits[0] != 0 {
		t.Errorf("exit status %d", h.exits[0])
	}
	c := h.vm.cpus[0]
	if ticks := c.page.Stats.Ticks; ticks != c.kicks.Load() || ticks == 0 {
		t.Errorf("%d kicks sent, %d injected, ring 0 saw %d", sent, c.kicks.Load(), ticks)
	}
}

func TestRegistersSurviveMigration(t *testing.T) {
	h := newHarness(t, 2)
	shared := uint64(h.alloc())
	const threads, rounds = 5, 1500
	for i := uint64(0); i < threads; i++ {
		h.start(i, h.newSpace(shared), 4, rounds<<4|(i+1))
	}
	h.run(120 * time.Second)
	for i := uint64(1); i <= threads; i++ {
		if bad, ok := h.reports[i]; !ok || bad != 0 {
			t.Errorf("thread %d: %d wrong registers (reported: %v)", i, bad, ok)
		}
	}
}

func TestCOWNeverStale(t *testing.T) {
	h := newHarness(t, 2)
	shared := uint64(h.alloc())
	s := h.newSpace(shared)
	h.start(0, s, 5, 8000)
	h.start(1, s, 6, 0)
	h.run(120 * time.Second)
	if h.reports[20] != 0 || h.reports[21] == 0 {
		t.Errorf("%d stale reads in %d", h.reports[20], h.reports[21])
	}
}

// A thread that blocks in the shim is woken each time, although the waker may come before the thread has left.
func TestBlockWake(t *testing.T) {
	for _, cpus := range []int{1, 2} {
		h := newHarness(t, cpus)
		shared := uint64(h.alloc())
		const n = 500
		h.start(0, h.newSpace(shared), 7, n)
		h.start(1, h.newSpace(shared), 7, n)
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					woken := h.wakeBlocked(0)
					if !h.wakeBlocked(1) && !woken {
						time.Sleep(20 * time.Microsecond)
					}
				}
			}
		}()
		h.run(120 * time.Second)
		close(stop)
		if len(h.exits) != 2 {
			t.Errorf("%d CPUs: %d threads ended, want 2", cpus, len(h.exits))
		}
	}
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		name   string
		role   uint64
		vector uint64
	}{
		{"int 0x80", 8, abi.VecGP},
		{"kernel memory", 9, abi.VecPF},
		{"hlt", 10, abi.VecGP},
	} {
		h := newHarness(t, 1)
		h.start(0, h.newSpace(uint64(h.alloc())), c.role, 0)
		h.run(20 * time.Second)
		if len(h.faults) != 1 || h.faults[0].Vector != c.vector {
			t.Errorf("%s: faults %+v, want one of vector %d", c.name, h.faults, c.vector)
		}
	}
}
