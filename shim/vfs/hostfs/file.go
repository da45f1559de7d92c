package hostfs

import (
	"encoding/binary"
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// data returns the handle of a regular file that is open for reading, or for
// writing, opening it if need be.
func (n *node) data(write bool) (*handle, error) {
	slot, flags := &n.rd, unix.O_RDONLY
	if write {
		slot, flags = &n.wr, unix.O_WRONLY
	}
	if h := n.fs.pool.use(slot); h != nil {
		return h, nil
	}
	at, err := n.pathFD()
	if err != nil {
		return nil, err
	}
	defer at.done()
	fd, err := n.fs.reopen(at.fd, flags)
	if err != nil {
		return nil, err
	}
	return n.fs.pool.install(slot, fd, !n.fs.opts.Static)
}

// file is an open regular file. In a static tree it holds no descriptor: each
// call borrows the node's, which may have been closed meanwhile and is opened
// again. Elsewhere it pins the node's, since the name may go.
type file struct {
	vfs.FileBase
	n      *node
	rd, wr *handle // pinned; nil in a static tree
}

func (n *node) openFile(flags int) (vfs.File, error) {
	acc := flags & unix.O_ACCMODE
	if n.fs.opts.ReadOnly && acc != unix.O_RDONLY {
		return nil, unix.EROFS
	}
	f := &file{n: n}
	if acc != unix.O_WRONLY {
		h, err := n.data(false)
		if err != nil {
			return nil, err
		}
		if n.fs.opts.Static { // it was a trial, so that EACCES shows now
			h.done()
			return f, nil
		}
		f.rd = h
	}
	if acc != unix.O_RDONLY {
		h, err := n.data(true)
		if err != nil {
			f.Release()
			return nil, err
		}
		f.wr = h
	}
	return f, nil
}

func (f *file) Inode() vfs.Inode { return f.n }
func (f *file) Kind() vfs.Kind   { return vfs.Seekable }

// Release lets the node's descriptors go.
func (f *file) Release() {
	for _, h := range []*handle{f.rd, f.wr} {
		if h != nil {
			h.done()
		}
	}
}

// with calls do with a descriptor for reading or writing.
func (f *file) with(write bool, do func(fd int) error) error {
	h := f.rd
	if write {
		h = f.wr
		if h == nil {
			return unix.EBADF
		}
	}
	if h == nil {
		var err error
		if h, err = f.n.data(write); err != nil {
			return err
		}
		defer h.done()
	}
	return retry(func() error { return do(h.fd) })
}

func (n *node) cache() vfs.Pager {
	n.fs.pool.mu.Lock()
	defer n.fs.pool.mu.Unlock()
	return n.pager
}

// pagesOf returns the pages that a range of bytes touches.
func pagesOf(off int64, n int) (first, last int64) {
	return off / vfs.PageSize, (off + int64(max(n, 1)) - 1) / vfs.PageSize
}

// ReadAt reads from the host's file.
func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, unix.EINVAL
	}
	if pg := f.n.cache(); pg != nil && !f.n.fs.opts.ReadOnly {
		first, last := pagesOf(off, len(p))
		pg.Flush(f.n, first, last)
	}
	err = f.with(false, func(fd int) error {
		n, err = unix.Pread(fd, p, off)
		return err
	})
	return max(n, 0), err
}

// WriteAt writes to the host's file.
func (f *file) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	err = f.with(true, func(fd int) error {
		n, err = unix.Pwrite(fd, p, off)
		return err
	})
	if n > 0 {
		f.wrote(p[:n], off)
	}
	return max(n, 0), err
}

// wrote tells the page cache of bytes that went past it.
func (f *file) wrote(p []byte, off int64) {
	if pg := f.n.cache(); pg != nil {
		pg.Update(f.n, off, p)
	}
}

// Append writes at the end, wherever the host's other writers have moved it.
func (f *file) Append(p []byte) (n int, end int64, err error) {
	f.n.appendMu.Lock()
	defer f.n.appendMu.Unlock()
	var st unix.Stat_t
	err = f.with(true, func(fd int) error {
		// The offset is where the end seems to be: overlayfs of Linux 6.1 ignores the flag.
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		n, err = unix.Pwritev2(fd, [][]byte{p}, st.Size, unix.RWF_APPEND)
		if err != nil {
			return err
		}
		return unix.Fstat(fd, &st)
	})
	if err != nil {
		return 0, 0, err
	}
	if n > 0 {
		f.wrote(p[:n], st.Size-int64(n))
	}
	return n, st.Size, nil
}

func (f *file) seek(off int64, whence int) (at int64, err error) {
	err = f.with(f.rd == nil && f.wr != nil, func(fd int) error {
		at, err = unix.Seek(fd, off, whence)
		return err
	})
	return at, err
}

func (f *file) SeekData(off int64) (int64, error) { return f.seek(off, unix.SEEK_DATA) }
func (f *file) SeekHole(off int64) (int64, error) { return f.seek(off, unix.SEEK_HOLE) }

// Truncate sets the size.
func (f *file) Truncate(size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	return f.with(true, func(fd int) error { return f.n.ftruncate(fd, size) })
}

// ftruncate sets the size. The page that is cut through goes to the host first.
func (n *node) ftruncate(fd int, size int64) error {
	pg, at := n.cache(), size/vfs.PageSize
	if pg != nil {
		pg.Flush(n, at, at)
	}
	err := retry(func() error { return unix.Ftruncate(fd, size) })
	if err == nil && pg != nil {
		pg.Drop(n, at, math.MaxInt64/vfs.PageSize)
	}
	return err
}

// Allocate is the host's fallocate.
func (f *file) Allocate(mode uint32, off, n int64) error {
	if off < 0 || n <= 0 {
		return unix.EINVAL
	}
	if off > math.MaxInt64-n {
		return unix.EFBIG
	}
	if mode&^(unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE) != 0 {
		return unix.EOPNOTSUPP
	}
	pg := f.n.cache()
	if pg != nil && mode != 0 {
		pg.Flush(f.n, off/vfs.PageSize, (off+n-1)/vfs.PageSize)
	}
	err := f.with(true, func(fd int) error { return unix.Fallocate(fd, mode, off, n) })
	if err == nil && pg != nil && mode != 0 {
		pg.Drop(f.n, off/vfs.PageSize, (off+n-1)/vfs.PageSize)
	}
	return err
}

// Sync is the host's fsync, after the page cache's dirty frames.
func (f *file) Sync(dataOnly bool) error {
	if f.n.fs.opts.ReadOnly {
		return nil
	}
	if pg := f.n.cache(); pg != nil {
		pg.Flush(f.n, 0, math.MaxInt64/vfs.PageSize)
	}
	return f.with(f.rd == nil && f.wr != nil, func(fd int) error {
		if dataOnly {
			return unix.Fdatasync(fd)
		}
		return unix.Fsync(fd)
	})
}

// PageKey identifies the contents.
func (n *node) PageKey() any { return n }

// SetPager registers the page cache.
func (n *node) SetPager(p vfs.Pager) {
	n.fs.pool.mu.Lock()
	n.pager = p
	n.fs.pool.mu.Unlock()
}

// MapPage copies a page into frame.
func (n *node) MapPage(idx int64, frame *[vfs.PageSize]byte, write bool) error {
	if n.typ != unix.S_IFREG {
		return unix.ENODEV
	}
	if write && n.fs.opts.ReadOnly {
		return unix.EROFS
	}
	if idx < 0 || idx > math.MaxInt64/vfs.PageSize {
		return unix.EFAULT
	}
	h, err := n.data(false)
	if err != nil {
		return err
	}
	defer h.done()
	got := 0
	for got < len(frame) {
		m := 0
		err := retry(func() (err error) {
			m, err = unix.Pread(h.fd, frame[got:], idx*vfs.PageSize+int64(got))
			return err
		})
		if err != nil {
			return err
		}
		if m == 0 {
			break
		}
		got += m
	}
	if got == 0 {
		return unix.EFAULT
	}
	clear(frame[got:])
	return nil
}

// UnmapPage has nothing to do: the frame is a copy.
func (n *node) UnmapPage(int64, *[vfs.PageSize]byte) {}

// WritePage stores a dirty frame, up to the end of the file.
func (n *node) WritePage(idx int64, frame *[vfs.PageSize]byte) error {
	if n.fs.opts.ReadOnly {
		return unix.EROFS
	}
	h, err := n.data(true)
	if err != nil {
		return err
	}
	defer h.done()
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return err
	}
	p := frame[:max(0, min(vfs.PageSize, st.Size-idx*vfs.PageSize))]
	for off := idx * vfs.PageSize; len(p) > 0; {
		m := 0
		err := retry(func() (err error) {
			m, err = unix.Pwrite(h.fd, p, off)
			return err
		})
		if err != nil {
			return err
		}
		p, off = p[m:], off+int64(m)
	}
	return nil
}

// dirFile is an open directory: a descriptor of its own, since the host keeps the
// place in it.
type dirFile struct {
	vfs.FileBase
	n    *node
	h    *handle // pinned
	slot *handle // where install put h

	mu sync.Mutex // one reader at a time
}

func (n *node) openDir() (vfs.File, error) {
	at, err := n.dirFD()
	if err != nil {
		return nil, err
	}
	defer at.done()
	fd, err := n.fs.reopen(at.fd, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := &dirFile{n: n}
	if f.h, err = n.fs.pool.install(&f.slot, fd, true); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *dirFile) Inode() vfs.Inode { return f.n }
func (f *dirFile) Kind() vfs.Kind   { return vfs.Seekable }

func (f *dirFile) ReadAt([]byte, int64) (int, error) { return 0, unix.EISDIR }

func (f *dirFile) Sync(bool) error {
	if f.n.fs.opts.ReadOnly {
		return nil
	}
	return retry(func() error { return unix.Fsync(f.h.fd) })
}

// Release closes the descriptor.
func (f *dirFile) Release() { f.h.done() }

// sealedDir is an open directory that shows nothing of the host.
type sealedDir struct {
	vfs.FileBase
	n *node
}

func (d *sealedDir) Inode() vfs.Inode { return d.n }
func (d *sealedDir) Kind() vfs.Kind   { return vfs.Seekable }

func (d *sealedDir) ReadAt([]byte, int64) (int, error) { return 0, unix.EISDIR }
func (d *sealedDir) Sync(bool) error                   { return nil }

// Readdir lists "." and "..".
func (d *sealedDir) Readdir(c *vfs.Context, pos int64, emit func(vfs.Dirent) bool) error {
	parent, _ := d.n.where()
	for i, e := range [...]vfs.Dirent{{Name: ".", Ino: d.n.key.ino}, {Name: "..", Ino: parent.key.ino}} {
		e.Type, e.Next = unix.S_IFDIR, int64(i)+1
		if int64(i) >= pos && !emit(e) {
			break
		}
	}
	return nil
}

// Layout of struct linux_dirent64.
const (
	direntIno    = 0
	direntOff    = 8
	direntReclen = 16
	direntType   = 18
	direntName   = 19
)

// Readdir lists the directory. The cookies are the host's.
func (f *dirFile) Readdir(c *vfs.Context, pos int64, emit func(vfs.Dirent) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := unix.Seek(f.h.fd, pos, unix.SEEK_SET); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		n := 0
		err := retry(func() (err error) {
			n, err = unix.Getdents(f.h.fd, buf)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		for b := buf[:n]; len(b) > direntName; {
			size := int(binary.NativeEndian.Uint16(b[direntReclen:]))
			if size <= direntName || size > len(b) {
				return unix.EIO
			}
			if !emit(f.dirent(b[:size])) {
				return nil
			}
			b = b[size:]
		}
	}
}

// dirent decodes an entry. The root's parent is not the guest's to see.
func (f *dirFile) dirent(b []byte) vfs.Dirent {
	name := b[direntName:]
	for i, ch := range name {
		if ch == 0 {
			name = name[:i]
			break
		}
	}
	e := vfs.Dirent{
		Name: string(name),
		Ino:  binary.NativeEndian.Uint64(b[direntIno:]),
		Type: uint32(b[direntType]) << 12, // IFTODT backwards
		Next: int64(binary.NativeEndian.Uint64(b[direntOff:])),
	}
	if parent, _ := f.n.where(); parent == nil && e.Name == ".." {
		e.Ino = f.n.key.ino
	}
	return e
}
