package workload

import "golang.org/x/sys/unix"

// Threads, futexes and signals. The code of this file runs in processes without a Go runtime: see the package comment.

// threadFlags are those of pthread_create(3) in glibc, but for CLONE_SETTLS: threads here have nothing of their own.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM |
	unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID

// Operations of futex(2).
const (
	futexWait        = 0
	futexWake        = 1
	futexWaitPrivate = futexWait | 128
	futexWakePrivate = futexWake | 128
)

// thread starts a thread, of which there is one at a time; it runs the peer of peer, if that is not nil.
//
//go:nosplit
//go:norace
func (w *work) thread(peer *work) failure {
	tid := spawn(threadFlags, w.stack, w.tid, peer)
	if int(tid) < 0 {
		return failed(unix.SYS_CLONE, -tid)
	}
	return 0
}

// sleep waits until the word at addr is not value.
//
//go:nosplit
//go:norace
func sleep(addr uintptr, op int, value uint32) failure {
	for load32(addr) == value {
		_, f := sys5(unix.SYS_FUTEX, addr, uintptr(op), uintptr(value), 0, 0)
		if f != 0 && f != failed(unix.SYS_FUTEX, uintptr(unix.EAGAIN)) && f != failed(unix.SYS_FUTEX, uintptr(unix.EINTR)) {
			return f
		}
	}
	return 0
}

// threadJoin waits as pthread_join(3) does, for the kernel to clear the thread's number. That wakes futexes that are not
// private.
//
//go:nosplit
//go:norace
func threadJoin(w *work, n uint64) failure {
	for ; n > 0; n-- {
		if f := w.thread(nil); f != 0 {
			return f
		}
		for tid := load32(w.tid); tid != 0; tid = load32(w.tid) {
			if f := sleep(w.tid, futexWait, tid); f != 0 {
				return f
			}
		}
	}
	return 0
}

// Whose turn it is, in the word that two threads wait on.
const (
	turnPing = 0
	turnPong = 1
)

// pass gives the turn away.
//
//go:nosplit
//go:norace
func (w *work) pass(turn uint32) failure {
	store32(w.turn, turn)
	_, f := sys(unix.SYS_FUTEX, w.turn, futexWakePrivate, 1)
	return f
}

//go:nosplit
//go:norace
func futexPing(w *work, n uint64) failure {
	for ; n > 0; n-- {
		if f := w.pass(turnPong); f != 0 {
			return f
		}
		if f := sleep(w.turn, futexWaitPrivate, turnPong); f != 0 {
			return f
		}
	}
	return 0
}

//go:nosplit
//go:norace
func futexPong(w *work, _ uint64) failure {
	for {
		if f := sleep(w.turn, futexWaitPrivate, turnPing); f != 0 {
			return f
		}
		if f := w.pass(turnPing); f != 0 {
			return f
		}
	}
}

// signalSetup installs the handler on an alternate stack, whose base is the word that it counts in: a stack of Go's would
// be too small for the processor's state, which a signal frame holds. It blocks SIGUSR1 if asked to.
//
//go:nosplit
//go:norace
func (w *work) signalSetup(block bool) failure {
	const setSize = 8 // bytes of a sigset_t, for the kernel
	// struct stack_t: base, flags, size.
	store64(w.events, uint64(w.altStack))
	store64(w.events+8, 0)
	store64(w.events+16, altStackSize)
	if _, f := sys(unix.SYS_SIGALTSTACK, w.events, 0, 0); f != 0 {
		return f
	}
	store64(w.altStack, 0)
	if block {
		if _, f := sys5(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, w.sigset, 0, setSize, 0); f != 0 {
			return f
		}
	}
	_, f := sys5(unix.SYS_RT_SIGACTION, uintptr(unix.SIGUSR1), w.action, 0, setSize, 0)
	return f
}

//go:nosplit
//go:norace
func beginSignalSelf(w *work, _ uint64) failure { return w.signalSetup(false) }

// signalSelf sends signals to itself, each of which is handled before kill(2) returns, and fails if one was not.
//
//go:nosplit
//go:norace
func signalSelf(w *work, n uint64) failure {
	self, _ := sys(unix.SYS_GETPID, 0, 0, 0)
	for ; n > 0; n-- {
		seen := load64(w.altStack)
		if _, f := sys(unix.SYS_KILL, self, uintptr(unix.SIGUSR1), 0); f != 0 {
			return f
		}
		if load64(w.altStack) != seen+1 {
			return failed(unix.SYS_KILL, uintptr(unix.EINTR))
		}
	}
	return 0
}

// suspend waits for SIGUSR1, which is blocked but for the wait. It is handled then.
//
//go:nosplit
//go:norace
func (w *work) suspend() failure {
	const setSize = 8
	_, f := sys(unix.SYS_RT_SIGSUSPEND, w.zeros, setSize, 0)
	if f == failed(unix.SYS_RT_SIGSUSPEND, uintptr(unix.EINTR)) {
		return 0
	}
	return max(f, failed(unix.SYS_RT_SIGSUSPEND, 1))
}

// beginSignalPing waits until the peer is ready for the first signal.
//
//go:nosplit
//go:norace
func beginSignalPing(w *work, _ uint64) failure {
	if f := w.signalSetup(true); f != 0 {
		return f
	}
	return w.get(w.back.r)
}

// signalPing sends a signal to its peer and waits for one.
//
//go:nosplit
//go:norace
func signalPing(w *work, n uint64) failure {
	peer := uintptr(load64(w.pids))
	for ; n > 0; n-- {
		seen := load64(w.altStack)
		if _, f := sys(unix.SYS_KILL, peer, uintptr(unix.SIGUSR1), 0); f != 0 {
			return f
		}
		if f := w.suspend(); f != 0 {
			return f
		}
		if load64(w.altStack) != seen+1 {
			return failed(unix.SYS_RT_SIGSUSPEND, uintptr(unix.EINTR))
		}
	}
	return 0
}

//go:nosplit
//go:norace
func signalPong(w *work, _ uint64) failure {
	if f := w.signalSetup(true); f != 0 {
		return f
	}
	parent, _ := sys(unix.SYS_GETPPID, 0, 0, 0)
	if f := w.put(w.back.w); f != 0 {
		return f
	}
	for {
		if f := w.suspend(); f != 0 {
			return f
		}
		if _, f := sys(unix.SYS_KILL, parent, uintptr(unix.SIGUSR1), 0); f != 0 {
			return f
		}
	}
}
