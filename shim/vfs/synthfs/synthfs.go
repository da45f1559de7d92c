// Package synthfs has the blocks that /proc, /sys and /dev are built from:
// directories whose children are computed, files whose contents are generated,
// links, magic links and devices. What they say is the builder's.
package synthfs

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// FS is what inodes of one synthesised file system share.
type FS struct {
	dev     uint64
	magic   int64
	born    unix.Timespec
	lastIno atomic.Uint64

	mu      sync.Mutex
	budget  int64 // bytes of generated contents that may be held at a time
	holding int64
}

// New returns a file system: its st_dev, its f_type, and how many bytes of
// generated contents its open files may hold together.
func New(dev uint64, magic, budget int64) *FS {
	return &FS{dev: dev, magic: magic, budget: budget, born: unix.NsecToTimespec(time.Now().UnixNano())}
}

// hold accounts for contents: ENOMEM beyond the budget.
func (fs *FS) hold(n int64) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if n > 0 && n > fs.budget-fs.holding {
		return unix.ENOMEM
	}
	fs.holding += n
	return nil
}

// Attr are an inode's permission bits and owner. A nil Owner is root.
type Attr struct {
	Mode  uint32
	Owner func() (uid, gid uint32)
	Size  int64 // as stat reports it
}

// Perm is an Attr for an object of root's.
func Perm(mode uint32) Attr { return Attr{Mode: mode} }

// inode is what all kinds have in common.
type inode struct {
	vfs.NotDir
	fs   *FS
	ino  uint64
	typ  uint32
	attr Attr
	rdev uint64
}

func (fs *FS) inode(typ uint32, a Attr) inode {
	return inode{fs: fs, ino: fs.lastIno.Add(1), typ: typ, attr: a}
}

// Type returns the S_IFMT bits.
func (i *inode) Type() uint32 { return i.typ }

// Stat reports the attributes.
func (i *inode) Stat() (vfs.Stat, error) {
	st := vfs.Stat{
		Dev: i.fs.dev, Ino: i.ino, Mode: i.typ | i.attr.Mode&0o7777, Nlink: 1, Rdev: i.rdev,
		Size: i.attr.Size, Blksize: vfs.PageSize, Atime: i.fs.born, Mtime: i.fs.born, Ctime: i.fs.born,
	}
	if i.attr.Owner != nil {
		st.UID, st.GID = i.attr.Owner()
	}
	if i.typ == unix.S_IFDIR {
		st.Nlink = 2
	}
	return st, nil
}

// Statfs reports on the file system.
func (i *inode) Statfs() (vfs.Statfs, error) {
	return vfs.Statfs{Type: i.fs.magic, Bsize: vfs.PageSize, Namelen: vfs.NameMax, Fsid: i.fs.dev}, nil
}

// SetAttr takes changes of times and lets everything else alone, so that touch
// on a device works and chmod says no.
func (i *inode) SetAttr(c *vfs.Context, a vfs.Attr) error {
	const times = vfs.AttrAtime | vfs.AttrMtime | vfs.AttrAtimeNow | vfs.AttrMtimeNow
	if a.Valid&^times != 0 {
		return unix.EPERM
	}
	return nil
}

// Source computes a directory's children.
type Source interface {
	// Lookup finds a child, ENOENT if there is none. It must return the same
	// Inode for the same object for as long as the object lives. It is called
	// with the Namespace locked and must not call into it.
	Lookup(c *vfs.Context, name string) (vfs.Inode, error)
	// List returns children whose key is at least from, by rising key; it may
	// stop early, and is asked again from the last key + 1. An empty list is
	// the end. A child keeps its key (a process its PID), which makes listings
	// stable while children come and go.
	List(c *vfs.Context, from int64) ([]Entry, error)
}

// Entry is a child in a listing.
type Entry struct {
	Name string
	Type uint32 // S_IFMT
	Key  int64  // not negative, below 1<<40
}

// Dir is a directory of fixed children and, after them, computed ones.
type Dir struct {
	inode
	src Source

	mu       sync.Mutex
	children []child // by index is by cookie: it only grows
}

type child struct {
	name string
	node vfs.Inode
}

// NewDir makes a directory; src may be nil.
func (fs *FS) NewDir(a Attr, src Source) *Dir {
	return &Dir{inode: fs.inode(unix.S_IFDIR, a), src: src}
}

// Add gives the directory a fixed child, and returns the directory.
func (d *Dir) Add(name string, node vfs.Inode) *Dir {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.children = append(d.children, child{name, node})
	return d
}

// Revalidate reports whether the children change.
func (d *Dir) Revalidate() bool { return d.src != nil }

// Lookup finds a child.
func (d *Dir) Lookup(c *vfs.Context, name string) (vfs.Inode, error) {
	d.mu.Lock()
	i := slices.IndexFunc(d.children, func(ch child) bool { return ch.name == name })
	if i >= 0 {
		defer d.mu.Unlock()
		return d.children[i].node, nil
	}
	d.mu.Unlock()
	if d.src == nil {
		return nil, unix.ENOENT
	}
	return d.src.Lookup(c, name)
}

// Naming calls: the tree is the builder's. Linux answers so in /proc, whose lookup fails before anything else can.
func (d *Dir) Create(*vfs.Context, string, vfs.CreateAttr) (vfs.Inode, error) {
	return nil, unix.ENOENT
}
func (d *Dir) Mkdir(*vfs.Context, string, vfs.CreateAttr) (vfs.Inode, error) {
	return nil, unix.ENOENT
}
func (d *Dir) Symlink(*vfs.Context, string, string, vfs.CreateAttr) (vfs.Inode, error) {
	return nil, unix.ENOENT
}
func (d *Dir) Link(*vfs.Context, string, vfs.Inode) error { return unix.EPERM }
func (d *Dir) Unlink(*vfs.Context, string) error          { return unix.EPERM }
func (d *Dir) Rmdir(*vfs.Context, string) error           { return unix.EPERM }
func (d *Dir) Rename(*vfs.Context, string, vfs.Inode, string, uint32) error {
	return unix.EPERM
}

// Open opens the directory.
func (d *Dir) Open(c *vfs.Context, flags int) (vfs.File, error) { return &dirFile{d: d}, nil }

type dirFile struct {
	vfs.FileBase
	d *Dir
}

func (f *dirFile) Inode() vfs.Inode                  { return f.d }
func (f *dirFile) Kind() vfs.Kind                    { return vfs.Seekable }
func (f *dirFile) ReadAt([]byte, int64) (int, error) { return 0, unix.EISDIR }

// Cookies: 0 and 1 are the dots, then the fixed children by index, then the
// computed ones by key.
const (
	cookieFixed = 2
	cookieKeyed = 1 << 40
)

// Readdir lists the directory. ".." of a root is the root: the Namespace knows
// better, but nobody relies on the number.
func (f *dirFile) Readdir(c *vfs.Context, pos int64, emit func(vfs.Dirent) bool) error {
	d := f.d
	if pos < 0 {
		return unix.EINVAL
	}
	d.mu.Lock()
	fixed := d.children
	d.mu.Unlock()
	for ; pos < cookieFixed+int64(len(fixed)); pos++ {
		e := vfs.Dirent{Name: [...]string{".", ".."}[min(pos, 1)], Ino: d.ino, Type: unix.S_IFDIR, Next: pos + 1}
		if pos >= cookieFixed {
			ch := fixed[pos-cookieFixed]
			st, err := ch.node.Stat()
			if err != nil {
				return err
			}
			e.Name, e.Ino, e.Type = ch.name, st.Ino, ch.node.Type()
		}
		if !emit(e) {
			return nil
		}
	}
	if d.src == nil {
		return nil
	}
	for from := max(pos-cookieKeyed, 0); ; {
		list, err := d.src.List(c, from)
		if err != nil || len(list) == 0 {
			return err
		}
		slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
		for _, e := range list {
			next := cookieKeyed + e.Key + 1
			// The number serves programs that skip entries whose number is 0.
			if !emit(vfs.Dirent{Name: e.Name, Ino: uint64(next), Type: e.Type, Next: next}) {
				return nil
			}
		}
		last := list[len(list)-1].Key
		if last < from { // a source that goes backwards would never end
			return unix.EIO
		}
		from = last + 1
	}
}
