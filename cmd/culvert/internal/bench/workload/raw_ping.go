package workload

import "golang.org/x/sys/unix"

// The shortest round trips, and all that they call, in one file: so their code lies in two pages or three, and a switch between
// two processes costs what the systems cost, not what the workload's scattered code does. The code of this file runs in
// processes without a Go runtime: see the package comment.

// sys makes a system call of up to three arguments.
//
//go:nosplit
//go:norace
func sys(nr, a, b, c uintptr) (uintptr, failure) { return sys5(nr, a, b, c, 0, 0) }

// sys5 makes one of up to five.
//
//go:nosplit
//go:norace
func sys5(nr, a, b, c, d, e uintptr) (uintptr, failure) {
	const maxErrno = 4095
	r := trap(nr, a, b, c, d, e)
	if -r <= maxErrno && r != 0 {
		return r, failed(nr, -r)
	}
	return r, 0
}

// get reads one byte into the scratch byte.
//
//go:nosplit
//go:norace
func (w *work) get(fd int) failure {
	n, f := sys(unix.SYS_READ, uintptr(fd), w.scratch, 1)
	if f == 0 && n != 1 {
		return failed(unix.SYS_READ, eof)
	}
	return f
}

// put writes the scratch byte.
//
//go:nosplit
//go:norace
func (w *work) put(fd int) failure {
	_, f := sys(unix.SYS_WRITE, uintptr(fd), w.scratch, 1)
	return f
}

// turns makes two calls for the scratch byte by turns, n times.
//
//go:nosplit
//go:norace
func (w *work) turns(nr1 uintptr, fd1 int, nr2 uintptr, fd2 int, n uint64) failure {
	if n == 0 {
		return 0
	}
	nr, r := turns(nr1, uintptr(fd1), nr2, uintptr(fd2), w.scratch, n)
	switch r {
	case 1:
		return 0
	case 0:
		return failed(nr, eof)
	}
	return failed(nr, -r)
}

// ping sends a byte and waits for the answer.
//
//go:nosplit
//go:norace
func ping(w *work, n uint64) failure {
	return w.turns(unix.SYS_WRITE, w.there.w, unix.SYS_READ, w.back.r, n)
}

// pong answers each byte, for ever.
//
//go:nosplit
//go:norace
func pong(w *work, _ uint64) failure {
	return w.turns(unix.SYS_READ, w.there.r, unix.SYS_WRITE, w.back.w, forever)
}

const forever = ^uint64(0)

// waitedPing and waitedPong read a byte once the kind's waiter says that it is there.
//
//go:nosplit
//go:norace
func waitedPing(w *work, n uint64) failure {
	for ; n > 0; n-- {
		if f := w.put(w.there.w); f != 0 {
			return f
		}
		if f := w.kind.wait(w, &w.back); f != 0 {
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
func waitedPong(w *work, _ uint64) failure {
	for {
		if f := w.kind.wait(w, &w.there); f != 0 {
			return f
		}
		if f := w.get(w.there.r); f != 0 {
			return f
		}
		if f := w.put(w.back.w); f != 0 {
			return f
		}
	}
}
