package memfs

import (
	"sync"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// Inode is a file, directory, link, FIFO or socket.
type Inode struct {
	vfs.Attachments
	fs     *FS
	ino    uint64
	typ    uint32 // S_IFMT
	key    lowerKey
	hasKey bool   // key is set: there is, or was, a lower file
	dir    *dir   // of a directory
	target string // of a symbolic link without a lower one

	kept, forgotten bool // see FS.keep and FS.forget; guarded by fs.mu

	mu   sync.RWMutex
	attr attr
	regular
}

// attr are the attributes that stat reports; guarded by Inode.mu.
type attr struct {
	mode, nlink, uid, gid      uint32 // mode without S_IFMT
	rdev                       uint64
	size                       int64
	blocks                     int64 // of the lower file, in 512-byte units
	atime, mtime, ctime, btime unix.Timespec
}

// Type returns the S_IFMT bits.
func (i *Inode) Type() uint32 { return i.typ }

// Stat reports the attributes.
func (i *Inode) Stat() (vfs.Stat, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	a := &i.attr
	st := vfs.Stat{
		Dev: i.fs.opts.Dev, Ino: i.ino, Mode: i.typ | a.mode, Nlink: a.nlink,
		UID: a.uid, GID: a.gid, Rdev: a.rdev, Size: a.size, Blksize: pageSize,
		Blocks: max(a.blocks, i.pages.n*(pageSize/vfs.BlockBytes)),
		Atime:  a.atime, Mtime: a.mtime, Ctime: a.ctime, Btime: a.btime,
	}
	if i.target != "" {
		st.Size = int64(len(i.target))
	}
	return st, nil
}

// Statfs reports on the file system.
func (i *Inode) Statfs() (vfs.Statfs, error) { return i.fs.statfs(), nil }

// Readlink returns a symbolic link's target.
func (i *Inode) Readlink(c *vfs.Context) (string, error) {
	if i.typ != unix.S_IFLNK {
		return "", unix.EINVAL
	}
	if i.target == "" {
		return i.lower.Readlink(c)
	}
	return i.target, nil
}

// SetAttr changes attributes.
func (i *Inode) SetAttr(c *vfs.Context, a vfs.Attr) error {
	if err := i.fs.modify(i); err != nil {
		return err
	}
	if a.Valid&vfs.AttrSize != 0 {
		if i.typ != unix.S_IFREG {
			return unix.EINVAL
		}
		if err := i.truncate(a.Size, c.Cred); err != nil {
			return err
		}
	}
	now := i.fs.now()
	i.mu.Lock()
	defer i.mu.Unlock()
	at := &i.attr
	if a.Valid&vfs.AttrMode != 0 {
		if i.seals&unix.F_SEAL_EXEC != 0 && (at.mode^a.Mode)&0o111 != 0 {
			return unix.EPERM
		}
		at.mode = a.Mode & 0o7777
	}
	for _, f := range [...]struct {
		bit vfs.AttrMask
		do  func()
	}{
		{vfs.AttrUID, func() { at.uid = a.UID }},
		{vfs.AttrGID, func() { at.gid = a.GID }},
		{vfs.AttrAtime, func() { at.atime = a.Atime }},
		{vfs.AttrMtime, func() { at.mtime = a.Mtime }},
		{vfs.AttrAtimeNow, func() { at.atime = now }},
		{vfs.AttrMtimeNow, func() { at.mtime = now }},
	} {
		if a.Valid&f.bit != 0 {
			f.do()
		}
	}
	at.ctime = now
	return nil
}

// changed stamps a change of attributes. Preconditions: i.mu is not held.
func (i *Inode) changed(nlink int32) {
	now := i.fs.now()
	i.mu.Lock()
	i.attr.nlink = uint32(int32(i.attr.nlink) + nlink)
	i.attr.ctime = now
	i.mu.Unlock()
}

// links returns the number of names.
func (i *Inode) links() uint32 {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.attr.nlink
}

// Pin counts an open description; see Unpin.
func (i *Inode) Pin() {
	i.mu.Lock()
	i.pins++
	i.mu.Unlock()
}

// Unpin ends a Pin. Contents go when no name and no description is left.
func (i *Inode) Unpin() {
	i.mu.Lock()
	i.pins--
	i.mu.Unlock()
	i.reap()
}

// InMemory says that the file has no lower one.
func (i *Inode) InMemory() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.lower == nil
}

// reap frees the contents of a file that nothing can reach.
func (i *Inode) reap() {
	i.mu.Lock()
	if i.pins > 0 {
		i.mu.Unlock()
		return
	}
	if i.lowerFile != nil {
		i.lowerFile.Release()
		i.lowerFile = nil
	}
	var stale spans
	if i.attr.nlink == 0 && i.typ == unix.S_IFREG {
		n, framed := i.pages.remove(0, maxPage)
		i.fs.opts.Quota.release(n*pageSize, 0)
		if framed || i.lower != nil {
			stale = spans{{0, maxPage}}
		}
	}
	pager := i.pager
	i.mu.Unlock()
	stale.drop(pager, i)
}

// Open opens the object.
func (i *Inode) Open(c *vfs.Context, flags int) (vfs.File, error) {
	switch i.typ {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return &dirFile{i: i}, nil
	case unix.S_IFIFO:
		return nil, nil
	case unix.S_IFLNK:
		return nil, unix.ELOOP
	default:
		return nil, unix.ENXIO
	}
	f := &file{i: i, noatime: flags&unix.O_NOATIME != 0, cred: c.Cred}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.openLower(c); err != nil {
		return nil, err
	}
	i.pins++
	return f, nil
}

// Seals returns the file seals.
func (i *Inode) Seals() uint32 {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.seals
}

// AddSeals adds file seals (mm/memfd.c, memfd_add_seals). That no writable
// mapping stands against F_SEAL_WRITE is the caller's to check.
func (i *Inode) AddSeals(seals uint32) error {
	const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW |
		unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_EXEC
	if seals&^all != 0 || i.typ != unix.S_IFREG {
		return unix.EINVAL
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seals&unix.F_SEAL_SEAL != 0 {
		return unix.EPERM
	}
	// A file that may never be executable need not be guarded as one that is.
	if seals&unix.F_SEAL_EXEC != 0 && i.attr.mode&0o111 != 0 {
		seals |= unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE
	}
	i.seals |= seals
	return nil
}
