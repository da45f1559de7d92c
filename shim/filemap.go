package shim

import (
	"sync"

	"culvert/shim/mm"
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// fileBacking lets mm map a file of the tree. The page cache holds copies: read(2) and write(2) go to the file and
// tell the cache (vfsFile.wrote, overlay, resized), whose dirty pages come back by WritePage.
type fileBacking struct {
	inode vfs.Inode

	mu     sync.Mutex // guards what follows; a leaf
	pinned bool
	reader vfs.File
	writer vfs.File // opened at the first write-back
}

// newBacking is the backing of the file at a place of the tree. A mapping keeps the file's contents when its last name and
// description go, also before its first page is touched, as that of a semaphore (sem_open(3)).
func (k *Kernel) newBacking(_ vfs.Path, inode vfs.Inode) mm.Backing {
	p, ok := inode.(vfs.Pinner)
	if ok {
		p.Pin()
	}
	return &fileBacking{inode: inode, pinned: ok}
}

func (b *fileBacking) Key() any { return b.inode }

// open opens the file for the cache: whoever maps it had its rights checked when it opened the file itself.
func (b *fileBacking) open(flags int, f *vfs.File) (vfs.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if *f != nil {
		return *f, nil
	}
	opened, err := b.inode.Open(&vfs.Context{Cred: vfs.NewCred(0, 0)}, flags)
	if err != nil {
		return nil, err
	}
	*f = opened
	return opened, nil
}

func (b *fileBacking) ReadPages(p []byte, index uint64) (int, error) {
	f, err := b.open(unix.O_RDONLY, &b.reader)
	if err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		n, err := f.ReadAt(p[done:], int64(index)*vfs.PageSize+int64(done))
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

func (b *fileBacking) WritePage(p []byte, index uint64) error {
	f, err := b.open(unix.O_RDWR, &b.writer)
	if err != nil {
		return err
	}
	off := int64(index) * vfs.PageSize
	for len(p) > 0 {
		n, err := f.WriteAt(p, off)
		if err != nil {
			return err
		}
		if n <= 0 {
			return unix.EIO
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (b *fileBacking) Size() int64 {
	st, err := b.inode.Stat()
	if err != nil {
		return 0
	}
	return st.Size
}

// Version tells changes on the host by modification time and size, as a network file system does.
func (b *fileBacking) Version() uint64 {
	st, err := b.inode.Stat()
	if err != nil {
		return 0
	}
	return uint64(st.Mtime.Nano())<<8 ^ uint64(st.Size) | 1
}

// Idle lets go of a file whose contents are in memory alone: those of a temporary file go with its last name, and not when
// the cache happens to be reclaimed. It costs nothing to open such a file again.
func (b *fileBacking) Idle() {
	if p, ok := b.inode.(vfs.Pinner); ok && p.InMemory() {
		b.Release()
	}
}

func (b *fileBacking) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range []vfs.File{b.reader, b.writer} {
		if f != nil {
			f.Release()
		}
	}
	b.reader, b.writer = nil, nil
	if b.pinned {
		b.inode.(vfs.Pinner).Unpin()
		b.pinned = false
	}
}

// mappedName is a file as /proc/PID/maps lists it.
type mappedName struct {
	ns   *vfs.Namespace
	path vfs.Path
	st   vfs.Stat
}

// mappedNameKey is the key under which an inode's mappedName is attached to it.
type mappedNameKey struct{}

// mapName is the name of a file for listings. There is one for an inode, since areas merge only if they have the same.
func (k *Kernel) mapName(p vfs.Path, inode vfs.Inode) mm.Namer {
	return inode.Attach(mappedNameKey{}, func() any {
		n := &mappedName{ns: k.cfg.Namespace, path: p}
		// A file that cannot be asked is listed as device 0, inode 0.
		n.st, _ = inode.Stat()
		return n
	}).(*mappedName)
}

func (n *mappedName) MapName() mm.MapName {
	return mm.MapName{
		Path: n.ns.Name(n.ns.Root(), n.path), Ino: n.st.Ino,
		Major: unix.Major(n.st.Dev), Minor: unix.Minor(n.st.Dev),
	}
}

// mapping is what mmap(2) needs of a description: the page cache of its file, which the caller gives back by Put,
// and its name. A nil object is anonymous memory: /dev/zero. ENODEV if the file cannot be mapped, EPERM if it is
// sealed against the writable shared mapping asked for.
func (f *OpenFile) mapping(shared, writable bool) (*mm.Object, mm.Namer, error) {
	v, ok := f.impl.(*vfsFile)
	if !ok {
		return nil, nil, unix.ENODEV
	}
	inode := v.file.Inode()
	_, pages := inode.(vfs.PageSource)
	switch {
	case inode.Type() == unix.S_IFREG && pages:
	case inode.Type() == unix.S_IFCHR:
		if st, err := inode.Stat(); err != nil || st.Rdev != unix.Mkdev(1, 5) {
			return nil, nil, unix.ENODEV
		}
		return nil, nil, nil
	default:
		return nil, nil, unix.ENODEV
	}
	if shared && writable && f.seals()&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
		return nil, nil, unix.EPERM
	}
	return f.k.memory.Object(f.k.newBacking(f.path, inode)), f.k.mapName(f.path, inode), nil
}

// seals are those of memfd_create(2); other files have none.
func (f *OpenFile) seals() uint32 {
	if v, ok := f.impl.(*vfsFile); ok {
		if s, ok := v.file.Inode().(vfs.Sealer); ok {
			return s.Seals()
		}
	}
	return 0
}

// noExec says that the file's mount forbids execution.
func (f *OpenFile) noExec() bool { return f.path.MountFlags()&vfs.MountNoExec != 0 }

// cached calls fn with the page cache of the inode, if it has any pages.
func (k *Kernel) cached(inode vfs.Inode, fn func(o *mm.Object)) {
	if inode.Type() != unix.S_IFREG {
		return
	}
	if o := k.memory.Lookup(inode); o != nil {
		fn(o)
		o.Put()
	}
}

// overlay puts what programs wrote through mappings over bytes read at off.
func (v *vfsFile) overlay(b []byte, off int64) {
	v.k.cached(v.file.Inode(), func(o *mm.Object) { o.Overlay(b, uint64(off)) })
}

// wrote tells mappings of bytes written at off.
func (v *vfsFile) wrote(b []byte, off int64) {
	v.k.cached(v.file.Inode(), func(o *mm.Object) { o.Wrote(b, uint64(off)) })
}

// resized tells mappings of a new size.
func (k *Kernel) resized(inode vfs.Inode, size int64) {
	k.cached(inode, func(o *mm.Object) { o.Truncate(uint64(size)) })
}

// punched tells mappings that a range reads as zero now.
func (k *Kernel) punched(inode vfs.Inode, off, n int64) {
	k.cached(inode, func(o *mm.Object) {
		size := int64(o.Size())
		zero := make([]byte, min(n, scratchSize))
		for end := min(off+n, size); off < end; {
			m := min(end-off, int64(len(zero)))
			o.Wrote(zero[:m], uint64(off))
			off += m
		}
	})
}
