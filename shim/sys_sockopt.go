package shim

import (
	"time"

	"golang.org/x/sys/unix"
)

// intOptions are options of SOL_SOCKET that are kept as a number and have no further meaning within a VM.
func intOption(name int32) bool {
	switch name {
	case unix.SO_DEBUG, unix.SO_REUSEADDR, unix.SO_DONTROUTE, unix.SO_BROADCAST, unix.SO_KEEPALIVE, unix.SO_OOBINLINE,
		unix.SO_PRIORITY, unix.SO_REUSEPORT, unix.SO_RCVLOWAT, unix.SO_TIMESTAMP, unix.SO_PASSSEC, unix.SO_MARK,
		unix.SO_NO_CHECK, unix.SO_TIMESTAMPNS:
		return true
	}
	return false
}

// Limits of socket buffers (net.core.wmem_max, SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF).
const (
	sockBufMax = 212992
	minSndBuf  = 4608
	minRcvBuf  = 2304
)

// Time-out options with 64-bit times, which are the same as the old ones on x86-64.
const (
	soRcvtimeoNew = 66
	soSndtimeoNew = 67
)

func sysSetsockopt(t *Thread, a Args) (uint64, error) {
	_, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	level, name, size := a.int32(1), a.int32(2), a.int32(4)
	if size < 0 {
		return 0, unix.EINVAL
	}
	if level != unix.SOL_SOCKET {
		return 0, unix.EOPNOTSUPP
	}
	switch name {
	case unix.SO_RCVTIMEO, soRcvtimeoNew:
		return 0, t.setSockTimeout(&s.opts.rcvTimeo, a[3], size)
	case unix.SO_SNDTIMEO, soSndtimeoNew:
		return 0, t.setSockTimeout(&s.opts.sndTimeo, a[3], size)
	}
	if size < 4 {
		return 0, unix.EINVAL
	}
	u, err := t.readU32(a[3])
	if err != nil {
		return 0, err
	}
	v := int32(u)
	switch name {
	case unix.SO_SNDBUF, unix.SO_SNDBUFFORCE:
		s.opts.sndBuf = max(2*int(min(u, sockBufMax)), minSndBuf)
		s.waiters.notify(pollOut)
	case unix.SO_RCVBUF, unix.SO_RCVBUFFORCE:
		s.opts.rcvBuf = max(2*int(min(u, sockBufMax)), minRcvBuf)
	case unix.SO_PASSCRED:
		s.opts.passCred = v != 0
	case unix.SO_LINGER:
		if size < 8 {
			return 0, unix.EINVAL
		}
		s.opts.flags[name] = v
	case unix.SO_TYPE, unix.SO_ERROR, unix.SO_DOMAIN, unix.SO_PROTOCOL, unix.SO_ACCEPTCONN, unix.SO_PEERCRED:
		return 0, unix.ENOPROTOOPT
	default:
		if !intOption(name) {
			return 0, unix.ENOPROTOOPT
		}
		if name != unix.SO_PRIORITY && name != unix.SO_RCVLOWAT && name != unix.SO_MARK && v != 0 {
			v = 1
		}
		s.opts.flags[name] = v
	}
	return 0, nil
}

// setSockTimeout reads a struct timeval (sock_set_timeout).
func (t *Thread) setSockTimeout(d *time.Duration, addr uint64, size int32) error {
	if size < 16 {
		return unix.EINVAL
	}
	var b [16]byte
	if err := t.copyIn(addr, b[:]); err != nil {
		return err
	}
	sec, usec := int64(le.Uint64(b[0:])), int64(le.Uint64(b[8:]))
	switch {
	case usec < 0 || usec >= 1e6:
		return unix.EDOM
	case sec < 0:
		*d = time.Nanosecond // has passed at once
	case sec >= int64(maxWait/time.Second):
		*d = 0
	default:
		*d = time.Duration(sec)*time.Second + time.Duration(usec)*time.Microsecond
	}
	return nil
}

func sysGetsockopt(t *Thread, a Args) (uint64, error) {
	_, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	room, err := t.readU32(a[4])
	if err != nil {
		return 0, err
	}
	if int32(room) < 0 {
		return 0, unix.EINVAL
	}
	if a.int32(1) != unix.SOL_SOCKET {
		return 0, unix.EOPNOTSUPP
	}
	b, err := s.option(a.int32(2))
	if err != nil {
		return 0, err
	}
	n := min(int(room), len(b))
	if err := t.copyOut(a[3], b[:n]); err != nil {
		return 0, err
	}
	return 0, t.writeU32(a[4], uint32(n))
}

// option is the value of an option as getsockopt(2) gives it.
func (s *unixSocket) option(name int32) ([]byte, error) {
	num := func(v int) ([]byte, error) { return le.AppendUint32(nil, uint32(int32(v))), nil }
	span := func(d time.Duration) ([]byte, error) {
		b := le.AppendUint64(nil, uint64(d/time.Second))
		return le.AppendUint64(b, uint64(d%time.Second/time.Microsecond)), nil
	}
	switch name {
	case unix.SO_TYPE:
		return num(s.typ)
	case unix.SO_ERROR:
		e := s.err
		s.err = 0
		return num(int(e))
	case unix.SO_SNDBUF:
		return num(s.opts.sndBuf)
	case unix.SO_RCVBUF:
		return num(s.opts.rcvBuf)
	case unix.SO_PASSCRED:
		return num(boolInt(s.opts.passCred))
	case unix.SO_ACCEPTCONN:
		return num(boolInt(s.state == sockListening))
	case unix.SO_DOMAIN:
		return num(unix.AF_UNIX)
	case unix.SO_PROTOCOL:
		return num(0)
	case unix.SO_RCVLOWAT:
		if s.opts.flags[name] == 0 {
			return num(1)
		}
		return num(int(s.opts.flags[name]))
	case unix.SO_LINGER:
		return append(le.AppendUint32(nil, uint32(s.opts.flags[name])), 0, 0, 0, 0), nil
	case unix.SO_RCVTIMEO, soRcvtimeoNew:
		return span(s.opts.rcvTimeo)
	case unix.SO_SNDTIMEO, soSndtimeoNew:
		return span(s.opts.sndTimeo)
	case unix.SO_PEERCRED:
		c := s.peerCred
		b := le.AppendUint32(nil, uint32(c.pid))
		return le.AppendUint32(le.AppendUint32(b, c.uid), c.gid), nil
	case unix.SO_PEERSEC:
		return nil, unix.ENOPROTOOPT
	}
	if intOption(name) {
		return num(int(s.opts.flags[name]))
	}
	return nil, unix.ENOPROTOOPT
}

// ioctl knows how many bytes lie in either direction (unix_ioctl).
func (s *unixSocket) ioctl(t *Thread, _ *OpenFile, req uint32, arg uint64) (uint64, error) {
	switch req {
	case fionread:
		if s.state == sockListening {
			return 0, unix.EINVAL
		}
		n := 0
		for i, m := range s.queue {
			if i > 0 && s.typ == unix.SOCK_DGRAM {
				break
			}
			n += len(m.data)
		}
		return 0, t.writeU32(arg, uint32(n))
	case unix.TIOCOUTQ:
		return 0, t.writeU32(arg, uint32(s.charged))
	}
	return 0, unix.ENOTTY
}
