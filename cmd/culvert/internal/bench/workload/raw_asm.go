package workload

// ticks reads the processor's time-stamp counter. It costs no system call, on no system.
//
//go:nosplit
//go:norace
func ticks() uint64

// trap makes a system call; a sixth argument is 0. It returns the kernel's word, of which the last 4095 are errnos, negated.
// It lies beside what calls it, and package syscall's like does not: that would be one page of code more to touch in every
// switch between processes.
//
//go:nosplit
//go:norace
func trap(nr, a, b, c, d, e uintptr) uintptr

// turns makes two calls by turns, n times, n > 0, which each read or write one byte at buf: no more than two processes need to
// pass it to and fro. It returns the last call that it made and what that answered, which is 1 unless it failed. Between the
// calls it touches one page of code and no memory: what a switch between processes costs is the system's, not the
// program's.
//
//go:nosplit
//go:norace
func turns(nr1, fd1, nr2, fd2, buf uintptr, n uint64) (nr, r uintptr)

// spawn makes a thread that runs w's peer, if w is not nil, and ends; tid is the word of CLONE_PARENT_SETTID and
// CLONE_CHILD_CLEARTID. It returns the thread's number, or an errno, negated.
//
//go:nosplit
//go:norace
//go:noescape
func spawn(flags, stack, tid uintptr, w *work) uintptr

// callC calls a C function of two arguments on the stack that ends at stack.
//
//go:nosplit
//go:norace
func callC(fn, stack, a, b uintptr) uintptr

// signalCode is where the signal handler that counts is, and what it returns to.
//
//go:nosplit
//go:norace
func signalCode() (handler, restorer uintptr)

// threadMain is what a new thread runs.
//
//lint:ignore U1000 spawn, which is assembly, calls it
//go:nosplit
//go:norace
func threadMain(w *work) {
	if w.kind.peer(w, 0) != 0 {
		exit(1)
	}
}
