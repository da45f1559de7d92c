package shim

import "golang.org/x/sys/unix"

// Idle does what the host's ends of pipes have to do, on the thread of a vCPU that has nothing to run: no other thread has
// to wake up for it first. fds is what it answered last, with the events that came; it answers what is to wake the vCPU.
func (k *Kernel) Idle(fds []unix.PollFd) []unix.PollFd {
	if k.endless() {
		return fds
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var last [maxSources]unix.PollFd
	fired := last[:copy(last[:], fds)]
	fds = fds[:0]
	k.flushOutputs()
	for _, l := range k.links {
		if l == nil || l.closed || k.ended {
			continue
		}
		l.publish()
		if rang(fired, l.ears) {
			l.listen()
		}
		fds = append(fds, unix.PollFd{Fd: int32(l.ears), Events: unix.POLLIN})
	}
	for _, e := range k.hostPipes {
		if !e.pumping() || k.ended {
			continue
		}
		fd := e.host.FD() // of a pipe that may be let go meanwhile
		if events := e.pump.Idle(rang(fired, fd)); events != 0 {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: events})
		}
	}
	return fds
}

// maxSources is how many descriptors Idle answers at most: two links and three standard files.
const maxSources = 5

// rang reports whether a descriptor had events.
func rang(fired []unix.PollFd, fd int) bool {
	for _, f := range fired {
		if int(f.Fd) == fd {
			return f.Revents != 0
		}
	}
	return false
}

// endless says that no standard file has an end here: then Idle and Tick need no lock, for which a vCPU that somebody wakes
// would wait. Only Start changes what it looks at.
func (k *Kernel) endless() bool {
	return len(k.hostPipes)+len(k.outputs) == 0 && k.links == [len(k.links)]*linkPipe{}
}

// Restless says that Tick has something to do. It obeys the rules of vmm.Idler, so it looks without the lock, at what only
// Start changes and at atomic words.
//
//go:nosplit
func (k *Kernel) Restless() bool {
	for _, l := range k.links {
		if l != nil {
			return true
		}
	}
	for _, o := range k.outputs {
		if o.Pending() {
			return true
		}
	}
	for _, e := range k.hostPipes {
		if e.pump.Restless() {
			return true
		}
	}
	return false
}

// Tick is called once in a time slice while a vCPU is busy and the kernel is restless: the host's ends are not to wait for it. It leaves out a slice if
// a call is being served, since time slices are not to wait for that.
func (k *Kernel) Tick() {
	if k.endless() || !k.mu.TryLock() {
		return
	}
	defer k.mu.Unlock()
	if k.ended {
		return
	}
	k.flushOutputs()
	for _, l := range k.links {
		if l != nil && !l.closed {
			l.publish()
			l.listen()
		}
	}
	for _, e := range k.hostPipes {
		if e.pumping() {
			e.pump.Tick()
		}
	}
}
