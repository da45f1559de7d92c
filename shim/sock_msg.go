package shim

import (
	"golang.org/x/sys/unix"
)

// sockMsg is what a call on a socket has beside its bytes (struct msghdr).
type sockMsg struct {
	flags int32
	to    *unixAddr // destination; nil is the connection's
	// Control messages to be sent.
	rights []*OpenFile
	cred   *ucred // sent: SCM_CREDENTIALS given; received: the sender's
	sent   int    // messages made of this call
	// What was received.
	from     *unixSocket
	fromAddr *unixAddr
	got      []*OpenFile // descriptors, each with a reference
	outFlags int32
	fullLen  int        // of a datagram that was cut off, if MSG_TRUNC asked for it
	waitFor  *readiness // of a datagram: where room is awaited; nil is the socket itself
}

// msghdrSize is the size of struct msghdr: name, namelen, iov, iovlen, control, controllen, flags.
const (
	msghdrSize  = 56
	mmsghdrSize = 64
	cmsgHead    = 16
	// maxControl bounds a control buffer (net.core.optmem_max).
	maxControl = 131072
)

// Types of control messages (include/linux/socket.h).
const (
	scmRights      = 1
	scmCredentials = 2
)

// sender is the credentials that a message of the thread carries.
func (m *sockMsg) sender(s *unixSocket, t *Thread) ucred {
	if m.cred != nil {
		return *m.cred
	}
	return ucred{t.p.pid, t.cred.UID, t.cred.GID}
}

// takeRights moves the descriptors into the first message.
func (m *sockMsg) takeRights(k *Kernel) []*OpenFile {
	r := m.rights
	m.rights = nil
	for _, f := range r {
		k.fly(f, 1)
	}
	return r
}

// drop gives back the descriptors that were not sent or not installed.
func (m *sockMsg) drop() {
	for _, f := range m.rights {
		f.drop()
	}
	for _, f := range m.got {
		f.drop()
	}
	m.rights, m.got = nil, nil
}

// note remembers whose message is received.
func (m *sockMsg) note(s *unixSocket, msg *unixMsg) {
	if m.from == nil {
		m.from, m.fromAddr = msg.from, msg.from.addr
		cred := msg.cred
		m.cred = &cred
	}
}

// receive takes a message's descriptors, or copies of them for MSG_PEEK.
func (m *sockMsg) receive(msg *unixMsg, peek bool) {
	m.got = append(m.got, msg.rights...)
	if peek {
		for _, f := range msg.rights {
			f.hold()
		}
		return
	}
	for _, f := range msg.rights {
		msg.from.k.fly(f, -1)
	}
	msg.rights = nil
}

// msghdr is a struct msghdr as the program passed it.
type msghdr struct {
	addr                       uint64 // of the struct
	name, iov, iovlen, control uint64
	namelen                    uint32
	controllen                 uint64
}

func (t *Thread) readMsghdr(addr uint64) (msghdr, error) {
	var b [msghdrSize]byte
	if err := t.copyIn(addr, b[:]); err != nil {
		return msghdr{}, err
	}
	h := msghdr{
		addr: addr, name: le.Uint64(b[0:]), namelen: le.Uint32(b[8:]), iov: le.Uint64(b[16:]), iovlen: le.Uint64(b[24:]),
		control: le.Uint64(b[32:]), controllen: le.Uint64(b[40:]),
	}
	if h.name == 0 {
		h.namelen = 0
	}
	if int32(h.namelen) < 0 {
		return h, unix.EINVAL
	}
	if h.iovlen > maxIovecs {
		return h, unix.EMSGSIZE
	}
	return h, nil
}

// parseControl reads the control messages to be sent (net/core/scm.c __scm_send). On an error nothing is held.
func (t *Thread) parseControl(m *sockMsg, addr, size uint64) error {
	if size == 0 {
		return nil
	}
	if size > maxControl {
		return unix.ENOBUFS
	}
	b := make([]byte, size)
	if err := t.copyIn(addr, b); err != nil {
		return err
	}
	for len(b) >= cmsgHead {
		n := le.Uint64(b)
		level, typ := int32(le.Uint32(b[8:])), int32(le.Uint32(b[12:]))
		if n < cmsgHead || n > uint64(len(b)) {
			m.drop()
			return unix.EINVAL
		}
		if level == unix.SOL_SOCKET {
			if err := t.controlMessage(m, typ, b[cmsgHead:n]); err != nil {
				m.drop()
				return err
			}
		}
		b = b[min((n+7)&^7, uint64(len(b))):]
	}
	return nil
}

func (t *Thread) controlMessage(m *sockMsg, typ int32, data []byte) error {
	switch typ {
	case scmRights:
		n := len(data) / 4
		if len(m.rights)+n > maxRights {
			return unix.EINVAL
		}
		// Descriptors in flight hold files without a descriptor: too_many_unix_fds.
		if n > 0 && uint64(t.k.inFlight) > t.fdLimit() && !t.cred.Has(unix.CAP_SYS_RESOURCE) || t.k.inFlight > t.k.files.limit/2 {
			return unix.ETOOMANYREFS
		}
		for i := range n {
			f, err := t.files.get(int32(le.Uint32(data[4*i:]))) // O_PATH too
			if err != nil {
				return err
			}
			m.rights = append(m.rights, f.hold())
		}
	case scmCredentials:
		if len(data) != 12 {
			return unix.EINVAL
		}
		c := ucred{int(int32(le.Uint32(data))), le.Uint32(data[4:]), le.Uint32(data[8:])}
		mine := t.cred
		if c.pid != t.p.pid && !mine.Has(unix.CAP_SYS_ADMIN) ||
			c.uid != mine.UID && c.uid != mine.EUID && c.uid != mine.suid && !mine.Has(unix.CAP_SETUID) ||
			c.gid != mine.GID && c.gid != mine.EGID && c.gid != mine.sgid && !mine.Has(unix.CAP_SETGID) {
			return unix.EPERM
		}
		if c.pid != t.p.pid && t.k.processes[c.pid] == nil {
			return unix.ESRCH
		}
		m.cred = &c
	default:
		return unix.EINVAL
	}
	return nil
}

// installRights gives received descriptors numbers, as many as room bytes of control data hold (scm_detach_fds).
func (t *Thread) installRights(m *sockMsg, room int) []byte {
	var fds []byte
	for len(m.got) > 0 && len(fds)+4 <= room {
		f := m.got[0]
		m.got = m.got[1:]
		fd, err := t.addFD(f, m.flags&unix.MSG_CMSG_CLOEXEC != 0)
		if err != nil {
			m.outFlags |= unix.MSG_CTRUNC
			break
		}
		fds = le.AppendUint32(fds, uint32(fd))
	}
	if len(m.got) > 0 {
		m.outFlags |= unix.MSG_CTRUNC
	}
	m.drop()
	return fds
}

// control makes the control data of a received message.
func (t *Thread) control(s *unixSocket, m *sockMsg, room uint64) []byte {
	var out []byte
	left := func() int { return int(min(room, maxControl)) - len(out) }
	add := func(typ int32, data []byte) {
		head := le.AppendUint64(nil, uint64(cmsgHead+len(data)))
		head = le.AppendUint32(head, unix.SOL_SOCKET)
		head = le.AppendUint32(head, uint32(typ))
		out = append(append(out, head...), data...)
		for pad := left(); len(out)%8 != 0 && pad > 0; pad-- {
			out = append(out, 0)
		}
	}
	if s.opts.passCred {
		c := noUcred()
		if m.cred != nil {
			c = *m.cred
		}
		b := le.AppendUint32(nil, uint32(c.pid))
		b = le.AppendUint32(le.AppendUint32(b, c.uid), c.gid)
		if left() >= cmsgHead+len(b) {
			add(scmCredentials, b)
		} else {
			m.outFlags |= unix.MSG_CTRUNC
		}
	}
	if len(m.got) > 0 {
		fds := t.installRights(m, left()-cmsgHead)
		if len(fds) > 0 {
			add(scmRights, fds)
		}
	}
	return out
}

// recvCall prepares a recvmsg.
func (t *Thread) recvCall(f *OpenFile, h *msghdr, flags int32) (*ioCall, error) {
	iov, total, err := t.readIovecs(h.iov, h.iovlen)
	if err != nil {
		return nil, err
	}
	c := &ioCall{t: t, f: f, iov: iov, left: total, pos: -1, msg: &sockMsg{flags: flags}}
	return c, t.sockFlags(c, f, flags)
}

// sockFlags applies what flags and options say of waiting.
func (t *Thread) sockFlags(c *ioCall, f *OpenFile, flags int32) error {
	s, ok := f.impl.(*unixSocket)
	if !ok {
		return unix.ENOTSOCK
	}
	c.nonblock = f.nonblock() || flags&unix.MSG_DONTWAIT != 0
	c.setDeadline(s.opts.rcvTimeo)
	return nil
}

// finishRecv writes what a recvmsg found beside the bytes.
func (t *Thread) finishRecv(c *ioCall, h *msghdr, n uint64, err error) (uint64, error) {
	s, m := c.f.impl.(*unixSocket), c.msg
	if err != nil {
		m.drop()
		return 0, err
	}
	var control []byte
	if m.from != nil || s.typ == unix.SOCK_STREAM {
		control = t.control(s, m, h.controllen)
	}
	if h.control != 0 || len(control) > 0 {
		if err := t.copyOut(h.control, control); err != nil {
			return 0, err
		}
	}
	if h.name != 0 {
		if err := t.putAddr(m.fromAddr, m.from != nil && s.typ != unix.SOCK_STREAM, h.name, h.namelen, h.addr+8); err != nil {
			return 0, err
		}
	}
	if err := t.writeU32(h.addr+48, uint32(m.outFlags|m.flags&unix.MSG_CMSG_CLOEXEC)); err != nil {
		return 0, err
	}
	if err := t.writeU64(h.addr+40, uint64(len(control))); err != nil {
		return 0, err
	}
	if m.fullLen > 0 {
		n = uint64(m.fullLen)
	}
	return n, nil
}

// putAddr writes a socket address and its true length; without a name it is empty, or only its family if known.
func (t *Thread) putAddr(a *unixAddr, known bool, addr uint64, room uint32, lenAddr uint64) error {
	b := a.sockaddr()
	if a == nil && !known {
		b = nil
	}
	if err := t.copyOut(addr, b[:min(len(b), int(room))]); err != nil {
		return err
	}
	return t.writeU32(lenAddr, uint32(len(b)))
}

// sockaddr encodes a name as struct sockaddr_un: a path has its zero byte counted.
func (a *unixAddr) sockaddr() []byte {
	b := le.AppendUint16(nil, unix.AF_UNIX)
	if a == nil {
		return b
	}
	b = append(b, a.name...)
	if a.inode != nil {
		b = append(b, 0)
	}
	return b
}

// sockaddrMax is the size of struct sockaddr_un.
const sockaddrMax = 110

// readSockaddr reads a socket address: its family, and its name if it is AF_UNIX.
func (t *Thread) readSockaddr(addr uint64, size uint32) (family uint16, a *unixAddr, err error) {
	if int32(size) < 0 || size > 128 {
		return 0, nil, unix.EINVAL
	}
	b := make([]byte, size)
	if err := t.copyIn(addr, b); err != nil {
		return 0, nil, err
	}
	if size < 2 {
		return 0, nil, unix.EINVAL
	}
	family = le.Uint16(b)
	if family != unix.AF_UNIX {
		return family, nil, nil
	}
	if size > sockaddrMax {
		return family, nil, unix.EINVAL
	}
	name := b[2:]
	if len(name) > 0 && name[0] != 0 {
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
	}
	return family, &unixAddr{name: string(name)}, nil
}
