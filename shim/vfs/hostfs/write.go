package hostfs

import (
	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// setID are the mode bits that a guest cannot give a host file: a set-user-ID
// program made by a guest, owned by the VMM's user, would be its way out.
const setID = unix.S_ISUID | unix.S_ISGID

// writableDir returns a directory's descriptor for a change of a name in it.
func (n *node) writableDir(name string) (fdUse, error) {
	if n.fs.opts.ReadOnly {
		return fdUse{}, unix.EROFS
	}
	if err := oneName(name); err != nil {
		return fdUse{}, err
	}
	return n.dirFD()
}

// settle finds an object just made under a name, and sees to its attributes.
func (n *node) settle(dir int, name string, a vfs.CreateAttr) (vfs.Inode, error) {
	fd, err := openat(dir, name, pathFlags, 0)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	return n.settleFD(fd, name, a)
}

// settleFD gives an object just made its owner, and the mode that the VMM's own
// umask may have cut, and returns its node.
func (n *node) settleFD(fd int, name string, a vfs.CreateAttr) (vfs.Inode, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != a.Mode&unix.S_IFMT {
		return nil, unix.ESTALE // the host put something else there
	}
	if n.fs.pool.priv && (st.Uid != a.UID || st.Gid != a.GID) {
		err := unix.Fchownat(fd, "", int(a.UID), int(a.GID), unix.AT_EMPTY_PATH)
		if err != nil {
			return nil, err
		}
	}
	if t := st.Mode & unix.S_IFMT; t != unix.S_IFLNK && st.Mode != a.Mode {
		if err := unix.Fchmodat(n.fs.pool.proc, procName(fd), a.Mode&0o7777, 0); err != nil {
			return nil, err
		}
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	return n.fs.node(n, name, &st, false), nil
}

// Create makes a regular file, or the name of a socket. A FIFO of the host is
// never opened, so there is no use in making one.
func (n *node) Create(c *vfs.Context, name string, a vfs.CreateAttr) (vfs.Inode, error) {
	dir, err := n.writableDir(name)
	if err != nil {
		return nil, err
	}
	defer dir.done()
	a.Mode &^= setID
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		fd, err := openat(dir.fd, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, a.Mode&0o777)
		if err != nil {
			return nil, err
		}
		defer closeFD(fd)
		return n.settleFD(fd, name, a)
	case unix.S_IFSOCK:
		if err := unix.Mknodat(dir.fd, name, a.Mode, 0); err != nil {
			return nil, err
		}
		return n.settle(dir.fd, name, a)
	}
	return nil, unix.EPERM
}

// Mkdir makes a directory.
func (n *node) Mkdir(c *vfs.Context, name string, a vfs.CreateAttr) (vfs.Inode, error) {
	dir, err := n.writableDir(name)
	if err != nil {
		return nil, err
	}
	defer dir.done()
	a.Mode &^= unix.S_ISUID
	if err := unix.Mkdirat(dir.fd, name, a.Mode&0o777); err != nil {
		return nil, err
	}
	return n.settle(dir.fd, name, a)
}

// Symlink makes a symbolic link. Whoever follows it on the host does so there.
func (n *node) Symlink(c *vfs.Context, name, target string, a vfs.CreateAttr) (vfs.Inode, error) {
	dir, err := n.writableDir(name)
	if err != nil {
		return nil, err
	}
	defer dir.done()
	if err := unix.Symlinkat(target, dir.fd, name); err != nil {
		return nil, err
	}
	return n.settle(dir.fd, name, a)
}

// Link adds a name for a file of the same tree.
func (n *node) Link(c *vfs.Context, name string, target vfs.Inode) error {
	t, ok := target.(*node)
	if !ok || t.fs != n.fs {
		return unix.EXDEV
	}
	dir, err := n.writableDir(name)
	if err != nil {
		return err
	}
	defer dir.done()
	if t.typ == unix.S_IFLNK {
		parent, old := t.where()
		from, err := parent.dirFD()
		if err != nil {
			return err
		}
		defer from.done()
		return unix.Linkat(from.fd, old, dir.fd, name, 0)
	}
	at, err := t.pathFD()
	if err != nil {
		return err
	}
	defer at.done()
	return unix.Linkat(n.fs.pool.proc, procName(at.fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW)
}

// Unlink takes away a name that is not a directory's.
func (n *node) Unlink(c *vfs.Context, name string) error { return n.remove(name, 0) }

// Rmdir takes away an empty directory.
func (n *node) Rmdir(c *vfs.Context, name string) error { return n.remove(name, unix.AT_REMOVEDIR) }

func (n *node) remove(name string, flags int) error {
	dir, err := n.writableDir(name)
	if err != nil {
		return err
	}
	defer dir.done()
	return unix.Unlinkat(dir.fd, name, flags)
}

// Rename moves a child, and notes where it went.
func (n *node) Rename(c *vfs.Context, oldName string, newDir vfs.Inode, newName string, flags uint32) error {
	to, ok := newDir.(*node)
	if !ok || to.fs != n.fs {
		return unix.EXDEV
	}
	from, err := n.writableDir(oldName)
	if err != nil {
		return err
	}
	defer from.done()
	dir, err := to.writableDir(newName)
	if err != nil {
		return err
	}
	defer dir.done()
	if err := unix.Renameat2(from.fd, oldName, dir.fd, newName, uint(flags)); err != nil {
		return err
	}
	// Looking up enters the new place in the node. If the host has moved it on
	// by now, the next walk finds out.
	_, err = to.lookup(dir.fd, newName)
	if err == nil && flags&unix.RENAME_EXCHANGE != 0 {
		_, err = n.lookup(from.fd, oldName)
	}
	if err == unix.ENOENT {
		err = nil
	}
	return err
}

// SetAttr changes attributes of the host's file.
func (n *node) SetAttr(c *vfs.Context, a vfs.Attr) error {
	if n.fs.opts.ReadOnly {
		return unix.EROFS
	}
	if a.Valid&vfs.AttrMode != 0 && n.typ != unix.S_IFDIR && a.Mode&setID != 0 {
		return unix.EPERM
	}
	if a.Valid&vfs.AttrSize != 0 {
		if err := n.truncate(a.Size); err != nil {
			return err
		}
	}
	at, err := n.pathFD()
	if err != nil {
		return err
	}
	defer at.done()
	if a.Valid&(vfs.AttrUID|vfs.AttrGID) != 0 {
		uid, gid := -1, -1
		if a.Valid&vfs.AttrUID != 0 {
			uid = int(a.UID)
		}
		if a.Valid&vfs.AttrGID != 0 {
			gid = int(a.GID)
		}
		if err := unix.Fchownat(at.fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	if a.Valid&vfs.AttrMode != 0 {
		if err := unix.Fchmodat(n.fs.pool.proc, procName(at.fd), a.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return n.setTimes(at.fd, a)
}

func (n *node) truncate(size int64) error {
	if n.typ != unix.S_IFREG {
		return unix.EINVAL
	}
	h, err := n.data(true)
	if err != nil {
		return err
	}
	defer h.done()
	return n.ftruncate(h.fd, size)
}

// setTimes sets the times that a names.
func (n *node) setTimes(fd int, a vfs.Attr) error {
	t := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	for i, f := range [...]struct {
		set, now vfs.AttrMask
		time     unix.Timespec
	}{
		{vfs.AttrAtime, vfs.AttrAtimeNow, a.Atime},
		{vfs.AttrMtime, vfs.AttrMtimeNow, a.Mtime},
	} {
		switch {
		case a.Valid&f.set != 0:
			t[i] = f.time
		case a.Valid&f.now != 0:
			t[i] = unix.Timespec{Nsec: unix.UTIME_NOW}
		}
	}
	if t[0].Nsec == unix.UTIME_OMIT && t[1].Nsec == unix.UTIME_OMIT {
		return nil
	}
	if n.typ != unix.S_IFLNK {
		return unix.UtimesNanoAt(n.fs.pool.proc, procName(fd), t[:], 0)
	}
	parent, name := n.where()
	dir, err := parent.dirFD()
	if err != nil {
		return err
	}
	defer dir.done()
	return unix.UtimesNanoAt(dir.fd, name, t[:], unix.AT_SYMLINK_NOFOLLOW)
}
