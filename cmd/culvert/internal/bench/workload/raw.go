package workload

import "golang.org/x/sys/unix"

// The code of this file runs in processes without a Go runtime: see the package comment.

// failure is a system call that failed: its number above, errno in the low 16 bits. 0 is success.
type failure uint64

//go:nosplit
//go:norace
func failed(call, errno uintptr) failure { return failure(call<<16 | errno&0xffff) }

// eof is the failure of a read that found the end of the file where a byte was due.
const eof = uintptr(unix.EPIPE)

// exit ends the process.
//
//go:nosplit
//go:norace
func exit(code uintptr) {
	for {
		sys(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// fork makes a child that runs main with n and ends with it; it dies with its parent.
//
//go:nosplit
//go:norace
func (w *work) fork(main loop, n uint64) (pid uintptr, f failure) {
	pid, f = sys(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if f != 0 || pid != 0 {
		return pid, f
	}
	// Without it a child could outlive a killed parent; where it fails nothing is measured wrongly.
	sys(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	if main(w, n) != 0 {
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
		if _, f := sys5(unix.SYS_WAIT4, pid, 0, 0, 0, 0); f != failed(unix.SYS_WAIT4, uintptr(unix.EINTR)) {
			return f
		}
	}
}

// child forks a process that lives until the measuring process has done its work. There are at most MaxProcesses.
//
//go:nosplit
//go:norace
func (w *work) child(main loop, n uint64) failure {
	pid, f := w.fork(main, n)
	if f == 0 {
		count := load64(w.children)
		store64(w.pids+8*uintptr(count), uint64(pid))
		store64(w.children, count+1)
	}
	return f
}

// endChildren ends all children, and all is well.
//
//go:nosplit
//go:norace
func (w *work) endChildren() (f failure) {
	count := uintptr(load64(w.children))
	for i := uintptr(0); i < count; i++ {
		sys(unix.SYS_KILL, uintptr(load64(w.pids+8*i)), uintptr(unix.SIGKILL), 0)
	}
	for i := uintptr(0); i < count; i++ {
		if e := reap(uintptr(load64(w.pids + 8*i))); f == 0 {
			f = e
		}
	}
	return f
}

// begin starts the peer, if there is one here, and does what comes before the first batch.
//
//go:nosplit
//go:norace
func (w *work) begin() failure {
	k := &w.kind
	if k.peer != nil && !k.Across {
		var f failure
		if k.spawn {
			f = w.thread(w)
		} else {
			f = w.child(k.peer, 0)
		}
		if f != 0 {
			return f
		}
	}
	if k.begin != nil {
		return k.begin(w, 0)
	}
	return 0
}

// measure is the measuring process: it carries out batches until its input ends.
//
//go:nosplit
//go:norace
func measure(w *work, _ uint64) failure {
	defaultSignals(w)
	result := w.begin()
	for result == 0 {
		ops, each, ok := w.command()
		if !ok {
			break
		}
		result = w.batch(ops, each)
	}
	if w.kind.Across && result == 0 {
		result = w.tell(w.there.w, stop)
	}
	if f := w.endChildren(); result == 0 {
		result = f
	}
	return result
}

// serve is the peer of a measuring process across the boundary.
//
//go:nosplit
//go:norace
func serve(w *work, _ uint64) failure {
	defaultSignals(w)
	return w.kind.peer(w, 0)
}

// source is the first program of a pipeline: it writes as many blocks to its standard output as it is told to.
//
//go:nosplit
//go:norace
func source(w *work, _ uint64) failure {
	defaultSignals(w)
	for {
		ops, _, ok := w.command()
		if !ok {
			return w.tell(1, stop)
		}
		bytes := ops * uint64(w.kind.Block)
		if f := w.tell(1, bytes); f != 0 {
			return f
		}
		if f := w.send(1, bytes); f != 0 {
			return f
		}
	}
}

// sink is the second: it reads what it is told will come, and answers. The time is from the first word to the last byte.
//
//go:nosplit
//go:norace
func sink(w *work, _ uint64) failure {
	defaultSignals(w)
	for {
		bytes, f := w.told(0)
		if f != 0 || bytes == stop {
			return f
		}
		start, f := w.now()
		if f == 0 {
			f = w.receive(0, bytes)
		}
		end, f2 := w.now()
		if f == 0 {
			f = f2
		}
		if f := w.answer(bytes/uint64(w.kind.Block), end-start, f, 0, false); f != 0 {
			return f
		}
	}
}

// single carries out operations one by one and notes how many ticks each took.
//
//go:nosplit
//go:norace
func (w *work) single(ops uint64) failure {
	for i := uint64(0); i < ops; i++ {
		start := ticks()
		if f := w.kind.batch(w, 1); f != 0 {
			return f
		}
		store64(w.ticks+uintptr(8*i), ticks()-start)
	}
	return 0
}

// batch carries out ops operations and answers.
//
//go:nosplit
//go:norace
func (w *work) batch(ops uint64, each bool) failure {
	if each {
		ops = min(ops, MaxSingles)
	}
	start, f := w.now()
	startTicks := ticks()
	if f == 0 && each {
		f = w.single(ops)
	} else if f == 0 {
		f = w.kind.batch(w, ops)
	}
	endTicks := ticks()
	end, f2 := w.now()
	if f == 0 {
		f = f2
	}
	return w.answer(ops, end-start, f, endTicks-startTicks, each)
}

// answer writes the line about a batch. A failure is told in it, and the driver decides.
//
//go:nosplit
//go:norace
func (w *work) answer(ops, ns uint64, f failure, tickCount uint64, each bool) failure {
	n := w.text(0, `{"ops":`)
	n = w.decimal(n, ops)
	if f == 0 {
		n = w.text(n, `,"ns":`)
		n = w.decimal(n, ns)
		if each {
			n = w.singles(n, ops, tickCount)
		}
	} else {
		n = w.text(n, `,"call":`)
		n = w.decimal(n, uint64(f>>16))
		n = w.text(n, `,"errno":`)
		n = w.decimal(n, uint64(f&0xffff))
	}
	n = w.text(n, "}\n")
	for at := 0; at < n; { // a socket or a device may take less at once
		wrote, f := sys(unix.SYS_WRITE, 1, w.lineAddr+uintptr(at), uintptr(n-at))
		if f != 0 {
			return f
		}
		at += int(wrote)
	}
	return 0
}

// singles appends what single noted.
//
//go:nosplit
//go:norace
func (w *work) singles(n int, ops, all uint64) int {
	n = w.text(n, `,"ticks":`)
	n = w.decimal(n, all)
	n = w.text(n, `,"each":[`)
	for i := uint64(0); i < ops; i++ {
		if i > 0 {
			n = w.text(n, ",")
		}
		n = w.decimal(n, load64(w.ticks+uintptr(8*i)))
	}
	return w.text(n, "]")
}

// command reads a line with a number; an s behind it asks for single operations. !ok is the end of the input, or
// anything else.
//
//go:nosplit
//go:norace
func (w *work) command() (ops uint64, each, ok bool) {
	for {
		c, more := w.next()
		switch {
		case !more:
			return 0, false, false
		case c == '\n':
			return ops, each, ok
		case c == 's' && ok && !each:
			each = true
		case c >= '0' && c <= '9' && !each:
			ops, ok = ops*10+uint64(c-'0'), true
		default:
			return 0, false, false
		}
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
		sys5(unix.SYS_RT_SIGACTION, sig, w.zeros, 0, setSize, 0)
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
