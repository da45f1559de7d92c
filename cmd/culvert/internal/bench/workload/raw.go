package workload

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// The code of this file runs in processes without a Go runtime: see the package comment.

// failure is a system call that failed: its number above, errno in the low 16 bits. 0 is success.
type failure uint64

//go:nosplit
//go:norace
func failed(call, errno uintptr) failure { return failure(call<<16 | errno&0xffff) }

// eof is the failure of a read that found the end of the file where a byte was due.
const eof = uintptr(unix.EPIPE)

// sys makes a system call of up to three arguments.
//
//go:nosplit
//go:norace
func sys(nr, a, b, c uintptr) (uintptr, failure) {
	r, _, errno := syscall.RawSyscall(nr, a, b, c)
	if errno != 0 {
		return r, failed(nr, uintptr(errno))
	}
	return r, 0
}

// exit ends the process.
//
//go:nosplit
//go:norace
func exit(code uintptr) {
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// fork makes a child that runs main and ends with it; it dies with its parent.
//
//go:nosplit
//go:norace
func (w *work) fork(main loop) (pid uintptr, f failure) {
	pid, f = sys(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if f != 0 || pid != 0 {
		return pid, f
	}
	// Without it a child could outlive a killed parent; where it fails nothing is measured wrongly.
	syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	if main(w, 0) != 0 {
		exit(1)
	}
	exit(0)
	return 0, 0
}

// reap waits for the child pid.
//
//go:nosplit
//go:norace
func reap(pid uintptr) failure {
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, pid, 0, 0, 0, 0, 0)
		if errno == 0 {
			return 0
		}
		if errno != unix.EINTR {
			return failed(unix.SYS_WAIT4, uintptr(errno))
		}
	}
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

// measure is the measuring process: it starts the peer, if there is one, and carries out batches until its input ends.
//
//go:nosplit
//go:norace
func measure(w *work, _ uint64) failure {
	defaultSignals(w)
	var peer uintptr
	if w.kind.peer != nil {
		var f failure
		if peer, f = w.fork(w.kind.peer); f != 0 {
			return f
		}
	}
	var result failure
	for result == 0 {
		ops, ok := w.command()
		if !ok {
			break
		}
		result = w.batch(ops)
	}
	if peer != 0 {
		syscall.RawSyscall(unix.SYS_KILL, peer, uintptr(unix.SIGKILL), 0)
		if f := reap(peer); result == 0 {
			return f
		}
	}
	return result
}

// batch carries out ops operations and answers.
//
//go:nosplit
//go:norace
func (w *work) batch(ops uint64) failure {
	start, f := w.now()
	if f == 0 {
		f = w.kind.batch(w, ops)
	}
	end, f2 := w.now()
	if f == 0 {
		f = f2
	}
	n := w.text(0, `{"ops":`)
	n = w.decimal(n, ops)
	if f == 0 {
		n = w.text(n, `,"ns":`)
		n = w.decimal(n, end-start)
	} else {
		n = w.text(n, `,"call":`)
		n = w.decimal(n, uint64(f>>16))
		n = w.text(n, `,"errno":`)
		n = w.decimal(n, uint64(f&0xffff))
	}
	n = w.text(n, "}\n")
	if _, f := sys(unix.SYS_WRITE, 1, w.lineAddr, uintptr(n)); f != 0 {
		return f
	}
	return 0 // the failure has been told; the driver decides
}

// command reads a line with a number; !ok is the end of the input, or no number.
//
//go:nosplit
//go:norace
func (w *work) command() (ops uint64, ok bool) {
	for {
		c, more := w.next()
		if !more || c != '\n' && (c < '0' || c > '9') {
			return 0, false
		}
		if c == '\n' {
			return ops, ok
		}
		ops, ok = ops*10+uint64(c-'0'), true
	}
}

// next returns the next byte of the input. It reads as much as is there, so that a command costs one read however many
// digits it has. What is read and not used yet is described by two words in front of it, the number of bytes and of
// those that were used: no process but the measuring one has the mapping in common with it.
//
//go:nosplit
//go:norace
func (w *work) next() (byte, bool) {
	n, used := load64(w.input), load64(w.input+8)
	const words = 16
	if used == n {
		got, f := sys(unix.SYS_READ, 0, w.input+words, inputSize)
		if f != 0 || got == 0 {
			return 0, false
		}
		store64(w.input, uint64(got))
		used = 0
	}
	store64(w.input+8, used+1)
	return load(w.input + words + uintptr(used)), true
}

// text appends s to the line being made, of which n bytes are there.
//
//go:nosplit
//go:norace
func (w *work) text(n int, s string) int {
	for i := 0; i < len(s); i++ {
		w.line[n] = s[i]
		n++
	}
	return n
}

// decimal appends v in decimal.
//
//go:nosplit
//go:norace
func (w *work) decimal(n int, v uint64) int {
	digits := 1
	for x := v; x >= 10; x /= 10 {
		digits++
	}
	for i := n + digits - 1; i >= n; i-- {
		w.line[i] = byte('0' + v%10)
		v /= 10
	}
	return n + digits
}

// defaultSignals undoes the handlers of Go's runtime, which the child of a fork inherits.
//
//go:nosplit
//go:norace
func defaultSignals(w *work) {
	const setSize = 8 // bytes of a sigset_t, for the kernel
	for sig := uintptr(1); sig <= 64; sig++ {
		// Refused for SIGKILL and SIGSTOP, which have no handler.
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, w.zeros, 0, setSize, 0, 0)
	}
}

// now is CLOCK_MONOTONIC in nanoseconds.
//
//go:nosplit
//go:norace
func (w *work) now() (uint64, failure) {
	_, f := sys(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, w.time, 0)
	return load64(w.time)*1e9 + load64(w.time+8), f
}
