package pump

import (
	"sync/atomic"
	"time"

	"culvert/shim/longcall"

	"golang.org/x/sys/unix"
)

// Run is the pump's goroutine. It returns when there is no more to be moved: the guest has closed its end, the host its
// own, or the VM has ended. It may be called once; until it first comes to rest no vCPU does the work.
func (p *Pump) Run() {
	for {
		more := true
		switch p.step() {
		case moved:
			more = !p.enough()
		case idle:
			more = p.rest()
		case waits:
			more = p.await()
		case locked:
			time.Sleep(nap)
			more = !p.hasEnded() // then the guest has lied: the shim has long unlocked it
		case over:
			more = false
		}
		if !more {
			return
		}
	}
}

// enough says that after the VM's end more was moved than an honest guest leaves.
func (p *Pump) enough() bool {
	if !p.hasEnded() {
		p.after = 0
	}
	return p.after > RingSize
}

func (p *Pump) hasEnded() bool {
	p.owner.Lock()
	defer p.owner.Unlock()
	return p.ended
}

// ready says that there is something to do for the guest's sake.
func (p *Pump) ready() bool {
	if p.out {
		return p.end.Pipe.Readable()
	}
	return p.end.Pipe.Writable()
}

// rest waits until the ring has work, with the doorbell on; false if the VM has ended, or the host's reader is gone.
func (p *Pump) rest() bool {
	if p.spare {
		for start := time.Now(); time.Since(start) < spin; {
			if p.ready() {
				return true
			}
		}
	}
	p.owner.Lock()
	defer p.owner.Unlock()
	p.asleep = true
	atomic.SwapUint64(&p.end.Pipe.HostWatch, 1)
	gone := false
	if !p.ready() && !p.ended {
		gone = p.sleep(0)&(unix.POLLERR|unix.POLLHUP) != 0
	}
	p.asleep = false
	p.owner.Quiet()
	ended := p.ended && !p.ready()
	return !(gone && p.out) && !ended
}

// await waits until the host is ready; false if the VM has ended and nobody waits for its output.
//
// It looks before it sleeps: the bell that told of the end may have woken the goroutine out of another sleep.
func (p *Pump) await() bool {
	p.owner.Lock()
	defer p.owner.Unlock()
	if p.unwanted() {
		return false
	}
	events := int16(unix.POLLIN)
	if p.out {
		events = unix.POLLOUT
	}
	p.sleep(events)
	return !p.unwanted()
}

// unwanted says that the VM has ended and nobody waits for what the pump still has.
func (p *Pump) unwanted() bool { return p.ended && (!p.out || p.owner.Hasty()) }

// sleep waits for the bell, and for events on the host's descriptor, and for as long as vCPUs do the work. The owner is
// locked, but meanwhile.
func (p *Pump) sleep(events int16) (got int16) {
	p.busy = false
	for {
		watch := p.out || events != 0
		p.owner.Unlock()
		got = p.poll(events, watch)
		p.owner.Lock()
		if got&unix.POLLERR != 0 && p.inline.Load() && !p.busy {
			p.inline.Store(false) // the host's reader is gone, and the guest is to know
		}
		if !p.inline.Load() && !p.busy {
			p.busy = true
			return got
		}
		events = 0
	}
}

// poll waits for the bell, and for events on the host's descriptor if that is watched.
func (p *Pump) poll(events int16, watch bool) int16 {
	fds := [2]unix.PollFd{{Fd: int32(p.bell), Events: unix.POLLIN}, {Fd: int32(p.host.FD()), Events: events}}
	n := 1
	if watch {
		n = 2
	}
	for {
		if _, err := longcall.Poll(fds[:n]); err != unix.EINTR {
			break
		}
	}
	if fds[0].Revents != 0 {
		longcall.Rang(p.bell)
	}
	return fds[1].Revents
}
