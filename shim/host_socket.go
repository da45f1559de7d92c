package shim

import (
	"fmt"
	"os"
	"sync/atomic"

	"culvert/guest"
	"culvert/shim/pump"

	"golang.org/x/sys/unix"
)

// socketFile is a standard file that is a stream socket on the host: to ring 0 one end of a pipe, input of standard input and
// output of the others. It is a socket to splice and fcntl, and what is done in the direction that the ring does not have is
// forwarded; ring 0's poll knows nothing of that direction.
type socketFile struct {
	*pipeFile
	h *hostFile
}

// newHostSocket makes the ring behind a standard file that is a stream socket, or answers nil if that is to be forwarded. One
// socket for both input and output is: a poll of it is about both directions.
func newHostSocket(h *hostFile, fd int) (*hostPipe, error) {
	k := h.k
	kind, err := unix.GetsockoptInt(h.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM || k.cfg.Trace != nil || h.both(fd) {
		return nil, nil //nolint:nilerr // no socket
	}
	own, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stdioNames[fd], err)
	}
	out := fd != unix.Stdin
	return h.ring(&hostPipe{k: k, file: h, host: pump.NewSocket(own, out), out: out, exact: !out, socket: true})
}

// both says that the host's file is standard input as well as an output.
func (h *hostFile) both(fd int) bool {
	for other, f := range h.k.cfg.Stdio {
		if (other == unix.Stdin) != (fd == unix.Stdin) && f != nil && sameInode(f, h) {
			return true
		}
	}
	return false
}

func sameInode(f *os.File, h *hostFile) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Ino == h.inode.attr.Ino && st.Dev == h.inode.attr.Dev
}

// pipeFileOf is what an implementation has of a pipe.
func pipeFileOf(impl fileImpl) (*pipeFile, bool) {
	switch f := impl.(type) {
	case *pipeFile:
		return f, true
	case *socketFile:
		return f.pipeFile, true
	}
	return nil, false
}

// ringMode is what ring 0 may do.
func (f *socketFile) ringMode() uint64 {
	if f.p.host.out {
		return guest.FileWrite
	}
	return guest.FileRead
}

func (f *socketFile) read(c *ioCall) error {
	if f.p.host.out {
		return f.h.read(c)
	}
	return f.pipeFile.read(c)
}

func (f *socketFile) write(c *ioCall) error {
	if f.p.host.out {
		return f.pipeFile.write(c)
	}
	return f.h.write(c)
}

// poll adds the host's answer for the direction that is forwarded.
func (f *socketFile) poll() uint32 {
	bits := f.pipeFile.poll()
	if f.p.host.gone {
		return bits
	}
	other := int16(pollIn | unix.POLLRDHUP)
	if !f.p.host.out {
		other = pollOut
	}
	got := f.h.ask(other)
	if got == 0 && f.p.rdwr.watched() {
		f.h.k.hostPoller.arm(f.h, other)
	}
	return bits | got
}

// ready is the queue of both directions.
func (f *socketFile) ready() *readiness {
	if atomic.SwapUint64(&f.p.end.Pipe.HostWatch, 1) == 0 {
		f.p.look()
	}
	return &f.p.rdwr
}
