package shim

import (
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// openCalls are the rows of the calls that make and drop descriptors.
func openCalls() []Syscall {
	const pathBound = "4096 bytes of path, 40 links"
	return []Syscall{
		{unix.SYS_OPEN, "open", sysOpen, Full, "", pathBound},
		{unix.SYS_CREAT, "creat", sysCreat, Full, "", pathBound},
		{unix.SYS_OPENAT, "openat", sysOpenat, Full, "", pathBound},
		{unix.SYS_OPENAT2, "openat2", sysOpenat2, Full, "", pathBound},
		{unix.SYS_CLOSE, "close", sysClose, Full, "", ""},
		{unix.SYS_CLOSE_RANGE, "close_range", sysCloseRange, Full, "", "the table's size"},
		{unix.SYS_DUP, "dup", sysDup, Full, "", ""},
		{unix.SYS_DUP2, "dup2", sysDup2, Full, "", ""},
		{unix.SYS_DUP3, "dup3", sysDup3, Full, "", ""},
	}
}

// validOpenFlags is VALID_OPEN_FLAGS (include/linux/fcntl.h).
const validOpenFlags = unix.O_RDONLY | unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY |
	unix.O_TRUNC | unix.O_APPEND | unix.O_NONBLOCK | unix.O_DSYNC | unix.O_SYNC | unix.O_ASYNC | unix.O_DIRECT |
	oLargefile | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | unix.O_TMPFILE

// oLargefile is O_LARGEFILE of x86, which the kernel sets in every 64-bit open.
const oLargefile = 0o100000

func sysOpen(t *Thread, a Args) (uint64, error) {
	return t.openAt(unix.AT_FDCWD, a[0], int(a.int32(1)), uint32(a[2]))
}

func sysCreat(t *Thread, a Args) (uint64, error) {
	return t.openAt(unix.AT_FDCWD, a[0], unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, uint32(a[1]))
}

func sysOpenat(t *Thread, a Args) (uint64, error) {
	return t.openAt(a.int32(0), a[1], int(a.int32(2)), uint32(a[3]))
}

// openAt is openat(2), which ignores flags that it does not know.
func (t *Thread) openAt(dirfd int32, name uint64, flags int, mode uint32) (uint64, error) {
	how := vfs.How{Flags: flags & validOpenFlags, Mode: mode & 0o7777}
	if flags&(unix.O_CREAT|(unix.O_TMPFILE&^unix.O_DIRECTORY)) == 0 {
		how.Mode = 0
	}
	return t.open(dirfd, name, how)
}

// open opens and installs a descriptor.
func (t *Thread) open(dirfd int32, nameAddr uint64, how vfs.How) (uint64, error) {
	at, name, err := t.pathAt(dirfd, nameAddr)
	if err != nil {
		return 0, err
	}
	// A full table is noticed before anything is created.
	if _, err := t.files.lowest(0, t.fdLimit()); err != nil {
		return 0, err
	}
	o, err := t.ns().Open(t.vctx(), at, name, how)
	if err != nil {
		return 0, err
	}
	cloexec := how.Flags&unix.O_CLOEXEC != 0
	if o.File == nil {
		return t.openSpecial(o.Path, how.Flags, cloexec)
	}
	if how.Flags&unix.O_TRUNC != 0 && !o.Created {
		t.k.resized(o.File.Inode(), 0)
	}
	flags := how.Flags | oLargefile
	if flags&unix.O_PATH != 0 {
		flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW // O_PATH_FLAGS
	}
	f, err := t.k.newOpenFile(&vfsFile{t.k, o.File}, o.Path, flags)
	if err != nil {
		return 0, err
	}
	return t.addFD(f, cloexec)
}

// openSpecial opens what the file tree leaves to this package: FIFOs, and anonymous objects through /proc/PID/fd.
func (t *Thread) openSpecial(p vfs.Path, flags int, cloexec bool) (uint64, error) {
	flags |= oLargefile
	if a, ok := p.Inode().(*anonInode); ok {
		impl, err := a.opener(t, &openRequest{flags, p})
		if err != nil {
			return 0, err
		}
		f, err := t.k.newOpenFile(impl, p, flags)
		if err != nil {
			return 0, err
		}
		return t.addFD(f, cloexec)
	}
	if p.Inode().Type() != unix.S_IFIFO {
		return 0, unix.ENXIO
	}
	return t.openFIFO(p, flags, cloexec)
}

// resolveCached is RESOLVE_CACHED (include/uapi/linux/openat2.h).
const resolveCached = 0x20

// openHowSize is the size of struct open_how in its first version.
const openHowSize = 24

func sysOpenat2(t *Thread, a Args) (uint64, error) {
	size := a[3]
	if size < openHowSize {
		return 0, unix.EINVAL
	}
	if size > vfs.PageSize {
		return 0, unix.E2BIG
	}
	raw := make([]byte, size)
	if err := t.copyIn(a[2], raw); err != nil {
		return 0, err
	}
	// copy_struct_from_user: what this version does not know must be zero.
	for _, b := range raw[openHowSize:] {
		if b != 0 {
			return 0, unix.E2BIG
		}
	}
	flags, mode, resolve := le.Uint64(raw), le.Uint64(raw[8:]), le.Uint64(raw[16:])
	const knownResolve = unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS |
		unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | resolveCached
	const creates = unix.O_CREAT | (unix.O_TMPFILE &^ unix.O_DIRECTORY)
	switch {
	case flags&^validOpenFlags != 0, resolve&^knownResolve != 0, mode&^0o7777 != 0:
		return 0, unix.EINVAL
	case flags&creates == 0 && mode != 0:
		return 0, unix.EINVAL
	case resolve&unix.RESOLVE_BENEATH != 0 && resolve&unix.RESOLVE_IN_ROOT != 0:
		return 0, unix.EINVAL
	case flags&unix.O_PATH != 0 && flags&^(unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC) != 0:
		return 0, unix.EINVAL
	case resolve&resolveCached != 0:
		return 0, unix.EAGAIN // always allowed: "not cached"
	}
	return t.open(a.int32(0), a[1], vfs.How{Flags: int(flags), Mode: uint32(mode), Resolve: resolve})
}

func sysClose(t *Thread, a Args) (uint64, error) {
	e := t.files.entry(int(a.int32(0)))
	if e == nil {
		return 0, unix.EBADF
	}
	var err error // the descriptor is closed all the same, as in Linux
	if h, ok := e.f.impl.(*hostFile); ok {
		err = h.writeError()
	}
	t.files.close(int(a.int32(0)))
	return 0, err
}

func sysCloseRange(t *Thread, a Args) (uint64, error) {
	first, last, flags := uint32(a[0]), uint32(a[1]), uint32(a[2])
	const known = unix.CLOSE_RANGE_UNSHARE | unix.CLOSE_RANGE_CLOEXEC
	if flags&^uint32(known) != 0 || first > last {
		return 0, unix.EINVAL
	}
	if flags&unix.CLOSE_RANGE_UNSHARE != 0 && t.files.shared() {
		own, err := t.files.clone(t.k)
		if err != nil {
			return 0, err
		}
		t.setFiles(own)
	}
	if first >= nrOpen {
		return 0, nil
	}
	t.files.eachFrom(int(first), int(min(last, nrOpen-1)), func(fd int, e *fdEntry) {
		if flags&unix.CLOSE_RANGE_CLOEXEC != 0 {
			e.cloexec = true
		} else {
			t.files.close(fd)
		}
	})
	return 0, nil
}

func sysDup(t *Thread, a Args) (uint64, error) {
	f, err := t.files.get(a.int32(0))
	if err != nil {
		return 0, err
	}
	return t.addFD(f.hold(), false)
}

func sysDup2(t *Thread, a Args) (uint64, error) {
	if a.int32(0) == a.int32(1) {
		if _, err := t.files.get(a.int32(0)); err != nil {
			return 0, err
		}
		return uint64(uint32(a[1])), nil
	}
	return t.dupTo(a.int32(0), a.int32(1), false)
}

func sysDup3(t *Thread, a Args) (uint64, error) {
	flags := a.int32(2)
	if flags&^unix.O_CLOEXEC != 0 || a.int32(0) == a.int32(1) {
		return 0, unix.EINVAL
	}
	return t.dupTo(a.int32(0), a.int32(1), flags != 0)
}

func (t *Thread) dupTo(from, to int32, cloexec bool) (uint64, error) {
	if to < 0 || uint64(to) >= t.fdLimit() || to >= nrOpen {
		return 0, unix.EBADF
	}
	f, err := t.files.get(from)
	if err != nil {
		return 0, err
	}
	return uint64(to), t.files.replace(int(to), f.hold(), cloexec)
}

// setFiles gives the thread another descriptor table.
func (t *Thread) setFiles(d *FDTable) {
	old := t.files
	t.files = d
	setSlotFiles(t.slot, d.gva())
	old.release(t)
	t.p.areSeen()
}
