package shim

import (
	"encoding/binary"

	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// Options of wait4(2) and waitid(2).
const (
	wNoHang    = 1
	wUntraced  = 2 // WSTOPPED
	wExited    = 4
	wContinued = 8
	wNoWait    = 0x01000000
	wNoThread  = 0x20000000 // __WNOTHREAD
	wAll       = 0x40000000 // __WALL
	wClone     = 0x80000000 // __WCLONE
)

// waitQuery says which children are waited for.
type waitQuery struct {
	match   func(c *Process) bool
	options uint32
}

// waitResult is what a child did.
type waitResult struct {
	pid    int
	uid    uint32
	status int   // as wait4 stores it
	code   int32 // CLD_*
	value  int   // si_status
	usage  usage
}

// eligible is eligible_child.
func (q *waitQuery) eligible(c *Process) bool {
	if !q.match(c) {
		return false
	}
	return q.options&wAll != 0 || (c.exitSig != sig.SIGCHLD) == (q.options&wClone != 0)
}

// scan looks for a child that has something to report and consumes the report unless WNOWAIT is set. found is false if
// there is none yet; the error is ECHILD if there never will be.
func (p *Process) scan(q *waitQuery) (r waitResult, found bool, err error) {
	err = unix.ECHILD
	for _, c := range p.children {
		if !q.eligible(c) {
			continue
		}
		if !c.zombie || q.options&wExited != 0 {
			err = nil // a zombie neither stops nor goes on any more
		}
		keep := q.options&wNoWait != 0
		switch {
		case c.zombie && q.options&wExited != 0:
			i := c.exitInfo(sig.SIGCHLD)
			r = waitResult{pid: c.pid, uid: c.uid(), status: c.exitStatus, code: i.Code, usage: c.usage}
			r.value = int(int32(binary.LittleEndian.Uint32(i.Union[8:])))
			r.usage.add(&c.childUsage)
			if !keep {
				p.childUsage.add(&r.usage)
				c.reap()
			}
			return r, true, nil
		case c.zombie:
		case c.stopNews && q.options&wUntraced != 0:
			c.stopNews = keep
			return waitResult{pid: c.pid, uid: c.uid(), status: c.stopSig<<8 | 0x7f, code: sig.CLD_STOPPED,
				value: c.stopSig, usage: c.usageSelf()}, true, nil
		case c.contNews && q.options&wContinued != 0:
			c.contNews = keep
			return waitResult{pid: c.pid, uid: c.uid(), status: 0xffff, code: sig.CLD_CONTINUED,
				value: sig.SIGCONT, usage: c.usageSelf()}, true, nil
		}
	}
	return r, false, err
}

// wait runs scan until it finds something, and has done finish the call.
func (t *Thread) wait(q waitQuery, done func(r *waitResult) (uint64, error)) (uint64, error) {
	r, found, err := t.p.scan(&q)
	switch {
	case err != nil:
		return 0, err
	case found:
		return done(&r)
	case q.options&wNoHang != 0:
		return done(nil)
	}
	return t.Await(&t.p.childQueue, true, func() (uint64, error) {
		r, found, err := t.p.scan(&q)
		switch {
		case err != nil:
			return 0, err
		case !found:
			return 0, errWait
		}
		return done(&r)
	})
}

// sysWait4 serves wait4(2).
func sysWait4(t *Thread, a Args) (uint64, error) {
	pid, statusAt, options, usageAt := a.int32(0), a[1], uint32(a[2]), a[3]
	if options&^(wNoHang|wUntraced|wContinued|wNoThread|wClone|wAll) != 0 {
		return 0, unix.EINVAL
	}
	q := waitQuery{options: options | wExited}
	switch {
	case pid == -1<<31:
		return 0, unix.ESRCH
	case pid == -1:
		q.match = func(*Process) bool { return true }
	case pid < 0:
		q.match = func(c *Process) bool { return c.group != nil && c.group.id == int(-pid) }
	case pid == 0:
		id := t.p.group.id
		q.match = func(c *Process) bool { return c.group != nil && c.group.id == id }
	default:
		q.match = func(c *Process) bool { return c.pid == int(pid) }
	}
	return t.wait(q, func(r *waitResult) (uint64, error) {
		if r == nil {
			return 0, nil
		}
		if statusAt != 0 {
			if err := t.writeU32(statusAt, uint32(r.status)); err != nil {
				return 0, err
			}
		}
		if usageAt != 0 {
			if err := t.copyOut(usageAt, r.usage.marshal()); err != nil {
				return 0, err
			}
		}
		return uint64(r.pid), nil
	})
}

// Kinds of id for waitid(2).
const (
	pAll   = 0
	pPID   = 1
	pPGID  = 2
	pPIDFD = 3
)

// sysWaitid serves waitid(2).
func sysWaitid(t *Thread, a Args) (uint64, error) {
	which, id, infoAt, options, usageAt := a.int32(0), a.int32(1), a[2], uint32(a[3]), a[4]
	if options&^(wNoHang|wNoWait|wExited|wUntraced|wContinued|wNoThread|wClone|wAll) != 0 ||
		options&(wExited|wUntraced|wContinued) == 0 {
		return 0, unix.EINVAL
	}
	q := waitQuery{options: options}
	switch which {
	case pAll:
		q.match = func(*Process) bool { return true }
	case pPID:
		if id <= 0 {
			return 0, unix.EINVAL
		}
		q.match = func(c *Process) bool { return c.pid == int(id) }
	case pPGID:
		if id < 0 {
			return 0, unix.EINVAL
		}
		group := int(id)
		if group == 0 {
			group = t.p.group.id
		}
		q.match = func(c *Process) bool { return c.group != nil && c.group.id == group }
	case pPIDFD:
		target, nonblock, err := t.pidfdProcess(id)
		if err != nil {
			return 0, err
		}
		q.match = func(c *Process) bool { return c == target }
		if nonblock && options&wNoHang == 0 {
			return t.waitidNonblock(q, infoAt, usageAt)
		}
	default:
		return 0, unix.EINVAL
	}
	n, err := t.wait(q, func(r *waitResult) (uint64, error) { return t.waitidResult(r, infoAt, usageAt) })
	if err == unix.ECHILD {
		if _, e := t.waitidResult(nil, infoAt, 0); e != nil {
			return 0, e
		}
	}
	return n, err
}

// waitidNonblock is waitid on a pidfd with O_NONBLOCK: EAGAIN instead of waiting.
func (t *Thread) waitidNonblock(q waitQuery, infoAt, usageAt uint64) (uint64, error) {
	r, found, err := t.p.scan(&q)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, unix.EAGAIN
	}
	return t.waitidResult(&r, infoAt, usageAt)
}

// waitidResult stores what waitid found. Only the fields that Linux writes are written.
func (t *Thread) waitidResult(r *waitResult, infoAt, usageAt uint64) (uint64, error) {
	var head [12]byte
	var body [12]byte
	le := binary.LittleEndian
	if r != nil {
		if usageAt != 0 {
			if err := t.copyOut(usageAt, r.usage.marshal()); err != nil {
				return 0, err
			}
		}
		le.PutUint32(head[0:], sig.SIGCHLD)
		le.PutUint32(head[8:], uint32(r.code))
		le.PutUint32(body[0:], uint32(r.pid))
		le.PutUint32(body[4:], r.uid)
		le.PutUint32(body[8:], uint32(r.value))
	}
	if infoAt == 0 {
		return 0, nil
	}
	if err := t.copyOut(infoAt, head[:]); err != nil {
		return 0, err
	}
	return 0, t.copyOut(infoAt+16, body[:])
}
