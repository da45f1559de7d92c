package vfs

// Path is a place in the file tree: a mount and a name in it. It is a value;
// two Paths are == when they are the same place. Holding one keeps the name and
// its inode alive. The zero Path is no place.
type Path struct {
	mount *mount
	dent  *dentry
}

// IsZero reports whether p is no place.
func (p Path) IsZero() bool { return p.dent == nil }

// Inode returns what is at the place; nil for the zero Path.
func (p Path) Inode() Inode {
	if p.dent == nil {
		return nil
	}
	return p.dent.inode
}

// MountFlags returns the flags of the mount that the place is in.
func (p Path) MountFlags() MountFlags {
	if p.mount == nil {
		return 0
	}
	return p.mount.spec.Flags
}

// MountFlags are a mount's options.
type MountFlags uint32

// Mount options (mount(2)).
const (
	MountReadOnly MountFlags = 1 << iota
	MountNoExec
	MountNoSuid
	MountNoDev
)

// Mount says what is mounted and how.
type Mount struct {
	Root   Inode  // a directory, or a file for a single-file mount
	FSType string // as in /proc/self/mounts: "tmpfs", "proc"
	Source string // the first column there
	Flags  MountFlags
}

// MountInfo is a row of /proc/PID/mountinfo.
type MountInfo struct {
	ID, ParentID int
	Point        string // relative to the asker's root
	Mount
}

// mount is a node of the mount tree; guarded by Namespace.mu, fixed once made.
type mount struct {
	id     int
	parent *mount  // nil in the root mount and the anonymous one
	point  *dentry // in parent
	root   *dentry
	spec   Mount
}
