package shim

import (
	"fmt"
	"time"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// anonInode gives a place in the tree to what has no name: pipes, eventfds, sockets, the VM's standard files. It is
// what /proc/PID/fd/N leads to.
type anonInode struct {
	vfs.NotDir
	attr vfs.Stat
	// opener makes a description when the object is opened through /proc/PID/fd; nil is ENXIO, as for sockets.
	opener func(t *Thread, f *openRequest) (fileImpl, error)
}

// openRequest is an open(2) that the file's object completes: flags, and the place that was found.
type openRequest struct {
	flags int
	path  vfs.Path
}

// newAnonInode makes an inode that belongs to the thread's user.
func (k *Kernel) newAnonInode(t *Thread, mode uint32) *anonInode {
	now := timespec(time.Now())
	a := &anonInode{attr: vfs.Stat{
		Dev: anonDev, Ino: k.newIno(), Mode: mode, Nlink: 1, Blksize: vfs.PageSize,
		Atime: now, Mtime: now, Ctime: now,
	}}
	if t != nil {
		a.attr.UID, a.attr.GID = t.cred.FSUID, t.cred.FSGID
	}
	return a
}

// anonDev is the device number of anonymous inodes: an unnamed block device, as get_anon_bdev hands out.
const anonDev = 0x0d

// anonPlace puts an anonymous object into the tree: kind is "pipe", "socket" or, for anon_inode:[eventfd] and its
// like, the whole name.
func (k *Kernel) anonPlace(kind string, a *anonInode) vfs.Path {
	switch kind {
	case "pipe", "socket":
		kind = fmt.Sprintf("%s:[%d]", kind, a.attr.Ino)
	}
	return k.cfg.Namespace.Anonymous(kind, a)
}

func (a *anonInode) Stat() (vfs.Stat, error) { return a.attr, nil }
func (a *anonInode) Type() uint32            { return a.attr.Mode & unix.S_IFMT }

// SetAttr changes what fchmod, fchown and futimens can.
func (a *anonInode) SetAttr(_ *vfs.Context, v vfs.Attr) error {
	if v.Valid&vfs.AttrMode != 0 {
		a.attr.Mode = a.attr.Mode&unix.S_IFMT | v.Mode&^unix.S_IFMT
	}
	if v.Valid&vfs.AttrUID != 0 {
		a.attr.UID = v.UID
	}
	if v.Valid&vfs.AttrGID != 0 {
		a.attr.GID = v.GID
	}
	if v.Valid&vfs.AttrSize != 0 {
		return unix.EINVAL
	}
	return nil
}

// Open leaves the work to the opener: the nil File says so.
func (a *anonInode) Open(*vfs.Context, int) (vfs.File, error) {
	if a.opener == nil {
		return nil, unix.ENXIO
	}
	return nil, nil
}

// timespec converts a time to the guest's encoding.
func timespec(t time.Time) unix.Timespec { return unix.NsecToTimespec(t.UnixNano()) }
