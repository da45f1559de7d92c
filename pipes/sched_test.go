package pipes

import (
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/shim/abi"
)

// A small scheduler that does in process what the guest kernel does in ring 0: goroutines are vCPUs, threads are state
// machines that a vCPU steps. A thread has one owner: the vCPU that runs it, one ready bit, or nobody while it is
// blocked. See explore_test.go for why each step is as it is.

// outcome of one step of a thread.
type outcome int

const (
	again outcome = iota // more to do
	yield                // let others run
	block                // joined a wait set and found nothing to do since
	done                 // the thread has ended
)

type thread struct {
	index uint64
	state uint64 // abi.State*
	onCPU uint64 // 1 while a vCPU owns it: a trap
	claim uint64 // 1: the shim ended its wait, as for a time-out or signal
	step  func(t *thread) outcome
}

type sched struct {
	threads  []*thread
	ready    [SetWords]uint64
	idle     atomic.Int64
	left     atomic.Int64 // threads that have not ended
	progress atomic.Int64 // anything that a lost wake-up would stop
	claims   atomic.Int64 // how many waits the shim may still end: a claim must not hide a lost wake-up for ever
	stop     atomic.Bool
	vcpus    int64
	failed   atomic.Pointer[string]
}

func (s *sched) fail(format string, args ...any) {
	m := fmt.Sprintf(format, args...)
	s.failed.CompareAndSwap(nil, &m)
	s.stop.Store(true)
}

func (s *sched) setReady(i uint64) { atomic.OrUint64(&s.ready[i>>6], 1<<(i&63)) }

// wake makes thread i ready, or keeps it from blocking.
func (s *sched) wake(i uint64) {
	t := s.threads[i]
	for {
		if atomic.CompareAndSwapUint64(&t.state, abi.StateBlocked, abi.StateRun) {
			s.setReady(i)
			return
		}
		if atomic.CompareAndSwapUint64(&t.state, abi.StateRun, abi.StateWoken) ||
			atomic.LoadUint64(&t.state) != abi.StateBlocked {
			return
		}
	}
}

func (s *sched) wakeSet(set *WaitSet) {
	for w := uint64(0); w < SetWords; w++ {
		for b := set.TakeWord(w); b != 0; b &= b - 1 {
			s.wake(w<<6 + uint64(bits.TrailingZeros64(b)))
		}
	}
}

// obey does what an operation on p asks for.
func (s *sched) obey(p *Pipe, w Wake) {
	if w.Reader >= 0 {
		s.wake(uint64(w.Reader))
	}
	if w.Writer >= 0 {
		s.wake(uint64(w.Writer))
	}
	if w.Flags&(WakePollers|WakeAll) != 0 {
		s.wakeSet(&p.PWait)
	}
	if w.Flags&WakeAll != 0 {
		s.wakeSet(&p.RWait)
		s.wakeSet(&p.WWait)
	}
}

// take returns a ready thread, beginning at word from.
func (s *sched) take(from int) *thread {
	for i := 0; i < SetWords; i++ {
		w := &s.ready[(from+i)&wordMask]
		for b := atomic.LoadUint64(w); b != 0; b &= b - 1 {
			bit := b & -b
			if atomic.AndUint64(w, ^bit)&bit != 0 {
				return s.threads[(from+i)&wordMask<<6+bits.TrailingZeros64(bit)]
			}
		}
	}
	return nil
}

// vcpu runs ready threads until all have ended.
func (s *sched) vcpu(id int) {
	nothing := 0
	for cursor := id; !s.stop.Load() && s.left.Load() > 0; cursor++ {
		t := s.take(cursor & wordMask)
		if t == nil {
			s.idle.Add(1)
			if nothing++; nothing < 100 {
				runtime.Gosched()
			} else {
				time.Sleep(50 * time.Microsecond)
			}
			s.idle.Add(-1)
			continue
		}
		nothing = 0
		if !atomic.CompareAndSwapUint64(&t.onCPU, 0, 1) {
			s.fail("thread %d runs on two vCPUs", t.index)
			return
		}
		out := again
		for slice := 0; out == again; slice++ {
			if slice == 50 {
				out = yield
				break
			}
			out = t.step(t)
		}
		atomic.StoreUint64(&t.onCPU, 0) // the last that is saved
		switch {
		case out == done:
			s.left.Add(-1)
		case out == yield:
			s.setReady(t.index)
		case !atomic.CompareAndSwapUint64(&t.state, abi.StateRun, abi.StateBlocked):
			atomic.StoreUint64(&t.state, abi.StateRun)
			s.setReady(t.index)
		}
	}
}

// shim ends waits at random, as time-outs and signals do, while it has claims left.
func (s *sched) shim() {
	for n := uint64(1); !s.stop.Load() && s.left.Load() > 0; n++ {
		t := s.threads[n*2654435761>>7%uint64(len(s.threads))]
		if t != nil && atomic.LoadUint64(&t.state) == abi.StateBlocked && s.claims.Add(-1) >= 0 {
			atomic.StoreUint64(&t.claim, 1)
			if atomic.CompareAndSwapUint64(&t.state, abi.StateBlocked, abi.StateRun) {
				s.setReady(t.index)
			}
		}
		if n%8 == 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// watch fails the test if all vCPUs stay idle, or if nothing happens for long.
func (s *sched) watch(t *testing.T) {
	last, since, idle := int64(-1), time.Now(), 0
	for !s.stop.Load() && s.left.Load() > 0 {
		time.Sleep(20 * time.Millisecond)
		now := s.progress.Load()
		if now != last {
			last, since, idle = now, time.Now(), 0
			continue
		}
		ready := uint64(0)
		for i := range s.ready {
			ready |= atomic.LoadUint64(&s.ready[i])
		}
		if ready == 0 && s.idle.Load() == s.vcpus {
			idle++
		}
		if idle > 50 || time.Since(since) > 20*time.Second {
			blocked := 0
			for _, t := range s.threads {
				if t != nil && atomic.LoadUint64(&t.state) == abi.StateBlocked {
					blocked++
				}
			}
			s.fail("lost wake-up: %d threads sleep, %d have not ended, idle for %d looks, nothing happened for %v",
				blocked, s.left.Load(), idle, time.Since(since))
		}
	}
}

// run steps all threads to their end on so many vCPUs.
func (s *sched) run(t *testing.T, vcpus int) {
	t.Helper()
	s.vcpus = int64(vcpus)
	for i, th := range s.threads {
		if th == nil {
			continue
		}
		s.left.Add(1)
		th.index, th.state = uint64(i), abi.StateRun
		s.setReady(uint64(i))
	}
	var wg sync.WaitGroup
	for i := 0; i < vcpus; i++ {
		wg.Go(func() { s.vcpu(i) })
	}
	wg.Go(s.shim)
	wg.Go(func() { s.watch(t) })
	wg.Wait()
	if m := s.failed.Load(); m != nil {
		t.Fatal(*m)
	}
}
