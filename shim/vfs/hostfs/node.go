package hostfs

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// node is a file of the host: where it was last found, and which one it is.
type node struct {
	vfs.Attachments
	fs  *FS
	key key
	typ uint32 // S_IFMT
	// sealed is the root of a file system that may not be entered: an empty directory that cannot be changed.
	sealed bool

	// Guarded by Pool.mu.
	parent *node // nil in the root
	name   string
	st     unix.Stat_t // as last seen
	path   *handle     // O_PATH, of a directory
	rd, wr *handle     // of a regular file, open for reading and for writing
	pager  vfs.Pager

	appendMu sync.Mutex // one Append at a time
}

// Type returns the S_IFMT bits.
func (n *node) Type() uint32 { return n.typ }

// Revalidate reports whether names may change behind the guest's back.
func (n *node) Revalidate() bool { return !n.fs.opts.Static }

// where returns the directory and name under which n was last found.
func (n *node) where() (*node, string) {
	n.fs.pool.mu.Lock()
	defer n.fs.pool.mu.Unlock()
	return n.parent, n.name
}

// fdUse is a descriptor in use, until done.
type fdUse struct {
	fd   int
	done func()
}

// is answers ESTALE unless the descriptor's file is n.
func (n *node) is(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if (key{st.Dev, st.Ino}) != n.key || st.Mode&unix.S_IFMT != n.typ {
		return unix.ESTALE
	}
	return nil
}

// maxReopen bounds the climb of dirFD. Where a directory was last found is a
// hint: if the host moves directories about, hints may even form a circle.
const maxReopen = 1 << 14

// dirFD returns a directory's O_PATH descriptor. Directories above it that have
// lost theirs are opened again from the nearest that has one, in a loop and not
// by recursion, since a guest may nest directories deeply.
func (n *node) dirFD() (fdUse, error) {
	if n.typ != unix.S_IFDIR {
		return fdUse{}, unix.ENOTDIR
	}
	if n.sealed {
		return fdUse{}, unix.EACCES
	}
	var below []*node // to be opened, the deepest first
	cur := n
	var at fdUse
	for {
		if h := n.fs.pool.use(&cur.path); h != nil {
			at = fdUse{h.fd, h.done}
			break
		}
		parent, _ := cur.where()
		if parent == nil {
			at = fdUse{n.fs.base, func() {}}
			break
		}
		if len(below) == maxReopen {
			return fdUse{}, unix.ESTALE
		}
		below = append(below, cur)
		cur = parent
	}
	for i := len(below) - 1; i >= 0; i-- {
		d := below[i]
		_, name := d.where()
		fd, err := openat(at.fd, name, pathFlags|unix.O_DIRECTORY, 0)
		at.done()
		if err != nil {
			return fdUse{}, err
		}
		if err := d.is(fd); err != nil {
			closeFD(fd)
			return fdUse{}, err
		}
		h, err := n.fs.pool.install(&d.path, fd, false)
		if err != nil {
			return fdUse{}, err
		}
		at = fdUse{h.fd, h.done}
	}
	return at, nil
}

// pathFD returns a descriptor that names the object, O_PATH or not: one that is
// open already, so that files without a name can be reached, or a new one.
func (n *node) pathFD() (fdUse, error) {
	if n.typ == unix.S_IFDIR {
		return n.dirFD()
	}
	for _, slot := range []**handle{&n.rd, &n.wr} {
		if h := n.fs.pool.use(slot); h != nil {
			return fdUse{h.fd, h.done}, nil
		}
	}
	parent, name := n.where()
	if parent == nil {
		return fdUse{n.fs.base, func() {}}, nil
	}
	dir, err := parent.dirFD()
	if err != nil {
		return fdUse{}, err
	}
	defer dir.done()
	fd, err := openat(dir.fd, name, pathFlags, 0)
	if err != nil {
		return fdUse{}, err
	}
	if err := n.is(fd); err != nil {
		closeFD(fd)
		return fdUse{}, err
	}
	return fdUse{fd, func() { closeFD(fd) }}, nil
}

// Stat reports the attributes.
func (n *node) Stat() (vfs.Stat, error) {
	if n.fs.opts.Static || n.sealed {
		n.fs.pool.mu.Lock()
		defer n.fs.pool.mu.Unlock()
		return statOf(&n.st), nil
	}
	at, err := n.pathFD()
	if err == unix.ENOENT && n.typ != unix.S_IFDIR {
		return n.unlinkedStat(), nil
	}
	if err != nil {
		return vfs.Stat{}, err
	}
	defer at.done()
	var st unix.Stat_t
	if err := unix.Fstat(at.fd, &st); err != nil {
		return vfs.Stat{}, err
	}
	return statOf(&st), nil
}

// unlinkedStat is what an object that somebody still has open says after its name is gone: as last seen, with a link less.
func (n *node) unlinkedStat() vfs.Stat {
	n.fs.pool.mu.Lock()
	defer n.fs.pool.mu.Unlock()
	st := statOf(&n.st)
	st.Nlink -= min(st.Nlink, 1)
	return st
}

func statOf(st *unix.Stat_t) vfs.Stat {
	return vfs.Stat{
		Dev: st.Dev, Ino: st.Ino, Mode: st.Mode, Nlink: uint32(min(st.Nlink, 1<<32-1)),
		UID: st.Uid, GID: st.Gid, Rdev: st.Rdev, Size: st.Size,
		Blksize: int64(st.Blksize), Blocks: st.Blocks,
		Atime: st.Atim, Mtime: st.Mtim, Ctime: st.Ctim,
	}
}

// Lookup finds a child.
func (n *node) Lookup(c *vfs.Context, name string) (vfs.Inode, error) {
	if n.sealed {
		return nil, unix.ENOENT
	}
	dir, err := n.dirFD()
	if err != nil {
		return nil, err
	}
	defer dir.done()
	return n.lookup(dir.fd, name)
}

// oneName refuses what is not one component. The Namespace never passes such a
// name, but all that keeps a guest inside the tree hangs on it.
func oneName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return unix.EINVAL
	}
	return nil
}

func (n *node) lookup(dir int, name string) (vfs.Inode, error) {
	if err := oneName(name); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err := retry(func() error {
		return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	})
	if err != nil {
		return nil, err
	}
	sealed := false
	if st.Dev != n.key.dev { // another file system is mounted there
		fd, err := openat(dir, name, pathFlags, 0)
		if err != nil {
			return nil, err
		}
		defer closeFD(fd)
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, err
		}
		err = mayEnter(fd)
		sealed = err == unix.EACCES && st.Mode&unix.S_IFMT == unix.S_IFDIR
		if err != nil && !sealed {
			return nil, err
		}
	}
	if sealed {
		// What such a file system says of itself is the host's business: procfs counts processes in its links.
		st = unix.Stat_t{Dev: st.Dev, Ino: st.Ino, Mode: unix.S_IFDIR | 0o555, Nlink: 2, Blksize: st.Blksize}
	}
	return n.fs.node(n, name, &st, sealed), nil
}

// Readlink returns a symbolic link's text.
func (n *node) Readlink(c *vfs.Context) (string, error) {
	if n.typ != unix.S_IFLNK {
		return "", unix.EINVAL
	}
	at, err := n.pathFD()
	if err != nil {
		return "", err
	}
	defer at.done()
	buf := make([]byte, vfs.PathMax)
	m, err := unix.Readlinkat(at.fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:m]), nil
}

// Statfs reports on the host's file system.
func (n *node) Statfs() (vfs.Statfs, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(n.fs.base, &s) }); err != nil {
		return vfs.Statfs{}, err
	}
	return vfs.Statfs{
		Type: int64(s.Type), Bsize: int64(s.Bsize), Namelen: int64(s.Namelen),
		Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail, Files: s.Files, Ffree: s.Ffree,
		Fsid: uint64(uint32(s.Fsid.Val[0])) | uint64(uint32(s.Fsid.Val[1]))<<32,
	}, nil
}

// Open opens a regular file or directory; nothing else of the host is opened.
func (n *node) Open(c *vfs.Context, flags int) (vfs.File, error) {
	switch n.typ {
	case unix.S_IFDIR:
		if n.sealed {
			return &sealedDir{n: n}, nil
		}
		return n.openDir()
	case unix.S_IFREG:
		return n.openFile(flags)
	case unix.S_IFLNK:
		return nil, unix.ELOOP
	case unix.S_IFCHR, unix.S_IFBLK:
		return nil, unix.EACCES
	}
	return nil, unix.ENXIO
}
