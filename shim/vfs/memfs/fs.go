// Package memfs is a file system in memory: tmpfs, and, over a read-only lower
// tree, the overlay in which a guest's writes to the host's files end up.
//
// One Inode type serves both. A directory may have a lower directory, whose
// entries show through unless a name of its own or a whiteout hides them; a
// regular file may have a lower file, whose pages show through until they are
// written (a page at a time: changing a byte of a large file costs one page).
// Changing attributes copies nothing. What Linux's overlayfs does in two inodes
// and a copy is one object here, so that open files, mappings and hard links see
// one file before and after it changes, which overlayfs cannot offer. Renaming a
// lower directory works too (overlayfs answers EXDEV).
//
// The lower tree is taken not to change. If it does, nothing worse happens than
// a guest seeing a mix.
//
// Locks: FS.mu guards names (directories, byLower); Inode.mu guards an inode's
// attributes and contents. Order: FS.mu, Inode.mu, Quota.mu.
package memfs

import (
	"sync"
	"time"
	"weak"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// Options say what a file system is.
type Options struct {
	Quota *Quota
	Dev   uint64           // st_dev, as makedev gives it; no two file systems share one
	Lower vfs.Inode        // read-only directory to show through; nil for a plain tmpfs
	Mode  uint32           // of the root directory, 07777 bits; with Lower, the lower root's counts
	UID   uint32           // owner of the root directory
	GID   uint32           //
	Now   func() time.Time // the clock of time stamps; nil is the host's
}

// FS is a file system in memory.
type FS struct {
	opts Options
	root *Inode

	mu      sync.Mutex
	lastIno uint64
	devs    map[uint64]uint64 // lower devices, numbered from 1
	byLower map[lowerKey]*lowerRef
	swept   int // entries in byLower after the last sweep

	listings listings
}

// lowerKey is a file of the lower tree.
type lowerKey struct{ dev, ino uint64 }

// lowerRef finds the Inode that stands for a lower file: the same one under each
// of its hard links. While the file is unchanged the reference is weak, since it
// can be made again; once changed it is kept.
type lowerRef struct {
	weak weak.Pointer[Inode]
	kept *Inode
}

// New makes a file system.
func New(o Options) (*FS, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	fs := &FS{
		opts:    o,
		devs:    make(map[uint64]uint64),
		byLower: make(map[lowerKey]*lowerRef),
	}
	if o.Lower == nil {
		fs.root = fs.newInode(vfs.CreateAttr{Mode: unix.S_IFDIR | o.Mode&0o7777, UID: o.UID, GID: o.GID})
		fs.root.dir.parent = fs.root
		return fs, nil
	}
	root, err := fs.wrap(nil, o.Lower)
	if err != nil {
		return nil, err
	}
	fs.root = root
	return fs, nil
}

// Root returns the root directory.
func (fs *FS) Root() *Inode { return fs.root }

// NewFile makes a regular file without a name: a memfd, shared memory. It can be
// sealed.
func (fs *FS) NewFile(n vfs.CreateAttr) *Inode {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	i := fs.newInode(n)
	i.attr.nlink, i.seals = 0, 0
	return i
}

func (fs *FS) now() unix.Timespec {
	return unix.NsecToTimespec(fs.opts.Now().UnixNano())
}

// newInode makes an object that has no lower one.
func (fs *FS) newInode(n vfs.CreateAttr) *Inode {
	fs.lastIno++
	t := fs.now()
	i := &Inode{fs: fs, ino: fs.lastIno, typ: n.Mode & unix.S_IFMT}
	i.attr = attr{
		mode: n.Mode & 0o7777, nlink: 1, uid: n.UID, gid: n.GID, rdev: n.Rdev,
		atime: t, mtime: t, ctime: t, btime: t,
	}
	switch i.typ {
	case unix.S_IFDIR:
		i.attr.nlink, i.attr.size = 2, dirSize(0)
		i.dir = &dir{}
	case unix.S_IFREG:
		i.seals = unix.F_SEAL_SEAL // only a memfd can be sealed
	}
	return i
}

// lowerIno numbers a lower file: the host's number, with the device above bit 48,
// so that numbers from several devices and the file system's own differ.
func (fs *FS) lowerIno(key lowerKey) uint64 {
	n, ok := fs.devs[key.dev]
	if !ok {
		n = uint64(len(fs.devs)+1) & 0x7fff
		fs.devs[key.dev] = n
	}
	return n<<48 | key.ino&(1<<48-1)
}

// wrap returns the Inode that stands for a lower one, found in parent.
// Preconditions: fs.mu is held, or fs is not yet shared.
func (fs *FS) wrap(parent *Inode, lower vfs.Inode) (*Inode, error) {
	st, err := lower.Stat()
	if err != nil {
		return nil, err
	}
	key := lowerKey{st.Dev, st.Ino}
	if r := fs.byLower[key]; r != nil {
		if i := r.weak.Value(); i != nil && i.typ == st.Mode&unix.S_IFMT {
			return i, nil
		}
	}
	i := &Inode{fs: fs, ino: fs.lowerIno(key), typ: st.Mode & unix.S_IFMT, key: key, hasKey: true}
	i.lower = lower
	i.attr = attr{
		mode: st.Mode & 0o7777, nlink: st.Nlink, uid: st.UID, gid: st.GID, rdev: st.Rdev,
		size: st.Size, blocks: st.Blocks,
		atime: st.Atime, mtime: st.Mtime, ctime: st.Ctime, btime: st.Btime,
	}
	switch i.typ {
	case unix.S_IFDIR:
		if parent == nil {
			parent = i
		}
		i.dir = &dir{parent: parent, lower: lower}
	case unix.S_IFREG:
		i.lowerEnd = st.Size
	}
	fs.sweep()
	fs.byLower[key] = &lowerRef{weak: weak.Make(i)}
	return i, nil
}

// sweep forgets lower files that nobody holds, once byLower has doubled.
func (fs *FS) sweep() {
	if len(fs.byLower) < 2*fs.swept+64 {
		return
	}
	for k, r := range fs.byLower {
		if r.weak.Value() == nil {
			delete(fs.byLower, k)
		}
	}
	fs.swept = len(fs.byLower)
}

// keep makes sure that i is not forgotten: it is about to differ from the lower
// file. Preconditions: fs.mu is held.
func (fs *FS) keep(i *Inode) error {
	if !i.hasKey || i.kept || i.forgotten {
		return nil
	}
	if err := fs.opts.Quota.charge(inodeBytes, 1); err != nil {
		return err
	}
	i.kept = true
	fs.byLower[i.key] = &lowerRef{weak: weak.Make(i), kept: i}
	return nil
}

// forget undoes keep for an inode whose last name is gone.
// Preconditions: fs.mu is held.
func (fs *FS) forget(i *Inode) {
	if !i.kept {
		return
	}
	i.kept, i.forgotten = false, true
	delete(fs.byLower, i.key)
	fs.opts.Quota.release(inodeBytes, 1)
}

// modify readies an inode for a change from outside the naming calls.
func (fs *FS) modify(i *Inode) error {
	if !i.hasKey {
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.keep(i)
}

// Statfs reports the quota as blocks.
func (fs *FS) statfs() vfs.Statfs {
	u := fs.opts.Quota.Usage()
	typ := int64(unix.TMPFS_MAGIC)
	if fs.opts.Lower != nil {
		typ = unix.OVERLAYFS_SUPER_MAGIC
	}
	free := uint64(max(0, u.MaxBytes-u.Bytes)) / pageSize
	return vfs.Statfs{
		Type: typ, Bsize: pageSize, Namelen: vfs.NameMax, Fsid: fs.opts.Dev,
		Blocks: uint64(u.MaxBytes) / pageSize, Bfree: free, Bavail: free,
		Files: uint64(u.MaxInodes), Ffree: uint64(max(0, u.MaxInodes-u.Inodes)),
	}
}
