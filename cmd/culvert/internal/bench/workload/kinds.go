package workload

import (
	"fmt"
	"syscall"

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
	return append(kinds,
		Kind{Name: "epoll", Group: "epoll", Op: "1 byte to another process and back, both woken by epoll_wait(2)",
			setup: epolls, batch: epollPing, peer: epollPong},
		Kind{Name: "fork", Group: "fork", Op: "fork, exit, wait", batch: forkWait},
		Kind{Name: "exec", Group: "fork", Op: "fork, exec of a static program of 3 instructions, wait",
			setup: tinyProgram, batch: execWait},
		Kind{Name: "exec-go", Group: "fork", Op: "fork, exec of culvert doing nothing, wait", setup: selfProgram, batch: execWait},
		Kind{Name: "fault", Group: "fault", Op: fmt.Sprintf(
			"first touch of an anonymous 4 KiB page, with 1/%d of the mmap, madvise and munmap around", faultPages), batch: fault},
	)
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

//go:nosplit
//go:norace
func getppid(_ *work, n uint64) failure {
	for ; n > 0; n-- {
		if _, f := sys(unix.SYS_GETPPID, 0, 0, 0); f != 0 {
			return f
		}
	}
	return 0
}

//go:nosplit
//go:norace
func clockGettime(w *work, n uint64) failure {
	for ; n > 0; n-- {
		if _, f := sys(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, w.time, 0); f != 0 {
			return f
		}
	}
	return 0
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

//go:nosplit
//go:norace
func pingpong(w *work, n uint64) failure {
	for ; n > 0; n-- {
		if f := w.put(w.there.w); f != 0 {
			return f
		}
		if f := w.get(w.back.r); f != 0 {
			return f
		}
	}
	return 0
}

//go:nosplit
//go:norace
func pong(w *work, _ uint64) failure {
	for {
		if f := w.get(w.there.r); f != 0 {
			return f
		}
		if f := w.put(w.back.w); f != 0 {
			return f
		}
	}
}

// produce tells the consumer how many bytes will come, writes them, and waits until they have been read.
//
//go:nosplit
//go:norace
func produce(w *work, n uint64) failure {
	block := uint64(w.kind.Block)
	store64(w.scratch, n*block)
	if _, f := sys(unix.SYS_WRITE, uintptr(w.there.w), w.scratch, 8); f != 0 {
		return f
	}
	for ; n > 0; n-- {
		// A blocking write to a pipe is partial only if a signal ends it, and there are none.
		if _, f := sys(unix.SYS_WRITE, uintptr(w.there.w), w.block, uintptr(block)); f != 0 {
			return f
		}
	}
	return w.get(w.back.r)
}

//go:nosplit
//go:norace
func consume(w *work, _ uint64) failure {
	block := uint64(w.kind.Block)
	for {
		n, f := sys(unix.SYS_READ, uintptr(w.there.r), w.scratch, 8)
		if f != 0 {
			return f
		}
		if n != 8 {
			return failed(unix.SYS_READ, eof)
		}
		for left := load64(w.scratch); left > 0; {
			n, f := sys(unix.SYS_READ, uintptr(w.there.r), w.block, uintptr(min(left, block)))
			if f != 0 {
				return f
			}
			if n == 0 {
				return failed(unix.SYS_READ, eof)
			}
			left -= uint64(n)
		}
		if f := w.put(w.back.w); f != 0 {
			return f
		}
	}
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

//go:nosplit
//go:norace
func (w *work) epollWait(epfd int) failure {
	const forever = ^uintptr(0)
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(epfd), w.events, 1, forever, 0, 0)
	if errno != 0 {
		return failed(unix.SYS_EPOLL_WAIT, uintptr(errno))
	}
	return 0
}

// await waits until the pipe's epoll instance says that it can be read, and reads a byte.
//
//go:nosplit
//go:norace
func (w *work) await(p *pipe) failure {
	if f := w.epollWait(p.epoll); f != 0 {
		return f
	}
	return w.get(p.r)
}

//go:nosplit
//go:norace
func epollPing(w *work, n uint64) failure {
	for ; n > 0; n-- {
		if f := w.put(w.there.w); f != 0 {
			return f
		}
		if f := w.await(&w.back); f != 0 {
			return f
		}
	}
	return 0
}

//go:nosplit
//go:norace
func epollPong(w *work, _ uint64) failure {
	for {
		if f := w.await(&w.there); f != 0 {
			return f
		}
		if f := w.put(w.back.w); f != 0 {
			return f
		}
	}
}
