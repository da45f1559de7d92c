package mm

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"culvert/shim/abi"
)

// zapPages unmaps the pages [lo, hi) of the object from all address spaces, private copies included (truncate does
// that, unmap_mapping_range with even_cows) unless shared is true (holes do not).
func (o *Object) zapPages(lo, hi uint64, sharedOnly bool) {
	for v := o.areas; v != nil; v = v.nextOfObj {
		if sharedOnly && v.flags&fShared == 0 {
			continue
		}
		first, last := v.index(v.start), v.index(v.end)
		if hi <= first || lo >= last {
			continue
		}
		start, end := v.start, v.end
		if lo > first {
			start += (lo - first) << abi.PageShift
		}
		if hi < last {
			end -= (last - hi) << abi.PageShift
		}
		g := gather{s: v.space}
		v.space.zap(start, end, &g)
		g.finish()
	}
}

// Truncate makes mappings and cache agree with a new size: pages past it disappear from all address spaces, so that
// touching them raises SIGBUS, and the rest of the last page reads as zero. The file tree calls it after the backing
// has changed; of an object without backing it sets the size.
func (o *Object) Truncate(size uint64) {
	o.m.mu.Lock()
	defer o.m.unlock()
	o.gen++
	if o.back == nil {
		o.size = size
	}
	first := (size + abi.PageMask) >> abi.PageShift
	o.zapPages(first, ^uint64(0), false)
	o.forget(first, ^uint64(0))
	if tail := size & abi.PageMask; tail != 0 {
		if p := o.pages[size>>abi.PageShift]; p != nil {
			clear(o.m.frames.page(p.f)[tail:])
		}
	}
}

// forget drops the pages [lo, hi) from the cache.
func (o *Object) forget(lo, hi uint64) {
	for i, p := range o.pages {
		if i < lo || i >= hi {
			continue
		}
		if p.dirty {
			o.dirty--
		}
		delete(o.pages, i)
		o.m.drop(p.f)
	}
}

// Punch makes the bytes [off, off+n) of an object without backing read as zero and frees whole pages among them
// (fallocate with FALLOC_FL_PUNCH_HOLE, madvise with MADV_REMOVE).
func (o *Object) Punch(off, n uint64) {
	o.m.mu.Lock()
	defer o.m.unlock()
	o.punch(off, n)
}

func (o *Object) punch(off, n uint64) {
	end := off + min(n, ^uint64(0)-off)
	end = min(end, (o.bytes()+abi.PageMask)&^abi.PageMask)
	if off >= end {
		return
	}
	lo, hi := (off+abi.PageMask)>>abi.PageShift, end>>abi.PageShift
	if lo < hi {
		o.zapPages(lo, hi, true)
		o.forget(lo, hi)
	}
	zero := func(from, to uint64) {
		if p := o.pages[from>>abi.PageShift]; p != nil && from < to {
			clear(o.m.frames.page(p.f)[from&abi.PageMask : (to-1)&abi.PageMask+1])
		}
	}
	if off&abi.PageMask != 0 {
		zero(off, min(lo<<abi.PageShift, end))
	}
	if end&abi.PageMask != 0 && hi >= lo {
		zero(max(hi<<abi.PageShift, off), end)
	}
}

// ReadAt reads an object without backing.
func (o *Object) ReadAt(b []byte, off int64) (int, error) {
	o.m.mu.Lock()
	defer o.m.unlock()
	size := o.bytes()
	if off < 0 || uint64(off) >= size {
		return 0, io.EOF
	}
	short := uint64(len(b)) > size-uint64(off)
	if short {
		b = b[:size-uint64(off)]
	}
	o.eachPiece(b, uint64(off), func(piece, at []byte) {
		if at == nil {
			clear(piece)
		} else {
			copy(piece, at)
		}
	})
	if short {
		return len(b), io.EOF
	}
	return len(b), nil
}

// WriteAt writes an object without backing, extending it.
func (o *Object) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) < off {
		return 0, fmt.Errorf("mm: write of %d bytes at offset %d", len(b), off)
	}
	o.m.mu.Lock()
	defer o.m.unlock()
	old := o.size
	o.size = max(o.size, uint64(off)+uint64(len(b)))
	done := 0
	for done < len(b) {
		at := uint64(off) + uint64(done)
		p, _, err := o.get(at>>abi.PageShift, o.npages())
		if err != nil {
			o.size = max(old, at)
			return done, err
		}
		done += copy(o.m.frames.page(p.f)[at&abi.PageMask:], b[done:])
	}
	return done, nil
}

// eachPiece cuts b at page borders of the file; at is the cached memory of the piece, nil if it is not cached.
func (o *Object) eachPiece(b []byte, off uint64, fn func(piece, at []byte)) {
	for len(b) > 0 {
		n := min(uint64(len(b)), abi.PageSize-off&abi.PageMask)
		var at []byte
		if p := o.pages[off>>abi.PageShift]; p != nil {
			at = o.m.frames.page(p.f)[off&abi.PageMask:][:n]
		}
		fn(b[:n], at)
		b, off = b[n:], off+n
	}
}

// Wrote tells the cache that b was written to the backing at off: mapped pages show it at once. The file tree calls it
// after each write(2) to an inode that Lookup finds.
func (o *Object) Wrote(b []byte, off uint64) {
	o.m.mu.Lock()
	defer o.m.unlock()
	o.gen++
	if o.back != nil {
		o.version = o.back.Version()
	}
	o.eachPiece(b, off, func(piece, at []byte) { copy(at, piece) })
}

// Overlay replaces what was read from the backing at off by what programs have written through shared mappings and
// the backing does not have yet. The file tree calls it after each read(2) of an inode that Lookup finds.
func (o *Object) Overlay(b []byte, off uint64) {
	o.m.mu.Lock()
	defer o.m.unlock()
	if !o.shared {
		return
	}
	o.eachPiece(b, off, func(piece, at []byte) {
		if at != nil {
			copy(piece, at)
		}
	})
}

// Sync writes dirty pages back and returns the first error since the last Sync: fsync, and the end of the VM.
func (o *Object) Sync() error {
	err := o.writeback(0, ^uint64(0))
	o.m.mu.Lock()
	defer o.m.unlock()
	if o.err != nil {
		err, o.err = o.err, nil
	}
	return err
}

// Sync writes all dirty pages of all objects back.
func (m *Memory) Sync() error {
	m.mu.Lock()
	var all []*Object
	for _, o := range m.objects {
		if o.dirty > 0 {
			o.hold()
			all = append(all, o)
		}
	}
	m.unlock()
	var first error
	for _, o := range all {
		if err := o.Sync(); err != nil && first == nil {
			first = err
		}
		o.Put()
	}
	return first
}

// queueWriteback has the dirty pages written back once the lock is released.
func (o *Object) queueWriteback() {
	if o.dirty == 0 || o.queued {
		return
	}
	o.queued = true
	o.hold()
	o.m.later = append(o.m.later, func() {
		err := o.writeback(0, ^uint64(0))
		o.m.mu.Lock()
		defer o.m.unlock()
		o.queued = false
		if err != nil {
			o.err = err
		}
		o.put()
	})
}

// markDirty makes the page at index dirty, before it becomes writable anywhere.
func (o *Object) markDirty(p *page) {
	o.shared = true
	if !p.dirty {
		p.dirty = true
		o.dirty++
	}
}

// writeBatch is how many pages are copied before they are written: 256 KiB.
const writeBatch = 64

// writeback writes the dirty pages [lo, hi) to the backing. Pages are made read-only in all mappings and copied under
// the lock, then written without it. As in Linux a page whose write fails stays cached, clean, and the error is kept
// for whoever asks by Sync.
func (o *Object) writeback(lo, hi uint64) error {
	if o.back == nil {
		return nil
	}
	o.wb.Lock()
	defer o.wb.Unlock()
	o.m.mu.Lock()
	var todo []uint64
	if o.dirty > 0 {
		todo = slices.Collect(maps.Keys(o.pages))
	}
	o.m.unlock()
	todo = slices.DeleteFunc(todo, func(i uint64) bool { return i < lo || i >= hi })
	slices.Sort(todo)
	var first error
	for len(todo) > 0 {
		n := min(len(todo), writeBatch)
		idx, data := o.clean(todo[:n])
		todo = todo[n:]
		for k, i := range idx {
			err := o.back.WritePage(data[k], i)
			if err == nil {
				continue
			}
			if first == nil {
				first = fmt.Errorf("mm: writing page %d of a mapped file: %w", i, err)
			}
		}
		o.m.mu.Lock()
		o.version = o.back.Version()
		o.m.unlock()
	}
	return first
}

// clean takes the dirty marks off those of the pages that have one, and returns their indices and content, cut at the
// end of the file.
func (o *Object) clean(todo []uint64) (idx []uint64, data [][]byte) {
	m := o.m
	m.mu.Lock()
	defer m.unlock()
	for _, i := range todo {
		if p := o.pages[i]; p != nil && p.dirty {
			p.dirty = false
			o.dirty--
			idx = append(idx, i)
		}
	}
	if len(idx) == 0 {
		return nil, nil
	}
	for v := o.areas; v != nil; v = v.nextOfObj {
		if v.flags&fShared != 0 {
			o.protectPages(v, idx)
		}
	}
	size := o.bytes()
	for _, i := range idx {
		n := min(abi.PageSize, size-min(size, i<<abi.PageShift))
		data = append(data, slices.Clone(m.frames.page(o.pages[i].f)[:n]))
	}
	return idx, data
}

// protectPages makes the pages of v at the given indices read-only.
func (o *Object) protectPages(v *vma, idx []uint64) {
	g := gather{s: v.space}
	for _, i := range idx {
		if i < v.index(v.start) || i >= v.index(v.end) {
			continue
		}
		addr := v.start + (i-v.index(v.start))<<abi.PageShift
		leaf := v.space.lookupLeaf(addr)
		if leaf == nil {
			continue
		}
		g.replaced(v.space.change(&leaf[addr>>abi.PageShift&511], func(e uint64) uint64 {
			if e&abi.PTEPresent == 0 {
				return e
			}
			return e &^ (abi.PTEWrite | abi.PTEDirty)
		}))
	}
	g.finish()
}
