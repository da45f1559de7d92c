package shim

import (
	"time"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// locksOf returns an inode's locks, making them if make is set; nil if there are none.
func locksOf(inode vfs.Inode, mk bool) *inodeLocks {
	var fn func() any
	if mk {
		fn = func() any { return &inodeLocks{} }
	}
	s, _ := inode.Attach(inodeLocksKey{}, fn).(*inodeLocks)
	return s
}

// forgetLocks detaches the locks of an inode once there are none.
func forgetLocks(inode vfs.Inode, s *inodeLocks) {
	if s.empty() && s.wait.Empty() {
		inode.Detach(inodeLocksKey{})
	}
}

// dropPosixLocks removes the table's POSIX locks on a file of which it closes a descriptor.
func (k *Kernel) dropPosixLocks(d *FDTable, f *OpenFile) { k.dropLocks(f, d) }

// dropFileLocks removes the locks that belong to a description.
func (k *Kernel) dropFileLocks(f *OpenFile) { k.dropLocks(f, f) }

func (k *Kernel) dropLocks(f *OpenFile, owner lockOwner) {
	inode := f.path.Inode()
	if inode == nil {
		return
	}
	s := locksOf(inode, false)
	if s == nil {
		return
	}
	n := len(s.ranges) + len(s.flocks)
	s.ranges = s.cut(owner, 0, 1<<63-1)
	s.dropFlock(owner)
	if len(s.ranges)+len(s.flocks) != n {
		s.wait.Wake()
	}
	k.recount(s, n)
	forgetLocks(inode, s)
}

// recount notes that an inode has another number of lock records than before.
func (k *Kernel) recount(s *inodeLocks, before int) {
	k.fileLocks += len(s.ranges) + len(s.flocks) - before
}

// userFlock is a struct flock as the program passed it.
type userFlock struct {
	typ, whence   int16
	start, length int64
	pid           int32
}

func (t *Thread) readFlock(addr uint64) (userFlock, error) {
	var raw [flockSize]byte
	if err := t.copyIn(addr, raw[:]); err != nil {
		return userFlock{}, err
	}
	return userFlock{
		int16(le.Uint16(raw[0:])), int16(le.Uint16(raw[2:])),
		int64(le.Uint64(raw[8:])), int64(le.Uint64(raw[16:])), int32(le.Uint32(raw[24:])),
	}, nil
}

// lockRequest checks a struct flock and turns it into a range of the description's file.
func (t *Thread) lockRequest(f *OpenFile, addr uint64, ofd bool) (userFlock, fileLock, error) {
	u, err := t.readFlock(addr)
	if err != nil {
		return u, fileLock{}, err
	}
	base := int64(0)
	switch u.whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		base = f.off
	case unix.SEEK_END:
		st, err := f.stat()
		if err != nil {
			return u, fileLock{}, err
		}
		base = st.Size
	default:
		return u, fileLock{}, unix.EINVAL
	}
	l := fileLock{owner: t.files, pid: int32(t.p.pid), write: u.typ == unix.F_WRLCK}
	l.start, l.end, err = lockRange(base, u.start, u.length)
	if err == nil && u.typ != unix.F_RDLCK && u.typ != unix.F_WRLCK && u.typ != unix.F_UNLCK {
		err = unix.EINVAL
	}
	if ofd {
		if err == nil && u.pid != 0 {
			err = unix.EINVAL
		}
		l.owner, l.pid = f, -1
	}
	return u, l, err
}

func fcntlGetLk(t *Thread, f *OpenFile, a Args) (uint64, error) {
	u, want, err := t.lockRequest(f, a[2], a.int32(1) == fOFDGetLk)
	if err != nil {
		return 0, err
	}
	if u.typ == unix.F_UNLCK && a.int32(1) != fOFDGetLk {
		return 0, unix.EINVAL
	}
	var got *fileLock
	if s := locksOf(f.path.Inode(), false); s != nil {
		got = s.conflict(&want)
	}
	var raw [flockSize]byte
	if err := t.copyIn(a[2], raw[:]); err != nil {
		return 0, err
	}
	if got == nil {
		le.PutUint16(raw[0:], unix.F_UNLCK)
		return 0, t.copyOut(a[2], raw[:])
	}
	le.PutUint16(raw[0:], unix.F_RDLCK)
	if got.write {
		le.PutUint16(raw[0:], unix.F_WRLCK)
	}
	length := got.end - got.start + 1
	if got.end == 1<<63-1 {
		length = 0
	}
	le.PutUint16(raw[2:], unix.SEEK_SET)
	le.PutUint64(raw[8:], uint64(got.start))
	le.PutUint64(raw[16:], uint64(length))
	le.PutUint32(raw[24:], uint32(got.pid))
	return 0, t.copyOut(a[2], raw[:])
}

func fcntlSetLk(t *Thread, f *OpenFile, a Args) (uint64, error) {
	cmd := a.int32(1)
	ofd := cmd == fOFDSetLk || cmd == fOFDSetLkw
	u, want, err := t.lockRequest(f, a[2], ofd)
	if err != nil {
		return 0, err
	}
	inode := f.path.Inode()
	if u.typ == unix.F_UNLCK {
		t.k.unlockRange(inode, &want)
		return 0, nil
	}
	if want.write && !f.write || !want.write && !f.read {
		return 0, unix.EBADF
	}
	s := locksOf(inode, true)
	if s.conflict(&want) == nil {
		return 0, t.setLock(f, s, want)
	}
	if cmd == unix.F_SETLK || cmd == fOFDSetLk {
		return 0, unix.EAGAIN
	}
	f.hold()
	return t.Block(func(w *Waiter) (uint64, error) {
		defer f.drop()
		return 0, t.waitLock(w, f, want)
	})
}

// unlockRange takes a range away from its owner; what was one lock may become two.
func (k *Kernel) unlockRange(inode vfs.Inode, want *fileLock) {
	s := locksOf(inode, false)
	if s == nil {
		return
	}
	before := len(s.ranges) + len(s.flocks)
	if s.clear(want.owner, want.start, want.end) {
		s.wait.Wake()
	}
	k.recount(s, before)
	forgetLocks(inode, s)
}

// setLock enters a lock that nothing conflicts with. A lock that became weaker may let others in.
func (t *Thread) setLock(f *OpenFile, s *inodeLocks, want fileLock) error {
	if t.k.fileLocks >= maxFileLocks {
		return unix.ENOLCK
	}
	before := len(s.ranges) + len(s.flocks)
	s.set(want)
	t.k.recount(s, before)
	f.locked = f.locked || want.owner == lockOwner(f)
	if !want.write {
		s.wait.Wake()
	}
	return nil
}

// waitLock is F_SETLKW. A wait that would close a circle of POSIX owners is refused.
func (t *Thread) waitLock(w *Waiter, f *OpenFile, want fileLock) error {
	k, inode := t.k, f.path.Inode()
	for {
		s := locksOf(inode, true)
		in := s.conflict(&want)
		if in == nil {
			return t.setLock(f, s, want)
		}
		if k.lockDeadlock(want.owner, in.owner) {
			return unix.EDEADLK
		}
		if k.lockWaits == nil {
			k.lockWaits = make(map[lockOwner]lockOwner)
		}
		k.lockWaits[want.owner] = in.owner
		err := w.Sleep(time.Time{}, &s.wait)
		delete(k.lockWaits, want.owner)
		if err != nil {
			forgetLocks(inode, s)
			return err
		}
	}
}

// lockDeadlock reports whether blocker waits, over at most 10 steps, for owner (posix_locks_deadlock). OFD locks
// do not take part.
func (k *Kernel) lockDeadlock(owner, blocker lockOwner) bool {
	if _, ok := owner.(*FDTable); !ok {
		return false
	}
	for range 10 {
		next, ok := k.lockWaits[blocker]
		if !ok {
			return false
		}
		if next == owner {
			return true
		}
		blocker = next
	}
	return false
}

func sysFlock(t *Thread, a Args) (uint64, error) {
	op := a.int32(1)
	nonblock := op&unix.LOCK_NB != 0
	op &^= unix.LOCK_NB
	if op != unix.LOCK_SH && op != unix.LOCK_EX && op != unix.LOCK_UN {
		return 0, unix.EINVAL
	}
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	if op != unix.LOCK_UN && !f.read && !f.write {
		return 0, unix.EBADF
	}
	inode := f.path.Inode()
	if op == unix.LOCK_UN {
		if s := locksOf(inode, false); s != nil {
			if s.dropFlock(f) {
				t.k.fileLocks--
				s.wait.Wake()
			}
			forgetLocks(inode, s)
		}
		return 0, nil
	}
	write := op == unix.LOCK_EX
	try := func() (*inodeLocks, error) {
		s := locksOf(inode, true)
		// Changing the kind is not atomic: the old lock goes first (flock_lock_inode).
		if s.dropFlock(f) {
			t.k.fileLocks--
			s.wait.Wake()
		}
		if s.flockConflict(f, write) != nil {
			return s, errWait
		}
		if t.k.fileLocks >= maxFileLocks {
			return s, unix.ENOLCK
		}
		t.k.fileLocks++
		s.flocks = append(s.flocks, fileLock{owner: f, write: write})
		f.locked = true
		return s, nil
	}
	s, err := try()
	if err != errWait {
		return 0, err
	}
	if nonblock {
		forgetLocks(inode, s)
		return 0, unix.EWOULDBLOCK
	}
	f.hold()
	return t.Block(func(w *Waiter) (uint64, error) {
		defer f.drop()
		for {
			s, err := try()
			if err != errWait {
				return 0, err
			}
			if err := w.Sleep(time.Time{}, &s.wait); err != nil {
				forgetLocks(inode, s)
				return 0, err
			}
		}
	})
}
