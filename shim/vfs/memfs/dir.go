package memfs

import (
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// dir is the part of an Inode that only directories use; guarded by FS.mu.
type dir struct {
	parent *Inode
	lower  vfs.Inode // shows through; nil if there is none or the directory is gone
	byName map[string]*entry
	order  []slot // entries with a node, by rising seq
	gone   int    // slots that are empty
	seq    int64
	dead   bool // removed

	listing *listing // of lower, while a reader is at it or it is kept
	readers int
	misses  int // names that lower did not have
}

// entry is a name in a directory: an object, or a whiteout that hides a name of
// the lower directory.
type entry struct {
	name  string
	node  vfs.Inode // nil in a whiteout
	hides bool      // the lower directory has this name
	seq   int64     // place in the order of creation
}

// slot is an entry's place in the order; e is nil once it went.
type slot struct {
	seq int64
	e   *entry
}

// find returns the child of that name. Preconditions: fs.mu is held.
func (fs *FS) find(c *vfs.Context, d *dir, owner *Inode, name string) (vfs.Inode, error) {
	if e := d.byName[name]; e != nil {
		if e.node == nil {
			return nil, unix.ENOENT
		}
		return e.node, nil
	}
	if d.lower == nil || d.lacks(name) {
		return nil, unix.ENOENT
	}
	l, err := d.lower.Lookup(c, name)
	if err == unix.ENOENT {
		fs.missed(c, owner)
	}
	if err != nil {
		return nil, err
	}
	return fs.wrap(owner, l)
}

// set makes name mean node; what it meant before must have been dealt with.
// Preconditions: fs.mu is held, reserve was called.
func (d *dir) set(name string, node vfs.Inode, hides bool) {
	if e := d.byName[name]; e != nil {
		hides = hides || e.hides
		d.unlist(e)
	}
	d.seq++
	e := &entry{name: name, node: node, hides: hides, seq: d.seq}
	if d.byName == nil {
		d.byName = make(map[string]*entry)
	}
	d.byName[name] = e
	d.order = append(d.order, slot{d.seq, e})
}

// unset takes the name away, leaving a whiteout where one is needed. It reports
// whether the entry's charge is free. Preconditions: fs.mu is held.
func (d *dir) unset(name string) (freed bool) {
	e := d.byName[name]
	if e != nil {
		d.unlist(e)
		if !e.hides {
			delete(d.byName, name)
			return true
		}
	}
	if d.byName == nil {
		d.byName = make(map[string]*entry)
	}
	d.byName[name] = &entry{name: name, hides: true}
	return false
}

// unlist takes an entry out of the order, and closes gaps now and then: cookies
// are seq numbers, so they stay good.
func (d *dir) unlist(e *entry) {
	if e.node == nil {
		return
	}
	d.order[d.from(e.seq)].e = nil
	d.gone++
	if d.gone > 16 && d.gone > len(d.order)/2 {
		d.order = slices.DeleteFunc(d.order, func(s slot) bool { return s.e == nil })
		d.gone = 0
	}
}

// from returns the index of the first slot at or after seq.
func (d *dir) from(seq int64) int {
	return sort.Search(len(d.order), func(i int) bool { return d.order[i].seq >= seq })
}

// reserve charges for entries that names will need, before anything changes.
func (fs *FS) reserve(n int64) error {
	if n == 0 {
		return nil
	}
	return fs.opts.Quota.charge(n*inodeBytes, n)
}

func (fs *FS) unreserve(n int64) {
	if n != 0 {
		fs.opts.Quota.release(n*inodeBytes, n)
	}
}

// touch stamps a change of the directory. Preconditions: fs.mu is held and keep
// was called.
func (i *Inode) touch(nlink int32) {
	now := i.fs.now()
	i.mu.Lock()
	i.attr.mtime, i.attr.ctime = now, now
	if !i.hasKey {
		i.attr.size = dirSize(len(i.dir.order) - i.dir.gone)
	}
	// Where the lower file system does not count (btrfs says 1), nor do we.
	if i.attr.nlink >= 2 {
		i.attr.nlink = uint32(int32(i.attr.nlink) + nlink)
	}
	i.mu.Unlock()
}

// dirSize is the size that tmpfs reports for a directory (BOGO_DIRENT_SIZE).
func dirSize(entries int) int64 { return 20 * int64(entries+2) }

// Lookup finds a child.
func (i *Inode) Lookup(c *vfs.Context, name string) (vfs.Inode, error) {
	if i.dir == nil {
		return nil, unix.ENOTDIR
	}
	i.fs.mu.Lock()
	defer i.fs.mu.Unlock()
	return i.fs.find(c, i.dir, i, name)
}

// add makes a new child and enters it.
func (i *Inode) add(name string, n vfs.CreateAttr, init func(*Inode)) (vfs.Inode, error) {
	if i.dir == nil {
		return nil, unix.ENOTDIR
	}
	fs := i.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d := i.dir
	if d.dead {
		return nil, unix.ENOENT
	}
	if err := fs.keep(i); err != nil {
		return nil, err
	}
	if d.byName[name] == nil { // a whiteout has been paid for
		if err := fs.reserve(1); err != nil {
			return nil, err
		}
	}
	child := fs.newInode(n)
	nlink := int32(0)
	if child.dir != nil {
		child.dir.parent = i
		nlink = 1
	}
	if init != nil {
		init(child)
	}
	d.set(name, child, false)
	i.touch(nlink)
	return child, nil
}

// Create makes a regular file, FIFO or socket.
func (i *Inode) Create(c *vfs.Context, name string, n vfs.CreateAttr) (vfs.Inode, error) {
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
		return i.add(name, n, nil)
	}
	return nil, unix.EPERM
}

// Mkdir makes a directory.
func (i *Inode) Mkdir(c *vfs.Context, name string, n vfs.CreateAttr) (vfs.Inode, error) {
	return i.add(name, n, nil)
}

// Symlink makes a symbolic link. Its target counts as contents if it is long.
func (i *Inode) Symlink(c *vfs.Context, name, target string, n vfs.CreateAttr) (vfs.Inode, error) {
	extra := targetBytes(target)
	if err := i.fs.opts.Quota.charge(extra, 0); err != nil {
		return nil, err
	}
	node, err := i.add(name, n, func(l *Inode) { l.target = target })
	if err != nil {
		i.fs.opts.Quota.release(extra, 0)
	}
	return node, err
}

// targetBytes is what a link's target is charged beyond its inode.
func targetBytes(target string) int64 {
	if len(target) <= vfs.NameMax {
		return 0
	}
	return int64(len(target))
}

// Tmpfile makes a file without a name, which Link may give one.
func (i *Inode) Tmpfile(c *vfs.Context, n vfs.CreateAttr) (vfs.Inode, error) {
	f := i.fs.NewFile(n)
	f.linkable, f.seals = true, unix.F_SEAL_SEAL
	return f, nil
}

// Link adds a name for a file.
func (i *Inode) Link(c *vfs.Context, name string, target vfs.Inode) error {
	t, ok := target.(*Inode)
	if !ok || t.fs != i.fs {
		return unix.EXDEV
	}
	fs := i.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if i.dir == nil {
		return unix.ENOTDIR
	}
	if i.dir.dead || t.links() == 0 && !t.linkable {
		return unix.ENOENT
	}
	if err := fs.keep(i); err != nil {
		return err
	}
	if err := fs.keep(t); err != nil {
		return err
	}
	if i.dir.byName[name] == nil {
		if err := fs.reserve(1); err != nil {
			return err
		}
	}
	t.linkable = false
	t.changed(1)
	i.dir.set(name, t, false)
	i.touch(0)
	return nil
}

// removable looks up a child that is to lose its name, and readies the directory.
// Preconditions: fs.mu is held.
func (i *Inode) removable(c *vfs.Context, name string) (*Inode, error) {
	if i.dir == nil {
		return nil, unix.ENOTDIR
	}
	node, err := i.fs.find(c, i.dir, i, name)
	if err != nil {
		return nil, err
	}
	child, ok := node.(*Inode)
	if !ok {
		return nil, unix.EBUSY // bound: part of how the root is built
	}
	if err := i.fs.keep(i); err != nil {
		return nil, err
	}
	// Its link count changes, and it may live on under another name.
	if child.dir == nil && child.links() > 1 {
		if err := i.fs.keep(child); err != nil {
			return nil, err
		}
	}
	return child, nil
}

// remove takes a name away. Preconditions: fs.mu is held; removable was called.
func (i *Inode) remove(name string) error {
	if i.dir.byName[name] == nil { // a lower name: it needs a whiteout
		if err := i.fs.reserve(1); err != nil {
			return err
		}
	}
	if i.dir.unset(name) {
		i.fs.unreserve(1)
	}
	return nil
}

// orphan counts a lost name of child, and frees what nothing can reach any more.
// Preconditions: fs.mu is held.
func (fs *FS) orphan(child *Inode) {
	if child.dir != nil {
		d := child.dir
		fs.unreserve(int64(len(d.byName))) // whiteouts: it is empty
		child.mu.Lock()
		child.attr.nlink = 0
		child.mu.Unlock()
		d.byName, d.order, d.lower, d.listing, d.dead = nil, nil, nil, nil, true
		fs.forget(child)
		return
	}
	child.changed(-1)
	if child.links() == 0 {
		fs.opts.Quota.release(targetBytes(child.target), 0)
		fs.forget(child)
	}
}

// Unlink takes away a name that is not a directory's.
func (i *Inode) Unlink(c *vfs.Context, name string) error {
	i.fs.mu.Lock()
	child, err := i.removable(c, name)
	if err == nil {
		err = i.remove(name)
	}
	if err == nil {
		i.fs.orphan(child)
		i.touch(0)
	}
	i.fs.mu.Unlock()
	if err == nil {
		child.reap()
	}
	return err
}

// Rmdir takes away an empty directory.
func (i *Inode) Rmdir(c *vfs.Context, name string) error {
	i.fs.mu.Lock()
	defer i.fs.mu.Unlock()
	child, err := i.removable(c, name)
	if err != nil {
		return err
	}
	if err := i.fs.empty(c, child); err != nil {
		return err
	}
	if err := i.remove(name); err != nil {
		return err
	}
	i.fs.orphan(child)
	i.touch(-1)
	return nil
}

// empty answers ENOTEMPTY if a directory has entries. Preconditions: fs.mu is held.
func (fs *FS) empty(c *vfs.Context, i *Inode) error {
	d := i.dir
	if d == nil {
		return unix.ENOTDIR
	}
	if len(d.order) > d.gone {
		return unix.ENOTEMPTY
	}
	if d.lower == nil {
		return nil
	}
	list, err := fs.lowerList(c, i)
	if err != nil {
		return err
	}
	for _, e := range list {
		if d.byName[e.Name] == nil {
			return unix.ENOTEMPTY
		}
	}
	return nil
}

// Rename moves a child.
func (i *Inode) Rename(c *vfs.Context, oldName string, newDir vfs.Inode, newName string, flags uint32) error {
	to, ok := newDir.(*Inode)
	if !ok || to.fs != i.fs {
		return unix.EXDEV
	}
	if i.dir == nil || to.dir == nil {
		return unix.ENOTDIR
	}
	fs := i.fs
	fs.mu.Lock()
	m := move{fs: fs, c: c, from: i, to: to, oldName: oldName, newName: newName}
	err := m.rename(flags&unix.RENAME_EXCHANGE != 0)
	fs.mu.Unlock()
	if err == nil && m.victim != nil {
		m.victim.reap()
	}
	return err
}

// move is a rename in progress; fs.mu is held throughout.
type move struct {
	fs               *FS
	c                *vfs.Context
	from, to         *Inode
	oldName, newName string
	node             *Inode
	victim           *Inode // what newName meant, nil if nothing
}

func (m *move) rename(exchange bool) (err error) {
	if m.node, err = m.from.removable(m.c, m.oldName); err != nil {
		return err
	}
	m.victim, err = m.to.removable(m.c, m.newName)
	if err != nil && err != unix.ENOENT {
		return err
	}
	if m.to.dir.dead {
		return unix.ENOENT
	}
	if exchange && m.victim == nil {
		return unix.ENOENT
	}
	if m.victim != nil && m.victim.dir != nil && !exchange {
		if err := m.fs.empty(m.c, m.victim); err != nil {
			return err
		}
	}
	for _, i := range []*Inode{m.to, m.node} {
		if err := m.fs.keep(i); err != nil {
			return err
		}
	}
	// Each of the two names needs an entry, if only as a whiteout.
	n := int64(0)
	if m.from.dir.byName[m.oldName] == nil {
		n++
	}
	newLower := m.to.dir.byName[m.newName] == nil
	if newLower {
		n++
	}
	if err := m.fs.reserve(n); err != nil {
		return err
	}
	if exchange {
		m.exchange()
		return nil
	}
	if m.victim != nil {
		m.fs.orphan(m.victim)
		if m.victim.dir != nil {
			m.to.touch(-1)
		}
	}
	m.to.dir.set(m.newName, m.node, newLower && m.victim != nil)
	if m.from.dir.unset(m.oldName) {
		m.fs.unreserve(1)
	}
	m.reparent(m.node, m.from, m.to)
	m.node.changed(0)
	m.from.touch(0)
	m.to.touch(0)
	return nil
}

// exchange swaps the two names.
func (m *move) exchange() {
	oldLower := m.from.dir.byName[m.oldName] == nil
	newLower := m.to.dir.byName[m.newName] == nil
	m.from.dir.set(m.oldName, m.victim, oldLower)
	m.to.dir.set(m.newName, m.node, newLower)
	m.reparent(m.node, m.from, m.to)
	m.reparent(m.victim, m.to, m.from)
	m.node.changed(0)
	m.victim.changed(0)
	m.from.touch(0)
	m.to.touch(0)
	m.victim = nil // it lives on
}

// reparent moves a directory's ".." and the link it counts as.
func (m *move) reparent(node, from, to *Inode) {
	if node.dir == nil || from == to {
		return
	}
	node.dir.parent = to
	from.touch(-1)
	to.touch(1)
}

// Bind puts an inode of another file system into a directory, to build a lower
// tree out of several. It is not for trees that a guest sees directly.
func (i *Inode) Bind(name string, node vfs.Inode) {
	i.fs.mu.Lock()
	defer i.fs.mu.Unlock()
	i.dir.set(name, node, false)
}
