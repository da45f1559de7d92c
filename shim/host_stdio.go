package shim

import (
	"errors"
	"fmt"
	"os"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// hostFile is one of the VM's own standard files: a descriptor that whoever started the VM opened. Bytes are read
// only when the guest asks for them, so what it leaves unread is there for the next program, as after fork and exec.
//
// The descriptor is shared with other processes of the host, so O_NONBLOCK may not be set on it: a call that cannot
// be sure not to block runs in its Block goroutine, without Kernel.mu.
type hostFile struct {
	k       *Kernel
	file    *os.File
	fd      int
	inode   *anonInode
	path    vfs.Path
	kind    uint32 // S_IFMT bits
	tty     bool
	refs    int // descriptions open on it: /proc/self/fd reopens add some
	waiters readiness
	// pipe is what the guest has of it, if that is not the file itself; anonymous says that it has no name on the host.
	pipe      *pipe
	anonymous bool
	output    *output // nil: writes are forwarded
}

// newHostFile takes a standard file over and answers it with the flags that the host's description has.
func newHostFile(k *Kernel, file *os.File, n int) (*hostFile, int, error) {
	fd := int(file.Fd())
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("standard file %d: %w", n, err)
	}
	h := &hostFile{k: k, file: file, fd: fd, refs: 1}
	h.inode = k.newAnonInode(nil, 0)
	st, err := h.stat()
	if err != nil {
		return nil, 0, fmt.Errorf("standard file %d: %w", n, err)
	}
	h.kind = st.Mode & unix.S_IFMT
	_, err = unix.IoctlGetTermios(fd, unix.TCGETS)
	h.tty = err == nil
	var fs unix.Statfs_t
	h.anonymous = unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PIPEFS_MAGIC || h.kind == unix.S_IFSOCK
	h.inode.attr = st
	h.inode.attr.Mode |= 0o600
	h.inode.opener = h.reopen
	h.path = h.name(n)
	return h, flags, nil
}

// name is what /proc/self/fd shows. It never tells a path of the host.
func (h *hostFile) name(n int) vfs.Path {
	names := map[uint32]string{unix.S_IFIFO: "pipe", unix.S_IFSOCK: "socket"}
	kind, ok := names[h.kind]
	if !ok {
		kind = [...]string{"/dev/stdin", "/dev/stdout", "/dev/stderr"}[n]
	}
	return h.k.anonPlace(kind, h.inode)
}

// reopen opens the same host file again: opening /dev/stdin of a pipe gives the same pipe. Access that the host's
// descriptor lacks is refused.
func (h *hostFile) reopen(_ *Thread, r *openRequest) (fileImpl, error) {
	have, err := unix.FcntlInt(uintptr(h.fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, unix.EIO
	}
	if acc := have & unix.O_ACCMODE; acc != unix.O_RDWR && acc != r.flags&unix.O_ACCMODE {
		return nil, unix.EACCES
	}
	h.refs++
	return h, nil
}

// streams reports whether calls may have to wait.
func (h *hostFile) streams() bool {
	return h.kind == unix.S_IFIFO || h.kind == unix.S_IFSOCK || h.kind == unix.S_IFCHR && h.tty
}

// stat is the host's, with the guest's owner: it needs the kind and the size, and its user must be let in.
func (h *hostFile) stat() (vfs.Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return vfs.Stat{}, hostErrno(err)
	}
	out := vfs.Stat{
		Dev: st.Dev, Ino: st.Ino, Mode: st.Mode, Nlink: uint32(st.Nlink), Rdev: st.Rdev,
		Size: st.Size, Blksize: st.Blksize, Blocks: st.Blocks,
		Atime: st.Atim, Mtime: st.Mtim, Ctime: st.Ctim,
	}
	if c := h.k.cfg.Cred; c != nil {
		out.UID, out.GID = c.FSUID, c.FSGID
	}
	return out, nil
}

// hostErrno is the errno in an error of a host call; EIO if it has none.
func hostErrno(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}

const pollIn, pollOut = unix.POLLIN | pollRDNORM, unix.POLLOUT | pollWRNORM

// poll asks the host, and arms the poller for what is not there yet.
func (h *hostFile) poll() uint32 {
	if !h.streams() {
		return defaultPoll
	}
	got := h.ask(pollIn | pollOut | unix.POLLPRI | unix.POLLRDHUP)
	var missing int16
	if got&unix.POLLIN == 0 {
		missing |= unix.POLLIN
	}
	if got&unix.POLLOUT == 0 {
		missing |= unix.POLLOUT
	}
	if missing != 0 && got&(unix.POLLHUP|unix.POLLERR) == 0 && h.waiters.watched() {
		h.k.hostPoller.arm(h, missing)
	}
	return got
}

// ask is poll(2) without waiting.
func (h *hostFile) ask(events int16) uint32 {
	fds := []unix.PollFd{{Fd: int32(h.fd), Events: events}}
	for {
		_, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return uint32(uint16(fds[0].Revents))
	}
}

func (h *hostFile) ready() *readiness { return &h.waiters }

// notify tells those who wait for the file of events on the host.
func (h *hostFile) notify(events uint32) {
	if h.pipe == nil {
		h.waiters.notify(events)
		return
	}
	tellItems(&h.pipe.watchers, events)
	h.pipe.changed(events)
}

func (h *hostFile) release() {
	h.refs--
	if h.refs == 0 && h.streams() {
		h.k.hostPoller.forget(h)
	}
}

// read takes from the host no more than the guest asked for.
func (h *hostFile) read(c *ioCall) error {
	if c.left == 0 {
		return nil
	}
	if !h.streams() {
		return h.readSeekable(c)
	}
	if h.ask(unix.POLLIN)&(unix.POLLIN|unix.POLLHUP|unix.POLLERR) == 0 {
		h.k.hostPoller.arm(h, unix.POLLIN)
		return errWait
	}
	buf := h.k.bounce(c.left)
	n, err := unix.Preadv2(h.fd, [][]byte{buf}, -1, unix.RWF_NOWAIT)
	if err == unix.EOPNOTSUPP {
		if c.w == nil && !c.nonblock {
			return errWait // run calls again at once, in a goroutine
		}
		buf = make([]byte, len(buf))
		c.unlocked(func() { n, err = ignoringEINTR(func() (int, error) { return unix.Read(h.fd, buf) }) })
	}
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		h.k.hostPoller.arm(h, unix.POLLIN)
		return errWait
	case err != nil:
		return hostErrno(err)
	}
	_, err = c.put(buf[:n])
	return err
}

// unlocked runs host work without Kernel.mu where that is possible: in a Block goroutine.
func (c *ioCall) unlocked(fn func()) {
	if c.w == nil {
		fn()
		return
	}
	c.w.Unlocked(nil, fn)
}

// ignoringEINTR repeats a host call that a signal of the Go runtime interrupted.
func ignoringEINTR(fn func() (int, error)) (int, error) {
	for {
		if n, err := fn(); err != unix.EINTR {
			return n, err
		}
	}
}

// readSeekable reads at the host's own offset, which others see move. What could not be copied is put back.
func (h *hostFile) readSeekable(c *ioCall) error {
	for c.left > 0 {
		buf := h.k.bounce(c.left)
		n, err := ignoringEINTR(func() (int, error) {
			if c.pos >= 0 {
				return unix.Pread(h.fd, buf, c.pos)
			}
			return unix.Read(h.fd, buf)
		})
		if err != nil {
			return hostErrno(err)
		}
		m, err := c.put(buf[:n])
		if c.pos >= 0 {
			c.pos += int64(m)
		} else if m < n {
			unix.Seek(h.fd, int64(m-n), unix.SEEK_CUR) //nolint:errcheck // devices have no offset to put back
		}
		if err != nil || n < len(buf) {
			return err
		}
	}
	return nil
}

func (h *hostFile) write(c *ioCall) error {
	if err := h.writeError(); err != nil {
		return err
	}
	for c.left > 0 {
		if h.streams() && h.ask(unix.POLLOUT)&(unix.POLLOUT|unix.POLLHUP|unix.POLLERR) == 0 {
			h.k.hostPoller.arm(h, unix.POLLOUT)
			return errWait
		}
		buf := h.k.bounce(c.left)
		n, fault := c.get(buf)
		if n == 0 {
			return fault
		}
		m, err := h.writeHost(c, buf[:n])
		c.advance(m)
		if c.pos >= 0 {
			c.pos += int64(m)
		}
		switch {
		case err == unix.EAGAIN:
			h.k.hostPoller.arm(h, unix.POLLOUT)
			return errWait
		case err == unix.EPIPE:
			c.t.raise(unix.SIGPIPE)
			return err
		case err != nil:
			return err
		case m == n && fault != nil:
			return fault
		}
	}
	return nil
}

// writeHost writes some of b, which is Kernel.bounce's, to the host.
func (h *hostFile) writeHost(c *ioCall, b []byte) (int, error) {
	if !h.streams() {
		n, err := ignoringEINTR(func() (int, error) {
			switch {
			case c.f.flags&unix.O_APPEND != 0 && h.kind == unix.S_IFREG:
				return unix.Pwritev2(h.fd, [][]byte{b}, c.pos, unix.RWF_APPEND)
			case c.pos >= 0:
				return unix.Pwrite(h.fd, b, c.pos)
			}
			return unix.Write(h.fd, b)
		})
		return max(n, 0), errnoOrNil(err)
	}
	n, err := ignoringEINTR(func() (int, error) { return unix.Pwritev2(h.fd, [][]byte{b}, -1, unix.RWF_NOWAIT) })
	if err != unix.EOPNOTSUPP {
		return max(n, 0), errnoOrNil(err)
	}
	if c.w == nil && !c.nonblock {
		return 0, errWait
	}
	// POLLOUT promises room for PIPE_BUF bytes only: with more, a write would sit in the host's kernel.
	b = append([]byte(nil), b[:min(len(b), pipeBuf)]...)
	c.unlocked(func() { n, err = ignoringEINTR(func() (int, error) { return unix.Write(h.fd, b) }) })
	return max(n, 0), errnoOrNil(err)
}

// pipeBuf is PIPE_BUF.
const pipeBuf = 4096

func errnoOrNil(err error) error {
	if err == nil {
		return nil
	}
	return hostErrno(err)
}

// seek moves the host's offset.
func (h *hostFile) seek(_ *OpenFile, off int64, whence int32) (int64, error) {
	if h.streams() {
		return 0, unix.ESPIPE
	}
	n, err := unix.Seek(h.fd, off, int(whence))
	return n, errnoOrNil(err)
}

// sync is fsync(2), or fdatasync(2).
func (h *hostFile) sync(dataOnly bool) error {
	if dataOnly {
		return errnoOrNil(unix.Fdatasync(h.fd))
	}
	return errnoOrNil(unix.Fsync(h.fd))
}

// tcgets2 is TCGETS2, which new C libraries use.
const tcgets2 = 0x802c542a

// ioctl passes on what a terminal answers about itself; it never changes the host's terminal.
func (h *hostFile) ioctl(t *Thread, _ *OpenFile, req uint32, arg uint64) (uint64, error) {
	size := 0
	switch req {
	case unix.TCGETS:
		size = 36 // struct termios of the kernel: 4 words, c_line, 19 control characters
	case tcgets2:
		size = 44 // and two speeds
	case unix.TIOCGWINSZ:
		size = 8
	case fionread, unix.TIOCOUTQ:
		size = 4
	default:
		return 0, unix.ENOTTY
	}
	if req != fionread && !h.tty {
		return 0, unix.ENOTTY
	}
	var buf [64]byte
	if err := hostIoctl(h.fd, req, &buf); err != nil {
		return 0, err
	}
	return 0, t.copyOut(arg, buf[:size])
}

// positioned: what can seek on the host takes offsets.
func (h *hostFile) positioned() bool { return !h.streams() }
