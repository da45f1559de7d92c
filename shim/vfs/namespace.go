package vfs

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Namespace is a mount tree and the names in it. A place to start from, called
// at in its methods, is what a dirfd names; the zero Path means the caller's
// working directory.
type Namespace struct {
	mu     sync.Mutex
	root   *mount
	mounts map[Path]*mount // by mount point: a directory seen through two mounts is two
	order  []*mount        // in the order of mounting
	nextID int
	anon   *mount // home of inodes without a name
	ring   ring
}

// WalkFlags say how Walk ends.
type WalkFlags uint32

// Flags of Walk.
const (
	NoFollow  WalkFlags = 1 << iota // stop at a link in the last component (AT_SYMLINK_NOFOLLOW)
	EmptyPath                       // "" is the place itself (AT_EMPTY_PATH)
	Directory                       // the result must be a directory
)

// New returns a namespace whose root is a file system's root directory.
func New(root Mount) *Namespace {
	ns := &Namespace{mounts: make(map[Path]*mount), nextID: 1}
	ns.anon = &mount{}
	ns.root = ns.newMount(nil, nil, root)
	return ns
}

// Root returns the namespace's root directory.
func (ns *Namespace) Root() Path {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.mountedOn(Path{ns.root, ns.root.root})
}

// newMount makes a mount and puts it in the tree.
func (ns *Namespace) newMount(parent *mount, point *dentry, spec Mount) *mount {
	m := &mount{
		id:     ns.nextID,
		parent: parent,
		point:  point,
		root:   &dentry{inode: spec.Root},
		spec:   spec,
	}
	ns.nextID++
	ns.order = append(ns.order, m)
	return m
}

// Mount mounts a file system on an existing directory, or one file on an
// existing file. Mounting twice on a place hides the first.
func (ns *Namespace) Mount(c *Context, at Path, name string, spec Mount) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	p, err := ns.walk(c, at, name, 0)
	if err != nil {
		return err
	}
	if (p.Inode().Type() == unix.S_IFDIR) != (spec.Root.Type() == unix.S_IFDIR) {
		return unix.ENOTDIR
	}
	m := ns.newMount(p.mount, p.dent, spec)
	ns.mounts[p] = m
	p.dent.mounts++
	return nil
}

// Mounts lists what the caller can see, in the order of mounting.
func (ns *Namespace) Mounts(c *Context) []MountInfo {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var out []MountInfo
	for _, m := range ns.order {
		name, ok := printPath(c.Root, Path{m, m.root})
		if !ok {
			continue
		}
		info := MountInfo{ID: m.id, Point: name, Mount: m.spec}
		if m.parent != nil {
			info.ParentID = m.parent.id
		}
		out = append(out, info)
	}
	return out
}

// Anonymous gives an inode without a name a place, so that it can be the target
// of a magic link and be printed: name is shown as it is ("pipe:[7]").
func (ns *Namespace) Anonymous(name string, i Inode) Path {
	return Path{ns.anon, &dentry{name: name, inode: i}}
}

// Walk finds a place.
func (ns *Namespace) Walk(c *Context, at Path, name string, f WalkFlags) (Path, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.walk(c, at, name, f)
}

func (ns *Namespace) walk(c *Context, at Path, name string, f WalkFlags) (Path, error) {
	if name == "" && f&EmptyPath != 0 {
		if at.IsZero() {
			at = c.Cwd
		}
		return at, nil
	}
	w, err := ns.walker(c, at, name, 0)
	if err != nil {
		return Path{}, err
	}
	if err := w.parent(name); err != nil {
		return Path{}, err
	}
	p, err := w.finish(f&NoFollow == 0)
	if err != nil {
		return Path{}, err
	}
	if f&Directory != 0 && p.Inode().Type() != unix.S_IFDIR {
		return Path{}, unix.ENOTDIR
	}
	return p, nil
}

// printPath prints a place relative to root by climbing; whole says that the
// climb ended there (fs/d_path.c, prepend_path). A path longer than PathMax is
// cut at its front: a guest may nest directories as deep as its quota allows.
func printPath(root, p Path) (name string, whole bool) {
	var comps []string
	n := 0
	for p != root && n < PathMax {
		m, d := p.mount, p.dent
		if d == m.root || d.parent == nil {
			if m.parent == nil {
				break
			}
			p = Path{m.parent, m.point}
			continue
		}
		comps = append(comps, d.name)
		n += 1 + len(d.name)
		p.dent = d.parent
	}
	if len(comps) == 0 {
		return "/", p == root
	}
	buf := make([]byte, 0, n)
	for i := len(comps) - 1; i >= 0; i-- {
		buf = append(buf, '/')
		buf = append(buf, comps[i]...)
	}
	return string(buf), p == root
}

// Name prints a place as the links in /proc do, relative to root, with
// " (deleted)" if its name is gone. The zero Path prints as "".
func (ns *Namespace) Name(root, p Path) string {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.name(root, p)
}

func (ns *Namespace) name(root, p Path) string {
	if p.IsZero() {
		return ""
	}
	if p.mount == ns.anon {
		return p.dent.name
	}
	s, _ := printPath(root, p)
	if p.dent.unlinked {
		s += " (deleted)"
	}
	return s
}

// Getcwd is getcwd(2).
func (ns *Namespace) Getcwd(c *Context) (string, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if c.Cwd.dent.unlinked {
		return "", unix.ENOENT
	}
	s, whole := printPath(c.Root, c.Cwd)
	if len(s) >= PathMax {
		return "", unix.ENAMETOOLONG
	}
	if !whole {
		s = "(unreachable)" + s
	}
	return s, nil
}

// Readlink is readlinkat(2); an empty name is the place itself.
func (ns *Namespace) Readlink(c *Context, at Path, name string) (string, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	p, err := ns.walk(c, at, name, NoFollow|EmptyPath)
	if err != nil {
		return "", err
	}
	if p.Inode().Type() != unix.S_IFLNK {
		if name == "" {
			return "", unix.ENOENT
		}
		return "", unix.EINVAL
	}
	if magic, ok := p.Inode().(MagicLink); ok {
		to, err := magic.Resolve(c)
		if err != nil {
			return "", err
		}
		if to.IsZero() {
			return "", unix.ENOENT
		}
		s := ns.name(c.Root, to)
		if len(s) >= PathMax {
			return "", unix.ENAMETOOLONG
		}
		return s, nil
	}
	return p.Inode().Readlink(c)
}

// Stat is fstat(2) on a place.
func (ns *Namespace) Stat(p Path) (Stat, error) { return p.Inode().Stat() }

// Statfs is statfs(2) on a place.
func (ns *Namespace) Statfs(p Path) (Statfs, error) {
	s, err := p.Inode().Statfs()
	if err != nil {
		return s, err
	}
	for _, f := range []struct {
		mount MountFlags
		st    int64
	}{
		{MountReadOnly, unix.ST_RDONLY},
		{MountNoExec, unix.ST_NOEXEC},
		{MountNoSuid, unix.ST_NOSUID},
		{MountNoDev, unix.ST_NODEV},
	} {
		if p.MountFlags()&f.mount != 0 {
			s.Flags |= f.st
		}
	}
	return s, nil
}

// CheckDir decides whether a place may become a working or root directory.
func (ns *Namespace) CheckDir(c *Context, p Path) error {
	if p.Inode().Type() != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	return p.permission(c.Cred, mayExec)
}

// CheckExec decides whether a place may be executed: a regular file with an x
// bit for the caller, on a mount that allows it (fs/exec.c, do_open_execat).
func (ns *Namespace) CheckExec(c *Context, p Path) error {
	if p.Inode().Type() != unix.S_IFREG || p.MountFlags()&MountNoExec != 0 {
		return unix.EACCES
	}
	return p.permission(c.Cred, mayExec)
}

// Access is access(2) on a place: mode is R_OK, W_OK and X_OK. realIDs says to
// judge by the real user and group, as access does without AT_EACCESS.
func (ns *Namespace) Access(c *Context, p Path, mode uint32, realIDs bool) error {
	if mode&^(mayRead|mayWrite|mayExec) != 0 {
		return unix.EINVAL
	}
	cred := c.Cred
	if realIDs {
		real := *cred
		real.FSUID, real.FSGID = cred.UID, cred.GID
		// fs/open.c, access_override_creds: the capabilities that access(2)
		// goes by are those of the real user.
		switch {
		case real.UID != 0:
			real.Caps = 0
		case cred.EUID != 0:
			real.Caps = allCaps
		}
		cred = &real
	}
	if mode&mayExec != 0 && p.Inode().Type() == unix.S_IFREG && p.MountFlags()&MountNoExec != 0 {
		return unix.EACCES
	}
	if mode == 0 {
		return nil
	}
	return p.permission(cred, mode)
}
