package pump

import "golang.org/x/sys/unix"

// Host is the host's side.
type Host interface {
	// FD is what to poll.
	FD() int
	// Move writes some of a and then of b, or reads into them, and never waits: EAGAIN then. Reading, 0 is the end. One call at
	// a time.
	Move(a, b []byte) (int, error)
	// Grow is called when the host's own buffer was found too small for what goes through.
	Grow()
	Close() error
}

// Pipe is an end of a pipe of the host, with O_NONBLOCK.
type Pipe struct {
	fd  int
	out bool
	vec vector // Move's
}

// NewPipe takes over a descriptor: the write end if out.
func NewPipe(fd int, out bool) *Pipe { return &Pipe{fd: fd, out: out} }

// FD is the descriptor.
func (p *Pipe) FD() int { return p.fd }

// Move is one readv or writev on the ring's own memory.
func (p *Pipe) Move(a, b []byte) (int, error) {
	nr := uintptr(unix.SYS_READV)
	if p.out {
		nr = unix.SYS_WRITEV
	}
	return ignoringEINTR(func() (int, error) { return p.vec.call(nr, p.fd, a, b) })
}

// Grow asks for a pipe that holds a ring. The kernel may refuse: the user has too much memory in pipes.
func (p *Pipe) Grow() {
	unix.FcntlInt(uintptr(p.fd), unix.F_SETPIPE_SZ, RingSize) //nolint:errcheck // then it stays as it is
}

// Close closes the descriptor.
func (p *Pipe) Close() error { return unix.Close(p.fd) }

// pieces is the vector of a call: no empty piece but the only one.
func pieces(a, b []byte) [][]byte {
	switch {
	case len(b) == 0:
		return [][]byte{a}
	case len(a) == 0:
		return [][]byte{b}
	}
	return [][]byte{a, b}
}

// ignoringEINTR repeats a host call that a signal of the Go runtime interrupted.
func ignoringEINTR(fn func() (int, error)) (int, error) {
	for {
		if n, err := fn(); err != unix.EINTR {
			return n, err
		}
	}
}
