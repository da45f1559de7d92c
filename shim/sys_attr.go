package shim

import (
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// attrCalls are the rows of the calls that change attributes and sizes.
func attrCalls() []Syscall {
	const pathBound = "4096 bytes of path, 40 links"
	return []Syscall{
		{unix.SYS_CHMOD, "chmod", sysChmod, Full, "", pathBound},
		{unix.SYS_FCHMOD, "fchmod", sysFchmod, Full, "", ""},
		{unix.SYS_FCHMODAT, "fchmodat", sysFchmodat, Full, "", pathBound},
		{unix.SYS_FCHMODAT2, "fchmodat2", sysFchmodat2, Full, "", pathBound},
		{unix.SYS_CHOWN, "chown", sysChown, Full, "", pathBound},
		{unix.SYS_LCHOWN, "lchown", sysLchown, Full, "", pathBound},
		{unix.SYS_FCHOWN, "fchown", sysFchown, Full, "", ""},
		{unix.SYS_FCHOWNAT, "fchownat", sysFchownat, Full, "", pathBound},
		{unix.SYS_UTIME, "utime", sysUtime, Full, "", pathBound},
		{unix.SYS_UTIMES, "utimes", sysUtimes, Full, "", pathBound},
		{unix.SYS_FUTIMESAT, "futimesat", sysFutimesat, Full, "", pathBound},
		{unix.SYS_UTIMENSAT, "utimensat", sysUtimensat, Full, "", pathBound},
		{unix.SYS_TRUNCATE, "truncate", sysTruncate, Full, "", pathBound},
		{unix.SYS_FTRUNCATE, "ftruncate", sysFtruncate, Full, "", ""},
		{unix.SYS_FALLOCATE, "fallocate", sysFallocate, Partial, "modes that the file system has", ""},
	}
}

func sysChmod(t *Thread, a Args) (uint64, error) { return t.chmodAt(unix.AT_FDCWD, a[0], a[1], 0) }

func sysFchmodat(t *Thread, a Args) (uint64, error) { return t.chmodAt(a.int32(0), a[1], a[2], 0) }

func sysFchmodat2(t *Thread, a Args) (uint64, error) {
	flags := a.int32(3)
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	return t.chmodAt(a.int32(0), a[1], a[2], flags)
}

func (t *Thread) chmodAt(dirfd int32, name, mode uint64, flags int32) (uint64, error) {
	p, err := t.walkAt(dirfd, name, flags)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Chmod(t.vctx(), p, uint32(mode)&0o7777)
}

func sysFchmod(t *Thread, a Args) (uint64, error) {
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Chmod(t.vctx(), f.path, uint32(a[1])&0o7777)
}

func sysChown(t *Thread, a Args) (uint64, error) {
	return t.chownAt(unix.AT_FDCWD, a[0], a[1], a[2], 0)
}

func sysLchown(t *Thread, a Args) (uint64, error) {
	return t.chownAt(unix.AT_FDCWD, a[0], a[1], a[2], unix.AT_SYMLINK_NOFOLLOW)
}

func sysFchownat(t *Thread, a Args) (uint64, error) {
	flags := a.int32(4)
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	return t.chownAt(a.int32(0), a[1], a[2], a[3], flags)
}

func (t *Thread) chownAt(dirfd int32, name, uid, gid uint64, flags int32) (uint64, error) {
	p, err := t.walkAt(dirfd, name, flags)
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Chown(t.vctx(), p, uint32(uid), uint32(gid))
}

func sysFchown(t *Thread, a Args) (uint64, error) {
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	return 0, t.ns().Chown(t.vctx(), f.path, uint32(a[1]), uint32(a[2]))
}

// sysUtime takes a struct utimbuf: seconds of access and modification.
func sysUtime(t *Thread, a Args) (uint64, error) {
	if a[1] == 0 {
		return t.utimensAt(unix.AT_FDCWD, a[0], nil, 0)
	}
	var raw [16]byte
	if err := t.copyIn(a[1], raw[:]); err != nil {
		return 0, err
	}
	times := [2]unix.Timespec{{Sec: int64(le.Uint64(raw[0:]))}, {Sec: int64(le.Uint64(raw[8:]))}}
	return t.utimensAt(unix.AT_FDCWD, a[0], &times, 0)
}

func sysUtimes(t *Thread, a Args) (uint64, error) { return t.utimes(unix.AT_FDCWD, a[0], a[1]) }

func sysFutimesat(t *Thread, a Args) (uint64, error) { return t.utimes(a.int32(0), a[1], a[2]) }

// utimes takes two struct timeval; a NULL name is the descriptor itself.
func (t *Thread) utimes(dirfd int32, name, addr uint64) (uint64, error) {
	if addr == 0 {
		return t.utimensAt(dirfd, name, nil, 0)
	}
	var raw [32]byte
	if err := t.copyIn(addr, raw[:]); err != nil {
		return 0, err
	}
	var times [2]unix.Timespec
	for i := range times {
		usec := int64(le.Uint64(raw[16*i+8:]))
		if usec < 0 || usec >= 1e6 {
			return 0, unix.EINVAL
		}
		times[i] = unix.Timespec{Sec: int64(le.Uint64(raw[16*i:])), Nsec: usec * 1000}
	}
	return t.utimensAt(dirfd, name, &times, 0)
}

func sysUtimensat(t *Thread, a Args) (uint64, error) {
	flags := a.int32(3)
	if a[2] == 0 {
		return t.utimensAt(a.int32(0), a[1], nil, flags)
	}
	var raw [32]byte
	if err := t.copyIn(a[2], raw[:]); err != nil {
		return 0, err
	}
	var times [2]unix.Timespec
	for i := range times {
		nsec := int64(le.Uint64(raw[16*i+8:]))
		if nsec != unix.UTIME_NOW && nsec != unix.UTIME_OMIT && (nsec < 0 || nsec >= 1e9) {
			return 0, unix.EINVAL
		}
		times[i] = unix.Timespec{Sec: int64(le.Uint64(raw[16*i:])), Nsec: nsec}
	}
	if times[0].Nsec == unix.UTIME_OMIT && times[1].Nsec == unix.UTIME_OMIT {
		return 0, nil
	}
	return t.utimensAt(a.int32(0), a[1], &times, flags)
}

func (t *Thread) utimensAt(dirfd int32, name uint64, times *[2]unix.Timespec, flags int32) (uint64, error) {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	var p vfs.Path
	if name == 0 && dirfd != unix.AT_FDCWD {
		if flags != 0 {
			return 0, unix.EINVAL
		}
		f, err := t.files.file(dirfd)
		if err != nil {
			return 0, err
		}
		p = f.path
	} else {
		var err error
		if p, err = t.walkAt(dirfd, name, flags); err != nil {
			return 0, err
		}
	}
	return 0, t.ns().Utimens(t.vctx(), p, times)
}

func sysTruncate(t *Thread, a Args) (uint64, error) {
	size := int64(a[1])
	if size < 0 {
		return 0, unix.EINVAL
	}
	p, err := t.walkAt(unix.AT_FDCWD, a[0], 0)
	if err != nil {
		return 0, err
	}
	if err := t.checkFileSize(size); err != nil {
		return 0, err
	}
	if err := t.ns().Truncate(t.vctx(), p, size); err != nil {
		return 0, err
	}
	t.k.resized(p.Inode(), size)
	return 0, nil
}

func sysFtruncate(t *Thread, a Args) (uint64, error) {
	size := int64(a[1])
	if size < 0 {
		return 0, unix.EINVAL
	}
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	v, ok := f.impl.(*vfsFile)
	h, host := f.impl.(*hostFile)
	if !ok && !host || ok && v.file.Inode().Type() != unix.S_IFREG || host && h.kind != unix.S_IFREG || !f.write {
		return 0, unix.EINVAL
	}
	if err := t.checkFileSize(size); err != nil {
		return 0, err
	}
	if host {
		return 0, errnoOrNil(unix.Ftruncate(h.fd, size))
	}
	if err := v.file.Truncate(size); err != nil {
		return 0, err
	}
	t.k.resized(v.file.Inode(), size)
	return 0, nil
}

// checkFileSize applies RLIMIT_FSIZE to a truncation (inode_newsize_ok).
func (t *Thread) checkFileSize(size int64) error {
	if limit := t.p.limits[unix.RLIMIT_FSIZE].cur; limit != rlimInfinity && uint64(size) > limit {
		t.raise(unix.SIGXFSZ)
		return unix.EFBIG
	}
	return nil
}

// allocates reports whether vfs_fallocate takes a mode: a hole is punched without a change of the size only, and what changes
// offsets is done alone.
func allocates(mode uint32) bool {
	const (
		alone = unix.FALLOC_FL_COLLAPSE_RANGE | unix.FALLOC_FL_INSERT_RANGE
		known = alone | unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_UNSHARE_RANGE
		kinds = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_ZERO_RANGE
	)
	return mode&^known == 0 && mode&kinds != kinds &&
		(mode&unix.FALLOC_FL_PUNCH_HOLE == 0 || mode&unix.FALLOC_FL_KEEP_SIZE != 0)
}

func sysFallocate(t *Thread, a Args) (uint64, error) {
	mode, off, n := uint32(a[1]), int64(a[2]), int64(a[3])
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	if off < 0 || n <= 0 {
		return 0, unix.EINVAL
	}
	if !allocates(mode) {
		return 0, unix.EOPNOTSUPP
	}
	if !f.write {
		return 0, unix.EBADF
	}
	v, ok := f.impl.(*vfsFile)
	if !ok {
		if f.path.Inode().Type() == unix.S_IFIFO {
			return 0, unix.ESPIPE
		}
		return 0, unix.ENODEV
	}
	switch v.file.Inode().Type() {
	case unix.S_IFDIR:
		return 0, unix.EISDIR
	case unix.S_IFREG:
	default:
		return 0, unix.ENODEV
	}
	end, err := addOffset(off, n)
	if err != nil {
		return 0, unix.EFBIG
	}
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
		if err := t.checkFileSize(end); err != nil {
			return 0, err
		}
	}
	if err := v.file.Allocate(mode, off, n); err != nil {
		return 0, err
	}
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		t.k.punched(v.file.Inode(), off, n)
	}
	return 0, nil
}
