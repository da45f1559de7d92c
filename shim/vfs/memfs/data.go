package memfs

import (
	"math"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// maxPage is past the last page of the largest file.
const maxPage = math.MaxInt64 / pageSize

// regular is the part of an Inode that only regular files use; guarded by
// Inode.mu, lower aside, which is fixed.
type regular struct {
	pages     pageMap
	lower     vfs.Inode // what shows through where there is no page; also of lower links and directories
	lowerEnd  int64     // bytes of lower that still show through
	lowerFile vfs.File  // lower, opened while anyone has this inode open
	pins      int
	seals     uint32
	linkable  bool // made without a name, to get one; guarded by fs.mu
	pager     vfs.Pager
}

// openLower opens the lower file if its contents may be needed, and keeps it open
// until the last description goes. Preconditions: i.mu is held.
func (i *Inode) openLower(c *vfs.Context) error {
	if i.lowerEnd == 0 || i.lowerFile != nil {
		return nil
	}
	f, err := i.lower.Open(c, unix.O_RDONLY)
	if err != nil {
		return err
	}
	i.lowerFile = f
	return nil
}

// readLower fills p from the lower file at off, with zeros past its end.
// Preconditions: i.mu is held (shared will do).
func (i *Inode) readLower(p []byte, off int64) error {
	n := int64(0)
	if off < i.lowerEnd {
		f := i.lowerFile
		if f == nil { // nobody has the inode open
			var err error
			if f, err = i.lower.Open(nil, unix.O_RDONLY); err != nil {
				return err
			}
			defer f.Release()
		}
		want := p[:min(int64(len(p)), i.lowerEnd-off)]
		for n < int64(len(want)) {
			m, err := f.ReadAt(want[n:], off+n)
			if err != nil {
				return err
			}
			if m == 0 { // the host's file became shorter
				break
			}
			n += int64(m)
		}
	}
	clear(p[n:])
	return nil
}

// read copies out of the file. Preconditions: i.mu is held (shared will do).
func (i *Inode) read(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	if off >= i.attr.size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), i.attr.size-off)]
	done := 0
	for done < len(p) {
		at := off + int64(done)
		idx, in := at/pageSize, at%pageSize
		if pg := i.pages.get(idx); pg.b != nil {
			done += copy(p[done:], pg.b[in:])
			continue
		}
		// A run of bytes up to the next page held here: one read below.
		end := off + int64(len(p))
		if i.pages.n > 0 {
			end = min(end, (idx+1)*pageSize)
		}
		run := p[done : done+int(end-at)]
		if err := i.readLower(run, at); err != nil {
			if done > 0 {
				return done, nil
			}
			return 0, err
		}
		done += len(run)
	}
	return done, nil
}

// writablePage returns the page, made if need be. fill says that its old bytes
// matter. Preconditions: i.mu is held.
func (i *Inode) writablePage(idx int64, fill bool) (pg page, fresh bool, err error) {
	if pg = i.pages.get(idx); pg.b != nil {
		return pg, false, nil
	}
	if err := i.fs.opts.Quota.charge(pageSize, 0); err != nil {
		return page{}, false, err
	}
	pg = page{b: new([pageSize]byte)}
	if fill && i.lowerEnd > idx*pageSize {
		if err := i.readLower(pg.b[:], idx*pageSize); err != nil {
			i.fs.opts.Quota.release(pageSize, 0)
			return page{}, false, err
		}
	}
	i.pages.put(idx, pg)
	return pg, true, nil
}

// span is a run of pages, last included.
type span struct{ first, last int64 }

// spans are pages whose frames are stale, in rising order.
type spans []span

func (s *spans) add(idx int64) {
	if n := len(*s); n > 0 && (*s)[n-1].last == idx-1 {
		(*s)[n-1].last = idx
		return
	}
	*s = append(*s, span{idx, idx})
}

// drop tells the page cache. Preconditions: no lock is held.
func (s spans) drop(p vfs.Pager, i *Inode) {
	if p == nil {
		return
	}
	for _, r := range s {
		p.Drop(i, r.first, r.last)
	}
}

// write copies into the file. It returns the pages that no longer lie in the
// lower file. Preconditions: i.mu is held, FS.modify was called.
func (i *Inode) write(p []byte, off int64) (n int, stale spans, err error) {
	if off < 0 {
		return 0, stale, unix.EINVAL
	}
	if len(p) == 0 {
		return 0, stale, nil
	}
	if off > math.MaxInt64-int64(len(p)) {
		return 0, stale, unix.EFBIG
	}
	if i.seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
		return 0, stale, unix.EPERM
	}
	if end := off + int64(len(p)); i.seals&unix.F_SEAL_GROW != 0 && end > i.attr.size {
		// shmem writes page by page, up to the one that would make it grow.
		whole := i.attr.size / pageSize * pageSize
		if off >= whole {
			return 0, stale, unix.EPERM
		}
		p = p[:whole-off]
	}
	if off > i.attr.size {
		i.zeroTail()
	}
	for n < len(p) {
		at := off + int64(n)
		idx, in := at/pageSize, at%pageSize
		whole := in == 0 && len(p)-n >= pageSize
		pg, fresh, err := i.writablePage(idx, !whole)
		if err != nil {
			if n > 0 {
				break
			}
			return 0, stale, err
		}
		if fresh && i.lowerEnd > idx*pageSize {
			stale.add(idx)
		}
		n += copy(pg.b[in:], p[n:])
		i.attr.size = max(i.attr.size, off+int64(n))
	}
	now := i.fs.now()
	i.attr.mtime, i.attr.ctime = now, now
	return n, stale, nil
}

// zeroTail clears the last page past the end of the file, where a mapping may
// have left bytes that must not appear when the file grows.
// Preconditions: i.mu is held.
func (i *Inode) zeroTail() {
	if in := i.attr.size % pageSize; in != 0 {
		if pg := i.pages.get(i.attr.size / pageSize); pg.b != nil {
			clear(pg.b[in:])
		}
	}
}

// truncate sets the size, on behalf of cred.
func (i *Inode) truncate(size int64, cred *vfs.Cred) error {
	if size < 0 {
		return unix.EINVAL
	}
	i.mu.Lock()
	if size < i.attr.size && i.seals&unix.F_SEAL_SHRINK != 0 ||
		size > i.attr.size && i.seals&unix.F_SEAL_GROW != 0 {
		i.mu.Unlock()
		return unix.EPERM
	}
	var stale spans
	if size < i.attr.size {
		stale = i.shrink(size)
	} else {
		i.zeroTail()
		i.attr.size = size
	}
	i.stripSetID(cred)
	now := i.fs.now()
	i.attr.mtime, i.attr.ctime = now, now
	pager := i.pager
	i.mu.Unlock()
	stale.drop(pager, i)
	return nil
}

// shrink cuts the file to a smaller size. A lower page that is cut through needs
// no copy, since lowerEnd cuts it; but its frame, being a copy, is stale.
// Preconditions: i.mu is held.
func (i *Inode) shrink(size int64) (stale spans) {
	first := (size + pageSize - 1) / pageSize
	n, _ := i.pages.remove(first, maxPage)
	i.fs.opts.Quota.release(n*pageSize, 0)
	if i.lowerEnd > size {
		i.lowerEnd = size
		i.attr.blocks = 0
		if size%pageSize != 0 && i.pages.get(size/pageSize).b == nil {
			first--
		}
	}
	i.attr.size = size
	i.zeroTail()
	return spans{{first, maxPage}}
}

// stripSetID drops the set-ID bits of a program whose contents cred changes,
// unless cred is privileged (fs/inode.c, file_remove_privs).
// Preconditions: i.mu is held.
func (i *Inode) stripSetID(cred *vfs.Cred) {
	if i.attr.mode&(unix.S_ISUID|unix.S_ISGID) == 0 || cred.Has(unix.CAP_FSETID) {
		return
	}
	i.attr.mode &^= unix.S_ISUID
	if i.attr.mode&unix.S_IXGRP != 0 || !cred.InGroup(i.attr.gid) {
		i.attr.mode &^= unix.S_ISGID
	}
}

// punch makes a hole (FALLOC_FL_PUNCH_HOLE).
func (i *Inode) punch(cred *vfs.Cred, off, n int64) error {
	i.mu.Lock()
	if i.seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
		i.mu.Unlock()
		return unix.EPERM
	}
	end := min(off+n, max(i.attr.size, i.lowerEnd))
	stale, err := i.zeroRange(off, end)
	i.stripSetID(cred)
	now := i.fs.now()
	i.attr.mtime, i.attr.ctime = now, now
	pager := i.pager
	i.mu.Unlock()
	stale.drop(pager, i)
	return err
}

// zeroRange clears bytes: whole pages go, parts are cleared in place. Where the
// lower file shows through a page of zeros has to hide it.
// Preconditions: i.mu is held.
func (i *Inode) zeroRange(off, end int64) (stale spans, err error) {
	first, last := (off+pageSize-1)/pageSize, end/pageSize-1 // whole pages
	if end == i.attr.size && end%pageSize != 0 {
		last++ // the rest of the last page is past the end
	}
	for _, part := range i.parts(off, end, first, last) {
		idx := part.from / pageSize
		if i.pages.get(idx).b == nil && i.lowerEnd <= part.from {
			continue
		}
		pg, fresh, err := i.writablePage(idx, true)
		if err != nil {
			return stale, err
		}
		if fresh {
			stale.add(idx)
		}
		clear(pg.b[part.from%pageSize : part.to-idx*pageSize])
	}
	if last < first {
		return stale, nil
	}
	n, _ := i.pages.remove(first, last)
	i.fs.opts.Quota.release(n*pageSize, 0)
	stale = append(stale, span{first, last})
	for idx := first; idx <= last && idx*pageSize < i.lowerEnd; idx++ {
		if _, _, err := i.writablePage(idx, false); err != nil {
			return stale, err
		}
	}
	return stale, nil
}

// extent is a range of bytes within one page.
type extent struct{ from, to int64 }

// parts returns what of a range lies outside its whole pages first to last: at
// most a piece before and a piece after.
func (i *Inode) parts(off, end, first, last int64) (parts []extent) {
	if head := min(end, (off/pageSize+1)*pageSize); off < end && (off/pageSize < first || last < first) {
		parts = append(parts, extent{off, head})
		off = head
	}
	if tail := end / pageSize * pageSize; end > off && tail < end && end/pageSize > last {
		parts = append(parts, extent{max(off, tail), end})
	}
	return parts
}

// allocate makes sure that a range has pages (fallocate(2), mode 0).
func (i *Inode) allocate(cred *vfs.Cred, off, n int64, keepSize bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	end := off + n
	if i.seals&unix.F_SEAL_GROW != 0 && end > i.attr.size {
		return unix.EPERM
	}
	// A page that the lower file has is there already; it is charged for when it
	// is written.
	first, last := max(off/pageSize, (i.lowerEnd+pageSize-1)/pageSize), (end-1)/pageSize
	if last >= first {
		want := last - first + 1 - i.pages.n // at least so many are missing
		if want > 0 {
			u := i.fs.opts.Quota.Usage()
			if want > (u.MaxBytes-u.Bytes)/pageSize {
				return unix.ENOSPC
			}
		}
		var made []int64
		for idx := first; idx <= last; idx++ {
			_, fresh, err := i.writablePage(idx, true)
			if err != nil {
				for _, m := range made {
					n, _ := i.pages.remove(m, m)
					i.fs.opts.Quota.release(n*pageSize, 0)
				}
				return err
			}
			if fresh {
				made = append(made, idx)
			}
		}
	}
	if !keepSize && end > i.attr.size {
		i.zeroTail()
		i.attr.size = end
	}
	i.stripSetID(cred)
	now := i.fs.now()
	i.attr.mtime, i.attr.ctime = now, now
	return nil
}

// seek finds data (or a hole) at or after off.
func (i *Inode) seek(off int64, data bool) (int64, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if off < 0 || off >= i.attr.size {
		return 0, unix.ENXIO
	}
	if data {
		if off < i.lowerEnd {
			return off, nil
		}
		idx := i.pages.next(off / pageSize)
		if at := max(off, idx*pageSize); idx >= 0 && at < i.attr.size {
			return at, nil
		}
		return 0, unix.ENXIO
	}
	at := max(off, i.lowerEnd)
	for at < i.attr.size && i.pages.get(at/pageSize).b != nil {
		at = (at/pageSize + 1) * pageSize
	}
	return min(at, i.attr.size), nil
}
