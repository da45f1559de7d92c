package shim

import (
	"math"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// dirCalls are the rows of the calls about directories and the thread's place in the tree.
func dirCalls() []Syscall {
	const pathBound = "4096 bytes of path, 40 links"
	const direntBound = "1 MiB of entries"
	return []Syscall{
		{unix.SYS_GETDENTS, "getdents", sysGetdents, Full, "", direntBound},
		{unix.SYS_GETDENTS64, "getdents64", sysGetdents64, Full, "", direntBound},
		{unix.SYS_GETCWD, "getcwd", sysGetcwd, Full, "", "4096 bytes"},
		{unix.SYS_CHDIR, "chdir", sysChdir, Full, "", pathBound},
		{unix.SYS_FCHDIR, "fchdir", sysFchdir, Full, "", ""},
		{unix.SYS_CHROOT, "chroot", sysChroot, Full, "", pathBound},
		{unix.SYS_UMASK, "umask", sysUmask, Full, "", ""},
		{unix.SYS_MKDIR, "mkdir", sysMkdir, Full, "", pathBound},
		{unix.SYS_MKDIRAT, "mkdirat", sysMkdirat, Full, "", pathBound},
		{unix.SYS_RMDIR, "rmdir", sysRmdir, Full, "", pathBound},
		{unix.SYS_UNLINK, "unlink", sysUnlink, Full, "", pathBound},
		{unix.SYS_UNLINKAT, "unlinkat", sysUnlinkat, Full, "", pathBound},
		{unix.SYS_RENAME, "rename", sysRename, Full, "", pathBound},
		{unix.SYS_RENAMEAT, "renameat", sysRenameat, Full, "", pathBound},
		{unix.SYS_RENAMEAT2, "renameat2", sysRenameat2, Partial, "no RENAME_WHITEOUT", pathBound},
		{unix.SYS_LINK, "link", sysLink, Full, "", pathBound},
		{unix.SYS_LINKAT, "linkat", sysLinkat, Full, "", pathBound},
		{unix.SYS_SYMLINK, "symlink", sysSymlink, Full, "", pathBound},
		{unix.SYS_SYMLINKAT, "symlinkat", sysSymlinkat, Full, "", pathBound},
		{unix.SYS_MKNOD, "mknod", sysMknod, Partial, "no device nodes", pathBound},
		{unix.SYS_MKNODAT, "mknodat", sysMknodat, Partial, "no device nodes", pathBound},
	}
}

// maxDirents bounds the bytes of one getdents.
const maxDirents = 1 << 20

// appendEntry appends a directory entry in one of the two formats; nil if it does not fit.
type appendEntry func(b []byte, limit int, d *vfs.Dirent) []byte

func sysGetdents64(t *Thread, a Args) (uint64, error) { return t.getdents(a, appendDirent64) }
func sysGetdents(t *Thread, a Args) (uint64, error)   { return t.getdents(a, appendDirent) }

func (t *Thread) getdents(a Args, add appendEntry) (uint64, error) {
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	v, ok := f.impl.(*vfsFile)
	if !ok || v.file.Inode().Type() != unix.S_IFDIR {
		return 0, unix.ENOTDIR
	}
	limit := int(min(uint32(a[2]), maxDirents))
	var out []byte
	next, full := f.off, false
	err = v.file.Readdir(t.vctx(), f.off, func(d vfs.Dirent) bool {
		b := add(out, limit, &d)
		if b == nil {
			full = true
			return false
		}
		out, next = b, d.Next
		return true
	})
	switch {
	case err != nil && len(out) == 0:
		return 0, err
	case full && len(out) == 0:
		return 0, unix.EINVAL
	}
	if err := t.copyOut(a[1], out); err != nil {
		return 0, err
	}
	f.off = next
	return uint64(len(out)), nil
}

func sysGetcwd(t *Thread, a Args) (uint64, error) {
	cwd, err := t.ns().Getcwd(t.vctx())
	if err != nil {
		return 0, err
	}
	if uint64(len(cwd))+1 > a[1] {
		return 0, unix.ERANGE
	}
	b := append([]byte(cwd), 0)
	return uint64(len(b)), t.copyOut(a[0], b)
}

func sysChdir(t *Thread, a Args) (uint64, error) {
	name, err := t.readPath(a[0])
	if err != nil {
		return 0, err
	}
	p, err := t.ns().Walk(t.vctx(), vfs.Path{}, name, vfs.Directory)
	if err == nil {
		err = t.ns().CheckDir(t.vctx(), p)
	}
	if err == nil {
		t.fs.Cwd = p
	}
	return 0, err
}

func sysFchdir(t *Thread, a Args) (uint64, error) {
	f, err := t.files.get(a.int32(0))
	if err != nil {
		return 0, err
	}
	if f.path.IsZero() || f.path.Inode().Type() != unix.S_IFDIR {
		return 0, unix.ENOTDIR
	}
	if err := t.ns().CheckDir(t.vctx(), f.path); err != nil {
		return 0, err
	}
	t.fs.Cwd = f.path
	return 0, nil
}

func sysChroot(t *Thread, a Args) (uint64, error) {
	p, err := t.walkAt(unix.AT_FDCWD, a[0], 0)
	if err != nil {
		return 0, err
	}
	if err := t.ns().CheckDir(t.vctx(), p); err != nil {
		return 0, err
	}
	if !t.cred.Has(unix.CAP_SYS_CHROOT) {
		return 0, unix.EPERM
	}
	t.fs.Root = p
	return 0, nil
}

func sysUmask(t *Thread, a Args) (uint64, error) {
	old := t.fs.Umask
	t.fs.Umask = uint32(a[0]) & 0o777
	return uint64(old), nil
}

func sysMkdir(t *Thread, a Args) (uint64, error) { return t.mkdir(unix.AT_FDCWD, a[0], a[1]) }

func sysMkdirat(t *Thread, a Args) (uint64, error) { return t.mkdir(a.int32(0), a[1], a[2]) }

func (t *Thread) mkdir(dirfd int32, nameAddr, mode uint64) (uint64, error) {
	at, name, err := t.pathAt(dirfd, nameAddr)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Mkdir(t.vctx(), at, name, uint32(mode)&0o7777)
}

func sysRmdir(t *Thread, a Args) (uint64, error) {
	return t.unlink(unix.AT_FDCWD, a[0], unix.AT_REMOVEDIR)
}

func sysUnlink(t *Thread, a Args) (uint64, error) { return t.unlink(unix.AT_FDCWD, a[0], 0) }

func sysUnlinkat(t *Thread, a Args) (uint64, error) { return t.unlink(a.int32(0), a[1], a.int32(2)) }

func (t *Thread) unlink(dirfd int32, nameAddr uint64, flags int32) (uint64, error) {
	if flags&^unix.AT_REMOVEDIR != 0 {
		return 0, unix.EINVAL
	}
	at, name, err := t.pathAt(dirfd, nameAddr)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Unlink(t.vctx(), at, name, int(flags))
}

func sysRename(t *Thread, a Args) (uint64, error) {
	return t.rename(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], 0)
}

func sysRenameat(t *Thread, a Args) (uint64, error) {
	return t.rename(a.int32(0), a[1], a.int32(2), a[3], 0)
}

func sysRenameat2(t *Thread, a Args) (uint64, error) {
	return t.rename(a.int32(0), a[1], a.int32(2), a[3], uint32(a[4]))
}

func (t *Thread) rename(oldFD int32, oldAddr uint64, newFD int32, newAddr uint64, flags uint32) (uint64, error) {
	oldAt, oldName, err := t.pathAt(oldFD, oldAddr)
	if err != nil {
		return 0, err
	}
	newAt, newName, err := t.pathAt(newFD, newAddr)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Rename(t.vctx(), oldAt, oldName, newAt, newName, flags)
}

func sysLink(t *Thread, a Args) (uint64, error) {
	return t.link(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], 0)
}

func sysLinkat(t *Thread, a Args) (uint64, error) {
	return t.link(a.int32(0), a[1], a.int32(2), a[3], a.int32(4))
}

func (t *Thread) link(oldFD int32, oldAddr uint64, newFD int32, newAddr uint64, flags int32) (uint64, error) {
	if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	oldAt, oldName, err := t.pathAt(oldFD, oldAddr)
	if err != nil {
		return 0, err
	}
	newAt, newName, err := t.pathAt(newFD, newAddr)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Link(t.vctx(), oldAt, oldName, newAt, newName, int(flags))
}

func sysSymlink(t *Thread, a Args) (uint64, error) { return t.symlink(a[0], unix.AT_FDCWD, a[1]) }

func sysSymlinkat(t *Thread, a Args) (uint64, error) { return t.symlink(a[0], a.int32(1), a[2]) }

func (t *Thread) symlink(targetAddr uint64, dirfd int32, nameAddr uint64) (uint64, error) {
	target, err := t.readPath(targetAddr)
	if err != nil {
		return 0, err
	}
	at, name, err := t.pathAt(dirfd, nameAddr)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Symlink(t.vctx(), target, at, name)
}

func sysMknod(t *Thread, a Args) (uint64, error) { return t.mknod(unix.AT_FDCWD, a[0], a[1], a[2]) }

func sysMknodat(t *Thread, a Args) (uint64, error) { return t.mknod(a.int32(0), a[1], a[2], a[3]) }

func (t *Thread) mknod(dirfd int32, nameAddr, mode, dev uint64) (uint64, error) {
	at, name, err := t.pathAt(dirfd, nameAddr)
	if err != nil {
		return 0, err
	}
	_, err = t.ns().Mknod(t.vctx(), at, name, uint32(mode), dev&math.MaxUint32)
	return 0, err
}
