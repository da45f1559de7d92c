package shim

import (
	"time"

	"culvert/pipes"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// spliceCalls are the rows of the calls that move bytes between descriptors.
func spliceCalls() []Syscall {
	const bound = "MAX_RW_COUNT bytes, in pieces of 64 KiB"
	return []Syscall{
		{unix.SYS_SPLICE, "splice", sysSplice, Full, "copies", bound},
		{unix.SYS_TEE, "tee", sysTee, Full, "copies", bound},
		{unix.SYS_VMSPLICE, "vmsplice", sysVmsplice, Full, "copies: SPLICE_F_GIFT has no effect", bound},
		{unix.SYS_SENDFILE, "sendfile", sysSendfile, Full, "", bound},
		{unix.SYS_COPY_FILE_RANGE, "copy_file_range", sysCopyFileRange, Full, "", bound},
	}
}

// splicePiece is how many bytes are under way at a time.
const splicePiece = 64 << 10

// Flags of splice(2) (include/linux/splice.h).
const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK | unix.SPLICE_F_MORE | unix.SPLICE_F_GIFT

// transfer is a call that moves bytes from one description to another. Bytes that have left in and do not fit into
// out are kept in rest: they go in first when out is ready, whatever the call's flags, so that none is lost.
type transfer struct {
	t        *Thread
	in, out  *OpenFile
	inPos    int64 // -1: the file's own offset
	outPos   int64
	left     int
	done     int
	nonblock bool // do not wait for pipes
	rest     []byte
	short    bool // in is a socket that gave less than was asked for: another look would take its error
	w        *Waiter
	wait     *readiness // what a step that answered errWait waits for
}

// step moves one piece: errWait if wait has to be waited for, nil with moved = 0 at the end of in.
func (x *transfer) step() (moved int, err error) {
	if len(x.rest) == 0 {
		if err := x.fill(); err != nil || len(x.rest) == 0 {
			return 0, err
		}
	}
	x.wait = x.out.impl.ready()
	c := newBufCall(x.t, x.w, x.out, x.rest, x.outPos)
	err = x.out.impl.write(c)
	x.rest = x.rest[c.done:]
	x.outPos = c.pos
	x.done += c.done
	x.left -= c.done
	if c.done > 0 {
		return c.done, nil
	}
	return 0, err
}

// over reports whether in is not to be read again.
func (x *transfer) over() bool { return x.short && len(x.rest) == 0 && x.done > 0 }

// fill reads a piece of in, no larger than what a pipe at the other end takes at once.
func (x *transfer) fill() error {
	n := min(x.left, splicePiece)
	if p, ok := x.out.impl.(*pipeFile); ok {
		x.wait = p.ready()
		room, err := p.room()
		if err != nil {
			return err
		}
		n = min(n, room)
	} else if r := x.out.impl.ready(); r != nil && x.out.poll()&(unix.POLLOUT|unix.POLLERR|unix.POLLHUP) == 0 {
		x.wait = r
		return errWait
	}
	x.wait = x.in.impl.ready()
	buf := make([]byte, n)
	c := newBufCall(x.t, x.w, x.in, buf, x.inPos)
	err := x.in.impl.read(c)
	x.inPos = c.pos
	x.rest = buf[:c.done]
	if _, ok := x.in.impl.(*unixSocket); ok {
		x.short = c.done < n
	}
	if c.done > 0 {
		return nil
	}
	return err
}

// room is how many bytes the pipe takes now; errWait if none, EPIPE with its signal if nobody reads.
func (f *pipeFile) room() (int, error) {
	a, b, st, err := f.p.end.BeginWrite(splicePiece, pipes.Stream)
	if err != nil {
		return 0, f.p.corrupt(err)
	}
	switch st {
	case pipes.OK:
		f.p.obey(f.p.end.Pipe.EndWrite(0, pipes.Stream))
		return len(a) + len(b), nil
	case pipes.WouldBlock:
		return 0, errWait
	case pipes.EPIPE:
		return 0, unix.EPIPE
	}
	return 0, errBusy
}

// run moves everything, or one piece's worth for a splice: it returns once something has moved and nothing more can
// without waiting. finish writes the offsets back.
func (x *transfer) run(all bool, finish func() error) (uint64, error) {
	end := func(err error) (uint64, error) {
		if err == unix.EPIPE {
			x.t.raise(unix.SIGPIPE)
		}
		if x.done > 0 {
			return uint64(x.done), finish()
		}
		return 0, err
	}
	var err error
	for x.left > 0 && !x.over() {
		var n int
		if n, err = x.step(); err != nil || n == 0 {
			break
		}
	}
	if err != errWait && err != errBusy || err == errWait && len(x.rest) == 0 && (x.nonblock || x.done > 0 && !all) {
		if err == errWait && x.done == 0 {
			err = unix.EAGAIN
		}
		return end(err)
	}
	x.in.hold()
	x.out.hold()
	return x.t.Block(func(w *Waiter) (uint64, error) {
		defer x.in.drop()
		defer x.out.drop()
		x.w = w
		return end(x.block(w, all))
	})
}

// block goes on in a goroutine until the transfer is complete.
func (x *transfer) block(w *Waiter, all bool) error {
	for x.left > 0 && !x.over() {
		// Watch before looking: see ioCall.wait.
		x.in.impl.ready()
		x.out.impl.ready()
		n, err := x.step()
		switch {
		case err == errBusy:
			w.Unlocked(nil, func() { time.Sleep(busyPause) })
			if err := w.interrupted(false); err != nil {
				return err
			}
		case err == errWait && len(x.rest) == 0 && (x.nonblock || x.done > 0 && !all):
			if x.done == 0 {
				return unix.EAGAIN
			}
			return nil
		case err == errWait && len(x.rest) > 0:
			// These bytes have left their source: only a death may lose them.
			if err := w.SleepKillable(time.Time{}, &x.wait.Queue); err != nil {
				return err
			}
		case err == errWait:
			if err := w.Sleep(time.Time{}, &x.wait.Queue); err != nil {
				return err
			}
		case err != nil:
			return err
		case n == 0:
			return nil
		}
	}
	return nil
}

// optOffset reads an optional offset argument: -1 if there is none.
func (t *Thread) optOffset(addr uint64) (int64, error) {
	if addr == 0 {
		return -1, nil
	}
	v, err := t.readU64(addr)
	if err == nil && int64(v) < 0 {
		err = unix.EINVAL
	}
	return int64(v), err
}

// seekable reports whether the description takes offsets.
func (f *OpenFile) seekable() bool {
	p, ok := f.impl.(positioner)
	return ok && p.positioned()
}

// twoFiles finds the files of a call that moves bytes from one to the other.
func (t *Thread) twoFiles(inFD, outFD int32) (in, out *OpenFile, err error) {
	if in, err = t.files.file(inFD); err != nil {
		return nil, nil, err
	}
	out, err = t.files.file(outFD)
	return in, out, err
}

// fromTo is twoFiles with EBADF if one cannot be read or the other not be written.
func (t *Thread) fromTo(inFD, outFD int32) (in, out *OpenFile, err error) {
	in, out, err = t.twoFiles(inFD, outFD)
	if err == nil && (!in.read || !out.write) {
		err = unix.EBADF
	}
	return in, out, err
}

func sysSplice(t *Thread, a Args) (uint64, error) {
	size, flags := a[4], uint32(a[5])
	if size == 0 {
		return 0, nil
	}
	if flags&^uint32(spliceFlags) != 0 {
		return 0, unix.EINVAL
	}
	in, out, err := t.twoFiles(a.int32(0), a.int32(2))
	if err != nil {
		return 0, err
	}
	inPipe, _ := in.impl.(*pipeFile)
	outPipe, _ := out.impl.(*pipeFile)
	switch {
	case inPipe != nil && a[1] != 0, outPipe != nil && a[3] != 0:
		return 0, unix.ESPIPE
	case !in.read || !out.write:
		return 0, unix.EBADF
	case inPipe == nil && outPipe == nil:
		return 0, unix.EINVAL
	case inPipe == nil && a[1] != 0 && !in.seekable(), outPipe == nil && a[3] != 0 && !out.seekable():
		return 0, unix.EINVAL
	}
	size = min(size, abi.MAX_RW_COUNT)
	if inPipe != nil && outPipe != nil {
		if inPipe.p == outPipe.p {
			return 0, unix.EINVAL
		}
		nonblock := flags&unix.SPLICE_F_NONBLOCK != 0 || in.nonblock() || out.nonblock()
		return t.movePipe(in, out, size, true, nonblock)
	}
	if out.appends() || !in.canSplice() || !out.canSplice() {
		return 0, unix.EINVAL
	}
	x := &transfer{t: t, in: in, out: out, left: int(size), nonblock: flags&unix.SPLICE_F_NONBLOCK != 0}
	if inPipe != nil && in.nonblock() || outPipe != nil && out.nonblock() {
		x.nonblock = true
	}
	if inPipe == nil && in.nonblock() {
		x.nonblock = true
	}
	if x.inPos, err = t.optOffset(a[1]); err != nil {
		return 0, err
	}
	if x.outPos, err = t.optOffset(a[3]); err != nil {
		return 0, err
	}
	return x.run(false, func() error {
		for addr, pos := range map[uint64]int64{a[1]: x.inPos, a[3]: x.outPos} {
			if addr != 0 {
				if err := t.writeU64(addr, uint64(pos)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// appends reports whether splice refuses to write to the file since it appends; of a pipe O_APPEND means nothing.
func (f *OpenFile) appends() bool {
	_, pipe := f.impl.(*pipeFile)
	return !pipe && f.flags&unix.O_APPEND != 0
}

// canSplice reports whether the file has the methods that splice needs: eventfds and their like have not.
func (f *OpenFile) canSplice() bool {
	switch i := f.impl.(type) {
	case *pipeFile, *hostFile:
		return true
	case *vfsFile:
		return i.file.Inode().Type() != unix.S_IFDIR
	}
	return f.path.Inode().Type() == unix.S_IFSOCK
}

// streamsInto reports whether sendfile moves from a file without offsets: into pipes only, and from all but pipes.
func (f *OpenFile) streamsInto(out *OpenFile) bool {
	_, fromPipe := f.impl.(*pipeFile)
	_, toPipe := out.impl.(*pipeFile)
	return toPipe && !fromPipe
}

// movePipe is splice or tee between two pipes.
func (t *Thread) movePipe(in, out *OpenFile, size uint64, take, nonblock bool) (uint64, error) {
	src, dst := in.impl.(*pipeFile).p, out.impl.(*pipeFile).p
	try := func() (uint64, *readiness, error) {
		if err := src.pull(int(size)); err != nil {
			return 0, in.impl.ready(), errOrEnd(err)
		}
		m, st := pipes.BeginMove(src.end.Pipe, dst.end.Pipe, src.end.Pause)
		switch st {
		case pipes.OK:
		case pipes.EOF:
			return 0, nil, nil
		case pipes.EPIPE:
			t.raise(unix.SIGPIPE)
			return 0, nil, unix.EPIPE
		case pipes.WouldBlock:
			return 0, in.impl.ready(), errWait
		case pipes.WouldBlockOut:
			return 0, out.impl.ready(), errWait
		default:
			return 0, nil, errBusy
		}
		var bad error
		for m.Bytes < size {
			from, to, n := m.Next(src.end.Pipe, dst.end.Pipe, size-m.Bytes, take)
			if n == 0 {
				break
			}
			if bad = pipes.CopySpan(dst.end.Ring, to, src.end.Ring, from); bad != nil {
				break
			}
		}
		onSrc, onDst := pipes.EndMove(src.end.Pipe, dst.end.Pipe, m, take)
		if bad != nil {
			return 0, nil, src.corrupt(bad)
		}
		src.obey(onSrc)
		dst.obey(onDst)
		return m.Bytes, nil, nil
	}
	n, _, err := try()
	if err == errWait && nonblock {
		return 0, unix.EAGAIN
	}
	if err != errWait && err != errBusy {
		return n, err
	}
	in.hold()
	out.hold()
	return t.Block(func(w *Waiter) (uint64, error) {
		defer in.drop()
		defer out.drop()
		for {
			in.impl.ready()
			out.impl.ready()
			n, wait, err := try()
			switch {
			case err == errBusy:
				w.Unlocked(nil, func() { time.Sleep(busyPause) })
				err = w.interrupted(false)
			case err == errWait && nonblock:
				return 0, unix.EAGAIN
			case err == errWait:
				err = w.Sleep(time.Time{}, &wait.Queue)
			default:
				return n, err
			}
			if err != nil {
				return 0, err
			}
		}
	})
}

func sysTee(t *Thread, a Args) (uint64, error) {
	size, flags := a[2], uint32(a[3])
	if flags&^uint32(spliceFlags) != 0 {
		return 0, unix.EINVAL
	}
	if size == 0 {
		return 0, nil
	}
	in, out, err := t.fromTo(a.int32(0), a.int32(1))
	if err != nil {
		return 0, err
	}
	inPipe, ok := in.impl.(*pipeFile)
	outPipe, ok2 := out.impl.(*pipeFile)
	if !ok || !ok2 || inPipe.p == outPipe.p {
		return 0, unix.EINVAL
	}
	nonblock := flags&unix.SPLICE_F_NONBLOCK != 0 || in.nonblock() || out.nonblock()
	return t.movePipe(in, out, min(size, abi.MAX_RW_COUNT), false, nonblock)
}

// sysVmsplice copies between user memory and a pipe; the end decides the direction.
func sysVmsplice(t *Thread, a Args) (uint64, error) {
	flags := uint32(a[3])
	if flags&^uint32(spliceFlags) != 0 {
		return 0, unix.EINVAL
	}
	f, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	if _, ok := f.impl.(*pipeFile); !ok {
		return 0, unix.EBADF
	}
	c, err := newIOVCall(t, f, a[1], a[2])
	if err != nil || c.left == 0 {
		return 0, err
	}
	if flags&unix.SPLICE_F_NONBLOCK != 0 {
		c.nonblock = true
	}
	if f.write {
		// Unlike a write it returns when the pipe is full, once something is in it.
		return c.run(func(c *ioCall) error {
			err := f.impl.write(c)
			if err == errWait && c.done > 0 {
				return nil
			}
			return err
		})
	}
	return c.run(f.impl.read)
}

func sysSendfile(t *Thread, a Args) (uint64, error) {
	// The order is do_sendfile's, after that of sendfile64.
	if _, err := t.optOffset(a[2]); err == unix.EFAULT {
		return 0, err
	}
	in, err := t.files.file(a.int32(1))
	switch {
	case err != nil:
		return 0, err
	case !in.read:
		return 0, unix.EBADF
	case a[2] != 0 && !in.seekable():
		return 0, unix.ESPIPE
	}
	pos, err := t.optOffset(a[2])
	if err != nil {
		return 0, err
	}
	out, err := t.files.file(a.int32(0))
	switch {
	case err != nil:
		return 0, err
	case !out.write:
		return 0, unix.EBADF
	case !in.canSplice(), !out.canSplice(), out.appends(), !in.seekable() && !in.streamsInto(out):
		return 0, unix.EINVAL
	}
	x := &transfer{t: t, in: in, out: out, inPos: pos, outPos: -1, left: int(min(a[3], abi.MAX_RW_COUNT))}
	x.nonblock = out.nonblock()
	return x.run(true, func() error {
		if a[2] == 0 {
			return nil
		}
		return t.writeU64(a[2], uint64(x.inPos))
	})
}

func sysCopyFileRange(t *Thread, a Args) (uint64, error) {
	in, err := t.files.file(a.int32(0))
	if err != nil {
		return 0, err
	}
	out, err := t.files.file(a.int32(2))
	if err != nil {
		return 0, err
	}
	inPos, err := t.optOffset(a[1])
	if err != nil {
		return 0, err
	}
	outPos, err := t.optOffset(a[3])
	if err != nil {
		return 0, err
	}
	if a[5] != 0 {
		return 0, unix.EINVAL
	}
	src, dst, err := copyable(in, out)
	if err != nil {
		return 0, err
	}
	if !in.read || !out.write || out.flags&unix.O_APPEND != 0 {
		return 0, unix.EBADF
	}
	if err := sameDevice(src, dst); err != nil {
		return 0, err
	}
	x := &transfer{t: t, in: in, out: out, inPos: inPos, outPos: outPos, left: int(min(a[4], abi.MAX_RW_COUNT))}
	if src.file.Inode() == dst.file.Inode() {
		from, to := (&ioCall{f: in, pos: inPos}).offset(), (&ioCall{f: out, pos: outPos}).offset()
		st, err := src.file.Inode().Stat()
		if err != nil {
			return 0, err
		}
		x.left = int(min(int64(x.left), max(0, st.Size-from)))
		if x.left > 0 && from < to+int64(x.left) && to < from+int64(x.left) {
			return 0, unix.EINVAL
		}
	}
	return x.run(true, func() error {
		if a[1] != 0 {
			if err := t.writeU64(a[1], uint64(x.inPos)); err != nil {
				return err
			}
		}
		if a[3] != 0 {
			return t.writeU64(a[3], uint64(x.outPos))
		}
		return nil
	})
}

// copyable checks the kinds of copy_file_range's files (generic_copy_file_checks).
func copyable(in, out *OpenFile) (src, dst *vfsFile, err error) {
	kind := func(f *OpenFile) uint32 { return f.path.Inode().Type() }
	if kind(in) == unix.S_IFDIR || kind(out) == unix.S_IFDIR {
		return nil, nil, unix.EISDIR
	}
	src, ok := in.impl.(*vfsFile)
	dst, ok2 := out.impl.(*vfsFile)
	if !ok || !ok2 || kind(in) != unix.S_IFREG || kind(out) != unix.S_IFREG {
		return nil, nil, unix.EINVAL
	}
	return src, dst, nil
}

// sameDevice is EXDEV for files of file systems that know nothing of each other, since Linux 5.19.
func sameDevice(a, b *vfsFile) error {
	from, err := a.file.Inode().Stat()
	if err != nil {
		return err
	}
	to, err := b.file.Inode().Stat()
	if err == nil && from.Dev != to.Dev {
		err = unix.EXDEV
	}
	return err
}
