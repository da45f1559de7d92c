package mm

import "culvert/shim/abi"

// MaxSpans bounds the spans of one call, as UIO_MAXIOV bounds an iovec.
const MaxSpans = 1024

// pinCount is a pinned frame: how many pins it has, and whether it is to be freed with the last.
type pinCount struct {
	n    int
	free bool
}

// Pinned is user memory that host I/O works on directly. The frames stay allocated until Unpin, whatever happens to
// the mapping meanwhile: bytes then go to memory that nobody sees, as with O_DIRECT in Linux.
type Pinned struct {
	// Spans are the bytes in order: guest RAM, which the guest may change at any time.
	Spans [][]byte
	// Len is the sum of the spans' lengths.
	Len    uint64
	m      *Memory
	frames []frame
}

// Spans resolves up to n bytes at addr for direct host I/O, writable if the I/O writes to memory. It returns fewer
// bytes when it meets a bad page after the first or reaches MaxSpans; at least one byte unless n is 0 or an error is
// returned. The caller unpins.
func (s *Space) Spans(addr, n uint64, write bool) (*Pinned, error) {
	s.m.mu.Lock()
	defer s.m.unlock()
	pin := &Pinned{m: s.m}
	if err := userRange(addr, n); err != nil {
		return nil, err
	}
	for pin.Len < n {
		at := addr + pin.Len
		p, err := s.resolve(at, write)
		if err != nil {
			if pin.Len > 0 {
				break
			}
			return nil, err
		}
		off := at & abi.PageMask
		size := min(abi.PageSize-off, n-pin.Len)
		f := frame(s.m.gpaOf(p) >> abi.PageShift)
		if !pin.add(f, off, size) {
			break
		}
		pin.Len += size
	}
	return pin, nil
}

// add appends [off, off+size) of frame f, to the last span if it continues that. It reports false when there are
// MaxSpans already.
func (pin *Pinned) add(f frame, off, size uint64) bool {
	m := pin.m
	start := uint64(f.gpa()) + off
	k := len(pin.Spans) - 1
	if k >= 0 && pin.frames[len(pin.frames)-1]+1 == f {
		last := pin.Spans[k]
		from := start - uint64(len(last))
		pin.Spans[k] = m.ram[from : start+size : start+size]
	} else if k+1 == MaxSpans {
		return false
	} else {
		pin.Spans = append(pin.Spans, m.ram[start:start+size:start+size])
	}
	pin.frames = append(pin.frames, f)
	p := m.pins[f]
	if p == nil {
		p = &pinCount{}
		m.pins[f] = p
	}
	p.n++
	return true
}

// Unpin lets go of the memory; the spans must not be used any more.
func (pin *Pinned) Unpin() {
	m := pin.m
	m.mu.Lock()
	defer m.unlock()
	for _, f := range pin.frames {
		p := m.pins[f]
		if p.n--; p.n > 0 {
			continue
		}
		delete(m.pins, f)
		if p.free {
			m.freeUser(f)
		}
	}
	pin.frames, pin.Spans = nil, nil
}
