package shim

import (
	"culvert/shim/mm"
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// fcntlCalls are the rows of the calls that act on a description.
func fcntlCalls() []Syscall {
	return []Syscall{
		{unix.SYS_FCNTL, "fcntl", sysFcntl, Partial, "no leases, no directory notification; F_SETOWN sends no SIGIO", "16384 locks on a file"},
		{unix.SYS_IOCTL, "ioctl", sysIoctl, Partial, "FIONREAD, FIONBIO, FIOCLEX, FIOASYNC, terminal queries", ""},
		{unix.SYS_FLOCK, "flock", sysFlock, Full, "within the VM", "16384 locks on a file"},
	}
}

// Requests of fcntl(2) that golang.org/x/sys lacks (include/uapi/asm-generic/fcntl.h, include/uapi/linux/fcntl.h).
const (
	fSetSig     = 10
	fGetSig     = 11
	fSetOwnEx   = 15
	fGetOwnEx   = 16
	fOFDGetLk   = 36
	fOFDSetLk   = 37
	fOFDSetLkw  = 38
	fDupFDQuery = 1024 + 3
)

// Requests of ioctl(2) that every file has (include/uapi/asm-generic/ioctls.h).
const (
	fionbio  = 0x5421
	fionclex = 0x5450
	fioclex  = 0x5451
	fioasync = 0x5452
)

// fcntlRequest is a request of fcntl(2).
type fcntlRequest struct {
	op    func(t *Thread, f *OpenFile, a Args) (uint64, error)
	opath bool // O_PATH descriptions have it too (check_fcntl_cmd)
}

// fcntlRequests returns the requests by number.
func fcntlRequests() map[int32]fcntlRequest {
	owner, lock := fcntlRequest{fcntlOwner, false}, fcntlRequest{fcntlSetLk, false}
	return map[int32]fcntlRequest{
		unix.F_DUPFD:         {fcntlDupFD, true},
		unix.F_DUPFD_CLOEXEC: {fcntlDupFD, true},
		unix.F_GETFD:         {fcntlGetFD, true},
		unix.F_SETFD:         {fcntlSetFD, true},
		unix.F_GETFL:         {fcntlGetFL, true},
		fDupFDQuery:          {fcntlDupFDQuery, true},
		unix.F_SETFL:         {fcntlSetFL, false},
		unix.F_GETLK:         {fcntlGetLk, false},
		fOFDGetLk:            {fcntlGetLk, false},
		unix.F_SETLK:         lock,
		unix.F_SETLKW:        lock,
		fOFDSetLk:            lock,
		fOFDSetLkw:           lock,
		unix.F_GETOWN:        owner,
		unix.F_SETOWN:        owner,
		fSetSig:              owner,
		fGetSig:              owner,
		fSetOwnEx:            owner,
		fGetOwnEx:            owner,
		unix.F_GETPIPE_SZ:    {fcntlPipeSize, false},
		unix.F_SETPIPE_SZ:    {fcntlPipeSize, false},
		unix.F_ADD_SEALS:     {fcntlSeals, false},
		unix.F_GET_SEALS:     {fcntlSeals, false},
		unix.F_GETLEASE:      {fcntlGetLease, false},
	}
}

func sysFcntl(t *Thread, a Args) (uint64, error) {
	f, err := t.files.get(a.int32(0))
	if err != nil {
		return 0, err
	}
	r, ok := t.k.fcntls[a.int32(1)]
	if f.opath() && !r.opath {
		return 0, unix.EBADF
	}
	if !ok {
		return 0, unix.EINVAL
	}
	return r.op(t, f, a)
}

func fcntlDupFD(t *Thread, f *OpenFile, a Args) (uint64, error) {
	from := uint64(uint32(a[2]))
	if from >= t.fdLimit() || from >= nrOpen {
		return 0, unix.EINVAL
	}
	return t.addFDFrom(int(from), f.hold(), a.int32(1) == unix.F_DUPFD_CLOEXEC)
}

func fcntlGetFD(t *Thread, _ *OpenFile, a Args) (uint64, error) {
	if t.files.entry(int(a.int32(0))).cloexec {
		return unix.FD_CLOEXEC, nil
	}
	return 0, nil
}

func fcntlSetFD(t *Thread, _ *OpenFile, a Args) (uint64, error) {
	t.files.entry(int(a.int32(0))).cloexec = a[2]&unix.FD_CLOEXEC != 0
	return 0, nil
}

func fcntlGetFL(_ *Thread, f *OpenFile, _ Args) (uint64, error) { return uint64(f.flags), nil }

func fcntlDupFDQuery(t *Thread, f *OpenFile, a Args) (uint64, error) {
	g, err := t.files.get(a.int32(2))
	if err != nil {
		return 0, err
	}
	if f == g {
		return 1, nil
	}
	return 0, nil
}

func fcntlSetFL(t *Thread, f *OpenFile, a Args) (uint64, error) {
	want := uint32(a[2]) & statusFlags
	if typ := f.path.Inode().Type(); typ != unix.S_IFIFO && typ != unix.S_IFSOCK && typ != unix.S_IFCHR {
		want &^= unix.O_ASYNC // kept by what can signal only: fasync_helper sets it
	}
	if want&unix.O_NOATIME != 0 && f.flags&unix.O_NOATIME == 0 {
		st, err := f.stat()
		if err != nil {
			return 0, err
		}
		if st.UID != t.cred.FSUID && !t.cred.Has(unix.CAP_FOWNER) {
			return 0, unix.EPERM
		}
	}
	f.setStatus(f.flags&^statusFlags | want)
	return 0, nil
}

// fcntlOwner serves the requests about who gets SIGIO. The owner is kept and reported; no file sends the signal.
func fcntlOwner(t *Thread, f *OpenFile, a Args) (uint64, error) {
	switch a.int32(1) {
	case unix.F_SETOWN:
		who := a.int32(2)
		if who == -1<<31 {
			return 0, unix.EINVAL
		}
		if who > 0 && t.k.processes[int(who)] == nil || who < 0 && t.k.groups[int(-who)] == nil {
			return 0, unix.ESRCH
		}
		f.owner, f.ownerType = who, 1
		if who < 0 {
			f.ownerType = 2
		}
		return 0, nil
	case unix.F_GETOWN:
		return uint64(int64(f.owner)), nil
	case fSetSig:
		if a[2] > 64 {
			return 0, unix.EINVAL
		}
		f.ownerSig = a.int32(2)
		return 0, nil
	case fGetSig:
		return uint64(f.ownerSig), nil
	case fSetOwnEx:
		var raw [8]byte
		if err := t.copyIn(a[2], raw[:]); err != nil {
			return 0, err
		}
		kind, who := int32(le.Uint32(raw[0:])), int32(le.Uint32(raw[4:]))
		if kind < 0 || kind > 2 {
			return 0, unix.EINVAL
		}
		if who != 0 && t.k.threads[int(who)] == nil && t.k.groups[int(who)] == nil {
			return 0, unix.ESRCH
		}
		f.owner, f.ownerType = who, kind
		if kind == 2 {
			f.owner = -who
		}
		return 0, nil
	case fGetOwnEx:
		who := f.owner
		if f.ownerType == 2 {
			who = -who
		}
		var raw [8]byte
		le.PutUint32(raw[0:], uint32(f.ownerType))
		le.PutUint32(raw[4:], uint32(who))
		return 0, t.copyOut(a[2], raw[:])
	}
	return 0, unix.EINVAL
}

func fcntlPipeSize(t *Thread, f *OpenFile, a Args) (uint64, error) {
	p, ok := f.impl.(*pipeFile)
	if !ok {
		return 0, unix.EBADF
	}
	if a.int32(1) == unix.F_GETPIPE_SZ {
		return p.size(), nil
	}
	return t.retryBusy(func() (uint64, error) { return p.setSize(t, uint32(a[2])) }, f)
}

// fcntlSeals serves the seals of memfd_create(2).
func fcntlSeals(t *Thread, f *OpenFile, a Args) (uint64, error) {
	adds := a.int32(1) == unix.F_ADD_SEALS
	if adds && !f.write {
		return 0, unix.EPERM
	}
	v, ok := f.impl.(*vfsFile)
	if !ok {
		return 0, unix.EINVAL
	}
	s, ok := v.file.Inode().(vfs.Sealer)
	if !ok || v.file.Inode().Type() != unix.S_IFREG {
		return 0, unix.EINVAL
	}
	if !adds {
		return uint64(s.Seals()), nil
	}
	const known = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE |
		unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_EXEC
	if a[2]&^uint64(known) != 0 {
		return 0, unix.EINVAL
	}
	busy := false
	if a[2]&unix.F_SEAL_WRITE != 0 {
		t.k.cached(v.file.Inode(), func(o *mm.Object) { busy = o.MayBeWritten() })
	}
	if busy {
		return 0, unix.EBUSY
	}
	return 0, s.AddSeals(uint32(a[2]))
}

// fcntlGetLease: nobody can take a lease.
func fcntlGetLease(*Thread, *OpenFile, Args) (uint64, error) { return unix.F_UNLCK, nil }

func sysIoctl(t *Thread, a Args) (uint64, error) {
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	req := uint32(a[1])
	switch req {
	case fioclex, fionclex:
		t.files.entry(int(a.int32(0))).cloexec = req == fioclex
		return 0, nil
	case fionbio, fioasync:
		on, err := t.readU32(a[2])
		if err != nil {
			return 0, err
		}
		bit := uint32(unix.O_NONBLOCK)
		if req == fioasync {
			bit = unix.O_ASYNC
		}
		if on != 0 {
			f.setStatus(f.flags | bit)
		} else {
			f.setStatus(f.flags &^ bit)
		}
		return 0, nil
	}
	i, ok := f.impl.(ioctler)
	if !ok {
		return 0, unix.ENOTTY
	}
	return i.ioctl(t, f, req, a[2])
}
