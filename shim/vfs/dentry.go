package vfs

import (
	"weak"
)

// dentry is a name in a file system: what gives an inode a place, so that a
// working directory survives renames and getcwd can be answered. All fields are
// guarded by Namespace.mu.
//
// A dentry holds its parent; a parent holds its children weakly, so the tree of
// names costs memory only for names that are in use: held by a Path, below one
// that is, or in the Namespace's ring of recent names. While anyone holds a
// dentry, a lookup of that name finds the same one.
type dentry struct {
	parent   *dentry // nil in a file system's root and in anonymous inodes
	name     string
	inode    Inode
	children map[string]weak.Pointer[dentry]
	swept    int  // entries in children after the last sweep
	unlinked bool // the name is gone: "(deleted)"
	mounts   int  // mounts on this dentry: it must stay
	recent   bool // used since the ring's hand last passed
}

// child returns the cached dentry of a name, nil if there is none.
func (d *dentry) child(name string) *dentry {
	w, ok := d.children[name]
	if !ok {
		return nil
	}
	c := w.Value()
	if c == nil {
		delete(d.children, name)
	}
	return c
}

// add enters c under d. Dead entries are swept when the map has doubled, so it
// stays proportional to what is alive.
func (d *dentry) add(c *dentry) {
	if d.children == nil {
		d.children = make(map[string]weak.Pointer[dentry])
	}
	if len(d.children) >= 2*d.swept+16 {
		for name, w := range d.children {
			if w.Value() == nil {
				delete(d.children, name)
			}
		}
		d.swept = len(d.children)
	}
	c.parent = d
	d.children[c.name] = weak.Make(c)
}

// drop takes the name away from c, whose holders see it as deleted.
func (d *dentry) drop(c *dentry) {
	if d.child(c.name) == c {
		delete(d.children, c.name)
	}
	c.unlinked = true
}

// below reports whether d is a, or lies below it.
func (d *dentry) below(a *dentry) bool {
	for ; d != nil; d = d.parent {
		if d == a {
			return true
		}
	}
	return false
}

// ring keeps the dentries of recent lookups alive, by the CLOCK algorithm: a
// fixed number, so that a guest that walks a huge tree cannot grow the host.
type ring struct {
	slots [4096]*dentry
	hand  int
}

// touch notes a use of d; fresh says that d was just made and is not in a slot.
func (r *ring) touch(d *dentry, fresh bool) {
	d.recent = true
	if !fresh {
		return
	}
	// Terminates: after one round every recent bit has been cleared.
	for {
		s := r.slots[r.hand]
		if s == nil || !s.recent {
			break
		}
		s.recent = false
		r.hand = (r.hand + 1) % len(r.slots)
	}
	r.slots[r.hand] = d
	r.hand = (r.hand + 1) % len(r.slots)
}
