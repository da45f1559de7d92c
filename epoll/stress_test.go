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

// TestStress: counters are written at random; threads wait for them in instances, in every mode and nested, and take what
// is there. Meanwhile the host adds, modifies and removes items and closes instances. In the end all that was written
// has been read: a lost wake-up or a lost edge leaves some of it, and nobody moves any more.
func TestStress(t *testing.T) {
	writes := 400000
	if testing.Short() || raceEnabled {
		writes = 40000
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
	// Two instances for everything, one of them nested into a third.
	a, b, top := v.newInstance(), v.newInstance(), v.newInstance()
	modes := []uint32{in, in | EPOLLET, in | EPOLLONESHOT, in | EPOLLEXCLUSIVE, in | EPOLLET | EPOLLEXCLUSIVE}
	refs := map[*instance][]*Ref{}
	kind := make([]uint32, stressObjects)
	for i, o := range objects {
		kind[i] = modes[rng.IntN(len(modes))]
		refs[a] = append(refs[a], v.add(a, o, kind[i], uint64(i)))
		if kind[i]&EPOLLEXCLUSIVE == 0 {
			refs[b] = append(refs[b], v.add(b, o, in, uint64(i)))
		}
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
				o := objects[r.IntN(stressObjects)]
				w, st := o.ev.Write(1)
				if st != pipes.OK {
					t.Errorf("write: %d", st)
				}
				p.obey(o, w)
				if r.IntN(64) == 0 {
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
								take(p, ev.data)
							}
							if len(got) == 0 {
								break
							}
						}
						continue
					}
					take(p, ev.data)
					if kind[ev.data]&EPOLLONESHOT != 0 {
						v.mu.Lock()
						v.set(refs[a][ev.data], kind[ev.data], ev.data)
						v.mu.Unlock()
					}
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
					// The interest is taken away and made again: what was ready is ready then.
					n := r.IntN(stressObjects)
					if kind[n]&EPOLLONESHOT == 0 {
						refs[a][n].Remove()
						refs[a][n] = v.add(a, objects[n], kind[n], uint64(n))
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
