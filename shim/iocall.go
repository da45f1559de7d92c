package shim

import (
	"errors"
	"time"

	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// errWait is a fileImpl's answer that nothing can move before its readiness changes.
var errWait = errors.New("the file is not ready")

// errBusy is a fileImpl's answer that a vCPU holds a lock of an object in guest memory: to be tried again soon.
var errBusy = errors.New("a vCPU holds the object's lock")

// maxIovecs is UIO_MAXIOV (include/uapi/linux/uio.h).
const maxIovecs = 1024

// iovec is a range of user memory.
type iovec struct{ addr, len uint64 }

// ioCall is one read or write: a description and where the bytes are in user memory. It remembers what has moved, so
// a call that blocks is continued by calling the file again.
type ioCall struct {
	t     *Thread
	f     *OpenFile
	iov   []iovec // what has not moved yet
	left  int     // bytes in iov
	done  int     // bytes moved
	pos   int64   // of the p* calls; -1 says the file's own offset
	flags int     // RWF_*
	// nonblock says to answer EAGAIN where the call would wait.
	nonblock bool
	// buf replaces user memory where the shim itself reads or writes: splice and its like.
	buf []byte
	// msg is the rest of a call on a socket; nil for read, write and their like.
	msg *sockMsg
	// w is set once the call runs in a goroutine: then the file may do slow host work in w.Unlocked.
	w *Waiter
	// deadline ends the wait with EAGAIN (SO_RCVTIMEO); zero is never.
	deadline time.Time
}

// newIOCall prepares a call on one buffer. Linux checks the range's bounds before anything else (access_ok).
func newIOCall(t *Thread, f *OpenFile, addr, size uint64) (*ioCall, error) {
	if !accessOK(addr, size) {
		return nil, unix.EFAULT
	}
	n := min(size, abi.MAX_RW_COUNT)
	return &ioCall{t: t, f: f, iov: []iovec{{addr, n}}, left: int(n), pos: -1, nonblock: f.nonblock()}, nil
}

// newBufCall prepares a call on memory of the shim. It waits only if the caller waits for it.
func newBufCall(t *Thread, w *Waiter, f *OpenFile, buf []byte, pos int64) *ioCall {
	return &ioCall{t: t, w: w, f: f, buf: buf, left: len(buf), pos: pos}
}

// newIOVCall prepares a call on an array of iovecs (lib/iov_iter.c import_iovec).
func newIOVCall(t *Thread, f *OpenFile, addr, count uint64) (*ioCall, error) {
	iov, total, err := t.readIovecs(addr, count)
	if err != nil {
		return nil, err
	}
	return &ioCall{t: t, f: f, iov: iov, left: total, pos: -1, nonblock: f.nonblock()}, nil
}

// readIovecs copies an iovec array in and checks it; the sum is cut off at MAX_RW_COUNT.
func (t *Thread) readIovecs(addr, count uint64) ([]iovec, int, error) {
	if count > maxIovecs {
		return nil, 0, unix.EINVAL
	}
	raw := make([]byte, count*iovecSize)
	if err := t.copyIn(addr, raw); err != nil {
		return nil, 0, err
	}
	iov := make([]iovec, 0, count)
	total := uint64(0)
	for i := uint64(0); i < count; i++ {
		v := iovec{le.Uint64(raw[i*iovecSize:]), le.Uint64(raw[i*iovecSize+8:])}
		if int64(v.len) < 0 {
			return nil, 0, unix.EINVAL
		}
		if !accessOK(v.addr, v.len) {
			return nil, 0, unix.EFAULT
		}
		v.len = min(v.len, abi.MAX_RW_COUNT-total)
		total += v.len
		if v.len > 0 {
			iov = append(iov, v)
		}
	}
	return iov, int(total), nil
}

// accessOK reports whether a range lies in the user half.
func accessOK(addr, size uint64) bool {
	return size <= uint64(abi.UserEnd) && addr <= uint64(abi.UserEnd)-size
}

// advance counts n bytes as moved.
func (c *ioCall) advance(n int) {
	c.done += n
	c.left -= n
	if c.buf != nil {
		return
	}
	for n > 0 {
		v := &c.iov[0]
		k := min(uint64(n), v.len)
		v.addr += k
		v.len -= k
		n -= int(k)
		if v.len == 0 {
			c.iov = c.iov[1:]
		}
	}
}

// put copies b to the next bytes of user memory and counts them; EFAULT if not all went there.
func (c *ioCall) put(b []byte) (int, error) {
	if c.buf != nil {
		n := copy(c.buf[c.done:], b)
		c.advance(n)
		return n, nil
	}
	total := 0
	for len(b) > 0 && len(c.iov) > 0 {
		v := c.iov[0]
		part := b[:min(uint64(len(b)), v.len)]
		n, err := c.t.mm.Space.CopyOut(v.addr, part)
		c.advance(n)
		total += n
		if err != nil {
			return total, c.t.k.memError(err)
		}
		b = b[n:]
	}
	return total, nil
}

// get copies the next bytes of user memory to b without counting them; EFAULT if fewer than len(b) could be read.
func (c *ioCall) get(b []byte) (int, error) { return c.getFrom(0, b) }

// getFrom is get for the bytes that come after the next skip ones.
func (c *ioCall) getFrom(skip int, b []byte) (int, error) {
	if c.buf != nil {
		return copy(b, c.buf[c.done+skip:]), nil
	}
	total := 0
	for _, v := range c.iov {
		if len(b) == 0 {
			break
		}
		if uint64(skip) >= v.len {
			skip -= int(v.len)
			continue
		}
		v.addr += uint64(skip)
		v.len -= uint64(skip)
		skip = 0
		part := b[:min(uint64(len(b)), v.len)]
		n, err := c.t.mm.Space.CopyIn(v.addr, part)
		total += n
		if err != nil {
			return total, c.t.k.memError(err)
		}
		b = b[n:]
	}
	return total, nil
}

// result is the call's answer: bytes that have moved count for more than the reason why no more did.
func (c *ioCall) result(err error) (uint64, error) {
	if c.done > 0 || err == nil {
		return uint64(c.done), nil
	}
	return 0, err
}

// busyPause is how long a call waits for a lock that a vCPU holds, before it tries again.
const busyPause = 50 * time.Microsecond

// run makes the call by op, a method of the file, and blocks if it has to.
func (c *ioCall) run(op func(*ioCall) error) (uint64, error) { return c.runThen(op, nil) }

// runThen is run with a function that turns the result into that of the call, once there is one.
func (c *ioCall) runThen(op func(*ioCall) error, then func(n uint64, err error) (uint64, error)) (uint64, error) {
	if then == nil {
		then = func(n uint64, err error) (uint64, error) { return n, err }
	}
	err := op(c)
	switch {
	case err == errWait && c.nonblock:
		return then(c.result(unix.EAGAIN))
	case err != errWait && err != errBusy:
		return then(c.result(err))
	}
	f := c.f.hold()
	return c.t.Block(func(w *Waiter) (uint64, error) {
		defer f.drop()
		c.w = w
		return then(c.wait(op))
	})
}

// wait repeats op until it is done. Whoever changes the file's readiness must be known to be watched before op looks
// at the file: so ready comes first.
func (c *ioCall) wait(op func(*ioCall) error) (uint64, error) {
	for {
		c.t.k.polling = c.t
		ready := c.f.impl.ready()
		done := c.done
		switch err := op(c); {
		case err == errWait && c.done != done:
			// What op moved was news, and with nobody asleep yet the file stopped watching after it.
			continue
		case err == errBusy:
			c.w.Unlocked(nil, func() { time.Sleep(busyPause) })
			if err := c.w.interrupted(false); err != nil {
				return 0, err
			}
			continue
		case err != errWait:
			return c.result(err)
		case c.nonblock:
			return c.result(unix.EAGAIN)
		}
		queues := []*Queue{&ready.Queue}
		if c.msg != nil && c.msg.waitFor != nil {
			queues = append(queues, &c.msg.waitFor.Queue)
		}
		switch err := c.w.Sleep(c.deadline, queues...); {
		case err == nil:
		case err == errTimeout:
			return c.result(unix.EAGAIN)
		case err == ERESTARTSYS && !c.deadline.IsZero():
			// Started again it would wait the whole time again (sock_intr_errno).
			return c.result(unix.EINTR)
		default:
			return c.result(err)
		}
	}
}

// retryBusy makes a call whose fn answers errBusy while a vCPU holds a lock that it needs: then it is tried again
// from a goroutine, with Kernel.mu dropped in between. The files are held meanwhile.
func (t *Thread) retryBusy(fn func() (uint64, error), files ...*OpenFile) (uint64, error) {
	n, err := fn()
	if err != errBusy {
		return n, err
	}
	for _, f := range files {
		f.hold()
	}
	return t.Block(func(w *Waiter) (uint64, error) {
		defer func() {
			for _, f := range files {
				f.drop()
			}
		}()
		for {
			w.Unlocked(nil, func() { time.Sleep(busyPause) })
			if err := w.interrupted(false); err != nil {
				return 0, err
			}
			if n, err := fn(); err != errBusy {
				return n, err
			}
		}
	})
}
