package vfs

import "golang.org/x/sys/unix"

// Access modes, as in access(2) and a mode's octal digit.
const (
	mayRead  = unix.R_OK
	mayWrite = unix.W_OK
	mayExec  = unix.X_OK
)

// allow decides whether c may use an object in the ways of want, by owner, group
// and other, then by capability (fs/namei.c, generic_permission).
func allow(c *Cred, st *Stat, want uint32) error {
	bits := st.Mode
	switch {
	case c.FSUID == st.UID:
		bits >>= 6
	case c.InGroup(st.GID):
		bits >>= 3
	}
	if want&^bits&7 == 0 {
		return nil
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	// Overriding does not make a file without any x bit executable.
	if c.Has(unix.CAP_DAC_OVERRIDE) && (isDir || want&mayExec == 0 || st.Mode&0o111 != 0) {
		return nil
	}
	if c.Has(unix.CAP_DAC_READ_SEARCH) && (want == mayRead || isDir && want&mayWrite == 0) {
		return nil
	}
	return unix.EACCES
}

// permission is allow on an inode, and EROFS for writing to what a read-only
// mount holds (devices, FIFOs and sockets there may be written to).
func (p Path) permission(c *Cred, want uint32) error {
	if want&mayWrite != 0 && p.MountFlags()&MountReadOnly != 0 {
		switch p.Inode().Type() {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
			return unix.EROFS
		}
	}
	st, err := p.Inode().Stat()
	if err != nil {
		return err
	}
	return allow(c, &st, want)
}

// owns reports whether c may act as the owner (inode_owner_or_capable).
func (c *Cred) owns(st *Stat) bool {
	return c.FSUID == st.UID || c.Has(unix.CAP_FOWNER)
}

// mayCreate decides whether c may add a name to dir.
func mayCreate(c *Cred, dir Path) error {
	if dir.dent.unlinked {
		return unix.ENOENT
	}
	return dir.permission(c, mayWrite|mayExec)
}

// mayDelete decides whether c may take victim's name out of dir, in rmdir and
// directory renames (wantDir) or else (fs/namei.c, may_delete).
func mayDelete(c *Cred, dir Path, victim Inode, wantDir bool) error {
	if err := dir.permission(c, mayWrite|mayExec); err != nil {
		return err
	}
	ds, err := dir.Inode().Stat()
	if err != nil {
		return err
	}
	if ds.Mode&unix.S_ISVTX != 0 && c.FSUID != ds.UID {
		vs, err := victim.Stat()
		if err != nil {
			return err
		}
		if !c.owns(&vs) {
			return unix.EPERM
		}
	}
	isDir := victim.Type() == unix.S_IFDIR
	switch {
	case wantDir && !isDir:
		return unix.ENOTDIR
	case !wantDir && isDir:
		return unix.EISDIR
	case dir.dent.unlinked:
		return unix.ENOENT
	}
	return nil
}

// mayLink decides whether c may give an inode another name: what c does not own
// must be a plain file that c can read and write. So is Linux with
// fs.protected_hardlinks, as distributions set it (fs/namei.c, may_linkat).
func mayLink(c *Cred, i Inode) error {
	st, err := i.Stat()
	if err != nil {
		return err
	}
	safe := st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&unix.S_ISUID == 0 &&
		st.Mode&(unix.S_ISGID|unix.S_IXGRP) != unix.S_ISGID|unix.S_IXGRP &&
		allow(c, &st, mayRead|mayWrite) == nil
	if !safe && !c.owns(&st) {
		return unix.EPERM
	}
	return nil
}

// born decides whether c may make an object in dir, and returns its attributes
// (fs/inode.c, inode_init_owner): a set-group-ID directory gives its group to what is made
// in it and the bit to directories.
func born(c *Context, dir Path, mode uint32, rdev uint64) (CreateAttr, error) {
	n := CreateAttr{
		Mode: mode & unix.S_IFMT,
		UID:  c.Cred.FSUID,
		GID:  c.Cred.FSGID,
		Rdev: rdev,
	}
	if err := mayCreate(c.Cred, dir); err != nil {
		return n, err
	}
	perm := mode & 0o7777
	if n.Mode == unix.S_IFDIR {
		perm &= 0o1777 // mkdir(2) cannot set the set-ID bits
	}
	perm &^= c.Umask & 0o777
	st, err := dir.Inode().Stat()
	if err != nil {
		return n, err
	}
	if st.Mode&unix.S_ISGID != 0 {
		n.GID = st.GID
		if n.Mode == unix.S_IFDIR {
			perm |= unix.S_ISGID
		} else if perm&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP &&
			!c.Cred.InGroup(st.GID) && !c.Cred.Has(unix.CAP_FSETID) {
			perm &^= unix.S_ISGID
		}
	}
	n.Mode |= perm
	return n, nil
}
