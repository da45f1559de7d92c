package vfs

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Cred is on whose behalf a call is made (credentials(7)). It is not changed once
// it has been used: open files keep it. To change credentials, make another.
type Cred struct {
	UID, GID     uint32
	EUID, EGID   uint32
	FSUID, FSGID uint32 // what files see; setfsuid(2)
	Groups       []uint32
	Caps         uint64 // effective set, bit n is capability n
}

// allCaps has every capability that Linux defines.
const allCaps = 1<<(unix.CAP_LAST_CAP+1) - 1

// NewCred returns the credentials of a process of that user; user 0 has every
// capability.
func NewCred(uid, gid uint32, groups ...uint32) *Cred {
	c := &Cred{UID: uid, GID: gid, EUID: uid, EGID: gid, FSUID: uid, FSGID: gid, Groups: groups}
	if uid == 0 {
		c.Caps = allCaps
	}
	return c
}

// Has reports whether the effective set holds a capability (unix.CAP_*).
func (c *Cred) Has(capability int) bool { return c.Caps>>uint(capability)&1 != 0 }

// InGroup reports whether gid is the caller's group or a supplementary one.
func (c *Cred) InGroup(gid uint32) bool {
	return gid == c.FSGID || slices.Contains(c.Groups, gid)
}

// Context is what a call needs to know of its caller: Linux's current->fs and
// current_cred(). A Context is not changed by calls and may be reused.
type Context struct {
	Cred  *Cred
	Root  Path // absolute names and ".." end here (chroot(2))
	Cwd   Path
	Umask uint32
	Task  any // the caller's own, for synthesised inodes such as /proc/self
}
