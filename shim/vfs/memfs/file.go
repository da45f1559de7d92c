package memfs

import (
	"math"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// file is an open regular file.
type file struct {
	i       *Inode
	noatime bool
	// cred decides whether writes take set-ID bits away. Linux goes by who
	// writes; here it is who opened.
	cred *vfs.Cred
}

func (f *file) Inode() vfs.Inode { return f.i }
func (f *file) Kind() vfs.Kind   { return vfs.Seekable }
func (f *file) Release()         { f.i.Unpin() }

// ReadAt reads, and updates the access time as relatime does.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.i.mu.RLock()
	n, err := f.i.read(p, off)
	touch := n > 0 && !f.noatime && f.i.atimeDue()
	f.i.mu.RUnlock()
	if touch {
		now := f.i.fs.now()
		f.i.mu.Lock()
		f.i.attr.atime = now
		f.i.mu.Unlock()
	}
	return n, err
}

// atimeDue reports whether relatime wants the access time updated: it is not
// later than the last change, or a day old (fs/inode.c, relatime_need_update). A
// file of the lower tree lies on a read-only file system until it is changed.
// Preconditions: i.mu is held (shared will do).
func (i *Inode) atimeDue() bool {
	if i.hasKey {
		return false
	}
	at := i.attr.atime.Nano()
	return at <= i.attr.mtime.Nano() || at <= i.attr.ctime.Nano() ||
		i.fs.opts.Now().UnixNano()-at >= 24*3600*1e9
}

// WriteAt writes at an offset.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n, _, err := f.write(p, off, false)
	return n, err
}

// Append writes at the end.
func (f *file) Append(p []byte) (int, int64, error) { return f.write(p, 0, true) }

func (f *file) write(p []byte, off int64, end bool) (int, int64, error) {
	i := f.i
	if err := i.fs.modify(i); err != nil {
		return 0, 0, err
	}
	i.mu.Lock()
	if end {
		off = i.attr.size
	}
	n, stale, err := i.write(p, off)
	if n > 0 {
		i.stripSetID(f.cred)
	}
	pager := i.pager
	i.mu.Unlock()
	stale.drop(pager, i)
	return n, off + int64(n), err
}

func (f *file) SeekData(off int64) (int64, error) { return f.i.seek(off, true) }
func (f *file) SeekHole(off int64) (int64, error) { return f.i.seek(off, false) }
func (f *file) Sync(bool) error                   { return nil }

// Truncate sets the size.
func (f *file) Truncate(size int64) error {
	if err := f.i.fs.modify(f.i); err != nil {
		return err
	}
	return f.i.truncate(size, f.cred)
}

// Allocate serves the modes that tmpfs does.
func (f *file) Allocate(mode uint32, off, n int64) error {
	if off < 0 || n <= 0 {
		return unix.EINVAL
	}
	if off > math.MaxInt64-n {
		return unix.EFBIG
	}
	if err := f.i.fs.modify(f.i); err != nil {
		return err
	}
	switch mode {
	case 0, unix.FALLOC_FL_KEEP_SIZE:
		return f.i.allocate(f.cred, off, n, mode != 0)
	case unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE:
		return f.i.punch(f.cred, off, n)
	}
	return unix.EOPNOTSUPP
}

func (f *file) Readdir(*vfs.Context, int64, func(vfs.Dirent) bool) error {
	return unix.ENOTDIR
}

// PageKey identifies the contents.
func (i *Inode) PageKey() any { return i }

// SetPager registers the page cache.
func (i *Inode) SetPager(p vfs.Pager) {
	i.mu.Lock()
	i.pager = p
	i.mu.Unlock()
}

// MapPage puts a page into frame. Unless the page still lies in the lower file
// and is only to be read, the frame is the page from then on.
func (i *Inode) MapPage(idx int64, frame *[pageSize]byte, write bool) error {
	if i.typ != unix.S_IFREG {
		return unix.ENODEV
	}
	if write {
		if err := i.fs.modify(i); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if idx < 0 || idx >= maxPage || idx*pageSize >= i.attr.size {
		return unix.EFAULT
	}
	if i.pages.get(idx).b == nil && i.lowerEnd > idx*pageSize && !write {
		return i.readLower(frame[:], idx*pageSize)
	}
	pg, _, err := i.writablePage(idx, true)
	if err != nil {
		return err
	}
	if pg.b != frame {
		*frame = *pg.b
		i.pages.put(idx, page{b: frame, frame: true})
	}
	return nil
}

// UnmapPage gives the page memory of its own again.
func (i *Inode) UnmapPage(idx int64, frame *[pageSize]byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if pg := i.pages.get(idx); pg.b == frame {
		own := *frame
		i.pages.put(idx, page{b: &own})
	}
}

// WritePage has nothing to do: the frame is the page.
func (i *Inode) WritePage(int64, *[pageSize]byte) error { return nil }
