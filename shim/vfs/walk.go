package vfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// lastKind is the type of a path's last component (fs/namei.c, LAST_*).
type lastKind int

const (
	lastName   lastKind = iota // an ordinary name
	lastDot                    // "."
	lastDotDot                 // ".."
	lastRoot                   // the path was all slashes
)

// walker is a walk in progress (fs/namei.c, struct nameidata). It stops before
// the last component: cur is then the directory and last the name in it.
type walker struct {
	ns      *Namespace
	c       *Context
	root    Path // absolute names start, and ".." ends, here
	cur     Path
	links   int    // symbolic links followed so far
	rooted  bool   // the root was looked at: see begin
	resolve uint64 // openat2(2)'s RESOLVE_*

	last  string
	kind  lastKind
	slash bool // a trailing slash was seen: the result must be a directory
}

// walker begins a walk of name at a place. Preconditions: ns.mu is held.
func (ns *Namespace) walker(c *Context, at Path, name string, resolve uint64) (*walker, error) {
	if len(name) >= PathMax {
		return nil, unix.ENAMETOOLONG
	}
	if name == "" || strings.IndexByte(name, 0) >= 0 {
		return nil, unix.ENOENT
	}
	if at.IsZero() {
		at = c.Cwd
	}
	w := &walker{ns: ns, c: c, root: c.Root, cur: at, resolve: resolve}
	if w.scoped() {
		w.root, w.rooted = at, true
	}
	if name[0] != '/' && at.Inode().Type() != unix.S_IFDIR {
		return nil, unix.ENOTDIR
	}
	return w, nil
}

// scoped reports whether the walk must not leave its root, even by magic links.
func (w *walker) scoped() bool {
	return w.resolve&(unix.RESOLVE_BENEATH|unix.RESOLVE_IN_ROOT) != 0
}

// begin goes to the root for an absolute name, be it the walk's own or a link's.
func (w *walker) begin(name string) error {
	if name[0] != '/' {
		return nil
	}
	if w.resolve&unix.RESOLVE_BENEATH != 0 {
		return unix.EXDEV
	}
	// Linux compares the mounts only if this walk has looked at the root before,
	// and takes another mount for granted if not (fs/namei.c, nd_jump_root).
	if w.links > 0 && w.resolve&unix.RESOLVE_NO_XDEV != 0 && (!w.rooted || w.cur.mount != w.root.mount) {
		return unix.EXDEV
	}
	w.cur, w.rooted = w.root, true
	return nil
}

// parent walks all of name but its last component. The loop ends: names are
// bounded by PathMax and the links followed by MaxLinks.
func (w *walker) parent(name string) error {
	if err := w.begin(name); err != nil {
		return err
	}
	var rest []string // what is left to walk after each link being followed
	for {
		name = strings.TrimLeft(name, "/")
		if name == "" {
			if len(rest) == 0 {
				w.kind, w.last = lastRoot, ""
				return nil
			}
			name, rest = rest[len(rest)-1], rest[:len(rest)-1]
			continue
		}
		if err := w.cur.permission(w.c.Cred, mayExec); err != nil {
			return err
		}
		comp, tail := name, ""
		if i := strings.IndexByte(name, '/'); i >= 0 {
			comp, tail = name[:i], strings.TrimLeft(name[i:], "/")
			if tail == "" && len(rest) == 0 {
				w.slash = true
			}
		}
		if tail == "" && len(rest) == 0 {
			w.last, w.kind = comp, kindOf(comp)
			return nil
		}
		link, err := w.step(comp, true)
		if err != nil {
			return err
		}
		if tail != "" {
			rest = append(rest, tail)
		}
		if link == "" && w.cur.Inode().Type() != unix.S_IFDIR {
			return unix.ENOTDIR
		}
		if link != "" {
			if err := w.begin(link); err != nil {
				return err
			}
		}
		name = link
	}
}

// kindOf classifies a component.
func kindOf(comp string) lastKind {
	switch comp {
	case ".":
		return lastDot
	case "..":
		return lastDotDot
	}
	return lastName
}

// step goes to a component of the current directory. For a symbolic link to be
// followed it returns the target and stays; a magic link it follows itself.
func (w *walker) step(comp string, follow bool) (link string, err error) {
	switch kindOf(comp) {
	case lastDot:
		return "", nil
	case lastDotDot:
		return "", w.up()
	}
	p, err := w.child(comp)
	if err != nil {
		return "", err
	}
	if !follow || p.Inode().Type() != unix.S_IFLNK {
		w.cur = p
		return "", nil
	}
	return w.follow(p)
}

// child looks a name up in the current directory.
func (w *walker) child(name string) (Path, error) {
	p, err := w.ns.child(w.c, w.cur, name)
	if err == nil && p.mount != w.cur.mount && w.resolve&unix.RESOLVE_NO_XDEV != 0 {
		return Path{}, unix.EXDEV
	}
	return p, err
}

// follow reads the link at p, or jumps for a magic one.
func (w *walker) follow(p Path) (link string, err error) {
	if w.links++; w.links > MaxLinks || w.resolve&unix.RESOLVE_NO_SYMLINKS != 0 {
		return "", unix.ELOOP
	}
	if magic, ok := p.Inode().(MagicLink); ok {
		if w.resolve&unix.RESOLVE_NO_MAGICLINKS != 0 {
			return "", unix.ELOOP
		}
		to, err := magic.Resolve(w.c)
		if err != nil {
			return "", err
		}
		if to.IsZero() {
			return "", unix.ENOENT
		}
		if w.scoped() || w.resolve&unix.RESOLVE_NO_XDEV != 0 && to.mount != w.cur.mount {
			return "", unix.EXDEV
		}
		w.cur = to
		return "", nil
	}
	link, err = p.Inode().Readlink(w.c)
	if err != nil {
		return "", err
	}
	if link == "" {
		return "", unix.ENOENT
	}
	if len(link) >= PathMax {
		return "", unix.ENAMETOOLONG
	}
	return link, nil
}

// up goes to the parent directory, out of mounts, never above the root.
func (w *walker) up() error {
	from := w.cur.mount
	w.rooted = true
	for {
		if w.cur == w.root {
			if w.resolve&unix.RESOLVE_BENEATH != 0 {
				return unix.EXDEV
			}
			break
		}
		m, d := w.cur.mount, w.cur.dent
		if d != m.root {
			if d.parent != nil { // an anonymous inode has none
				w.cur.dent = d.parent
			}
			break
		}
		if m.parent == nil {
			break
		}
		w.cur = Path{m.parent, m.point}
	}
	w.cur = w.ns.mountedOn(w.cur)
	if w.cur.mount != from && w.resolve&unix.RESOLVE_NO_XDEV != 0 {
		return unix.EXDEV
	}
	return nil
}

// finish takes the last component that parent left, following links if follow
// or a trailing slash says so, and returns the place.
func (w *walker) finish(follow bool) (Path, error) {
	for {
		switch w.kind {
		case lastDotDot:
			if err := w.up(); err != nil {
				return Path{}, err
			}
		case lastName:
			link, err := w.step(w.last, follow || w.slash)
			if err != nil {
				return Path{}, err
			}
			if link != "" {
				if err := w.parent(link); err != nil {
					return Path{}, err
				}
				continue
			}
		}
		if w.slash && w.cur.Inode().Type() != unix.S_IFDIR {
			return Path{}, unix.ENOTDIR
		}
		return w.cur, nil
	}
}

// mountedOn goes down to what is mounted on a place, if anything is.
func (ns *Namespace) mountedOn(p Path) Path {
	for p.dent.mounts > 0 {
		m, ok := ns.mounts[p]
		if !ok {
			break
		}
		p = Path{m, m.root}
	}
	return p
}

// dentry returns the entry of a name in a directory, mounts not considered.
func (ns *Namespace) dentry(c *Context, dir *dentry, name string) (*dentry, error) {
	if len(name) > NameMax {
		return nil, unix.ENAMETOOLONG
	}
	d := dir.child(name)
	if d != nil {
		r, ok := dir.inode.(Revalidator)
		if d.mounts > 0 || !ok || !r.Revalidate() {
			ns.ring.touch(d, false)
			return d, nil
		}
	}
	inode, err := dir.inode.Lookup(c, name)
	if d != nil && (err == unix.ENOENT || err == nil && inode != d.inode) {
		dir.drop(d)
		d = nil
	}
	if err != nil {
		return nil, err
	}
	if d == nil {
		d = ns.enter(dir, name, inode)
	}
	return d, nil
}

// enter makes the entry of an inode just found or made.
func (ns *Namespace) enter(dir *dentry, name string, inode Inode) *dentry {
	d := &dentry{name: name, inode: inode}
	dir.add(d)
	ns.ring.touch(d, true)
	return d
}

// child returns the place of a name in a directory.
func (ns *Namespace) child(c *Context, dir Path, name string) (Path, error) {
	if dir.Inode().Type() != unix.S_IFDIR {
		return Path{}, unix.ENOTDIR
	}
	d, err := ns.dentry(c, dir.dent, name)
	if err != nil {
		return Path{}, err
	}
	return ns.mountedOn(Path{dir.mount, d}), nil
}
