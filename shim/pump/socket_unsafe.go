package pump

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is a stream socket of the host, which others may share: its flags are left alone.
type Socket struct {
	fd  int
	out bool
}

// NewSocket takes over a descriptor.
func NewSocket(fd int, out bool) *Socket { return &Socket{fd, out} }

// FD is the descriptor.
func (s *Socket) FD() int { return s.fd }

// Move sends or receives without waiting and without SIGPIPE. sendto(2) and recvfrom(2), unlike sendmsg(2), carry no
// descriptors, and a filter of system calls can see that they have no address. Go's scheduler is not told: see vector.call.
func (s *Socket) Move(a, b []byte) (int, error) {
	nr, flags := uintptr(unix.SYS_RECVFROM), uintptr(unix.MSG_DONTWAIT)
	if s.out {
		nr, flags = unix.SYS_SENDTO, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL
	}
	total := 0
	for _, part := range pieces(a, b) {
		n, err := ignoringEINTR(func() (int, error) {
			n, _, errno := unix.RawSyscall6(nr, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(part))), uintptr(len(part)), flags, 0, 0)
			if errno != 0 {
				return 0, errno
			}
			return int(n), nil
		})
		total += n
		if err != nil && total == 0 {
			return 0, err
		}
		if n < len(part) {
			break
		}
	}
	return total, nil
}

// Grow does nothing: a socket's buffer is its owner's.
func (s *Socket) Grow() {}

// Close closes the descriptor.
func (s *Socket) Close() error { return unix.Close(s.fd) }
