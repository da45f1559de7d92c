package shim

import (
	"fmt"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// socketCalls are the rows of the calls on sockets.
func socketCalls() []Syscall {
	const note = "AF_UNIX"
	const bound = "SO_SNDBUF bytes in flight, 253 descriptors a message"
	return []Syscall{
		{unix.SYS_SOCKET, "socket", sysSocket, Partial, note, ""},
		{unix.SYS_SOCKETPAIR, "socketpair", sysSocketpair, Partial, note, ""},
		{unix.SYS_BIND, "bind", sysBind, Partial, note, ""},
		{unix.SYS_LISTEN, "listen", sysListen, Partial, note, "4096 connections"},
		{unix.SYS_ACCEPT, "accept", sysAccept, Partial, note, ""},
		{unix.SYS_ACCEPT4, "accept4", sysAccept4, Partial, note, ""},
		{unix.SYS_CONNECT, "connect", sysConnect, Partial, note, ""},
		{unix.SYS_GETSOCKNAME, "getsockname", sysGetsockname, Partial, note, ""},
		{unix.SYS_GETPEERNAME, "getpeername", sysGetpeername, Partial, note, ""},
		{unix.SYS_SENDTO, "sendto", sysSendto, Partial, note, bound},
		{unix.SYS_RECVFROM, "recvfrom", sysRecvfrom, Partial, note, bound},
		{unix.SYS_SENDMSG, "sendmsg", sysSendmsg, Partial, note, bound},
		{unix.SYS_RECVMSG, "recvmsg", sysRecvmsg, Partial, note, bound},
		{unix.SYS_SENDMMSG, "sendmmsg", sysSendmmsg, Partial, note, "1024 messages; " + bound},
		{unix.SYS_RECVMMSG, "recvmmsg", sysRecvmmsg, Partial, note, "1024 messages; " + bound},
		{unix.SYS_SHUTDOWN, "shutdown", sysShutdown, Partial, note, ""},
		{unix.SYS_SETSOCKOPT, "setsockopt", sysSetsockopt, Partial, note, ""},
		{unix.SYS_GETSOCKOPT, "getsockopt", sysGetsockopt, Partial, note, ""},
	}
}

// socketType checks the type argument of socket(2) and socketpair(2).
func socketType(family, typ, protocol int32) (int, int32, error) {
	flags := typ &^ 0xf
	typ &= 0xf
	if flags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 {
		return 0, 0, unix.EINVAL
	}
	if family < 0 || family > 45 {
		return 0, 0, unix.EAFNOSUPPORT
	}
	if typ > unix.SOCK_PACKET {
		return 0, 0, unix.EINVAL
	}
	if family != unix.AF_UNIX {
		return 0, 0, unix.EAFNOSUPPORT
	}
	if protocol != 0 && protocol != unix.AF_UNIX {
		return 0, 0, unix.EPROTONOSUPPORT
	}
	switch typ {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
	case unix.SOCK_RAW: // "believe it or not BSD has AF_UNIX, SOCK_RAW though nothing uses it"
		typ = unix.SOCK_DGRAM
	default:
		return 0, 0, unix.ESOCKTNOSUPPORT
	}
	return int(typ), flags, nil
}

// socketFile opens a socket.
func (t *Thread) socketFile(s *unixSocket, flags int32) (*OpenFile, error) {
	return t.k.newOpenFile(s, s.path, unix.O_RDWR|int(flags)&unix.O_NONBLOCK)
}

func (t *Thread) addSocket(s *unixSocket, flags int32) (uint64, error) {
	f, err := t.socketFile(s, flags)
	if err != nil {
		return 0, err
	}
	return t.addFD(f, flags&unix.SOCK_CLOEXEC != 0)
}

func sysSocket(t *Thread, a Args) (uint64, error) {
	typ, flags, err := socketType(a.int32(0), a.int32(1), a.int32(2))
	if err != nil {
		return 0, err
	}
	return t.addSocket(t.k.newUnixSocket(t, typ), flags)
}

func sysSocketpair(t *Thread, a Args) (uint64, error) {
	typ, flags, err := socketType(a.int32(0), a.int32(1), a.int32(2))
	if err != nil {
		if err == unix.EAFNOSUPPORT && a.int32(0) == unix.AF_INET {
			err = unix.EOPNOTSUPP
		}
		return 0, err
	}
	x, y := t.k.newUnixSocket(t, typ), t.k.newUnixSocket(t, typ)
	pairUnix(x, y)
	var fds [2]uint64
	if fds[0], err = t.addSocket(x, flags); err != nil {
		y.release()
		return 0, err
	}
	if fds[1], err = t.addSocket(y, flags); err != nil {
		t.files.close(int(fds[0]))
		return 0, err
	}
	out := le.AppendUint32(le.AppendUint32(nil, uint32(fds[0])), uint32(fds[1]))
	if err := t.copyOut(a[3], out); err != nil {
		t.files.close(int(fds[0]))
		t.files.close(int(fds[1]))
		return 0, err
	}
	return 0, nil
}

// socket returns the socket that is open at fd; ENOTSOCK if it is something else.
func (t *Thread) socket(fd int32) (*OpenFile, *unixSocket, error) {
	f, err := t.files.file(fd)
	if err != nil {
		return nil, nil, err
	}
	s, ok := f.impl.(*unixSocket)
	if !ok {
		return nil, nil, unix.ENOTSOCK
	}
	return f, s, nil
}

// find returns the socket that has a name: ECONNREFUSED if there is none behind it.
func (s *unixSocket) find(t *Thread, a *unixAddr) (*unixSocket, error) {
	if a.name == "" {
		return nil, unix.EINVAL
	}
	if a.name[0] == 0 {
		p := s.k.unixNames[a.key(s.typ)]
		if p == nil {
			return nil, unix.ECONNREFUSED
		}
		return p, nil
	}
	c := t.vctx()
	path, err := t.ns().Walk(c, vfs.Path{}, a.name, 0)
	if err != nil {
		return nil, err
	}
	if err := t.ns().Access(c, path, unix.W_OK, false); err != nil {
		return nil, err
	}
	if path.Inode().Type() != unix.S_IFSOCK {
		return nil, unix.ECONNREFUSED
	}
	p, _ := path.Inode().Attach(socketKey{}, nil).(*unixSocket)
	if p == nil {
		return nil, unix.ECONNREFUSED
	}
	if p.typ != s.typ {
		return nil, unix.EPROTOTYPE
	}
	return p, nil
}

func sysBind(t *Thread, a Args) (uint64, error) {
	_, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	family, addr, err := t.readSockaddr(a[1], uint32(a[2]))
	if err != nil {
		return 0, err
	}
	if family != unix.AF_UNIX {
		return 0, unix.EINVAL
	}
	return 0, s.bind(t, addr)
}

// bind gives a socket a name: the one it has stays (unix_bind).
func (s *unixSocket) bind(t *Thread, a *unixAddr) error {
	if a.name == "" {
		if s.addr != nil {
			return unix.EINVAL
		}
		return s.autobind()
	}
	if a.name[0] != 0 && s.addr != nil {
		if _, err := t.ns().Walk(t.vctx(), vfs.Path{}, a.name, vfs.NoFollow); err == nil {
			return unix.EADDRINUSE // Linux makes the name first
		}
	}
	if s.addr != nil {
		return unix.EINVAL
	}
	if a.name[0] == 0 {
		return s.bindAbstract(a)
	}
	path, err := t.ns().Mknod(t.vctx(), vfs.Path{}, a.name, unix.S_IFSOCK|0o777, 0)
	if err == unix.EEXIST {
		err = unix.EADDRINUSE
	}
	if err != nil {
		return err
	}
	a.inode = path.Inode()
	a.inode.Attach(socketKey{}, func() any { return s })
	s.addr = a
	return nil
}

func (s *unixSocket) bindAbstract(a *unixAddr) error {
	k := s.k
	if k.unixNames[a.key(s.typ)] != nil {
		return unix.EADDRINUSE
	}
	if k.unixNames == nil {
		k.unixNames = make(map[string]*unixSocket)
	}
	k.unixNames[a.key(s.typ)] = s
	s.addr = a
	return nil
}

// autobind chooses an abstract name of five hexadecimal digits.
func (s *unixSocket) autobind() error {
	for range 1 << 20 {
		s.k.autobind++
		if s.bindAbstract(&unixAddr{name: fmt.Sprintf("\x00%05x", s.k.autobind&0xfffff)}) == nil {
			return nil
		}
	}
	return unix.ENOSPC
}

func sysListen(t *Thread, a Args) (uint64, error) {
	_, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	switch {
	case !s.connection():
		return 0, unix.EOPNOTSUPP
	case s.addr == nil, s.state == sockConnected:
		return 0, unix.EINVAL
	}
	s.backlog = int(min(uint32(a[1]), maxBacklog))
	s.state = sockListening
	s.own = ucred{t.p.pid, t.cred.EUID, t.cred.EGID}
	s.senders.notify(0)
	return 0, nil
}

func sysConnect(t *Thread, a Args) (uint64, error) {
	f, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	family, addr, err := t.readSockaddr(a[1], uint32(a[2]))
	if err != nil {
		return 0, err
	}
	if !s.connection() {
		if family == unix.AF_UNSPEC {
			s.peer = nil
			return 0, nil
		}
		if family != unix.AF_UNIX {
			return 0, unix.EINVAL
		}
		return 0, s.connectPacket(t, addr)
	}
	if family != unix.AF_UNIX {
		return 0, unix.EINVAL
	}
	c := &ioCall{t: t, f: f, pos: -1, nonblock: f.nonblock(), msg: &sockMsg{}}
	c.setDeadline(s.opts.sndTimeo)
	return c.run(func(c *ioCall) error { return s.connect(c, addr) })
}

// connectPacket sets where a datagram socket sends to, and from whom it receives.
func (s *unixSocket) connectPacket(t *Thread, addr *unixAddr) error {
	p, err := s.find(t, addr)
	if err != nil {
		return err
	}
	if p.peer != nil && p.peer != s {
		return unix.EPERM
	}
	if s.opts.passCred && s.addr == nil {
		if err := s.autobind(); err != nil {
			return err
		}
	}
	s.peer = p
	s.waiters.notify(pollOut)
	return nil
}

// connect makes a connection: the other end waits in the listener's queue (unix_stream_connect).
func (s *unixSocket) connect(c *ioCall, addr *unixAddr) error {
	l, err := s.find(c.t, addr)
	if err != nil {
		return err
	}
	switch {
	case l.state != sockListening || l.closed || l.rcvShut:
		return unix.ECONNREFUSED
	case s.state == sockConnected:
		return unix.EISCONN
	case s.state != sockFree:
		return unix.EINVAL
	case len(l.pending) > l.backlog:
		c.msg.waitFor = &l.senders
		return errWait
	}
	if s.opts.passCred && s.addr == nil {
		if err := s.autobind(); err != nil {
			return err
		}
	}
	s.own = ucred{c.t.p.pid, c.t.cred.EUID, c.t.cred.EGID}
	server := l.k.newUnixSocket(c.t, s.typ)
	server.own, server.addr = l.own, l.addr
	server.opts.passCred = l.opts.passCred
	pairUnix(s, server)
	l.pending = append(l.pending, server)
	l.waiters.notify(pollIn)
	s.waiters.notify(pollOut)
	return nil
}

func sysAccept(t *Thread, a Args) (uint64, error) { return t.accept(a, 0) }

func sysAccept4(t *Thread, a Args) (uint64, error) { return t.accept(a, a.int32(3)) }

func (t *Thread) accept(a Args, flags int32) (uint64, error) {
	if flags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	f, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	if !s.connection() {
		return 0, unix.EOPNOTSUPP
	}
	if s.state != sockListening {
		return 0, unix.EINVAL
	}
	if _, err := t.files.lowest(0, t.fdLimit()); err != nil {
		return 0, err
	}
	c := &ioCall{t: t, f: f, pos: -1, nonblock: f.nonblock()}
	c.setDeadline(s.opts.rcvTimeo)
	var got *unixSocket
	op := func(*ioCall) error {
		if len(s.pending) > 0 {
			got = s.pending[0]
			s.pending = s.pending[1:]
			s.senders.notify(0)
			return nil
		}
		if s.rcvShut {
			return unix.EINVAL
		}
		return errWait
	}
	return c.runThen(op, func(_ uint64, err error) (uint64, error) {
		if err != nil {
			return 0, err
		}
		return t.finishAccept(got, a[1], a[2], flags)
	})
}

func (t *Thread) finishAccept(s *unixSocket, addr, lenAddr uint64, flags int32) (uint64, error) {
	f, err := t.socketFile(s, flags)
	if err != nil {
		return 0, err
	}
	if addr != 0 {
		if err := t.putName(s.peer.addr, addr, lenAddr); err != nil {
			f.drop()
			return 0, err
		}
	}
	return t.addFD(f, flags&unix.SOCK_CLOEXEC != 0)
}

// putName writes a socket's name to a buffer whose size is at lenAddr (move_addr_to_user).
func (t *Thread) putName(a *unixAddr, addr, lenAddr uint64) error {
	room, err := t.readU32(lenAddr)
	if err != nil {
		return err
	}
	if int32(room) < 0 {
		return unix.EINVAL
	}
	return t.putAddr(a, true, addr, room, lenAddr)
}

func sysGetsockname(t *Thread, a Args) (uint64, error) {
	_, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	return 0, t.putName(s.addr, a[1], a[2])
}

func sysGetpeername(t *Thread, a Args) (uint64, error) {
	_, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	if s.peer == nil {
		return 0, unix.ENOTCONN
	}
	return 0, t.putName(s.peer.addr, a[1], a[2])
}

func sysShutdown(t *Thread, a Args) (uint64, error) {
	_, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	how := a.int32(1)
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return 0, unix.EINVAL
	}
	rd, wr := how != unix.SHUT_WR, how != unix.SHUT_RD
	s.shut(rd, wr)
	if p := s.peer; p != nil && s.connection() && p.peer == s {
		p.shut(wr, rd)
	}
	return 0, nil
}

// shut ends directions of a socket.
func (s *unixSocket) shut(rd, wr bool) {
	s.rcvShut = s.rcvShut || rd
	s.sndShut = s.sndShut || wr
	s.waiters.notify(0)
	s.senders.notify(0)
}
