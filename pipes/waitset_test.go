package pipes

import (
	"math/bits"
	"testing"

	"culvert/shim/abi"
)

func TestWaitSet(t *testing.T) {
	var s WaitSet
	if !s.Empty() || s.Take() != -1 {
		t.Error("a new set is not empty")
	}
	for _, i := range []uint64{0, 63, 64, 4095, 2000} {
		s.Join(i)
		if s.Empty() {
			t.Errorf("%d joined and the set is empty", i)
		}
		if got := s.Take(); got != int64(i) {
			t.Errorf("%d joined, %d taken", i, got)
		}
		if !s.Leave(i) {
			t.Errorf("%d was taken and does not know", i)
		}
		s.Join(i)
		if s.Leave(i) {
			t.Errorf("%d was not taken and believes it", i)
		}
		if got := s.Take(); got != -1 || !s.Empty() {
			t.Errorf("%d left and %d was taken", i, got)
		}
	}
}

// TestTakeTurns: whoever comes back at once has its turn after all others, within a word too.
func TestTakeTurns(t *testing.T) {
	var s WaitSet
	members := []uint64{1, 5, 6, 63, 64, 700, 701, 4095}
	for _, i := range members {
		s.Join(i)
	}
	for round := 0; round < 5; round++ {
		seen := map[int64]bool{}
		for range members {
			i := s.Take()
			if i < 0 || seen[i] {
				t.Fatalf("round %d: %d had its turn before others", round, i)
			}
			seen[i] = true
			s.Join(uint64(i))
		}
	}
}

func TestTakeWord(t *testing.T) {
	var s WaitSet
	want := map[uint64]bool{}
	for i := uint64(0); i < abi.MaxThreads; i += 37 {
		s.Join(i)
		want[i] = true
	}
	s.Leave(592) // leaves a stale summary bit behind
	delete(want, 592)
	for w := uint64(0); w < SetWords; w++ {
		for b := s.TakeWord(w); b != 0; b &= b - 1 {
			i := w<<6 + uint64(bits.TrailingZeros64(b))
			if !want[i] {
				t.Errorf("%d was not in", i)
			}
			delete(want, i)
		}
	}
	if len(want) != 0 {
		t.Errorf("not taken: %v", want)
	}
	if s.Take() != -1 || !s.Empty() {
		t.Error("not empty after taking all words")
	}
}
