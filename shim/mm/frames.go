package mm

import (
	"errors"
	"fmt"
	"slices"

	"culvert/shim/abi"
)

// frame is a guest-physical frame number: GPA >> abi.PageShift. RAM of abi.MaxRAM has 2^24 of them.
type frame uint32

func (f frame) gpa() abi.GPA { return abi.GPA(f) << abi.PageShift }

// MaxOrder is the largest block: 2^MaxOrder frames, 4 MiB.
const MaxOrder = 10

// hugeOrder is the order of a huge page of the host.
const hugeOrder = abi.HugeShift - abi.PageShift

// ErrNoMem is returned when guest memory has no frame, or no block of that size, left.
var ErrNoMem = errors.New("guest memory is exhausted")

// What the host knows of each frame. This is the truth about ownership: reference counts lie in guest RAM and may
// be anything, so a frame is freed only if its state says that it can be.
const (
	stFree   = iota // in the buddy lists
	stRecent        // in a recycle stack
	stUser          // one frame, counted: user pages, page cache, vCPU pools
	stKernel        // one frame, not counted: page tables, slabs
	stHead          // first frame of a block; stHead+order
	stTail   = 0x40 // further frame of a block
)

// frames is the allocator over the frames [first, end): a buddy system over bitmaps, with a stack of recently freed
// blocks per order in front of it. A recycled frame is warm in the host (zeroing it costs less than a fresh page
// fault), so the stacks are used first; when they grow past high, the older half of the stack goes back to the host.
//
// It has no lock of its own: Memory.mu guards it.
type frames struct {
	ram        []byte
	first, end frame
	state      []uint8 // by frame
	dirty      []uint64
	free       [MaxOrder + 1]bitmap
	recent     [MaxOrder + 1][]frame

	high    int // frames in one recycle stack before half of it is given back
	discard func([]byte) error
	inUse   int // frames handed out
	peak    int
	limit   int
	// discarded counts frames given back to the host; failed counts discards that the host refused.
	discarded, failed uint64
}

func newFrames(ram []byte, first, end frame, high int, discard func([]byte) error) *frames {
	n := int(end)
	a := &frames{
		ram: ram, first: first, end: end,
		state: make([]uint8, n), dirty: make([]uint64, (n+63)/64),
		high: high, discard: discard, limit: int(end - first),
	}
	for o := range a.free {
		a.free[o] = newBitmap(n>>o + 1)
	}
	// Cut the range into the largest aligned blocks.
	for f := first; f < end; {
		o := 0
		for o < MaxOrder && f&(1<<(o+1)-1) == 0 && f+1<<(o+1) <= end {
			o++
		}
		a.free[o].set(uint32(f >> o))
		f += 1 << o
	}
	return a
}

// page returns the bytes of frame f.
func (a *frames) page(f frame) []byte {
	g := f.gpa()
	return a.ram[g : g+abi.PageSize : g+abi.PageSize]
}

func (a *frames) isDirty(f frame) bool { return a.dirty[f/64]&(1<<(f%64)) != 0 }

// takeBuddy removes a block of the order from the buddy lists, splitting a larger one if need be.
func (a *frames) takeBuddy(order int) (frame, bool) {
	for o := order; o <= MaxOrder; o++ {
		i, ok := a.free[o].first()
		if !ok {
			continue
		}
		a.free[o].clear(i)
		whole := o >= hugeOrder
		for ; o > order; o-- {
			i *= 2
			a.free[o-1].set(i + 1) // the upper half stays free
		}
		f := frame(i) << order
		if whole && order < hugeOrder {
			// The first access to a huge page of the host decides whether it is one: a load would leave the zero page,
			// which is split into small ones at the first store (do_huge_pmd_wp_page of mm/huge_memory.c).
			a.page(f)[0] = 0
		}
		return f, true
	}
	return 0, false
}

// putBuddy returns a block to the buddy lists and merges it with its free neighbours.
func (a *frames) putBuddy(f frame, order int) {
	i := uint32(f) >> order
	for ; order < MaxOrder; order++ {
		if !a.free[order].has(i ^ 1) {
			break
		}
		a.free[order].clear(i ^ 1)
		i /= 2
	}
	a.free[order].set(i)
}

// take hands out 2^order frames with unknown content, in state st (stHead stands for a block).
func (a *frames) take(order int, st uint8) (frame, error) {
	n := 1 << order
	if a.inUse+n > a.limit {
		return 0, ErrNoMem
	}
	f, ok := a.pop(order)
	if !ok {
		f, ok = a.takeBuddy(order)
	}
	if !ok {
		// The missing frames may lie, unmerged, in the recycle stacks.
		a.flush()
		if f, ok = a.takeBuddy(order); !ok {
			return 0, ErrNoMem
		}
	}
	if st == stHead {
		a.state[f] = stHead + uint8(order)
		for i := frame(1); i < frame(n); i++ {
			a.state[f+i] = stTail
		}
	} else {
		a.state[f] = st
	}
	a.inUse += n
	a.peak = max(a.peak, a.inUse)
	return f, nil
}

// takeZero is take with zeroed content.
func (a *frames) takeZero(order int, st uint8) (frame, error) {
	f, err := a.take(order, st)
	if err != nil {
		return 0, err
	}
	for i := f; i < f+1<<order; i++ {
		if a.isDirty(i) {
			clear(a.page(i))
		}
	}
	return f, nil
}

func (a *frames) pop(order int) (frame, bool) {
	s := a.recent[order]
	if len(s) == 0 {
		return 0, false
	}
	f := s[len(s)-1]
	a.recent[order] = s[:len(s)-1]
	return f, true
}

// put takes back a frame in state st, or a block when st is stHead. It reports false, and does nothing, if f is not
// what st says: a hostile guest named it.
func (a *frames) put(f frame, st uint8) bool {
	if f < a.first || f >= a.end {
		return false
	}
	order := 0
	switch have := a.state[f]; {
	case st == stHead && have >= stHead && have <= stHead+MaxOrder:
		order = int(have - stHead)
	case st == have && (st == stUser || st == stKernel):
	default:
		return false
	}
	n := 1 << order
	for i := f; i < f+frame(n); i++ {
		a.state[i] = stRecent
		a.dirty[i/64] |= 1 << (i % 64)
	}
	a.inUse -= n
	a.recent[order] = append(a.recent[order], f)
	if len(a.recent[order])<<order > a.high {
		keep := len(a.recent[order]) / 2
		a.giveBack(order, len(a.recent[order])-keep)
	}
	return true
}

// putZeroed is put of one frame, or a block of one, that its user has left zeroed: the next user is spared clearing it.
func (a *frames) putZeroed(f frame, st uint8) bool {
	if !a.put(f, st) {
		return false
	}
	a.dirty[f/64] &^= 1 << (f % 64)
	return true
}

// giveBack moves the n oldest blocks of a recycle stack to the buddy lists and their memory to the host.
func (a *frames) giveBack(order, n int) {
	s := a.recent[order]
	old := s[:n]
	slices.Sort(old)
	for i := 0; i < len(old); {
		j := i + 1
		for j < len(old) && old[j] == old[j-1]+1<<order {
			j++
		}
		a.giveRun(old[i], frame(j-i)<<order)
		i = j
	}
	for _, f := range old {
		for i := f; i < f+1<<order; i++ {
			a.state[i] = stFree
		}
		a.putBuddy(f, order)
	}
	a.recent[order] = append(s[:0], s[n:]...)
}

// giveRun gives n adjacent frames back to the host, after which they read as zero.
func (a *frames) giveRun(f, n frame) {
	g := f.gpa()
	if err := a.discard(a.ram[g : g+n.gpa()]); err != nil {
		a.failed++ // they stay dirty and will be zeroed by hand
		return
	}
	a.discarded += uint64(n)
	for i := f; i < f+n; i++ {
		a.dirty[i/64] &^= 1 << (i % 64)
	}
}

// flush empties the recycle stacks, so that their frames can merge.
func (a *frames) flush() {
	for o := range a.recent {
		if n := len(a.recent[o]); n > 0 {
			a.giveBack(o, n)
		}
	}
}

// check verifies the allocator's invariants: each frame is in exactly one place, and the counts agree. For tests.
func (a *frames) check() error {
	seen := make([]bool, len(a.state))
	total := 0
	mark := func(f frame, order int, st uint8) error {
		for i := f; i < f+1<<order; i++ {
			if i < a.first || i >= a.end || seen[i] || a.state[i] != st {
				return fmt.Errorf("frame %#x: seen %v, state %#x, want state %#x", i, seen[i], a.state[i], st)
			}
			seen[i] = true
			total++
		}
		return nil
	}
	for o := range a.free {
		for i := range uint32(len(a.state)>>o + 1) {
			if a.free[o].has(i) {
				if err := mark(frame(i)<<o, o, stFree); err != nil {
					return err
				}
			}
		}
		for _, f := range a.recent[o] {
			if err := mark(f, o, stRecent); err != nil {
				return err
			}
		}
	}
	if total+a.inUse != int(a.end-a.first) {
		return fmt.Errorf("%d frames are free and %d in use, of %d", total, a.inUse, a.end-a.first)
	}
	return nil
}
