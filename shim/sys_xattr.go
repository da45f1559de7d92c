package shim

import (
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// xattrCalls are the rows of the calls on extended attributes (xattr(7)).
func xattrCalls() []Syscall {
	const note = "no file has attributes: ENODATA, ENOTSUP"
	const bound = "64 KiB of value or list"
	return []Syscall{
		{unix.SYS_GETXATTR, "getxattr", sysGetxattr, Stub, note, bound},
		{unix.SYS_LGETXATTR, "lgetxattr", sysLgetxattr, Stub, note, bound},
		{unix.SYS_FGETXATTR, "fgetxattr", sysFgetxattr, Stub, note, bound},
		{unix.SYS_SETXATTR, "setxattr", sysSetxattr, Stub, note, bound},
		{unix.SYS_LSETXATTR, "lsetxattr", sysLsetxattr, Stub, note, bound},
		{unix.SYS_FSETXATTR, "fsetxattr", sysFsetxattr, Stub, note, bound},
		{unix.SYS_LISTXATTR, "listxattr", sysListxattr, Stub, note, bound},
		{unix.SYS_LLISTXATTR, "llistxattr", sysLlistxattr, Stub, note, bound},
		{unix.SYS_FLISTXATTR, "flistxattr", sysFlistxattr, Stub, note, bound},
		{unix.SYS_REMOVEXATTR, "removexattr", sysRemovexattr, Stub, note, bound},
		{unix.SYS_LREMOVEXATTR, "lremovexattr", sysLremovexattr, Stub, note, bound},
		{unix.SYS_FREMOVEXATTR, "fremovexattr", sysFremovexattr, Stub, note, bound},
	}
}

// Limits of extended attributes (include/uapi/linux/limits.h).
const (
	xattrNameMax = 255
	xattrSizeMax = 65536
)

// xattrPlace finds the file that an xattr call means: a path, a path whose last link counts, or a descriptor.
func (t *Thread) xattrPlace(arg uint64, flags int32, fd bool) (vfs.Path, error) {
	if !fd {
		return t.walkAt(unix.AT_FDCWD, arg, flags)
	}
	f, err := t.files.file(int32(uint32(arg)))
	if err != nil {
		return vfs.Path{}, err
	}
	return f.path, nil
}

// xattrName reads an attribute's name: ERANGE if it is empty or too long.
func (t *Thread) xattrName(addr uint64) (string, error) {
	name, err := t.readString(addr, xattrNameMax+1)
	if err == unix.ENAMETOOLONG || err == nil && name == "" {
		err = unix.ERANGE
	}
	return name, err
}

// xattrOf finds the file and the name of an attribute.
func (t *Thread) xattrOf(a Args, flags int32, fd bool) (vfs.Path, string, error) {
	name, err := t.xattrName(a[1])
	if err != nil {
		return vfs.Path{}, "", err
	}
	p, err := t.xattrPlace(a[0], flags, fd)
	return p, name, err
}

// xattrAnswer copies a value or list out; size 0 only asks for its length.
func (t *Thread) xattrAnswer(b []byte, addr, size uint64) (uint64, error) {
	if size == 0 {
		return uint64(len(b)), nil
	}
	if uint64(len(b)) > size {
		return 0, unix.ERANGE
	}
	return uint64(len(b)), t.copyOut(addr, b)
}

func (t *Thread) getxattr(a Args, flags int32, fd bool) (uint64, error) {
	p, name, err := t.xattrOf(a, flags, fd)
	if err != nil {
		return 0, err
	}
	v, err := t.ns().Getxattr(t.vctx(), p, name)
	if err != nil {
		return 0, err
	}
	return t.xattrAnswer(v, a[2], a[3])
}

func (t *Thread) setxattr(a Args, flags int32, fd bool) (uint64, error) {
	if a.int32(4)&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return 0, unix.EINVAL
	}
	name, err := t.xattrName(a[1])
	if err != nil {
		return 0, err
	}
	if a[3] > xattrSizeMax {
		return 0, unix.E2BIG
	}
	v := make([]byte, a[3])
	if err := t.copyIn(a[2], v); err != nil {
		return 0, err
	}
	p, err := t.xattrPlace(a[0], flags, fd)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Setxattr(t.vctx(), p, name, v, int(a.int32(4)))
}

func (t *Thread) listxattr(a Args, flags int32, fd bool) (uint64, error) {
	p, err := t.xattrPlace(a[0], flags, fd)
	if err != nil {
		return 0, err
	}
	names, err := t.ns().Listxattr(t.vctx(), p)
	if err != nil {
		return 0, err
	}
	var b []byte
	for _, n := range names {
		b = append(append(b, n...), 0)
	}
	return t.xattrAnswer(b, a[1], a[2])
}

func (t *Thread) removexattr(a Args, flags int32, fd bool) (uint64, error) {
	p, name, err := t.xattrOf(a, flags, fd)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Removexattr(t.vctx(), p, name)
}

const noFollow = unix.AT_SYMLINK_NOFOLLOW

func sysGetxattr(t *Thread, a Args) (uint64, error)     { return t.getxattr(a, 0, false) }
func sysLgetxattr(t *Thread, a Args) (uint64, error)    { return t.getxattr(a, noFollow, false) }
func sysFgetxattr(t *Thread, a Args) (uint64, error)    { return t.getxattr(a, 0, true) }
func sysSetxattr(t *Thread, a Args) (uint64, error)     { return t.setxattr(a, 0, false) }
func sysLsetxattr(t *Thread, a Args) (uint64, error)    { return t.setxattr(a, noFollow, false) }
func sysFsetxattr(t *Thread, a Args) (uint64, error)    { return t.setxattr(a, 0, true) }
func sysListxattr(t *Thread, a Args) (uint64, error)    { return t.listxattr(a, 0, false) }
func sysLlistxattr(t *Thread, a Args) (uint64, error)   { return t.listxattr(a, noFollow, false) }
func sysFlistxattr(t *Thread, a Args) (uint64, error)   { return t.listxattr(a, 0, true) }
func sysRemovexattr(t *Thread, a Args) (uint64, error)  { return t.removexattr(a, 0, false) }
func sysLremovexattr(t *Thread, a Args) (uint64, error) { return t.removexattr(a, noFollow, false) }
func sysFremovexattr(t *Thread, a Args) (uint64, error) { return t.removexattr(a, 0, true) }
