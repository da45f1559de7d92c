package vfs

import "golang.org/x/sys/unix"

// How is an open's flags (O_*), its mode before the umask, and openat2(2)'s
// RESOLVE_* set.
type How struct {
	Flags   int
	Mode    uint32
	Resolve uint64
}

// Opened is what Open found or made. File is nil for a FIFO, which the caller
// opens itself (see Inode.Attach). With O_PATH, File answers EBADF to all but
// Release.
type Opened struct {
	Path    Path
	File    File
	Created bool
}

// oTmpfile is __O_TMPFILE: O_TMPFILE without the O_DIRECTORY in it.
const oTmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY

// check refuses flags that make no sense and drops those that have no effect
// (fs/open.c, build_open_flags).
func (h *How) check() error {
	if h.Flags&unix.O_PATH != 0 {
		h.Flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	}
	switch {
	case h.Flags&(unix.O_CREAT|unix.O_DIRECTORY) == unix.O_CREAT|unix.O_DIRECTORY:
		return unix.EINVAL
	case h.Flags&oTmpfile != 0:
		if h.Flags&unix.O_DIRECTORY == 0 || h.Flags&unix.O_CREAT != 0 || h.writes() == 0 {
			return unix.EINVAL
		}
	}
	if h.Flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL {
		h.Flags |= unix.O_NOFOLLOW
	}
	return nil
}

// writes returns mayWrite if the access mode includes writing. Access mode 3
// wants both permissions (and gives a descriptor that can do neither).
func (h *How) writes() uint32 {
	if h.Flags&unix.O_ACCMODE != unix.O_RDONLY {
		return mayWrite
	}
	return 0
}

// wants returns the permissions that the open needs.
func (h *How) wants() uint32 {
	want := h.writes()
	if h.Flags&unix.O_ACCMODE != unix.O_WRONLY {
		want |= mayRead
	}
	if h.Flags&unix.O_TRUNC != 0 {
		want |= mayWrite
	}
	return want
}

// Open is openat2(2) up to the descriptor.
func (ns *Namespace) Open(c *Context, at Path, name string, how How) (Opened, error) {
	if err := how.check(); err != nil {
		return Opened{}, err
	}
	o, err := ns.place(c, at, name, &how)
	if err != nil {
		return Opened{}, err
	}
	o.File, err = ns.open(c, o.Path, &how, o.Created)
	if err != nil {
		return Opened{}, err
	}
	return o, nil
}

// OpenPath opens a place found before, with the checks of Open.
func (ns *Namespace) OpenPath(c *Context, p Path, flags int) (File, error) {
	how := How{Flags: flags &^ (unix.O_CREAT | unix.O_EXCL | oTmpfile)}
	if err := how.check(); err != nil {
		return nil, err
	}
	return ns.open(c, p, &how, false)
}

// place finds or makes what is to be opened.
func (ns *Namespace) place(c *Context, at Path, name string, how *How) (Opened, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	w, err := ns.walker(c, at, name, how.Resolve)
	if err != nil {
		return Opened{}, err
	}
	if err := w.parent(name); err != nil {
		return Opened{}, err
	}
	if how.Flags&unix.O_CREAT != 0 {
		return ns.placeCreat(w, how)
	}
	p, err := w.finish(how.Flags&unix.O_NOFOLLOW == 0)
	if err != nil {
		return Opened{}, err
	}
	if how.Flags&oTmpfile != 0 {
		return ns.tmpfile(c, p, how)
	}
	return Opened{Path: p}, nil
}

// placeCreat ends the walk of an open with O_CREAT: the last component is made
// if it is missing, also at the end of a dangling link.
func (ns *Namespace) placeCreat(w *walker, how *How) (Opened, error) {
	for {
		if w.kind != lastName {
			p, err := w.finish(true)
			if err != nil {
				return Opened{}, err
			}
			if how.Flags&unix.O_EXCL != 0 {
				return Opened{}, unix.EEXIST
			}
			return Opened{Path: p}, nil
		}
		if w.slash {
			return Opened{}, unix.EISDIR
		}
		p, err := w.child(w.last)
		switch {
		case err == unix.ENOENT:
			return ns.create(w, w.cur, how)
		case err != nil:
			return Opened{}, err
		case how.Flags&unix.O_EXCL != 0:
			return Opened{}, unix.EEXIST
		case how.Flags&unix.O_NOFOLLOW != 0 || p.Inode().Type() != unix.S_IFLNK:
			return Opened{Path: p}, nil
		}
		link, err := w.follow(p)
		if err != nil {
			return Opened{}, err
		}
		if link == "" { // a magic link went all the way
			return Opened{Path: w.cur}, nil
		}
		if err := w.parent(link); err != nil {
			return Opened{}, err
		}
	}
}

// create makes the regular file that an open with O_CREAT missed.
func (ns *Namespace) create(w *walker, dir Path, how *How) (Opened, error) {
	if dir.MountFlags()&MountReadOnly != 0 {
		return Opened{}, unix.EROFS
	}
	n, err := born(w.c, dir, unix.S_IFREG|how.Mode&0o7777, 0)
	if err != nil {
		return Opened{}, err
	}
	inode, err := dir.Inode().Create(w.c, w.last, n)
	if err != nil {
		return Opened{}, err
	}
	return Opened{Path: Path{dir.mount, ns.enter(dir.dent, w.last, inode)}, Created: true}, nil
}

// tmpfile makes a file without a name in dir.
func (ns *Namespace) tmpfile(c *Context, dir Path, how *How) (Opened, error) {
	if dir.Inode().Type() != unix.S_IFDIR {
		return Opened{}, unix.ENOTDIR
	}
	t, ok := dir.Inode().(Tmpfiler)
	if !ok {
		return Opened{}, unix.EOPNOTSUPP
	}
	n, err := born(c, dir, unix.S_IFREG|how.Mode&0o7777, 0)
	if err != nil {
		return Opened{}, err
	}
	inode, err := t.Tmpfile(c, n)
	if err != nil {
		return Opened{}, err
	}
	d := &dentry{name: "#tmpfile", inode: inode, parent: dir.dent, unlinked: true}
	return Opened{Path: Path{dir.mount, d}, Created: true}, nil
}

// open checks permissions and opens; ns.mu is not held, since a file system may
// take its time and generated files may ask the Namespace for names.
func (ns *Namespace) open(c *Context, p Path, how *How, created bool) (File, error) {
	inode := p.Inode()
	typ := inode.Type()
	if how.Flags&unix.O_DIRECTORY != 0 && how.Flags&oTmpfile == 0 && typ != unix.S_IFDIR {
		return nil, unix.ENOTDIR
	}
	if how.Flags&unix.O_PATH != 0 {
		return newPathFile(inode), nil
	}
	if !created {
		if err := mayOpen(c, p, how); err != nil {
			return nil, err
		}
	}
	if typ == unix.S_IFIFO && how.Flags&unix.O_ACCMODE == unix.O_ACCMODE {
		return nil, unix.EINVAL // fs/pipe.c, fifo_open: it is neither read nor written
	}
	flags := how.Flags &^ (unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC | oTmpfile)
	f, err := inode.Open(c, flags)
	if err != nil || f == nil {
		return nil, err
	}
	if how.Flags&unix.O_TRUNC != 0 && typ == unix.S_IFREG && !created {
		if err := inode.SetAttr(c, Attr{Valid: AttrSize}); err != nil {
			f.Release()
			return nil, err
		}
	}
	return f, nil
}

// mayOpen decides whether an existing object may be opened (fs/namei.c,
// do_open and may_open).
func mayOpen(c *Context, p Path, how *How) error {
	want := how.wants()
	switch p.Inode().Type() {
	case unix.S_IFLNK:
		return unix.ELOOP
	case unix.S_IFDIR:
		if want&mayWrite != 0 || how.Flags&unix.O_CREAT != 0 {
			return unix.EISDIR
		}
	case unix.S_IFBLK, unix.S_IFCHR:
		if p.MountFlags()&MountNoDev != 0 {
			return unix.EACCES
		}
	}
	if err := p.permission(c.Cred, want); err != nil {
		return err
	}
	if how.Flags&unix.O_NOATIME != 0 {
		st, err := p.Inode().Stat()
		if err != nil {
			return err
		}
		if !c.Cred.owns(&st) {
			return unix.EPERM
		}
	}
	if p.Inode().Type() == unix.S_IFSOCK {
		return unix.ENXIO
	}
	return nil
}

// pathFile is an O_PATH description: a place, and the inode kept from going.
type pathFile struct {
	FileBase
	inode Inode
}

func newPathFile(i Inode) File {
	if p, ok := i.(Pinner); ok {
		p.Pin()
	}
	return &pathFile{inode: i}
}

func (f *pathFile) Inode() Inode { return f.inode }
func (f *pathFile) Kind() Kind   { return Stream }
func (f *pathFile) Release() {
	if p, ok := f.inode.(Pinner); ok {
		p.Unpin()
	}
}
func (f *pathFile) ReadAt([]byte, int64) (int, error)  { return 0, unix.EBADF }
func (f *pathFile) WriteAt([]byte, int64) (int, error) { return 0, unix.EBADF }
func (f *pathFile) Append([]byte) (int, int64, error)  { return 0, 0, unix.EBADF }
func (f *pathFile) Readdir(*Context, int64, func(Dirent) bool) error {
	return unix.EBADF
}
func (f *pathFile) SeekData(int64) (int64, error)       { return 0, unix.EBADF }
func (f *pathFile) SeekHole(int64) (int64, error)       { return 0, unix.EBADF }
func (f *pathFile) Truncate(int64) error                { return unix.EBADF }
func (f *pathFile) Allocate(uint32, int64, int64) error { return unix.EBADF }
func (f *pathFile) Sync(bool) error                     { return unix.EBADF }
