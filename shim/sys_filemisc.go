package shim

import (
	"culvert/shim/vfs"
	"culvert/shim/vfs/memfs"

	"golang.org/x/sys/unix"
)

// fileMiscCalls are the rows of the file calls that fit nowhere else.
func fileMiscCalls() []Syscall {
	const mounts = "the tree is fixed when the VM starts"
	return []Syscall{
		{unix.SYS_SYNC, "sync", sysSync, Full, "", ""},
		{unix.SYS_SYNCFS, "syncfs", sysSyncfs, Full, "", ""},
		{unix.SYS_FSYNC, "fsync", sysFsync, Full, "", ""},
		{unix.SYS_FDATASYNC, "fdatasync", sysFdatasync, Full, "", ""},
		{unix.SYS_SYNC_FILE_RANGE, "sync_file_range", sysSyncFileRange, Partial, "syncs the whole file", ""},
		{unix.SYS_FADVISE64, "fadvise64", sysFadvise, Stub, "advice is checked and ignored", ""},
		{unix.SYS_READAHEAD, "readahead", sysReadahead, Stub, "checked and ignored", ""},
		{unix.SYS_MEMFD_CREATE, "memfd_create", sysMemfdCreate, Partial, "no huge pages", "half of RAM for all of them"},
		{unix.SYS_MOUNT, "mount", sysEPERM, Stub, mounts, ""},
		{unix.SYS_UMOUNT2, "umount2", sysEPERM, Stub, mounts, ""},
		{unix.SYS_PIVOT_ROOT, "pivot_root", sysEPERM, Stub, mounts, ""},
		{unix.SYS_OPEN_TREE, "open_tree", sysEPERM, Stub, mounts, ""},
		{unix.SYS_MOVE_MOUNT, "move_mount", sysEPERM, Stub, mounts, ""},
		{unix.SYS_FSOPEN, "fsopen", sysEPERM, Stub, mounts, ""},
		{unix.SYS_FSMOUNT, "fsmount", sysEPERM, Stub, mounts, ""},
		{unix.SYS_FSPICK, "fspick", sysEPERM, Stub, mounts, ""},
		{unix.SYS_MOUNT_SETATTR, "mount_setattr", sysEPERM, Stub, mounts, ""},
		{unix.SYS_SWAPON, "swapon", sysEPERM, Stub, "there is no swap", ""},
		{unix.SYS_SWAPOFF, "swapoff", sysEPERM, Stub, "there is no swap", ""},
		{unix.SYS_QUOTACTL, "quotactl", sysENOSYS, None, "", ""},
		{unix.SYS_INOTIFY_INIT, "inotify_init", sysENOSYS, None, "", ""},
		{unix.SYS_INOTIFY_INIT1, "inotify_init1", sysENOSYS, None, "", ""},
		{unix.SYS_INOTIFY_ADD_WATCH, "inotify_add_watch", sysENOSYS, None, "", ""},
		{unix.SYS_INOTIFY_RM_WATCH, "inotify_rm_watch", sysENOSYS, None, "", ""},
		{unix.SYS_FANOTIFY_INIT, "fanotify_init", sysENOSYS, None, "", ""},
		{unix.SYS_FANOTIFY_MARK, "fanotify_mark", sysENOSYS, None, "", ""},
		{unix.SYS_NAME_TO_HANDLE_AT, "name_to_handle_at", sysEOPNOTSUPP, Stub, "no file handles", ""},
		{unix.SYS_OPEN_BY_HANDLE_AT, "open_by_handle_at", sysEPERM, Stub, "no file handles", ""},
	}
}

func sysEPERM(*Thread, Args) (uint64, error)      { return 0, unix.EPERM }
func sysENOSYS(*Thread, Args) (uint64, error)     { return 0, unix.ENOSYS }
func sysEOPNOTSUPP(*Thread, Args) (uint64, error) { return 0, unix.EOPNOTSUPP }

// sysSync has nothing to do: what a program wrote to a host file is in the host's cache, whose own sync serves it.
func sysSync(*Thread, Args) (uint64, error) { return 0, nil }

func sysSyncfs(t *Thread, a Args) (uint64, error) {
	_, err := t.files.file(a.int32(0))
	return 0, err
}

func sysFsync(t *Thread, a Args) (uint64, error)     { return t.fsync(a.int32(0), false) }
func sysFdatasync(t *Thread, a Args) (uint64, error) { return t.fsync(a.int32(0), true) }

// fsync may take the host long: it runs without Kernel.mu.
func (t *Thread) fsync(fd int32, dataOnly bool) (uint64, error) {
	f, err := t.files.file(fd)
	if err != nil {
		return 0, err
	}
	var sync func(dataOnly bool) error
	switch impl := f.impl.(type) {
	case *vfsFile:
		sync = impl.file.Sync
	case *hostFile:
		if err := impl.syncError(); err != nil {
			return 0, err
		}
		sync = impl.sync
	default:
		return 0, unix.EINVAL
	}
	f.hold()
	return t.Block(func(w *Waiter) (uint64, error) {
		defer f.drop()
		var err error
		w.Unlocked(nil, func() { err = sync(dataOnly) })
		return 0, err
	})
}

func sysSyncFileRange(t *Thread, a Args) (uint64, error) {
	const known = 7 // SYNC_FILE_RANGE_WAIT_BEFORE, WRITE, WAIT_AFTER
	if a[3]&^known != 0 || int64(a[1]) < 0 || int64(a[1])+int64(a[2]) < int64(a[1]) {
		return 0, unix.EINVAL
	}
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	if v, ok := f.impl.(*vfsFile); !ok || v.file.Kind() == vfs.Stream {
		return 0, unix.ESPIPE
	}
	return t.fsync(a.int32(0), true)
}

func sysFadvise(t *Thread, a Args) (uint64, error) {
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	if _, ok := f.impl.(*pipeFile); ok {
		return 0, unix.ESPIPE
	}
	if int64(a[2]) < 0 || a[3] > unix.FADV_NOREUSE {
		return 0, unix.EINVAL
	}
	return 0, nil
}

func sysReadahead(t *Thread, a Args) (uint64, error) {
	f, err := t.readable(a.int32(0))
	if err != nil {
		return 0, err
	}
	v, ok := f.impl.(*vfsFile)
	if !ok || v.file.Inode().Type() != unix.S_IFREG || int64(a[1]) < 0 {
		return 0, unix.EINVAL
	}
	return 0, nil
}

// memfdNameMax is MFD_NAME_MAX_LEN: NAME_MAX without "memfd:".
const memfdNameMax = vfs.NameMax - 6

func sysMemfdCreate(t *Thread, a Args) (uint64, error) {
	flags := uint32(a[1])
	const known = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING | unix.MFD_NOEXEC_SEAL | unix.MFD_EXEC
	if flags&^uint32(known) != 0 || flags&(unix.MFD_EXEC|unix.MFD_NOEXEC_SEAL) == unix.MFD_EXEC|unix.MFD_NOEXEC_SEAL {
		return 0, unix.EINVAL
	}
	name, err := t.readString(a[0], memfdNameMax+1)
	if err == unix.ENAMETOOLONG {
		err = unix.EINVAL
	}
	if err != nil {
		return 0, err
	}
	fs, err := t.k.memfdFS()
	if err != nil {
		return 0, err
	}
	mode := uint32(0o777)
	if flags&unix.MFD_NOEXEC_SEAL != 0 {
		mode = 0o666
	}
	inode := fs.NewFile(vfs.CreateAttr{Mode: unix.S_IFREG | mode, UID: t.cred.FSUID, GID: t.cred.FSGID})
	seals := uint32(0)
	if flags&unix.MFD_NOEXEC_SEAL != 0 {
		seals = unix.F_SEAL_EXEC
	} else if flags&unix.MFD_ALLOW_SEALING == 0 {
		seals = unix.F_SEAL_SEAL
	}
	if seals != 0 {
		if err := inode.AddSeals(seals); err != nil {
			return 0, err
		}
	}
	path := t.ns().Anonymous("/memfd:"+name+" (deleted)", inode)
	file, err := inode.Open(t.vctx(), unix.O_RDWR)
	if err != nil {
		return 0, err
	}
	f, err := t.k.newOpenFile(&vfsFile{t.k, file}, path, unix.O_RDWR|oLargefile)
	if err != nil {
		return 0, err
	}
	return t.addFD(f, flags&unix.MFD_CLOEXEC != 0)
}

// memfdFS holds the files without a name of memfd_create(2) in the host's memory.
func (k *Kernel) memfdFS() (*memfs.FS, error) {
	if k.memfds == nil {
		const memfdDev = 1 // as shm_mnt has
		fs, err := memfs.New(memfs.Options{
			Quota: memfs.NewQuota(int64(len(k.ram)/2), 1<<16), Dev: memfdDev, Mode: 0o777,
		})
		if err != nil {
			return nil, unix.ENOMEM
		}
		k.memfds = fs
	}
	return k.memfds, nil
}
