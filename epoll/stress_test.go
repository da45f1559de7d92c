package epoll

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/pipes"
)

// TestStress: counters are written, mostly one at a time; threads wait for them in instances, in every mode and nested,
// and take what is there. Meanwhile the host adds, modifies and removes items and closes instances. A lost wake-up or a
// lost edge leaves a counter that nobody reads, and nobody moves any more.
func TestStress(t *testing.T) {
	writes := 400000
	if testing.Short() || raceEnabled {
		writes = 100000
	}
	start := time.Now()
	for round := uint64(0); round < 4; round++ {
		stress(t, round, writes/4)
	}
	t.Logf("%d writes in %v", writes, time.Since(start))
}

const (
	stressWriters = 3
	stressReaders = 5
	stressObjects = 8
)

func stress(t *testing.T, seed uint64, writes int) {
	v := newVM(t, stressWriters+stressReaders+1)
	rng := rand.New(rand.NewPCG(seed, 1))
	objects := make([]*object, stressObjects)
	for i := range objects {
		objects[i] = v.newObject()
	}
	// Two instances, one of them nested into a third. Each counter is in one: another would hide what is lost.
	a, b, top := v.newInstance(), v.newInstance(), v.newInstance()
	modes := []uint32{in, in | EPOLLET, in | EPOLLONESHOT, in | EPOLLEXCLUSIVE, in | EPOLLET | EPOLLEXCLUSIVE}
	var refs []*Ref
	kind := make([]uint32, stressObjects)
	for i, o := range objects {
		kind[i] = modes[(i+rng.IntN(2))%len(modes)]
		in := a
		if i%3 == 2 {
			in = b
		}
		refs = append(refs, v.add(in, o, kind[i], uint64(i)))
	}
	v.nest(top, b, in|EPOLLET*uint32(seed&1), 1000)

	var sum atomic.Uint64 // written, not yet read
	var done atomic.Bool
	total := uint64(writes)
	sum.Store(total)
	stop := make(chan struct{})
	go v.watchdog(stop)
	var wg, others sync.WaitGroup
	quit := make(chan struct{})
	for i := range stressWriters {
		p := v.procs[i]
		r := rand.New(rand.NewPCG(seed, uint64(i)+10))
		n := writes / stressWriters
		if i == 0 {
			n += writes % stressWriters
		}
		wg.Go(func() {
			for range n {
				o := objects[(r.IntN(stressObjects)/stressWriters*stressWriters+i)%stressObjects]
				w, st := o.ev.Write(1)
				if st != pipes.OK {
					t.Errorf("write: %d", st)
				}
				p.obey(o, w)
				for r.IntN(8) != 0 && o.ev.Readable() && !done.Load() {
					runtime.Gosched()
				}
			}
		})
	}
	take := func(p *proc, i uint64) {
		o := objects[i]
		for {
			n, w, st := o.ev.Read()
			p.obey(o, w)
			if st == pipes.WouldBlock {
				break
			}
			if st == pipes.OK {
				v.moves.Add(1)
				if sum.Add(-n) == 0 && done.CompareAndSwap(false, true) {
					close(quit)
				}
			}
		}
	}
	use := func(p *proc, ev event) {
		take(p, ev.data)
		if kind[ev.data]&EPOLLONESHOT != 0 {
			v.mu.Lock()
			v.set(refs[ev.data], kind[ev.data], ev.data)
			v.mu.Unlock()
		}
	}
	for i := range stressReaders {
		p := v.procs[stressWriters+i]
		e := a
		if i == stressReaders-1 {
			e = top
		}
		r := rand.New(rand.NewPCG(seed, uint64(i)+20))
		wg.Go(func() {
			v.live.Add(1)
			defer v.live.Add(-1)
			for !done.Load() {
				for _, ev := range p.wait(e.Instance(), 1+r.IntN(4), quit) {
					if ev.data == 1000 {
						for {
							got := p.collect(b.Instance(), 4)
							for _, ev := range got {
								use(p, ev)
							}
							if len(got) == 0 {
								break
							}
						}
						continue
					}
					use(p, ev)
				}
			}
		})
	}
	// The host: interests come and go, instances too, and some are modified.
	others.Go(func() {
		r := rand.New(rand.NewPCG(seed, 30))
		var extra []*Ref
		var spare *instance
		for !done.Load() {
			v.mu.Lock()
			if spare == nil {
				spare = v.newInstance()
			}
			for range 20 {
				switch r.IntN(4) {
				case 0, 1:
					extra = append(extra, v.add(spare, objects[r.IntN(stressObjects)], in|EPOLLET, 0))
				case 2:
					if len(extra) > 0 {
						n := r.IntN(len(extra))
						extra[n].Remove()
						extra = append(extra[:n], extra[n+1:]...)
					}
				case 3:
					// The interest is taken away and made again: what was ready is ready then. Only one, since this too
					// hides what is lost.
					if r.IntN(10) == 0 {
						refs[0].Remove()
						refs[0] = v.add(a, objects[0], kind[0], 0)
					}
				}
			}
			if r.IntN(4) == 0 {
				for _, x := range extra {
					x.Remove()
				}
				extra = nil
				spare.Close()
				spare = nil
			}
			v.limbo.Reclaim()
			v.mu.Unlock()
			time.Sleep(20 * time.Microsecond)
		}
	})
	wg.Wait()
	others.Wait()
	close(stop)
	if n := sum.Load(); n != 0 {
		t.Errorf("%d of %d were not read", n, total)
	}
	v.limbo.Reclaim()
	if n := v.limbo.Len(); n != 0 {
		t.Errorf("%d things are still in limbo", n)
	}
}
