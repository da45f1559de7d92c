package vfs

import "golang.org/x/sys/unix"

// newName walks to where a name is to be made and checks that it is free, not
// yet whether the caller may make it (fs/namei.c, filename_create). Preconditions: ns.mu is held.
func (ns *Namespace) newName(c *Context, at Path, name string, isDir bool) (*walker, error) {
	w, err := ns.walker(c, at, name, 0)
	if err != nil {
		return nil, err
	}
	if err := w.parent(name); err != nil {
		return nil, err
	}
	if w.kind != lastName {
		return nil, unix.EEXIST
	}
	switch _, err := ns.child(c, w.cur, w.last); {
	case err == nil:
		return nil, unix.EEXIST
	case err != unix.ENOENT:
		return nil, err
	case w.slash && !isDir:
		return nil, unix.ENOENT
	}
	if w.cur.MountFlags()&MountReadOnly != 0 {
		return nil, unix.EROFS
	}
	return w, nil
}

// Mkdir is mkdirat(2).
func (ns *Namespace) Mkdir(c *Context, at Path, name string, mode uint32) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	w, err := ns.newName(c, at, name, true)
	if err != nil {
		return err
	}
	n, err := born(c, w.cur, unix.S_IFDIR|mode&0o7777, 0)
	if err != nil {
		return err
	}
	inode, err := w.cur.Inode().Mkdir(c, w.last, n)
	if err != nil {
		return err
	}
	ns.enter(w.cur.dent, w.last, inode)
	return nil
}

// Mknod is mknodat(2), and how bind(2) makes a socket's name. A guest makes no
// device nodes: there are no devices behind them.
func (ns *Namespace) Mknod(c *Context, at Path, name string, mode uint32, dev uint64) (Path, error) {
	switch mode & unix.S_IFMT {
	case 0:
		mode |= unix.S_IFREG
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK:
	case unix.S_IFDIR:
		return Path{}, unix.EPERM
	default:
		return Path{}, unix.EINVAL
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	w, err := ns.newName(c, at, name, false)
	if err != nil {
		return Path{}, err
	}
	n, err := born(c, w.cur, mode, dev)
	if err != nil {
		return Path{}, err
	}
	if t := mode & unix.S_IFMT; t == unix.S_IFCHR || t == unix.S_IFBLK {
		return Path{}, unix.EPERM
	}
	inode, err := w.cur.Inode().Create(c, w.last, n)
	if err != nil {
		return Path{}, err
	}
	return Path{w.cur.mount, ns.enter(w.cur.dent, w.last, inode)}, nil
}

// Symlink is symlinkat(2).
func (ns *Namespace) Symlink(c *Context, target string, at Path, name string) error {
	if target == "" {
		return unix.ENOENT
	}
	if len(target) >= PathMax {
		return unix.ENAMETOOLONG
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	w, err := ns.newName(c, at, name, false)
	if err != nil {
		return err
	}
	n, err := born(c, w.cur, unix.S_IFLNK, 0)
	if err != nil {
		return err
	}
	n.Mode = unix.S_IFLNK | 0o777
	inode, err := w.cur.Inode().Symlink(c, w.last, target, n)
	if err != nil {
		return err
	}
	ns.enter(w.cur.dent, w.last, inode)
	return nil
}

// Link is linkat(2): flags are AT_SYMLINK_FOLLOW and AT_EMPTY_PATH.
func (ns *Namespace) Link(c *Context, oldAt Path, oldName string, newAt Path, newName string, flags int) error {
	walk := NoFollow
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		walk = 0
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		if !c.Cred.Has(unix.CAP_DAC_READ_SEARCH) {
			return unix.ENOENT
		}
		walk |= EmptyPath
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	old, err := ns.walk(c, oldAt, oldName, walk)
	if err != nil {
		return err
	}
	w, err := ns.newName(c, newAt, newName, false)
	if err != nil {
		return err
	}
	if old.mount != w.cur.mount {
		return unix.EXDEV
	}
	if err := mayLink(c.Cred, old.Inode()); err != nil {
		return err
	}
	if err := mayCreate(c.Cred, w.cur); err != nil {
		return err
	}
	if old.Inode().Type() == unix.S_IFDIR {
		return unix.EPERM
	}
	if err := w.cur.Inode().Link(c, w.last, old.Inode()); err != nil {
		return err
	}
	ns.enter(w.cur.dent, w.last, old.Inode())
	return nil
}

// Unlink is unlinkat(2): flags is 0 or AT_REMOVEDIR.
func (ns *Namespace) Unlink(c *Context, at Path, name string, flags int) error {
	if flags&^unix.AT_REMOVEDIR != 0 {
		return unix.EINVAL
	}
	rmdir := flags&unix.AT_REMOVEDIR != 0
	ns.mu.Lock()
	defer ns.mu.Unlock()
	w, err := ns.walker(c, at, name, 0)
	if err != nil {
		return err
	}
	if err := w.parent(name); err != nil {
		return err
	}
	if w.kind != lastName {
		if rmdir {
			// Indexed by lastKind.
			return [...]unix.Errno{lastDot: unix.EINVAL, lastDotDot: unix.ENOTEMPTY, lastRoot: unix.EBUSY}[w.kind]
		}
		return unix.EISDIR
	}
	dir := w.cur
	if dir.MountFlags()&MountReadOnly != 0 {
		return unix.EROFS
	}
	d, err := ns.victim(c, dir, w.last)
	if err != nil {
		return err
	}
	if !rmdir && w.slash {
		if d.inode.Type() == unix.S_IFDIR {
			return unix.EISDIR
		}
		return unix.ENOTDIR
	}
	if err := mayDelete(c.Cred, dir, d.inode, rmdir); err != nil {
		return err
	}
	if d.mounts > 0 {
		return unix.EBUSY
	}
	remove := dir.Inode().Unlink
	if rmdir {
		remove = dir.Inode().Rmdir
	}
	if err := remove(c, w.last); err != nil {
		return err
	}
	dir.dent.drop(d)
	return nil
}

// victim looks up a name that is to go, without crossing a mount on it.
func (ns *Namespace) victim(c *Context, dir Path, name string) (*dentry, error) {
	if dir.Inode().Type() != unix.S_IFDIR {
		return nil, unix.ENOTDIR
	}
	return ns.dentry(c, dir.dent, name)
}

// renameFlags are those of renameat2(2) that are served. RENAME_WHITEOUT is for
// overlays built by the guest, of which there are none.
const renameFlags = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE

// Rename is renameat2(2).
func (ns *Namespace) Rename(c *Context, oldAt Path, oldName string, newAt Path, newName string, flags uint32) error {
	if flags&^renameFlags != 0 || flags == renameFlags {
		return unix.EINVAL
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	from, err := ns.walker(c, oldAt, oldName, 0)
	if err == nil {
		err = from.parent(oldName)
	}
	if err != nil {
		return err
	}
	to, err := ns.walker(c, newAt, newName, 0)
	if err == nil {
		err = to.parent(newName)
	}
	if err != nil {
		return err
	}
	r := rename{ns: ns, c: c, from: from, to: to, flags: flags}
	if err := r.find(); err != nil {
		return err
	}
	if r.new != nil && r.old.inode == r.new.inode {
		return nil // two names of one file: rename(2) leaves both
	}
	if err := r.permitted(); err != nil {
		return err
	}
	err = from.cur.Inode().Rename(c, from.last, to.cur.Inode(), to.last, flags)
	if err != nil {
		return err
	}
	r.move()
	return nil
}

// rename is a rename in progress.
type rename struct {
	ns       *Namespace
	c        *Context
	from, to *walker
	old, new *dentry // new is nil if the name is free
	flags    uint32
}

// find looks both names up and checks the shape of the move, in Linux's order
// (fs/namei.c, do_renameat2).
func (r *rename) find() error {
	if r.from.cur.mount != r.to.cur.mount {
		return unix.EXDEV
	}
	if r.from.kind != lastName {
		return unix.EBUSY
	}
	if r.to.kind != lastName {
		if r.flags&unix.RENAME_NOREPLACE != 0 {
			return unix.EEXIST
		}
		return unix.EBUSY
	}
	if r.from.cur.MountFlags()&MountReadOnly != 0 {
		return unix.EROFS
	}
	var err error
	if r.old, err = r.ns.victim(r.c, r.from.cur, r.from.last); err != nil {
		return err
	}
	r.new, err = r.ns.victim(r.c, r.to.cur, r.to.last)
	if err != nil && err != unix.ENOENT {
		return err
	}
	exchange := r.flags&unix.RENAME_EXCHANGE != 0
	switch {
	case r.flags&unix.RENAME_NOREPLACE != 0 && r.new != nil:
		return unix.EEXIST
	case exchange && r.new == nil:
		return unix.ENOENT
	case exchange && r.to.slash && r.new.inode.Type() != unix.S_IFDIR:
		return unix.ENOTDIR
	case r.old.inode.Type() != unix.S_IFDIR && (r.from.slash || !exchange && r.to.slash):
		return unix.ENOTDIR
	case r.to.cur.dent.below(r.old):
		return unix.EINVAL
	case r.new != nil && r.from.cur.dent.below(r.new):
		if exchange {
			return unix.EINVAL
		}
		return unix.ENOTEMPTY
	}
	return nil
}

// permitted checks what vfs_rename does.
func (r *rename) permitted() error {
	cred := r.c.Cred
	oldDir := r.old.inode.Type() == unix.S_IFDIR
	if err := mayDelete(cred, r.from.cur, r.old.inode, oldDir); err != nil {
		return err
	}
	newDir := false
	if r.new == nil {
		if err := mayCreate(cred, r.to.cur); err != nil {
			return err
		}
	} else {
		newDir = r.new.inode.Type() == unix.S_IFDIR
		wantDir := oldDir
		if r.flags&unix.RENAME_EXCHANGE != 0 {
			wantDir = newDir
		}
		if err := mayDelete(cred, r.to.cur, r.new.inode, wantDir); err != nil {
			return err
		}
	}
	// A directory that changes its parent has its ".." rewritten.
	if r.from.cur.dent != r.to.cur.dent {
		if oldDir {
			if err := (Path{r.from.cur.mount, r.old}).permission(cred, mayWrite); err != nil {
				return err
			}
		}
		if newDir && r.flags&unix.RENAME_EXCHANGE != 0 {
			if err := (Path{r.to.cur.mount, r.new}).permission(cred, mayWrite); err != nil {
				return err
			}
		}
	}
	if r.old.mounts > 0 || r.new != nil && r.new.mounts > 0 {
		return unix.EBUSY
	}
	return nil
}

// move does to the entries what the file system did to the names.
func (r *rename) move() {
	from, to := r.from.cur.dent, r.to.cur.dent
	if r.new != nil {
		to.drop(r.new)
	}
	from.drop(r.old)
	r.old.unlinked = false
	r.old.name = r.to.last
	to.add(r.old)
	if r.flags&unix.RENAME_EXCHANGE != 0 {
		r.new.unlinked = false
		r.new.name = r.from.last
		from.add(r.new)
	}
}
