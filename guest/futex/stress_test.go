package futex

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/shim/abi"
)

// The threads of these tests are goroutines that block and wake as the guest kernel's do; the words they wait on are
// their own. See the package comment for the protocol of a wait and of a wake.

type thread struct {
	c      *crowd
	index  uint64
	state  uint64 // abi.State*
	run    chan struct{}
	signal uint64 // 1: end the wait, as for a signal
	rng    *rand.Rand
}

// crowd is threads that wait on a few words.
type crowd struct {
	table    *Table
	threads  []*thread
	words    [numWords]uint32
	counted  atomic.Int64 // wakes that wakers counted
	returned atomic.Int64 // waits that ended by one
	progress atomic.Int64
	done     atomic.Bool
}

// The words.
const (
	lockWord = iota
	seqWord
	semWord
	spaceWord
	overWord
	otherWord // in semWord's bucket
	numWords
)

// keyOf gives otherWord a key in semWord's bucket.
func keyOf(word int) Key {
	k := Key{Space: 7, Offset: uint64(word) * 4}
	if word == otherWord {
		for k.Space = 8; BucketOf(k) != BucketOf(keyOf(semWord)); k.Offset += 4 {
		}
	}
	return k
}

func newCrowd(t *testing.T, n int) *crowd {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &crowd{table: new(Table)}
	slots := rand.New(rand.NewPCG(seed, 1)).Perm(abi.MaxThreads)
	for i := range n {
		c.threads = append(c.threads, &thread{c: c, index: uint64(slots[i]), state: abi.StateRun,
			run: make(chan struct{}, 1), rng: rand.New(rand.NewPCG(seed, uint64(i+2)))})
	}
	return c
}

// byIndex finds a thread by its node.
func (c *crowd) byIndex(i uint64) *thread {
	for _, t := range c.threads {
		if t.index == i {
			return t
		}
	}
	panic("a node of no thread")
}

func (t *thread) wake() {
	for {
		if atomic.CompareAndSwapUint64(&t.state, abi.StateBlocked, abi.StateRun) {
			t.run <- struct{}{}
			return
		}
		if atomic.CompareAndSwapUint64(&t.state, abi.StateRun, abi.StateWoken) ||
			atomic.LoadUint64(&t.state) == abi.StateWoken {
			return
		}
	}
}

func (t *thread) block() {
	if !atomic.CompareAndSwapUint64(&t.state, abi.StateRun, abi.StateBlocked) {
		atomic.StoreUint64(&t.state, abi.StateRun)
		return
	}
	<-t.run
}

func (c *crowd) lock(b uint64) {
	for !c.table.Lock(b, runtime.Gosched) {
	}
}

// Ends of a wait.
const (
	wokenUp = iota
	again
	interrupted
)

// wait is futex_wait.
func (t *thread) wait(word int, val uint32, bits uint64) int {
	c, key := t.c, keyOf(word)
	b := BucketOf(key)
	for {
		c.lock(b)
		if atomic.LoadUint32(&c.words[word]) != val {
			c.table.Unlock(b)
			return again
		}
		c.table.Add(t.index, key, bits, 0)
		c.table.Unlock(b)
		if t.rng.IntN(8) == 0 {
			runtime.Gosched()
		}
		t.block()
		left := uint64(Busy)
		for left == Busy {
			left = c.table.Leave(t.index, runtime.Gosched)
		}
		if left == Woken {
			c.returned.Add(1)
			return wokenUp
		}
		if atomic.SwapUint64(&t.signal, 0) != 0 {
			return interrupted
		}
	}
}

// wakeUp is futex_wake.
func (c *crowd) wakeUp(word, n int, bits uint64) int {
	key := keyOf(word)
	b := BucketOf(key)
	if c.table.Quiet(b) {
		return 0
	}
	if c.progress.Load()%16 == 0 {
		runtime.Gosched()
	}
	c.lock(b)
	woken := 0
	for w := c.table.Walk(key, bits); woken < n && w.Next(c.table); woken++ {
		c.table.Remove(&w)
		c.byIndex(w.Thread).wake()
	}
	c.table.Unlock(b)
	c.counted.Add(int64(woken))
	return woken
}

// requeue is futex_requeue: one is woken, the others move.
func (c *crowd) requeue(from, to int, cmp uint32) bool {
	one, two := keyOf(from), keyOf(to)
	a, b := BucketOf(one), BucketOf(two)
	c.lock(min(a, b))
	if a != b {
		c.lock(max(a, b))
	}
	same, woken := atomic.LoadUint32(&c.words[from]) == cmp, int64(0)
	if same {
		for w := c.table.Walk(one, BitsAny); w.Next(c.table); {
			if woken > 0 {
				c.table.Move(&w, two)
				continue
			}
			c.table.Remove(&w)
			c.byIndex(w.Thread).wake()
			woken++
		}
	}
	c.table.Unlock(a)
	if a != b {
		c.table.Unlock(b)
	}
	c.counted.Add(woken)
	return same
}

// run has all threads do step until it says that it is done, while others get signals and spurious wakes.
func (c *crowd) run(t *testing.T, step func(th *thread) bool) {
	t.Helper()
	var workers, others sync.WaitGroup
	for _, th := range c.threads {
		workers.Go(func() {
			for step(th) {
				c.progress.Add(1)
			}
		})
	}
	others.Go(func() { // the signals
		// Few, so that they do not hide a lost wake for ever.
		rng := rand.New(rand.NewPCG(1, 2))
		for range rounds(2000) {
			if c.done.Load() {
				break
			}
			th := c.threads[rng.IntN(len(c.threads))]
			if rng.IntN(2) == 0 {
				atomic.StoreUint64(&th.signal, 1)
			}
			th.wake()
			time.Sleep(20 * time.Microsecond)
		}
	})
	over := make(chan struct{})
	go func() { workers.Wait(); close(over) }()
	for last := int64(-1); ; {
		select {
		case <-over:
			c.done.Store(true)
			others.Wait()
			c.check(t)
			return
		case <-time.After(5 * time.Second):
		}
		now := c.progress.Load()
		if now == last {
			t.Fatalf("nothing happens any more: words %v, %d wakes counted, %d seen", c.words, c.counted.Load(), c.returned.Load())
		}
		last = now
	}
}

// check wants an empty table, and every wake that was counted to have been seen.
func (c *crowd) check(t *testing.T) {
	t.Helper()
	if n, m := c.counted.Load(), c.returned.Load(); n != m {
		t.Errorf("%d wakes were counted, %d waits ended by one", n, m)
	}
	for i := range c.table.Bucket {
		if b := &c.table.Bucket[i]; b.Head != 0 || b.Tail != 0 || b.Lock != 0 {
			t.Errorf("bucket %d is left with %+v", i, *b)
		}
	}
	for i := range c.table.Node {
		if c.table.Node[i].Bucket != 0 {
			t.Errorf("node %d is left in bucket %d", i, c.table.Node[i].Bucket-1)
		}
	}
}

// acquire and release are a lock of three states: free, held, held with waiters.
func (t *thread) acquire() {
	w := &t.c.words[lockWord]
	if atomic.CompareAndSwapUint32(w, 0, 1) {
		return
	}
	for atomic.SwapUint32(w, 2) != 0 {
		t.wait(lockWord, 2, BitsAny)
	}
}

func (t *thread) release() {
	if atomic.SwapUint32(&t.c.words[lockWord], 0) == 2 {
		t.c.wakeUp(lockWord, 1, BitsAny)
	}
}

func rounds(n int) int64 {
	if raceEnabled {
		n /= 10
	}
	if testing.Short() {
		n /= 5
	}
	return int64(n)
}

// TestStressLock: a lock excludes, and condition variables over it lose nobody, whether they are woken or moved to it.
func TestStressLock(t *testing.T) {
	c := newCrowd(t, 24)
	total, value := rounds(3_000_000), int64(0)
	c.run(t, func(th *thread) bool {
		th.acquire()
		value++ // no atomic: the lock is what is tested
		left := total - value
		seq := atomic.LoadUint32(&c.words[seqWord])
		kind := th.rng.IntN(4)
		if left <= 0 || kind == 1 && th == c.threads[0] {
			kind = 0 // one never waits; whoever ends lets the others go on
		}
		if kind == 0 {
			seq = atomic.AddUint32(&c.words[seqWord], 1)
		}
		th.release()
		switch kind {
		case 0:
			if !c.requeue(seqWord, lockWord, seq) {
				c.wakeUp(seqWord, abi.MaxThreads, BitsAny)
			}
		case 1:
			if th.wait(seqWord, seq, BitsAny) != interrupted {
				// It may have been moved: then it is woken by a release, and owes one as the lock's waiters do.
				for atomic.SwapUint32(&c.words[lockWord], 2) != 0 {
					th.wait(lockWord, 2, BitsAny)
				}
				th.release()
			}
		}
		if left <= 0 {
			// Those that wait for a change see one, again and again, until all have come here.
			c.wakeUp(seqWord, abi.MaxThreads, BitsAny)
		}
		return left > 0
	})
	t.Logf("%d wakes in %d rounds", c.counted.Load(), value)
	if value < total {
		t.Errorf("%d of %d rounds", value, total)
	}
}

// down takes one of a semaphore's count; false once all is over. The bits say which waiters a post may wake.
func (t *thread) down(word int) bool {
	w := &t.c.words[word]
	for atomic.LoadUint32(&t.c.words[overWord]) == 0 {
		v := atomic.LoadUint32(w)
		if v == 0 {
			t.wait(word, 0, 1<<t.rng.IntN(2))
		} else if atomic.CompareAndSwapUint32(w, v, v-1) {
			return true
		}
	}
	return false
}

// up adds one and wakes one, of the waiters with a bit if there is one.
func (t *thread) up(word int) {
	atomic.AddUint32(&t.c.words[word], 1)
	if t.c.wakeUp(word, 1, 1<<t.rng.IntN(2)) == 0 {
		t.c.wakeUp(word, 1, BitsAny)
	}
}

// TestStressSemaphore: producers and consumers of few tokens, each post with a wake of one, in a bucket that others
// wait in too. Every token is taken; were a wake lost, or given to one that does not wait for it, all would sleep.
func TestStressSemaphore(t *testing.T) {
	c := newCrowd(t, 24)
	c.words[spaceWord] = 3
	var taken atomic.Int64
	total := rounds(500_000)
	c.run(t, func(th *thread) bool {
		switch {
		case th == c.threads[0] || th == c.threads[1]: // two that only sleep, in the bucket of semWord
			if atomic.LoadUint32(&c.words[overWord]) == 0 {
				th.wait(otherWord, 0, BitsAny)
			}
		case th.index%2 == 0 || th == c.threads[2]:
			if th != c.threads[3] && th.down(spaceWord) {
				th.up(semWord)
				break
			}
			fallthrough
		default:
			if th.down(semWord) {
				th.up(spaceWord)
				if taken.Add(1) == total {
					atomic.StoreUint32(&c.words[overWord], 1)
					for _, word := range []int{semWord, spaceWord, otherWord} {
						atomic.AddUint32(&c.words[word], 1)
						c.wakeUp(word, abi.MaxThreads, BitsAny)
					}
				}
			}
		}
		return atomic.LoadUint32(&c.words[overWord]) == 0
	})
	t.Logf("%d wakes for %d tokens", c.counted.Load(), taken.Load())
	if taken.Load() < total {
		t.Errorf("%d of %d tokens were taken", taken.Load(), total)
	}
}
