package futex

import (
	"sync/atomic"

	"culvert/shim/abi"
)

// Buckets is the number of queues that keys are hashed to: as many as Linux has for one processor.
const (
	Buckets  = 1 << bucketBits
	shift    = 64 - bucketBits
	nodeMask = abi.MaxThreads - 1

	bucketBits = 8
)

// Table is all state. Its zero value is empty. It should lie on a 64-byte boundary.
type Table struct {
	Bucket [Buckets]Bucket
	Node   [abi.MaxThreads]Node // by the index of the thread's slot
}

// Bucket is a queue, in a cache line of its own.
type Bucket struct {
	Lock       uint64 // 1 = held
	Head, Tail uint64 // index of a node, plus one; 0 = none. Changed under Lock; Head is read without it
	_          [5]uint64
}

// Node is a thread that waits or may wait. Its words are guarded by the lock of its bucket; see the package comment.
type Node struct {
	Bucket     uint64 // number of the bucket, plus one; 0 = not queued
	Next, Prev uint64 // as Head
	Key        Key
	Bits       uint64 // FUTEX_WAIT_BITSET's
	Host       uint64 // 1: the thread's call is blocked in the shim, which must be told of its wake
	_          uint64
}

// Key says which threads wait on the same word. Space is what the word belongs to and Offset where it is there. The
// numbers are the caller's.
type Key struct{ Space, Offset uint64 }

// Shared is in the Space of futexes in private memory that calls without FUTEX_PRIVATE_FLAG are about: they are others than the
// private ones there (FUT_OFF_MMSHARED).
const Shared = 1 << 63

// BitsAny is the bitset that plain calls have (FUTEX_BITSET_MATCH_ANY).
const BitsAny = 1<<32 - 1

// BucketOf returns the number of the key's bucket.
//
//go:nosplit
func BucketOf(k Key) uint64 {
	return (k.Offset>>2 ^ k.Space<<40 ^ k.Space>>24) * 0x9e3779b97f4a7c15 >> shift
}

// lockTries bounds the wait for a lock, in calls of pause.
const lockTries = 64

// Lock takes the lock of a bucket; false if it stayed held. pause is the processor's PAUSE, or its like. It is a full
// barrier.
//
//go:nosplit
func (t *Table) Lock(b uint64, pause func()) bool {
	word := &t.Bucket[b&(Buckets-1)].Lock
	for try := 0; try < lockTries; try++ {
		if atomic.LoadUint64(word) == 0 && atomic.CompareAndSwapUint64(word, 0, 1) {
			return true
		}
		pause()
	}
	return false
}

// Unlock releases the lock of a bucket. It is a full barrier.
//
//go:nosplit
func (t *Table) Unlock(b uint64) { atomic.StoreUint64(&t.Bucket[b&(Buckets-1)].Lock, 0) }

// Quiet reports whether certainly nobody waits in a bucket whose word changed before the call. Preconditions: a full
// barrier lies between the caller's store of the word and the call.
//
//go:nosplit
func (t *Table) Quiet(b uint64) bool {
	bucket := &t.Bucket[b&(Buckets-1)]
	return atomic.LoadUint64(&bucket.Lock) == 0 && atomic.LoadUint64(&bucket.Head) == 0
}

// Add queues thread i behind the others. Preconditions: the lock of the key's bucket is held, and the word was found
// to have the expected value under it; i is not queued.
//
//go:nosplit
func (t *Table) Add(i uint64, k Key, bits, host uint64) {
	n := &t.Node[i&nodeMask]
	n.Bits, n.Host = bits, host
	t.link(i, k)
}

// link appends a node to the bucket of k.
//
//go:nosplit
func (t *Table) link(i uint64, k Key) {
	i &= nodeMask
	at := BucketOf(k)
	b, n := &t.Bucket[at&(Buckets-1)], &t.Node[i]
	n.Key = k
	n.Next, n.Prev = 0, b.Tail
	if b.Tail == 0 {
		atomic.StoreUint64(&b.Head, i+1)
	} else {
		t.Node[(b.Tail-1)&nodeMask].Next = i + 1
	}
	b.Tail = i + 1
	atomic.StoreUint64(&n.Bucket, at+1)
}

// unlink takes a queued node out of the list of bucket at. Its Bucket is left to the caller.
//
//go:nosplit
func (t *Table) unlink(at, i uint64) {
	b, n := &t.Bucket[at&(Buckets-1)], &t.Node[i&nodeMask]
	if n.Prev == 0 {
		atomic.StoreUint64(&b.Head, n.Next)
	} else {
		t.Node[(n.Prev-1)&nodeMask].Next = n.Next
	}
	if n.Next == 0 {
		b.Tail = n.Prev
	} else {
		t.Node[(n.Next-1)&nodeMask].Prev = n.Prev
	}
}

// Walk goes through the threads that wait on a key, the first to come first:
//
//	for w := table.Walk(key, bits); w.Next(table); { ... w.Thread ... }
//
// The thread found may be taken out by Remove or Move. Preconditions: the bucket's lock is held all the time.
type Walk struct {
	Thread uint64 // the thread found
	key    Key
	bits   uint64
	next   uint64 // index of the node to look at, plus one
	steps  uint64 // of a list that never ends
}

// Walk begins a walk over the threads whose bitset has a bit in common with bits.
//
//go:nosplit
func (t *Table) Walk(k Key, bits uint64) Walk {
	return Walk{key: k, bits: bits, next: t.Bucket[BucketOf(k)&(Buckets-1)].Head}
}

// Next finds the next thread; false at the end.
//
//go:nosplit
func (w *Walk) Next(t *Table) bool {
	for w.next != 0 && w.steps < abi.MaxThreads {
		w.steps++
		w.Thread = (w.next - 1) & nodeMask
		n := &t.Node[w.Thread]
		w.next = n.Next
		if n.Key == w.key && n.Bits&w.bits != 0 {
			return true
		}
	}
	return false
}

// Remove takes the thread that w found out, for a wake, and reports whether it is blocked in the shim. The caller wakes
// it; after the lock is released the node may be in use again.
//
//go:nosplit
func (t *Table) Remove(w *Walk) (host bool) {
	n := &t.Node[w.Thread&nodeMask]
	host = n.Host != 0
	t.unlink(BucketOf(w.key), w.Thread)
	atomic.StoreUint64(&n.Bucket, 0)
	return host
}

// Move puts the thread that w found behind those that wait on another key (requeue_futex). Preconditions: the locks of
// both buckets are held, and the keys differ.
//
//go:nosplit
func (t *Table) Move(w *Walk, to Key) {
	t.unlink(BucketOf(w.key), w.Thread)
	t.link(w.Thread, to)
}

// Answers of Leave.
const (
	// Left: the thread was queued and is not any more. Nobody counted a wake for it.
	Left = iota
	// Woken: a waker had taken it out.
	Woken
	// Busy: the lock was held for long. Let others run, then try again.
	Busy
)

// Leave takes thread i, which calls it, out of whatever queue it is in (futex_unqueue).
//
//go:nosplit
func (t *Table) Leave(i uint64, pause func()) uint64 {
	word := &t.Node[i&nodeMask].Bucket
	for try := 0; try < lockTries; try++ {
		b := atomic.LoadUint64(word)
		if b == 0 {
			return Woken
		}
		if !t.Lock(b-1, pause) {
			return Busy
		}
		if atomic.LoadUint64(word) == b {
			t.unlink(b-1, i)
			atomic.StoreUint64(word, 0)
			t.Unlock(b - 1)
			return Left
		}
		t.Unlock(b - 1) // moved or woken in between
	}
	return Busy
}

// Queued reports whether thread i, which calls it or is blocked in the shim, has not been woken yet.
//
//go:nosplit
func (t *Table) Queued(i uint64) bool { return atomic.LoadUint64(&t.Node[i&nodeMask].Bucket) != 0 }
