package workload

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// loop is code of a process without a runtime: n operations, or, of a peer, all that come.
type loop func(w *work, n uint64) failure

// Kind is something that can be measured.
type Kind struct {
	Name  string
	Group string // what the command line asks for
	Op    string // what one operation is
	Block int    // bytes that one operation moves; 0: none
	Unit  int    // operations that go together: a batch has a multiple of them

	setup func(w *work) error // runs in the Go program, before the measuring process exists
	batch loop
	peer  loop // a second process; nil: none
}

// Kinds lists all, in the order in which they are measured.
func Kinds() []Kind {
	kinds := []Kind{
		{Name: "getppid", Group: "syscall", Op: "getppid(2)", batch: getppid},
		{Name: "clock_gettime", Group: "syscall", Op: "clock_gettime(2) by system call", batch: clockGettime},
		{Name: "pingpong", Group: "pingpong", Op: "1 byte to another process and back, over two pipes",
			setup: pipes, batch: pingpong, peer: pong},
	}
	for _, block := range []int{1, 64, 512, 4096, 65536} {
		kinds = append(kinds, Kind{Name: fmt.Sprintf("pipe-%d", block), Group: "pipe", Block: block,
			Op:    fmt.Sprintf("a write of %d bytes, read by another process in reads of as many", block),
			setup: pipes, batch: produce, peer: consume})
	}
	kinds = append(kinds,
		Kind{Name: "epoll", Group: "epoll", Op: "1 byte to another process and back, both woken by epoll_wait(2)",
			setup: epolls, batch: epollPing, peer: epollPong},
		Kind{Name: "fork", Group: "fork", Op: "fork, exit, wait", batch: forkWait},
		Kind{Name: "exec", Group: "fork", Op: "fork, exec of a static program of 3 instructions, wait",
			setup: tinyProgram, batch: execWait},
		Kind{Name: "exec-go", Group: "fork", Op: "fork, exec of culvert doing nothing, wait", setup: selfProgram, batch: execWait},
		Kind{Name: "fault", Group: "fault", Unit: faultPages, batch: fault, Op: fmt.Sprintf(
			"first touch of an anonymous 4 KiB page, with 1/%d of the mmap, madvise and munmap around", faultPages)},
	)
	for i := range kinds {
		kinds[i].Unit = max(kinds[i].Unit, 1)
	}
	return kinds
}

// Find returns the kind of that name.
func Find(name string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// pipes makes the two pipes between the measuring process and its peer.
func pipes(w *work) error {
	for _, p := range []*pipe{&w.there, &w.back} {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return fmt.Errorf("pipe2: %w", err)
		}
		p.r, p.w = fds[0], fds[1]
	}
	return nil
}

// epolls makes the pipes and an epoll instance for the reader of each.
func epolls(w *work) error {
	if err := pipes(w); err != nil {
		return err
	}
	for _, p := range []*pipe{&w.there, &w.back} {
		var err error
		if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			return fmt.Errorf("epoll_create1: %w", err)
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.r)}
		if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.r, &event); err != nil {
			return fmt.Errorf("epoll_ctl: %w", err)
		}
	}
	return nil
}
