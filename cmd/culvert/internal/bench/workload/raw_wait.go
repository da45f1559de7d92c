package workload

import "golang.org/x/sys/unix"

// Rings, poll(2), select(2), and what crosses to the host. The code of this file runs in processes without a Go runtime:
// see the package comment.

// ringMember passes on what it gets, for ever. It is process n of the ring.
//
//go:nosplit
//go:norace
func ringMember(w *work, n uint64) failure {
	from, to := w.ring[n].r, w.ring[(n+1)%uint64(len(w.ring))].w
	return w.turns(unix.SYS_READ, from, unix.SYS_WRITE, to, forever)
}

// beginRing starts the processes of the ring but number 0, which is the measuring process.
//
//go:nosplit
//go:norace
func beginRing(w *work, _ uint64) failure {
	for i := 1; i < len(w.ring); i++ {
		if f := w.child(ringMember, uint64(i)); f != 0 {
			return f
		}
	}
	return 0
}

// ringLap sends the byte around; a hop is an operation.
//
//go:nosplit
//go:norace
func ringLap(w *work, n uint64) failure {
	return w.turns(unix.SYS_WRITE, w.ring[1].w, unix.SYS_READ, w.ring[0].r, n/uint64(len(w.ring)))
}

// waiter waits until a pipe can be read.
type waiter func(w *work, p *pipe) failure

// byEpoll asks the pipe's epoll instance.
//
//go:nosplit
//go:norace
func byEpoll(w *work, p *pipe) failure {
	_, f := sys5(unix.SYS_EPOLL_WAIT, uintptr(p.epoll), w.events, 1, uintptr(forever), 0)
	return f
}

// byPoll calls poll(2). A struct pollfd is the descriptor, and the events asked for and found.
//
//go:nosplit
//go:norace
func byPoll(w *work, p *pipe) failure {
	store64(w.events, uint64(p.r)|unix.POLLIN<<32)
	n, f := sys(unix.SYS_POLL, w.events, 1, uintptr(forever))
	if f == 0 && n != 1 {
		return failed(unix.SYS_POLL, eof)
	}
	return f
}

// bySelect calls select(2); the descriptor is below 64. The set is one word: the kernel reads no further than that.
//
//go:nosplit
//go:norace
func bySelect(w *work, p *pipe) failure {
	store64(w.events, 1<<uint(p.r&63))
	n, f := sys5(unix.SYS_SELECT, uintptr(p.r)+1, w.events, 0, 0, 0)
	if f == 0 && n != 1 {
		return failed(unix.SYS_SELECT, eof)
	}
	return f
}

// stop, instead of a number of bytes, ends a peer across the boundary.
const stop = ^uint64(0)

// tell tells the peer a number of bytes.
//
//go:nosplit
//go:norace
func (w *work) tell(fd int, bytes uint64) failure {
	store64(w.scratch, bytes)
	_, f := sys(unix.SYS_WRITE, uintptr(fd), w.scratch, 8)
	return f
}

// told reads a number of bytes. It may come in pieces across a boundary.
//
//go:nosplit
//go:norace
func (w *work) told(fd int) (bytes uint64, f failure) {
	for got := uintptr(0); got < 8; {
		n, f := sys(unix.SYS_READ, uintptr(fd), w.scratch+got, 8-got)
		if f != 0 {
			return 0, f
		}
		if n == 0 {
			return 0, failed(unix.SYS_READ, eof)
		}
		got += n
	}
	return load64(w.scratch), 0
}

// send writes that many bytes in blocks.
//
//go:nosplit
//go:norace
func (w *work) send(fd int, bytes uint64) failure {
	block := uint64(w.kind.Block)
	for bytes > 0 {
		n, f := sys(unix.SYS_WRITE, uintptr(fd), w.block, uintptr(min(bytes, block)))
		if f != 0 {
			return f
		}
		bytes -= uint64(n)
	}
	return 0
}

// receive reads that many bytes, in blocks at most.
//
//go:nosplit
//go:norace
func (w *work) receive(fd int, bytes uint64) failure {
	block := uint64(w.kind.Block)
	for bytes > 0 {
		n, f := sys(unix.SYS_READ, uintptr(fd), w.block, uintptr(min(bytes, block)))
		if f != 0 {
			return f
		}
		if n == 0 {
			return failed(unix.SYS_READ, eof)
		}
		bytes -= uint64(n)
	}
	return 0
}

// produce tells the consumer how many bytes will come, writes them, and waits until they have been read.
//
//go:nosplit
//go:norace
func produce(w *work, n uint64) failure {
	bytes := n * uint64(w.kind.Block)
	if f := w.tell(w.there.w, bytes); f != 0 {
		return f
	}
	if f := w.send(w.there.w, bytes); f != 0 {
		return f
	}
	return w.get(w.back.r)
}

//go:nosplit
//go:norace
func consume(w *work, _ uint64) failure {
	for {
		bytes, f := w.told(w.there.r)
		if f != 0 || bytes == stop {
			return f
		}
		if f := w.receive(w.there.r, bytes); f != 0 {
			return f
		}
		if f := w.put(w.back.w); f != 0 {
			return f
		}
	}
}

// request tells the supplier how many bytes it wants, and reads them.
//
//go:nosplit
//go:norace
func request(w *work, n uint64) failure {
	bytes := n * uint64(w.kind.Block)
	if f := w.tell(w.there.w, bytes); f != 0 {
		return f
	}
	return w.receive(w.back.r, bytes)
}

//go:nosplit
//go:norace
func supply(w *work, _ uint64) failure {
	for {
		bytes, f := w.told(w.there.r)
		if f != 0 || bytes == stop {
			return f
		}
		if f := w.send(w.back.w, bytes); f != 0 {
			return f
		}
	}
}
