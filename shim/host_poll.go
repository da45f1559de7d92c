package shim

import (
	"fmt"

	"culvert/shim/longcall"

	"golang.org/x/sys/unix"
)

// hostPoller watches host descriptors for the calls that wait for them: one goroutine in poll(2) per VM, started
// when first needed. Interest is one-shot: what has fired must be armed again. Kernel.mu guards all but the poll.
type hostPoller struct {
	k    *Kernel
	want map[*hostFile]int16
	wake int // an eventfd: want changed, or the VM ended
}

// startHostPoller makes the poller.
func startHostPoller(k *Kernel) (*hostPoller, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd for the poller of standard files: %w", err)
	}
	p := &hostPoller{k: k, want: make(map[*hostFile]int16), wake: fd}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.run()
	}()
	go func() {
		<-k.done
		p.kick()
		<-ended
		unix.Close(fd)
	}()
	return p, nil
}

// arm asks to be told once when one of the events comes.
func (p *hostPoller) arm(h *hostFile, events int16) {
	if p.want[h]|events == p.want[h] {
		return
	}
	p.want[h] |= events
	p.kick()
}

// forget ends the interest in a file that is being closed.
func (p *hostPoller) forget(h *hostFile) {
	if _, ok := p.want[h]; ok {
		delete(p.want, h)
		p.kick()
	}
}

// kick makes run look again.
func (p *hostPoller) kick() { longcall.Ring(p.wake) }

// run polls until the VM ends.
func (p *hostPoller) run() {
	var fds []unix.PollFd
	var files []*hostFile
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	for !p.k.ended {
		fds = append(fds[:0], unix.PollFd{Fd: int32(p.wake), Events: unix.POLLIN})
		files = files[:0]
		for h, events := range p.want {
			fds = append(fds, unix.PollFd{Fd: int32(h.fd), Events: events})
			files = append(files, h)
		}
		p.k.mu.Unlock()
		n, err := longcall.Poll(fds)
		p.k.mu.Lock()
		if n <= 0 || err != nil {
			continue // EINTR; nothing else can happen to a poll of open descriptors
		}
		longcall.Rang(p.wake)
		for i, h := range files {
			if got := fds[i+1].Revents; got != 0 {
				p.fired(h, got)
			}
		}
	}
}

// fired tells the file's waiters. Errors and hang-ups end all interest.
func (p *hostPoller) fired(h *hostFile, got int16) {
	if _, ok := p.want[h]; !ok {
		return
	}
	p.want[h] &^= got
	if got&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 || p.want[h] == 0 {
		delete(p.want, h)
	}
	h.notify(uint32(got))
}
