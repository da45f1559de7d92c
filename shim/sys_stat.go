package shim

import (
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// statCalls are the rows of the calls that ask about files.
func statCalls() []Syscall {
	const pathBound = "4096 bytes of path, 40 links"
	return []Syscall{
		{unix.SYS_STAT, "stat", sysStat, Full, "", pathBound},
		{unix.SYS_FSTAT, "fstat", sysFstat, Full, "", ""},
		{unix.SYS_LSTAT, "lstat", sysLstat, Full, "", pathBound},
		{unix.SYS_NEWFSTATAT, "newfstatat", sysNewfstatat, Full, "", pathBound},
		{unix.SYS_STATX, "statx", sysStatx, Full, "", pathBound},
		{unix.SYS_ACCESS, "access", sysAccess, Full, "", pathBound},
		{unix.SYS_FACCESSAT, "faccessat", sysFaccessat, Full, "", pathBound},
		{unix.SYS_FACCESSAT2, "faccessat2", sysFaccessat2, Full, "", pathBound},
		{unix.SYS_READLINK, "readlink", sysReadlink, Full, "", pathBound},
		{unix.SYS_READLINKAT, "readlinkat", sysReadlinkat, Full, "", pathBound},
		{unix.SYS_STATFS, "statfs", sysStatfs, Full, "", pathBound},
		{unix.SYS_FSTATFS, "fstatfs", sysFstatfs, Full, "", ""},
		{unix.SYS_USTAT, "ustat", sysENOSYS, None, "there are no block devices", ""},
	}
}

func (t *Thread) statPath(dirfd int32, name uint64, flags int32, buf uint64) (uint64, error) {
	st, _, err := t.statAt(dirfd, name, flags)
	if err != nil {
		return 0, err
	}
	return 0, t.copyOut(buf, putStat(&st))
}

// statAt finds and asks what an *at call names; an empty path with AT_EMPTY_PATH is the descriptor itself.
func (t *Thread) statAt(dirfd int32, name uint64, flags int32) (vfs.Stat, vfs.Path, error) {
	if flags&unix.AT_EMPTY_PATH != 0 && dirfd >= 0 && t.emptyName(name) {
		f, err := t.files.get(dirfd)
		if err != nil {
			return vfs.Stat{}, vfs.Path{}, err
		}
		st, err := f.stat()
		return st, f.path, err
	}
	p, err := t.walkAt(dirfd, name, flags)
	if err != nil {
		return vfs.Stat{}, vfs.Path{}, err
	}
	st, err := t.ns().Stat(p)
	return st, p, err
}

// emptyName reports whether a path argument is "" or, as Linux 6.11 allows with AT_EMPTY_PATH, NULL.
func (t *Thread) emptyName(addr uint64) bool {
	if addr == 0 {
		return true
	}
	var b [1]byte
	return t.copyIn(addr, b[:]) == nil && b[0] == 0
}

func sysStat(t *Thread, a Args) (uint64, error) { return t.statPath(unix.AT_FDCWD, a[0], 0, a[1]) }

func sysLstat(t *Thread, a Args) (uint64, error) {
	return t.statPath(unix.AT_FDCWD, a[0], unix.AT_SYMLINK_NOFOLLOW, a[1])
}

func sysNewfstatat(t *Thread, a Args) (uint64, error) {
	flags := a.int32(3)
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	return t.statPath(a.int32(0), a[1], flags, a[2])
}

func sysFstat(t *Thread, a Args) (uint64, error) {
	f, err := t.files.get(a.int32(0))
	if err != nil {
		return 0, err
	}
	st, err := f.stat()
	if err != nil {
		return 0, err
	}
	return 0, t.copyOut(a[1], putStat(&st))
}

// atStatxSyncType is AT_STATX_SYNC_TYPE (include/uapi/linux/fcntl.h).
const atStatxSyncType = unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC

func sysStatx(t *Thread, a Args) (uint64, error) {
	flags, mask := a.int32(2), uint32(a[3])
	const known = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH | atStatxSyncType
	if flags&^known != 0 || flags&atStatxSyncType == atStatxSyncType || mask&unix.STATX__RESERVED != 0 {
		return 0, unix.EINVAL
	}
	st, _, err := t.statAt(a.int32(0), a[1], flags)
	if err != nil {
		return 0, err
	}
	return 0, t.copyOut(a[4], putStatx(&st, 0))
}

func sysAccess(t *Thread, a Args) (uint64, error) {
	return t.access(unix.AT_FDCWD, a[0], a.int32(1), 0)
}

func sysFaccessat(t *Thread, a Args) (uint64, error) {
	return t.access(a.int32(0), a[1], a.int32(2), 0)
}

func sysFaccessat2(t *Thread, a Args) (uint64, error) {
	return t.access(a.int32(0), a[1], a.int32(2), a.int32(3))
}

func (t *Thread) access(dirfd int32, name uint64, mode, flags int32) (uint64, error) {
	const known = unix.AT_EACCESS | unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH
	if mode&^(unix.R_OK|unix.W_OK|unix.X_OK) != 0 || flags&^known != 0 {
		return 0, unix.EINVAL
	}
	p, err := t.walkAt(dirfd, name, flags)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Access(t.vctx(), p, uint32(mode), flags&unix.AT_EACCESS == 0)
}

func sysReadlink(t *Thread, a Args) (uint64, error) {
	return t.readlink(unix.AT_FDCWD, a[0], a[1], a.int32(2))
}

func sysReadlinkat(t *Thread, a Args) (uint64, error) {
	return t.readlink(a.int32(0), a[1], a[2], a.int32(3))
}

func (t *Thread) readlink(dirfd int32, nameAddr, buf uint64, size int32) (uint64, error) {
	if size <= 0 {
		return 0, unix.EINVAL
	}
	at, name, err := t.pathAt(dirfd, nameAddr)
	if err != nil {
		return 0, err
	}
	target, err := t.ns().Readlink(t.vctx(), at, name)
	if err != nil {
		return 0, err
	}
	n := min(len(target), int(size))
	return uint64(n), t.copyOut(buf, []byte(target[:n]))
}

func sysStatfs(t *Thread, a Args) (uint64, error) {
	p, err := t.walkAt(unix.AT_FDCWD, a[0], 0)
	if err != nil {
		return 0, err
	}
	return t.statfs(p, a[1])
}

func sysFstatfs(t *Thread, a Args) (uint64, error) {
	f, err := t.files.get(a.int32(0))
	if err != nil {
		return 0, err
	}
	return t.statfs(f.path, a[1])
}

func (t *Thread) statfs(p vfs.Path, buf uint64) (uint64, error) {
	st, err := t.ns().Statfs(p)
	if err != nil {
		return 0, err
	}
	return 0, t.copyOut(buf, putStatfs(&st))
}
