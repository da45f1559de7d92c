package shim

import (
	"golang.org/x/sys/unix"
)

// ioCalls are the rows of the calls that move bytes.
func ioCalls() []Syscall {
	const bytesBound = "MAX_RW_COUNT bytes, in pieces of 256 KiB"
	const iovBound = "1024 iovecs; " + bytesBound
	return []Syscall{
		{unix.SYS_READ, "read", sysRead, Full, "", bytesBound},
		{unix.SYS_WRITE, "write", sysWrite, Full, "", bytesBound},
		{unix.SYS_PREAD64, "pread64", sysPread, Full, "", bytesBound},
		{unix.SYS_PWRITE64, "pwrite64", sysPwrite, Full, "", bytesBound},
		{unix.SYS_READV, "readv", sysReadv, Full, "", iovBound},
		{unix.SYS_WRITEV, "writev", sysWritev, Full, "", iovBound},
		{unix.SYS_PREADV, "preadv", sysPreadv, Full, "", iovBound},
		{unix.SYS_PWRITEV, "pwritev", sysPwritev, Full, "", iovBound},
		{unix.SYS_PREADV2, "preadv2", sysPreadv2, Partial, "RWF_HIPRI and RWF_ATOMIC have no effect", iovBound},
		{unix.SYS_PWRITEV2, "pwritev2", sysPwritev2, Partial, "RWF_HIPRI and RWF_ATOMIC have no effect", iovBound},
		{unix.SYS_LSEEK, "lseek", sysLseek, Full, "", ""},
	}
}

// readable returns the description of fd if it may be read; EBADF else.
func (t *Thread) readable(fd int32) (*OpenFile, error) {
	f, err := t.files.file(fd)
	if err == nil && !f.read {
		return nil, unix.EBADF
	}
	return f, err
}

// writable returns the description of fd if it may be written; EBADF else.
func (t *Thread) writable(fd int32) (*OpenFile, error) {
	f, err := t.files.file(fd)
	if err == nil && !f.write {
		return nil, unix.EBADF
	}
	return f, err
}

func sysRead(t *Thread, a Args) (uint64, error) {
	f, err := t.readable(a.int32(0))
	if err != nil {
		return 0, err
	}
	c, err := newIOCall(t, f, a[1], a[2])
	if err != nil {
		return 0, err
	}
	return c.run(f.impl.read)
}

func sysWrite(t *Thread, a Args) (uint64, error) {
	f, err := t.writable(a.int32(0))
	if err != nil {
		return 0, err
	}
	c, err := newIOCall(t, f, a[1], a[2])
	if err != nil {
		return 0, err
	}
	return c.run(f.impl.write)
}

// positioned returns the description of fd for a p* call: one that can seek. Linux looks at the offset first, then at
// the descriptor, then at its access mode (fs/read_write.c ksys_pread64, vfs_read).
func (t *Thread) positioned(fd int32, pos int64) (*OpenFile, error) {
	if pos < 0 {
		return nil, unix.EINVAL
	}
	f, err := t.files.file(fd)
	if err != nil {
		return nil, err
	}
	s, ok := f.impl.(positioner)
	if !ok || !s.positioned() {
		return nil, unix.ESPIPE
	}
	return f, nil
}

// positioner is a fileImpl of which some objects take offsets.
type positioner interface{ positioned() bool }

func sysPread(t *Thread, a Args) (uint64, error) {
	f, err := t.positioned(a.int32(0), int64(a[3]))
	if err != nil {
		return 0, err
	}
	if !f.read {
		return 0, unix.EBADF
	}
	c, err := newIOCall(t, f, a[1], a[2])
	if err != nil {
		return 0, err
	}
	c.pos = int64(a[3])
	return c.run(f.impl.read)
}

func sysPwrite(t *Thread, a Args) (uint64, error) {
	f, err := t.positioned(a.int32(0), int64(a[3]))
	if err != nil {
		return 0, err
	}
	if !f.write {
		return 0, unix.EBADF
	}
	c, err := newIOCall(t, f, a[1], a[2])
	if err != nil {
		return 0, err
	}
	c.pos = int64(a[3])
	return c.run(f.impl.write)
}

func sysReadv(t *Thread, a Args) (uint64, error)  { return t.vectorRead(a, -1, 0) }
func sysWritev(t *Thread, a Args) (uint64, error) { return t.vectorWrite(a, -1, 0) }

func sysPreadv(t *Thread, a Args) (uint64, error) {
	if int64(a[3]) < 0 {
		return 0, unix.EINVAL
	}
	return t.vectorRead(a, int64(a[3]), 0)
}

func sysPwritev(t *Thread, a Args) (uint64, error) {
	if int64(a[3]) < 0 {
		return 0, unix.EINVAL
	}
	return t.vectorWrite(a, int64(a[3]), 0)
}

// sysPreadv2 takes an offset of -1 for the file's own.
func sysPreadv2(t *Thread, a Args) (uint64, error) {
	if int64(a[3]) < -1 {
		return 0, unix.EINVAL
	}
	return t.vectorRead(a, int64(a[3]), a.int32(5))
}

func sysPwritev2(t *Thread, a Args) (uint64, error) {
	if int64(a[3]) < -1 {
		return 0, unix.EINVAL
	}
	return t.vectorWrite(a, int64(a[3]), a.int32(5))
}

// vectorCall prepares a readv or writev, at pos unless that is -1.
func (t *Thread) vectorCall(f *OpenFile, a Args, pos int64, rwf int32) (*ioCall, error) {
	const known = unix.RWF_HIPRI | unix.RWF_DSYNC | unix.RWF_SYNC | unix.RWF_NOWAIT | unix.RWF_APPEND | rwfNoAppend
	c, err := newIOVCall(t, f, a[1], a[2])
	if err != nil {
		return nil, err
	}
	switch {
	case c.left == 0: // nothing else is looked at (do_iter_readv_writev)
	case rwf&^known != 0:
		return nil, unix.EOPNOTSUPP
	case rwf&(unix.RWF_APPEND|rwfNoAppend) == unix.RWF_APPEND|rwfNoAppend:
		return nil, unix.EINVAL
	}
	c.pos = pos
	c.flags = int(rwf)
	if rwf&unix.RWF_NOWAIT != 0 {
		c.nonblock = true
	}
	return c, nil
}

func (t *Thread) vectorRead(a Args, pos int64, rwf int32) (uint64, error) {
	f, err := t.vectorFile(a.int32(0), pos)
	if err != nil {
		return 0, err
	}
	if !f.read {
		return 0, unix.EBADF
	}
	c, err := t.vectorCall(f, a, pos, rwf)
	if err != nil || c.left == 0 {
		return 0, err
	}
	return c.run(f.impl.read)
}

func (t *Thread) vectorWrite(a Args, pos int64, rwf int32) (uint64, error) {
	f, err := t.vectorFile(a.int32(0), pos)
	if err != nil {
		return 0, err
	}
	if !f.write {
		return 0, unix.EBADF
	}
	c, err := t.vectorCall(f, a, pos, rwf)
	if err != nil || c.left == 0 {
		return 0, err
	}
	if _, ok := f.impl.(*eventFile); ok && rwf&^unix.RWF_HIPRI != 0 {
		return 0, unix.EOPNOTSUPP // a file that Linux writes one buffer at a time (do_loop_readv_writev)
	}
	return c.run(f.impl.write)
}

// vectorFile finds the description of a vector call, which has to take offsets if one is given.
func (t *Thread) vectorFile(fd int32, pos int64) (*OpenFile, error) {
	if pos >= 0 {
		return t.positioned(fd, pos)
	}
	return t.files.file(fd)
}

func sysLseek(t *Thread, a Args) (uint64, error) {
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	whence := a.int32(2)
	if uint32(whence) > unix.SEEK_HOLE {
		return 0, unix.EINVAL
	}
	s, ok := f.impl.(seeker)
	if !ok {
		return 0, unix.ESPIPE
	}
	off, err := s.seek(f, int64(a[1]), whence)
	return uint64(off), err
}
