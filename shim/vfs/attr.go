package vfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// writable answers EROFS for a place on a read-only mount.
func (p Path) writable() error {
	if p.MountFlags()&MountReadOnly != 0 {
		return unix.EROFS
	}
	return nil
}

// Chmod is fchmodat(2) on a place.
func (ns *Namespace) Chmod(c *Context, p Path, mode uint32) error {
	if err := p.writable(); err != nil {
		return err
	}
	st, err := p.Inode().Stat()
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	if !c.Cred.owns(&st) {
		return unix.EPERM
	}
	mode &= 0o7777
	if !c.Cred.InGroup(st.GID) && !c.Cred.Has(unix.CAP_FSETID) {
		mode &^= unix.S_ISGID
	}
	return p.Inode().SetAttr(c, Attr{Valid: AttrMode, Mode: mode})
}

// noID leaves an id alone in Chown: (uid_t)-1.
const noID = ^uint32(0)

// Chown is fchownat(2) on a place; an id of all ones is left alone.
func (ns *Namespace) Chown(c *Context, p Path, uid, gid uint32) error {
	if err := p.writable(); err != nil {
		return err
	}
	st, err := p.Inode().Stat()
	if err != nil {
		return err
	}
	a := Attr{UID: uid, GID: gid}
	owner := c.Cred.FSUID == st.UID
	may := c.Cred.Has(unix.CAP_CHOWN)
	if uid != noID {
		a.Valid |= AttrUID
		if !may && !(owner && uid == st.UID) {
			return unix.EPERM
		}
	}
	if gid != noID {
		a.Valid |= AttrGID
		if !may && !(owner && (gid == st.GID || c.Cred.InGroup(gid))) {
			return unix.EPERM
		}
	}
	// A new owner must not inherit a set-ID program (fs/open.c, chown_common).
	if mode := withoutSetID(c.Cred, &st); st.Mode&unix.S_IFMT != unix.S_IFDIR && mode != st.Mode {
		a.Valid |= AttrMode
		a.Mode = mode & 0o7777
	}
	if a.Valid == 0 {
		return nil
	}
	return p.Inode().SetAttr(c, a)
}

// withoutSetID is a mode less the set-ID bits that a change of owner or a write
// takes away (fs/attr.c, setattr_should_drop_suidgid).
func withoutSetID(c *Cred, st *Stat) uint32 {
	mode := st.Mode &^ unix.S_ISUID
	if mode&unix.S_ISGID != 0 &&
		(mode&unix.S_IXGRP != 0 || !c.InGroup(st.GID) && !c.Has(unix.CAP_FSETID)) {
		mode &^= unix.S_ISGID
	}
	return mode
}

// Utimens is utimensat(2) on a place: access and modification time, with
// UTIME_NOW and UTIME_OMIT in Nsec; nil means now for both.
func (ns *Namespace) Utimens(c *Context, p Path, t *[2]unix.Timespec) error {
	a := Attr{Valid: AttrAtimeNow | AttrMtimeNow}
	touch := true // any writer may set both to now; only the owner anything else
	if t != nil && !(t[0].Nsec == unix.UTIME_NOW && t[1].Nsec == unix.UTIME_NOW) {
		touch = false
		a = Attr{Atime: t[0], Mtime: t[1]}
		for i, f := range [...]struct{ set, now AttrMask }{{AttrAtime, AttrAtimeNow}, {AttrMtime, AttrMtimeNow}} {
			switch n := t[i].Nsec; {
			case n == unix.UTIME_OMIT:
			case n == unix.UTIME_NOW:
				a.Valid |= f.now
			case n < 0 || n >= 1e9:
				return unix.EINVAL
			default:
				a.Valid |= f.set
			}
		}
		if a.Valid == 0 {
			return nil
		}
	}
	if err := p.writable(); err != nil {
		return err
	}
	st, err := p.Inode().Stat()
	if err != nil {
		return err
	}
	if !c.Cred.owns(&st) {
		if !touch {
			return unix.EPERM
		}
		if err := allow(c.Cred, &st, mayWrite); err != nil {
			return err
		}
	}
	return p.Inode().SetAttr(c, a)
}

// Truncate is truncate(2) on a place; ftruncate(2) is File.Truncate.
func (ns *Namespace) Truncate(c *Context, p Path, size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	switch p.Inode().Type() {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return unix.EISDIR
	default:
		return unix.EINVAL
	}
	if err := p.permission(c.Cred, mayWrite); err != nil {
		return err
	}
	return p.Inode().SetAttr(c, Attr{Valid: AttrSize, Size: size})
}

// xattrKnown reports whether Linux has handlers for an attribute's name space.
func xattrKnown(name string) bool {
	for _, prefix := range []string{"user.", "trusted.", "security."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Getxattr is getxattr(2): no file has extended attributes here, so the answer
// is that there is no such one, or no such kind.
func (ns *Namespace) Getxattr(c *Context, p Path, name string) ([]byte, error) {
	if len(name) == 0 || len(name) > NameMax {
		return nil, unix.ERANGE
	}
	if xattrKnown(name) {
		return nil, unix.ENODATA
	}
	return nil, unix.EOPNOTSUPP
}

// Setxattr is setxattr(2).
func (ns *Namespace) Setxattr(c *Context, p Path, name string, value []byte, flags int) error {
	if len(name) == 0 || len(name) > NameMax {
		return unix.ERANGE
	}
	if err := p.writable(); err != nil {
		return err
	}
	return unix.EOPNOTSUPP
}

// Listxattr is listxattr(2).
func (ns *Namespace) Listxattr(c *Context, p Path) ([]string, error) { return nil, nil }

// Removexattr is removexattr(2).
func (ns *Namespace) Removexattr(c *Context, p Path, name string) error {
	_, err := ns.Getxattr(c, p, name)
	if err == unix.ENODATA {
		if e := p.writable(); e != nil {
			return e
		}
	}
	return err
}
