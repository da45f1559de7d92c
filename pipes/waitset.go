package pipes

import (
	"math/bits"
	"sync/atomic"

	"culvert/shim/abi"
)

const (
	setWords = abi.MaxThreads / 64
	wordMask = setWords - 1
	// takeTries bounds Take. Each failed try means that another processor took a bit or that a stale summary bit is
	// gone, so only a memory that somebody scribbles on reaches it.
	takeTries = 2 * abi.MaxThreads
)

// WaitSet is a set of waiting threads: a bit per thread slot. Its zero value is empty.
//
// Sum has a bit for each word of Words that may have bits. Join sets the word and then the summary; Sum is what makes
// asking cheap, so it must not miss a thread that sleeps. Take clears a summary bit only when it found the word empty,
// and then looks at the word again: a thread that joined in between has had its summary bit wiped. Take puts the bit
// back, and takes a thread of that word itself, since another waker may have seen the summary without the bit:
//
//	Take                   Join, then sleep         another waker
//	----                   ----------------         -------------
//	load word: empty
//	                       OR word; OR Sum
//	                       condition false: sleep
//	AND Sum
//	                                                condition = true
//	                                                load Sum: empty, nobody to wake
//	load word: not empty
//	OR Sum; AND word: wakes the sleeper
//
// Leave does not touch Sum, for it would have nobody to wake.
type WaitSet struct {
	Sum    uint64
	Cursor uint64 // the slot at which the next Take begins: every thread's turn comes
	_      [6]uint64
	Words  [setWords]uint64
}

// Join adds thread i. It is a full barrier: what the caller loads next is newer than its bit.
//
//go:nosplit
func (s *WaitSet) Join(i uint64) {
	w := i >> 6 & wordMask
	atomic.OrUint64(&s.Words[w], 1<<(i&63))
	atomic.OrUint64(&s.Sum, 1<<w)
}

// Leave removes thread i and reports whether a waker had removed it: the thread owes the wake to the next one if
// it takes nothing.
//
//go:nosplit
func (s *WaitSet) Leave(i uint64) (woken bool) {
	bit := uint64(1) << (i & 63)
	return atomic.AndUint64(&s.Words[i>>6&wordMask], ^bit)&bit == 0
}

// Empty reports whether nobody waits. It may be wrong for a thread that has not yet tested its condition.
//
//go:nosplit
func (s *WaitSet) Empty() bool { return atomic.LoadUint64(&s.Sum) == 0 }

// Take removes one thread, in turn, and returns its slot; -1 if nobody waits. The caller must wake that thread.
//
//go:nosplit
func (s *WaitSet) Take() int64 {
	for try := 0; try < takeTries; try++ {
		sum := atomic.LoadUint64(&s.Sum)
		if sum == 0 {
			return -1
		}
		at := atomic.LoadUint64(&s.Cursor)
		w := at >> 6 & wordMask
		live := atomic.LoadUint64(&s.Words[w&wordMask]) & (^uint64(0) << (at & 63))
		if live == 0 { // the next word of the summary; the cursor's own word, with its low bits, comes last
			w = (w + 1 + uint64(bits.TrailingZeros64(bits.RotateLeft64(sum, -int(w+1))))) & wordMask
			live = atomic.LoadUint64(&s.Words[w&wordMask])
		}
		if live == 0 {
			atomic.AndUint64(&s.Sum, ^(uint64(1) << w))
			live = atomic.LoadUint64(&s.Words[w&wordMask])
			if live == 0 {
				continue
			}
			atomic.OrUint64(&s.Sum, 1<<w)
		}
		b := uint64(bits.TrailingZeros64(live)) & 63
		bit := uint64(1) << b
		if atomic.AndUint64(&s.Words[w&wordMask], ^bit)&bit != 0 {
			atomic.StoreUint64(&s.Cursor, w<<6+b+1)
			return int64(w<<6 + b)
		}
	}
	return -1
}

// TakeWord removes the threads w*64 to w*64+63 and returns them as bits. Waking everybody is one pass over all
// SetWords words, so that a thread that comes back at once does not keep the waker busy. It does not ask Sum, so no
// thread that a concurrent Take is just looking at is missed.
//
//go:nosplit
func (s *WaitSet) TakeWord(w uint64) uint64 {
	if atomic.LoadUint64(&s.Words[w&wordMask]) == 0 {
		return 0
	}
	atomic.AndUint64(&s.Sum, ^(uint64(1) << (w & wordMask)))
	return atomic.SwapUint64(&s.Words[w&wordMask], 0)
}

// SetWords is how many words TakeWord knows.
const SetWords = setWords
