package memfs

import (
	"slices"

	"culvert/shim/vfs"
)

const pageSize = vfs.PageSize

// page holds one page's bytes: memory of its own, or a frame of guest memory
// that the page cache lent (see Inode.MapPage).
type page struct {
	b     *[pageSize]byte
	frame bool
}

// chunkPages is the fan-out of pageMap: a chunk spans 256 KiB.
const chunkPages = 64

type chunk struct {
	pages [chunkPages]page
	n     int // pages present
}

// pageMap is a sparse array of pages. The zero value is empty.
type pageMap struct {
	chunks map[int64]*chunk
	n      int64 // pages present
}

func (m *pageMap) get(idx int64) page {
	if c := m.chunks[idx/chunkPages]; c != nil {
		return c.pages[idx%chunkPages]
	}
	return page{}
}

func (m *pageMap) put(idx int64, p page) {
	c := m.chunks[idx/chunkPages]
	if c == nil {
		if m.chunks == nil {
			m.chunks = make(map[int64]*chunk)
		}
		c = new(chunk)
		m.chunks[idx/chunkPages] = c
	}
	if c.pages[idx%chunkPages].b == nil {
		c.n++
		m.n++
	}
	c.pages[idx%chunkPages] = p
}

// next returns the first page present at or after idx, -1 if there is none.
func (m *pageMap) next(idx int64) int64 {
	best := int64(-1)
	for k, c := range m.chunks {
		if k < idx/chunkPages || best >= 0 && k > best/chunkPages {
			continue
		}
		i := int64(0)
		if k == idx/chunkPages {
			i = idx % chunkPages
		}
		for ; i < chunkPages; i++ {
			if c.pages[i].b != nil {
				if at := k*chunkPages + i; best < 0 || at < best {
					best = at
				}
				break
			}
		}
	}
	return best
}

// remove takes out the pages first to last and reports how many there were, and
// whether one was a lent frame. The work is bounded by what is present, not by
// the range.
func (m *pageMap) remove(first, last int64) (n int64, framed bool) {
	for _, k := range m.keys(first, last) {
		c := m.chunks[k]
		for i := range c.pages {
			at := k*chunkPages + int64(i)
			if at < first || at > last || c.pages[i].b == nil {
				continue
			}
			framed = framed || c.pages[i].frame
			c.pages[i] = page{}
			c.n--
			n++
		}
		if c.n == 0 {
			delete(m.chunks, k)
		}
	}
	m.n -= n
	return n, framed
}

// keys returns the chunks that overlap the pages first to last, in order.
func (m *pageMap) keys(first, last int64) []int64 {
	var ks []int64
	lo, hi := first/chunkPages, last/chunkPages
	if hi-lo < int64(len(m.chunks)) {
		for k := lo; k <= hi; k++ {
			if m.chunks[k] != nil {
				ks = append(ks, k)
			}
		}
		return ks
	}
	for k := range m.chunks {
		if k >= lo && k <= hi {
			ks = append(ks, k)
		}
	}
	slices.Sort(ks)
	return ks
}
