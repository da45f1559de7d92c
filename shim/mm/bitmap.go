package mm

import "math/bits"

// bitmap is a set of small integers with a fast search for the lowest one: level 0 has a bit per integer, each
// further level a bit per non-zero word of the level below.
type bitmap struct {
	level [][]uint64
}

// newBitmap returns an empty set of integers below n.
func newBitmap(n int) bitmap {
	var b bitmap
	for {
		n = (n + 63) / 64
		b.level = append(b.level, make([]uint64, max(n, 1)))
		if n <= 1 {
			return b
		}
	}
}

func (b *bitmap) has(i uint32) bool { return b.level[0][i/64]&(1<<(i%64)) != 0 }

func (b *bitmap) set(i uint32) {
	for _, l := range b.level {
		old := l[i/64]
		l[i/64] = old | 1<<(i%64)
		if old != 0 {
			return
		}
		i /= 64
	}
}

func (b *bitmap) clear(i uint32) {
	for _, l := range b.level {
		l[i/64] &^= 1 << (i % 64)
		if l[i/64] != 0 {
			return
		}
		i /= 64
	}
}

// first returns the lowest member.
func (b *bitmap) first() (uint32, bool) {
	top := len(b.level) - 1
	if b.level[top][0] == 0 {
		return 0, false
	}
	i := uint32(0)
	for l := top; l >= 0; l-- {
		i = i*64 + uint32(bits.TrailingZeros64(b.level[l][i]))
	}
	return i, true
}
