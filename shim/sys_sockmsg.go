package shim

import (
	"time"

	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// setDeadline applies SO_RCVTIMEO or SO_SNDTIMEO.
func (c *ioCall) setDeadline(d time.Duration) {
	if d > 0 {
		c.deadline = time.Now().Add(d)
	}
}

// sendCall prepares a sendmsg.
func (t *Thread) sendCall(f *OpenFile, s *unixSocket, iov []iovec, total int, flags int32) *ioCall {
	c := &ioCall{t: t, f: f, iov: iov, left: total, pos: -1, msg: &sockMsg{flags: flags}}
	c.nonblock = f.nonblock() || flags&unix.MSG_DONTWAIT != 0
	c.setDeadline(s.opts.sndTimeo)
	return c
}

// send makes a send call and drops what was not sent.
func (c *ioCall) send(s *unixSocket) (uint64, error) {
	if c.msg.flags&unix.MSG_OOB != 0 {
		c.msg.drop()
		return 0, unix.EOPNOTSUPP
	}
	return c.runThen(s.write, func(n uint64, err error) (uint64, error) {
		c.msg.drop()
		return n, err
	})
}

func sysSendto(t *Thread, a Args) (uint64, error) {
	n := min(a[2], abi.MAX_RW_COUNT)
	if !accessOK(a[1], n) {
		return 0, unix.EFAULT
	}
	f, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	c := t.sendCall(f, s, nil, int(n), a.int32(3))
	if n > 0 {
		c.iov = []iovec{{a[1], n}}
	}
	if a[4] != 0 {
		if c.msg.to, err = t.destination(a[4], uint32(a[5])); err != nil {
			return 0, err
		}
	}
	return c.send(s)
}

// destination reads the address that a datagram is sent to.
func (t *Thread) destination(addr uint64, size uint32) (*unixAddr, error) {
	family, to, err := t.readSockaddr(addr, size)
	if err != nil {
		return nil, err
	}
	if family != unix.AF_UNIX {
		return nil, unix.EINVAL
	}
	return to, nil
}

// prepareSend reads a struct msghdr and what it names.
func (t *Thread) prepareSend(f *OpenFile, s *unixSocket, addr uint64, flags int32) (*ioCall, error) {
	h, err := t.readMsghdr(addr)
	if err != nil {
		return nil, err
	}
	iov, total, err := t.readIovecs(h.iov, h.iovlen)
	if err != nil {
		return nil, err
	}
	if s.typ == unix.SOCK_SEQPACKET {
		if err := s.sockErr(); err != nil {
			return nil, err // unix_seqpacket_sendmsg, before what is sent is looked at
		}
	}
	c := t.sendCall(f, s, iov, total, flags)
	if h.name != 0 && h.namelen > 0 {
		if c.msg.to, err = t.destination(h.name, h.namelen); err != nil {
			return nil, err
		}
	}
	return c, t.parseControl(c.msg, h.control, h.controllen)
}

func sysSendmsg(t *Thread, a Args) (uint64, error) {
	f, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	c, err := t.prepareSend(f, s, a[1], a.int32(2))
	if err != nil {
		return 0, err
	}
	return c.send(s)
}

func sysRecvfrom(t *Thread, a Args) (uint64, error) {
	n := min(a[2], abi.MAX_RW_COUNT)
	if !accessOK(a[1], n) {
		return 0, unix.EFAULT
	}
	f, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	c := &ioCall{t: t, f: f, left: int(n), pos: -1, msg: &sockMsg{flags: a.int32(3)}}
	if n > 0 {
		c.iov = []iovec{{a[1], n}}
	}
	if err := t.sockFlags(c, f, a.int32(3)); err != nil {
		return 0, err
	}
	return c.runThen(s.read, func(n uint64, err error) (uint64, error) {
		m := c.msg
		m.drop()
		if err != nil {
			return 0, err
		}
		if a[4] != 0 {
			room, err := t.readU32(a[5])
			if err != nil {
				return 0, err
			}
			if int32(room) < 0 {
				return 0, unix.EINVAL
			}
			if err := t.putAddr(m.fromAddr, m.from != nil && s.typ != unix.SOCK_STREAM, a[4], room, a[5]); err != nil {
				return 0, err
			}
		}
		if m.fullLen > 0 {
			n = uint64(m.fullLen)
		}
		return n, nil
	})
}

func sysRecvmsg(t *Thread, a Args) (uint64, error) {
	f, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	h, err := t.readMsghdr(a[1])
	if err != nil {
		return 0, err
	}
	c, err := t.recvCall(f, &h, a.int32(2))
	if err != nil {
		return 0, err
	}
	return c.runThen(s.read, func(n uint64, err error) (uint64, error) { return t.finishRecv(c, &h, n, err) })
}

// messages is a call that sends or receives several.
type messages struct {
	f        *OpenFile
	count    uint32 // wanted
	done     uint32
	nonblock bool
	all      bool                  // those after the first may wait too
	one      func(w *Waiter) error // one more; it waits if w is not nil
	finish   func() error          // at the end, if there was a message
}

// sysSendmmsg sends messages until one would block or fails; only the first may wait.
func sysSendmmsg(t *Thread, a Args) (uint64, error) {
	f, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	m := &messages{f: f, count: min(uint32(a[2]), maxIovecs), nonblock: f.nonblock() || a.int32(3)&unix.MSG_DONTWAIT != 0}
	m.finish = func() error { return nil }
	m.one = func(w *Waiter) error {
		at := a[1] + uint64(m.done)*mmsghdrSize
		c, err := t.prepareSend(f, s, at, a.int32(3))
		if err != nil {
			return err
		}
		defer func() { c.msg.drop() }()
		n, err := c.attempt(w, s.write)
		if err != nil {
			return err
		}
		if err := t.writeU32(at+msghdrSize, uint32(n)); err != nil {
			return err
		}
		m.done++
		return nil
	}
	return m.run(t)
}

// sysRecvmmsg receives messages until all have come, or one if MSG_WAITFORONE says so. The time-out is looked at
// between messages only, as in Linux.
func sysRecvmmsg(t *Thread, a Args) (uint64, error) {
	o, err := t.pollTimeout(a[4], false)
	if err != nil {
		return 0, err
	}
	f, s, err := t.socket(a.int32(0))
	if err != nil {
		return 0, err
	}
	flags := a.int32(3)
	m := &messages{f: f, count: min(uint32(a[2]), maxIovecs), nonblock: f.nonblock() || flags&unix.MSG_DONTWAIT != 0}
	m.all = flags&unix.MSG_WAITFORONE == 0
	m.finish = func() error {
		if o.addr == 0 {
			return nil
		}
		return o.store(t)
	}
	m.one = func(w *Waiter) error {
		if m.done > 0 && !o.deadline.IsZero() && !time.Now().Before(o.deadline) {
			return unix.EAGAIN
		}
		at := a[1] + uint64(m.done)*mmsghdrSize
		h, err := t.readMsghdr(at)
		if err != nil {
			return err
		}
		c, err := t.recvCall(f, &h, flags&^unix.MSG_WAITFORONE)
		if err != nil {
			return err
		}
		n, err := c.attempt(w, s.read)
		if err == errWait {
			return err
		}
		if n, err = t.finishRecv(c, &h, n, err); err != nil {
			return err
		}
		if err := t.writeU32(at+msghdrSize, uint32(n)); err != nil {
			return err
		}
		m.done++
		return nil
	}
	return m.run(t)
}

// attempt makes a call once, or waits for it in a goroutine.
func (c *ioCall) attempt(w *Waiter, op func(*ioCall) error) (uint64, error) {
	if w != nil {
		c.w = w
		return c.wait(op)
	}
	err := op(c)
	if err == errWait {
		if c.done > 0 {
			return uint64(c.done), nil
		}
		return 0, errWait
	}
	return c.result(err)
}

// run makes the call. If it has to wait, and may, it goes on in a goroutine.
func (m *messages) run(t *Thread) (uint64, error) {
	var err error
	for m.done < m.count && err == nil {
		err = m.one(nil)
	}
	if err != errWait || m.nonblock || m.done > 0 && !m.all {
		return m.end(err)
	}
	m.f.hold()
	return t.Block(func(w *Waiter) (uint64, error) {
		defer m.f.drop()
		var err error
		for m.done < m.count && err == nil {
			if m.done > 0 && !m.all {
				err = m.one(nil)
			} else {
				err = m.one(w)
			}
		}
		return m.end(err)
	})
}

// end is the call's result: an error of a later message is not told.
func (m *messages) end(err error) (uint64, error) {
	switch {
	case m.done > 0:
		return uint64(m.done), m.finish()
	case err == errWait:
		return 0, unix.EAGAIN
	}
	return 0, err
}
