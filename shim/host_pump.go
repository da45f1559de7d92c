package shim

import (
	"runtime"
	"sync/atomic"
	"time"

	"culvert/pipes"

	"golang.org/x/sys/unix"
)

// The pump of a hostPipe: the goroutine that moves bytes between ring and host. See there for the protocol.

const (
	// pumpSpin is how long a pump that has nothing to do looks for work before it sleeps, where the host has more
	// processors than the VM: about what a doorbell and a wake-up cost.
	pumpSpin = 50 * time.Microsecond
	// pumpNap is a pause between looks at a lock.
	pumpNap = time.Millisecond
)

// start starts the pump.
func (e *hostPipe) start(pump func()) {
	e.k.pumps.Add(1)
	go func() {
		defer e.k.pumps.Done()
		pump()
		e.k.mu.Lock()
		defer e.k.mu.Unlock()
		e.leave()
	}()
}

// drain is the pump of output. It returns when the guest has closed its end, the host's reader is gone, or the VM has
// ended.
func (e *hostPipe) drain() {
	q := e.end.Pipe
	last := 0 // bytes moved since the VM's end
	for {
		a, b, st, err := e.end.BeginRead(hostRing)
		switch {
		case err != nil:
			e.lied(err)
			return
		case st == pipes.OK:
			n, ok := e.flush(a, b)
			e.obey(q.EndRead(uint64(n)))
			if !ok {
				return
			}
			if e.ending.Load() {
				if last += n; last > hostRing {
					return // no honest guest leaves more
				}
			}
		case st == pipes.EOF:
			return
		case st == pipes.LockBusy:
			if !e.nap() {
				return
			}
		default:
			if !e.rest(q.Readable, true) {
				return
			}
		}
	}
}

// flush writes the bytes of a and b to the host: all, or half a ring of them, for their room is given back only then. A
// guest that waits for room is so woken seldom, and has much to do when it is; one that Linux would let write more does not
// wait, since what is under way is more than a pipe of Linux holds. It answers how many are written, and false when there
// is to be no more.
func (e *hostPipe) flush(a, b []byte) (done int, ok bool) {
	for done < hostRing/2 && len(a)+len(b) > 0 {
		n, err := ignoringEINTR(func() (int, error) { return unix.Writev(e.fd, [][]byte{a, b}) })
		if err != nil && err != unix.EAGAIN { // EPIPE, and of a pipe nothing else
			return done, false
		}
		n = max(n, 0)
		done += n
		first := min(n, len(a))
		a, b = a[first:], b[n-first:]
		if len(a)+len(b) > 0 && !e.await(unix.POLLOUT) { // the host's pipe is full
			return done, false
		}
	}
	return done, true
}

// fill is the pump of input that is read ahead. It returns at the end of file, or when the guest has closed its end or the
// VM has ended.
func (e *hostPipe) fill() {
	q := e.end.Pipe
	for {
		if !q.Writable() { // less room than PIPE_BUF
			if !e.rest(q.Writable, false) {
				return
			}
			continue
		}
		a, b, st, err := e.end.BeginWrite(hostRing, pipes.Stream)
		switch {
		case err != nil:
			e.lied(err)
			return
		case st == pipes.OK:
			n, err := ignoringEINTR(func() (int, error) { return unix.Readv(e.fd, [][]byte{a, b}) })
			e.obey(q.EndWrite(uint64(max(n, 0)), pipes.Stream))
			switch {
			case n <= 0 && err != unix.EAGAIN: // the end of file, or what a guest cannot be told of a pipe
				return
			case n < len(a)+len(b) && !e.await(unix.POLLIN): // the host's pipe is empty
				return
			}
		case st == pipes.LockBusy:
			if !e.nap() {
				return
			}
		case st == pipes.WouldBlock: // nobody else writes, so there is the room that there was
			e.lied(&HostileError{"the words of a standard file's pipe contradict each other"})
			return
		default: // EPIPE: the guest has closed it
			return
		}
	}
}

// nap waits for a lock of the ring that the shim has for an instant; false if the VM has ended: then the guest has lied.
func (e *hostPipe) nap() bool {
	time.Sleep(pumpNap)
	return !e.ending.Load()
}

// obey wakes whom an operation says.
func (e *hostPipe) obey(w pipes.Wake) {
	if w.Reader < 0 && w.Writer < 0 && w.Flags == 0 {
		return
	}
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	e.p.obey(w)
}

// lied ends the VM.
func (e *hostPipe) lied(err error) {
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	e.k.fail(err)
}

// rest waits until ready, with the doorbell on; false if the VM has ended, or the host's reader is gone.
func (e *hostPipe) rest(ready func() bool, watchHost bool) bool {
	if runtime.NumCPU() > e.k.cfg.NumCPUs {
		for start := time.Now(); time.Since(start) < pumpSpin; {
			if ready() {
				return true
			}
		}
	}
	k := e.k
	k.mu.Lock()
	e.asleep = true
	atomic.SwapUint64(&e.end.Pipe.HostWatch, 1)
	gone := false
	if !ready() && !e.ending.Load() {
		k.mu.Unlock()
		gone = e.sleep(0, watchHost)&unix.POLLERR != 0
		k.mu.Lock()
	}
	e.asleep = false
	e.p.unwatch()
	ended := e.ending.Load() && !ready()
	k.mu.Unlock()
	return !gone && !ended
}

// await waits until the host is ready; false if the VM has ended and nobody waits for its output.
//
// It looks before it sleeps: the bell that told of the end may have woken the pump out of another sleep.
func (e *hostPipe) await(events int16) bool {
	if e.over() {
		return false
	}
	e.sleep(events, true)
	return !e.over()
}

// over says that the VM has ended and nobody waits for what the pump still has.
func (e *hostPipe) over() bool {
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	return e.ending.Load() && (!e.out || e.k.hasty)
}

// sleep waits for the bell, and for events on the host's descriptor.
func (e *hostPipe) sleep(events int16, watchHost bool) int16 {
	fds := [2]unix.PollFd{{Fd: int32(e.bell), Events: unix.POLLIN}, {Fd: int32(e.fd), Events: events}}
	n := 1
	if watchHost {
		n = 2
	}
	for {
		if _, err := unix.Poll(fds[:n], -1); err != unix.EINTR {
			break
		}
	}
	if fds[0].Revents != 0 {
		var count [8]byte
		unix.Read(e.bell, count[:]) //nolint:errcheck // it rang, so there is a count
	}
	return fds[1].Revents
}

// closeHostPipes waits for the pumps when the VM has ended. Kernel.mu is held, and dropped meanwhile.
func (k *Kernel) closeHostPipes() {
	for _, e := range k.hostPipes {
		e.finish()
	}
	k.mu.Unlock()
	k.pumps.Wait()
	k.mu.Lock()
	if k.devNull != nil {
		k.devNull.Close()
		k.devNull = nil
	}
}

// hurry has the pumps give up on who does not read the VM's output, when it has ended; status is how then.
func (k *Kernel) hurry(status ExitStatus) {
	for _, e := range k.hostPipes {
		if e.out && !e.gone && !k.hasty {
			k.exit = status
			e.ring()
		}
	}
	k.hasty = true
}
