package shim

import (
	"math"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// vfsFile is a description open on a file of the tree: a regular file, a directory, a device.
type vfsFile struct {
	k    *Kernel
	file vfs.File
}

// defaultPoll is what a file without a poll method answers (DEFAULT_POLLMASK).
const defaultPoll = unix.POLLIN | unix.POLLOUT | pollRDNORM | pollWRNORM

func (v *vfsFile) poll() uint32 {
	if p, ok := v.file.(vfs.Poller); ok {
		return p.Readiness()
	}
	return defaultPoll
}

func (v *vfsFile) ready() *readiness { return nil }
func (v *vfsFile) release()          { v.file.Release() }

// read copies from the file through the kernel's bounce buffer: both ends are done with Kernel.mu held, so reads of
// one description are atomic with respect to its offset.
func (v *vfsFile) read(c *ioCall) error {
	if v.file.Inode().Type() == unix.S_IFDIR {
		return unix.EISDIR
	}
	off := c.offset()
	for c.left > 0 {
		if off == math.MaxInt64 {
			break
		}
		buf := v.k.bounce(c.left)
		n, err := v.file.ReadAt(buf, off)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		v.overlay(buf[:n], off)
		m, err := c.put(buf[:n])
		off = c.moved(off, m)
		if err != nil {
			return err
		}
		if n < len(buf) && v.file.Kind() == vfs.Stream {
			break
		}
	}
	return nil
}

func (v *vfsFile) write(c *ioCall) error {
	appends := (c.f.flags&unix.O_APPEND != 0 || c.flags&unix.RWF_APPEND != 0) && c.flags&rwfNoAppend == 0
	off := c.offset()
	full := false // what fits is a result: no signal for what does not
	for c.left > 0 && !full {
		want := min(c.left, scratchSize)
		if v.file.Kind() == vfs.Seekable {
			room, err := c.t.fileSizeRoom(v.file, off, appends)
			if err != nil {
				return err
			}
			full = room < int64(want)
			want = int(min(int64(want), room))
		}
		buf := v.k.bounce(want)
		n, fault := c.get(buf)
		if n == 0 {
			return fault
		}
		buf = buf[:n]
		var m int
		var err error
		if appends && v.file.Kind() == vfs.Seekable {
			var end int64
			m, end, err = v.file.Append(buf)
			off = end - int64(m)
		} else {
			m, err = v.file.WriteAt(buf, off)
		}
		m = max(0, min(m, n))
		v.wrote(buf[:m], off)
		c.advance(m)
		off = c.moved(off, m)
		if err != nil {
			return err
		}
		if m < n {
			break
		}
		if fault != nil {
			return fault
		}
	}
	if c.left == 0 && c.done > 0 && c.f.flags&(unix.O_SYNC|unix.O_DSYNC) != 0 {
		return v.file.Sync(c.f.flags&unix.O_SYNC != unix.O_SYNC)
	}
	return nil
}

// fionread is FIONREAD.
const fionread = unix.TIOCINQ

// rwfNoAppend is RWF_NOAPPEND (include/uapi/linux/fs.h).
const rwfNoAppend = 0x20

// offset is where the next byte of the call goes.
func (c *ioCall) offset() int64 {
	if c.pos >= 0 {
		return c.pos
	}
	return c.f.off
}

// moved notes that n bytes went by at off and returns the offset after them.
func (c *ioCall) moved(off int64, n int) int64 {
	off += int64(n)
	if c.pos >= 0 {
		c.pos = off
	} else {
		c.f.off = off
	}
	return off
}

// fileSizeRoom is how many bytes may be written at off (generic_write_checks): up to RLIMIT_FSIZE, past which the
// process gets SIGXFSZ, and up to the largest offset.
func (t *Thread) fileSizeRoom(f vfs.File, off int64, appends bool) (int64, error) {
	limit := t.p.limits[unix.RLIMIT_FSIZE].cur
	if limit == rlimInfinity && off < math.MaxInt64-scratchSize {
		return math.MaxInt64 - off, nil
	}
	if appends {
		st, err := f.Inode().Stat()
		if err != nil {
			return 0, err
		}
		off = st.Size
	}
	if limit != rlimInfinity {
		if off >= 0 && uint64(off) >= limit {
			t.raise(unix.SIGXFSZ)
			return 0, unix.EFBIG
		}
		return int64(min(limit-uint64(off), math.MaxInt64)), nil
	}
	if off == math.MaxInt64 {
		return 0, unix.EFBIG
	}
	return math.MaxInt64 - off, nil
}

// ioctl serves what every file has and hands the rest on.
func (v *vfsFile) ioctl(t *Thread, f *OpenFile, req uint32, arg uint64) (uint64, error) {
	if req == fionread && v.file.Inode().Type() == unix.S_IFREG {
		st, err := v.file.Inode().Stat()
		if err != nil {
			return 0, err
		}
		return 0, t.writeU32(arg, uint32(int32(min(max(st.Size-f.off, math.MinInt32), math.MaxInt32))))
	}
	if i, ok := v.file.(vfs.Ioctler); ok {
		n, err := i.Ioctl(t.vctx(), req, arg, t.mm)
		return uint64(n), err
	}
	return 0, unix.ENOTTY
}

// seek is lseek(2).
func (v *vfsFile) seek(f *OpenFile, off int64, whence int32) (int64, error) {
	switch v.file.Kind() {
	case vfs.Stream:
		return 0, unix.ESPIPE
	case vfs.NullSeek:
		f.off = 0
		return 0, nil
	}
	var err error
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		off, err = addOffset(f.off, off)
	case unix.SEEK_END:
		var st vfs.Stat
		if st, err = v.file.Inode().Stat(); err == nil {
			off, err = addOffset(st.Size, off)
		}
	case unix.SEEK_DATA:
		off, err = v.file.SeekData(off)
	case unix.SEEK_HOLE:
		off, err = v.file.SeekHole(off)
	default:
		err = unix.EINVAL
	}
	if err == unix.EOVERFLOW || err == nil && off < 0 {
		err = unix.EINVAL
	}
	if err != nil {
		return 0, err
	}
	f.off = off
	return off, nil
}

// addOffset adds without wrapping: what does not fit is EOVERFLOW.
func addOffset(base, off int64) (int64, error) {
	if off > 0 && base > math.MaxInt64-off {
		return 0, unix.EOVERFLOW
	}
	return base + off, nil
}

// seeker is a fileImpl with an offset; others answer ESPIPE.
type seeker interface {
	seek(f *OpenFile, off int64, whence int32) (int64, error)
}

// positioned: all but streams take offsets.
func (v *vfsFile) positioned() bool { return v.file.Kind() != vfs.Stream }

// noopSeek is noop_llseek: files for which lseek succeeds and means nothing.
type noopSeek struct{}

func (noopSeek) seek(*OpenFile, int64, int32) (int64, error) { return 0, nil }
