package shim

import (
	"time"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// unixSocket is an AF_UNIX socket: net/unix/af_unix.c. Kernel.mu guards it.
//
// Messages lie in the receiver's queue and are charged to the sender until they are received, as skbs are. A
// connection's server end is made by connect(2) and waits in the listener's queue for accept(2).
type unixSocket struct {
	k     *Kernel
	typ   int // SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET
	state sockState
	inode *anonInode
	path  vfs.Path
	peer  *unixSocket // of a connection; of a datagram socket, where it sends to

	addr    *unixAddr // nil: no name
	backlog int       // of a listener
	pending []*unixSocket

	queue    []*unixMsg
	charged  int  // bytes in flight that this socket sent
	rcvShut  bool // nothing more will be received
	sndShut  bool
	err      unix.Errno // SO_ERROR: told once
	closed   bool
	own      ucred // SO_PEERCRED of the peer
	peerCred ucred
	opts     sockOptions
	waiters  readiness
	// senders wait for room in this datagram socket's queue.
	senders readiness
	watched map[*unixSocket]*watch // of those it sends to, while it polls for room
}

type sockState int

const (
	sockFree sockState = iota
	sockListening
	sockConnected
)

// ucred is struct ucred.
type ucred struct {
	pid      int
	uid, gid uint32
}

// noUcred is what SO_PEERCRED says without a peer.
func noUcred() ucred { return ucred{0, ^uint32(0), ^uint32(0)} }

// unixAddr is a socket's name: a path, or an abstract name if it begins with a zero byte.
type unixAddr struct {
	name  string
	inode vfs.Inode // of a path
}

// unixMsg is a datagram, or a piece of a stream.
type unixMsg struct {
	data   []byte
	from   *unixSocket
	cred   ucred
	rights []*OpenFile // each with a reference
	size   int         // charged
}

// sockOptions are what setsockopt(2) sets.
type sockOptions struct {
	sndBuf, rcvBuf     int
	passCred           bool
	rcvTimeo, sndTimeo time.Duration // 0 is none
	flags              map[int32]int32
}

const (
	// sockBuf is the default of SO_SNDBUF and SO_RCVBUF (net.core.wmem_default).
	sockBuf = 212992
	// msgOverhead is charged for each message beside its bytes: about what sizeof(struct sk_buff) adds to them.
	msgOverhead = 576
	// streamPiece is the largest piece of a stream that is one message (SKB_MAX_ALLOC).
	streamPiece = 32 << 10
	// dgramBacklog is net.unix.max_dgram_qlen.
	dgramBacklog = 10
	// minSocketBytes may be in flight in any VM; the bound grows with its memory.
	minSocketBytes = 4 << 20
	// maxRights is SCM_MAX_FD.
	maxRights = 253
)

// socketKey is the key under which a socket is attached to the inode of its path.
type socketKey struct{}

// newUnixSocket makes a socket for the thread.
func (k *Kernel) newUnixSocket(t *Thread, typ int) *unixSocket {
	s := &unixSocket{
		k: k, typ: typ, peerCred: noUcred(),
		own:  ucred{t.p.pid, t.cred.EUID, t.cred.EGID},
		opts: sockOptions{sndBuf: sockBuf, rcvBuf: sockBuf, flags: make(map[int32]int32)},
	}
	s.inode = k.newAnonInode(t, unix.S_IFSOCK|0o777)
	s.path = k.anonPlace("socket", s.inode)
	return s
}

// pairUnix connects two sockets with each other.
func pairUnix(a, b *unixSocket) {
	a.peer, b.peer = b, a
	a.state, b.state = sockConnected, sockConnected
	a.peerCred, b.peerCred = b.own, a.own
}

func (s *unixSocket) connection() bool { return s.typ != unix.SOCK_DGRAM }

// writable is unix_writable: a quarter of the buffer may be in flight.
func (s *unixSocket) writable() bool { return s.state != sockListening && s.charged*4 <= s.opts.sndBuf }

// queueFull is unix_recvq_full of a datagram socket.
func (s *unixSocket) queueFull() bool { return len(s.queue) > dgramBacklog }

func (s *unixSocket) poll() uint32 {
	bits := uint32(0)
	if s.err != 0 {
		bits |= unix.POLLERR
	}
	if s.rcvShut && s.sndShut {
		bits |= unix.POLLHUP
	}
	if s.rcvShut {
		bits |= unix.POLLRDHUP | pollIn
	}
	if len(s.queue) > 0 || len(s.pending) > 0 {
		bits |= pollIn
	}
	if s.connection() && s.state == sockFree {
		bits |= unix.POLLHUP
	}
	if s.writable() && !s.blockedByPeer() {
		bits |= pollOut | pollWRBAND
	}
	return bits
}

// blockedByPeer reports whether a datagram to the default destination would have to wait for room there. Then the
// socket hears of room (unix_dgram_peer_wake_me).
func (s *unixSocket) blockedByPeer() bool {
	p := s.peer
	if s.typ != unix.SOCK_DGRAM || p == nil || p.peer == s || !p.queueFull() {
		return false
	}
	if s.watched[p] == nil {
		if s.watched == nil {
			s.watched = make(map[*unixSocket]*watch)
		}
		s.watched[p] = p.senders.watch(false, func(uint32) bool {
			s.waiters.notify(pollOut)
			return true
		})
	}
	return true
}

func (s *unixSocket) ready() *readiness       { return &s.waiters }
func (s *unixSocket) stat() (vfs.Stat, error) { return s.inode.Stat() }

// release closes the socket (unix_release_sock).
func (s *unixSocket) release() {
	s.closed = true
	for _, w := range s.watched {
		w.cancel()
	}
	s.unbind()
	unread := len(s.queue) > 0
	for _, m := range s.queue {
		m.discard()
	}
	s.queue = nil
	if p := s.peer; p != nil && s.connection() {
		p.rcvShut, p.sndShut = true, true
		if unread {
			p.err = unix.ECONNRESET
		}
		p.waiters.notify(unix.POLLIN | unix.POLLOUT | unix.POLLHUP | unix.POLLRDHUP)
	}
	for _, server := range s.pending {
		server.release()
	}
	s.pending = nil
	s.rcvShut, s.sndShut = true, true
	s.senders.notify(0)
	s.waiters.notify(0)
}

// unbind takes the socket's name away. A path stays as a name without a socket behind it.
func (s *unixSocket) unbind() {
	a := s.addr
	if a == nil {
		return
	}
	if a.inode != nil {
		if v, _ := a.inode.Attach(socketKey{}, nil).(*unixSocket); v == s {
			a.inode.Detach(socketKey{})
		}
	} else if s.k.unixNames[a.key(s.typ)] == s {
		delete(s.k.unixNames, a.key(s.typ))
	}
}

// key is how an abstract name is found: each type has its own names.
func (a *unixAddr) key(typ int) string { return string(rune(typ)) + a.name }

// discard drops a message that nobody receives.
func (m *unixMsg) discard() {
	for _, f := range m.rights {
		m.from.k.fly(f, -1)
		f.drop()
	}
	m.rights = nil
	m.uncharge()
}

// charge accounts for a message that is about to be queued: ENOBUFS if all sockets of the VM hold too much of the
// host's memory.
func (m *unixMsg) charge() error {
	k := m.from.k
	if k.socketBytes+m.size > max(minSocketBytes, len(k.ram)/8) {
		return unix.ENOBUFS
	}
	k.socketBytes += m.size
	m.from.charged += m.size
	return nil
}

// uncharge tells the sender that there is room again (sock_wfree).
func (m *unixMsg) uncharge() {
	s := m.from
	s.charged -= m.size
	s.k.socketBytes -= m.size
	m.size = 0
	if s.writable() && !s.closed {
		s.waiters.notify(pollOut | pollWRBAND)
	}
}

// sockErr takes the pending error.
func (s *unixSocket) sockErr() error {
	if e := s.err; e != 0 {
		s.err = 0
		return e
	}
	return nil
}

// write sends: sendmsg and its like.
func (s *unixSocket) write(c *ioCall) error {
	if c.msg == nil {
		c.msg = &sockMsg{}
	}
	if s.typ == unix.SOCK_STREAM {
		return s.sendStream(c)
	}
	return s.sendPacket(c)
}

// sendStream is unix_stream_sendmsg. Descriptors go with the first piece.
func (s *unixSocket) sendStream(c *ioCall) error {
	m := c.msg
	switch {
	case m.to != nil && s.state == sockConnected:
		return unix.EISCONN
	case m.to != nil:
		return unix.EOPNOTSUPP
	case s.peer == nil:
		return unix.ENOTCONN
	}
	pipeErr := func() error {
		if m.flags&unix.MSG_NOSIGNAL == 0 && c.done == 0 {
			c.t.raise(unix.SIGPIPE)
		}
		return unix.EPIPE
	}
	if s.sndShut {
		return pipeErr()
	}
	for c.left > 0 || c.done == 0 && c.left == 0 && len(m.rights) > 0 && m.sent == 0 {
		p := s.peer
		if p.closed || p.rcvShut {
			return pipeErr()
		}
		if s.charged >= s.opts.sndBuf {
			return errWait
		}
		n := min(c.left, streamPiece, max(s.opts.sndBuf/2-64, 1))
		data := make([]byte, n)
		got, fault := c.get(data)
		if fault != nil {
			return fault
		}
		msg := &unixMsg{data: data[:got], from: s, cred: m.sender(s, c.t), size: got + msgOverhead}
		if err := msg.charge(); err != nil {
			return err
		}
		msg.rights = m.takeRights(s.k)
		m.sent++
		c.advance(got)
		p.queue = append(p.queue, msg)
		p.waiters.notify(pollIn)
		if got == 0 {
			break
		}
	}
	return nil
}

// sendPacket is unix_dgram_sendmsg, which sends for SOCK_SEQPACKET too.
func (s *unixSocket) sendPacket(c *ioCall) error {
	m := c.msg
	p := s.peer
	if s.typ == unix.SOCK_SEQPACKET {
		if err := s.sockErr(); err != nil {
			return err
		}
		if s.state != sockConnected {
			return unix.ENOTCONN
		}
	} else if m.to != nil {
		var err error
		if p, err = s.find(c.t, m.to); err != nil {
			return err
		}
	}
	if p == nil {
		return unix.ENOTCONN
	}
	if c.left > s.opts.sndBuf-32 {
		return unix.EMSGSIZE
	}
	switch {
	case s.sndShut:
		return unix.EPIPE
	case p.closed && s.typ == unix.SOCK_SEQPACKET:
		return unix.EPIPE
	case p.closed:
		if s.peer == p {
			s.disconnected()
		}
		return unix.ECONNREFUSED
	case p.typ == unix.SOCK_DGRAM && p.peer != nil && p.peer != s:
		return unix.EPERM // unix_may_send: it is connected to somebody else
	case p.rcvShut:
		return unix.EPIPE
	case s.charged >= s.opts.sndBuf:
		return errWait
	case p != s && p.peer != s && p.queueFull():
		m.waitFor = &p.senders
		return errWait
	}
	data := make([]byte, c.left)
	got, fault := c.get(data)
	if fault != nil {
		return fault
	}
	msg := &unixMsg{data: data[:got], from: s, cred: m.sender(s, c.t), size: got + msgOverhead}
	if err := msg.charge(); err != nil {
		return err
	}
	msg.rights = m.takeRights(s.k)
	c.advance(got)
	p.queue = append(p.queue, msg)
	p.waiters.notify(pollIn)
	return nil
}

// disconnected ends the connection of a datagram socket whose peer is closed: what waits to be received is lost
// (unix_dgram_disconnected).
func (s *unixSocket) disconnected() {
	s.peer = nil
	for _, m := range s.queue {
		m.discard()
	}
	s.queue = nil
	s.senders.notify(pollOut)
}

// read receives: recvmsg and its like.
func (s *unixSocket) read(c *ioCall) error {
	if c.msg == nil && c.left == 0 {
		return nil // sock_read_iter, where recv(2) would wait
	}
	if c.msg == nil {
		c.msg = &sockMsg{}
		defer func() {
			c.msg.drop() // read(2) has nowhere to put descriptors
			c.msg = nil
		}()
	}
	if c.msg.flags&unix.MSG_OOB != 0 {
		return unix.EOPNOTSUPP
	}
	if s.typ == unix.SOCK_STREAM {
		return s.recvStream(c)
	}
	return s.recvPacket(c)
}

// recvStream is unix_stream_read_generic. Bytes of different messages are joined up to one that carries descriptors.
func (s *unixSocket) recvStream(c *ioCall) error {
	m := c.msg
	if s.state != sockConnected {
		return unix.EINVAL
	}
	for i := 0; ; {
		if i >= len(s.queue) {
			if c.done > 0 && (m.flags&unix.MSG_WAITALL == 0 || m.flags&unix.MSG_PEEK != 0) {
				return nil
			}
			if c.done == 0 {
				if err := s.sockErr(); err != nil {
					return err
				}
			}
			if s.rcvShut {
				return nil
			}
			return errWait
		}
		msg := s.queue[i]
		// Data of senders with different credentials is not joined where the receiver wants to know them.
		if c.done > 0 && s.opts.passCred && m.cred != nil && *m.cred != msg.cred {
			return nil
		}
		m.note(s, msg)
		n, fault := c.put(msg.data[:min(len(msg.data), c.left)])
		if fault != nil {
			c.done -= n // a piece counts as a whole
			return fault
		}
		peek := m.flags&unix.MSG_PEEK != 0
		hadRights := len(msg.rights) > 0
		if hadRights {
			m.receive(msg, peek)
		}
		switch {
		case peek && n == len(msg.data):
			i++
		case !peek:
			msg.data = msg.data[n:]
			if len(msg.data) == 0 {
				s.queue = s.queue[1:]
				msg.uncharge()
			}
		}
		if hadRights || c.left == 0 {
			return nil
		}
	}
}

// recvPacket is __unix_dgram_recvmsg.
func (s *unixSocket) recvPacket(c *ioCall) error {
	m := c.msg
	if s.typ == unix.SOCK_SEQPACKET && s.state != sockConnected {
		return unix.ENOTCONN
	}
	if err := s.sockErr(); err != nil {
		return err
	}
	if len(s.queue) == 0 {
		if s.rcvShut && (s.typ == unix.SOCK_SEQPACKET || !c.nonblock) {
			return nil
		}
		return errWait
	}
	msg := s.queue[0]
	m.note(s, msg)
	n, fault := c.put(msg.data)
	if fault != nil {
		c.done -= n // the message is lost
	}
	peek := m.flags&unix.MSG_PEEK != 0
	if len(msg.rights) > 0 {
		m.receive(msg, peek)
	}
	if n < len(msg.data) {
		m.outFlags |= unix.MSG_TRUNC
		if m.flags&unix.MSG_TRUNC != 0 {
			m.fullLen = len(msg.data)
		}
	}
	if !peek {
		s.queue = s.queue[1:]
		msg.discard()
		s.senders.notify(pollOut)
	}
	return fault
}
