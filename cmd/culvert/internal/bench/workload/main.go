package workload

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Word is the first argument that makes culvert the workload; Nothing, as the second, makes it end at once.
const (
	Word    = "culvert-bench-workload"
	Nothing = "nothing"
)

// Requested reports whether this process was started as the workload.
func Requested(args []string) bool { return len(args) > 1 && args[1] == Word }

// Exit codes.
const (
	exitFailed  = 1
	exitUsage   = 2
	ExitMissing = 3 // the system lacks a program that is to be executed
)

// Roles of a process in a measurement that takes two programs, as the third argument.
const (
	Peer = "peer" // runs the peer, on its standard input and output
	Host = "host" // measures; the peer's standard output and input are its descriptors 3 and 4

	Source = "source" // the first program of a pipeline, which reads commands
	Sink   = "sink"   // the second, which answers
)

const (
	hostFromPeer = 3
	hostToPeer   = 4
)

// Main is the workload; args are the program's. It returns the exit code.
func Main(args []string) int {
	if len(args) >= 3 && args[2] == Nothing {
		return 0
	}
	if len(args) >= 3 && args[2] == Agent {
		return agentMain(args[3:])
	}
	err := start(args[2:])
	var usage *usageError
	var missing *missingError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "culvert %s: %v\n", Word, err)
		return exitUsage
	case errors.As(err, &missing):
		fmt.Fprintf(os.Stderr, "%v\n", err)
		return ExitMissing
	}
	fmt.Fprintf(os.Stderr, "culvert %s %s: %v\n", Word, args[2], err)
	return exitFailed
}

// usageError is a wrong command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// start does what the arguments NAME [ROLE] say.
func start(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return &usageError{"usage: NAME [ROLE]"}
	}
	kind, ok := Find(args[0])
	if !ok {
		return &usageError{args[0] + ": no such measurement"}
	}
	role := ""
	if len(args) == 2 {
		role = args[1]
	}
	if !slices.Contains(kind.roles(), role) {
		return &usageError{fmt.Sprintf("%s: %q is not a role in it", args[0], role)}
	}
	return run(kind, role)
}

type pipe struct{ r, w, epoll int }

// work is what the processes without a runtime work on. They change nothing in it, but the memory behind the addresses.
type work struct {
	kind        Kind
	there, back pipe   // from the measuring process to its peer, and back
	ring        []pipe // to each process of a ring
	clock       uintptr
	cleanup     func()

	// near is what the loops give to system calls, in the page of what they read anyway.
	near [8]uint64

	memory []byte  // mapped: no Go memory
	base   uintptr // its address
	line   []byte  // part of memory, for the answer

	scratch, time, events uintptr // in near
	// Addresses in memory.
	status, zeros, lineAddr, input, block            uintptr
	action, sigset, tid, turn, children, pids, ticks uintptr
	altStack, stack                                  uintptr // the base of one, the end of the other
	path, argv, envp                                 uintptr
}

// MaxSingles is how many operations can be timed singly in a batch.
const MaxSingles = 512

// Offsets in the memory. Words that threads wait on have cache lines of their own.
const (
	statusAt = 192
	zerosAt  = 256 // a sigaction of zeros: SIG_DFL; and an empty set of signals
	argvAt   = 512
	maxArgs  = 8
	actionAt = 576
	sigsetAt = 640
	tidAt    = 704
	turnAt   = 768
	childAt  = 832

	stringsAt    = 1 << 10
	stringsEnd   = 6 << 10
	pidsAt       = stringsEnd // MaxProcesses words
	inputAt      = 10 << 10
	inputSize    = 512
	ticksAt      = 12 << 10 // MaxSingles words
	lineAt       = 16 << 10 // as many decimal numbers
	altStackAt   = 32 << 10
	altStackSize = 64 << 10 // a signal frame with AVX-512 and AMX state takes 11 KiB
	stackAt      = altStackAt + altStackSize
	stackSize    = 64 << 10
	blockAt      = stackAt + stackSize
)

func newWork(kind Kind) (*work, error) {
	memory, err := unix.Mmap(-1, 0, blockAt+max(kind.Block, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	base := addressOf(&memory[0])
	w := &work{kind: kind, cleanup: func() {}, memory: memory, base: base, line: memory[lineAt:altStackAt],
		status: base + statusAt,
		zeros:  base + zerosAt, lineAddr: base + lineAt, input: base + inputAt, block: base + blockAt,
		action: base + actionAt, sigset: base + sigsetAt, tid: base + tidAt, turn: base + turnAt, children: base + childAt,
		pids: base + pidsAt, ticks: base + ticksAt, altStack: base + altStackAt, stack: base + stackAt + stackSize}
	w.scratch, w.time, w.events = addressOf(&w.near[0]), addressOf(&w.near[1]), addressOf(&w.near[3])
	return w, nil
}

// run prepares, forks the measuring process, or the peer in a measurement across the boundary, and waits for its end.
func run(kind Kind, role string) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	w, err := newWork(kind)
	if err != nil {
		return err
	}
	defer func() { w.cleanup() }()
	if kind.setup != nil {
		if err := kind.setup(w); err != nil {
			return err
		}
	}
	main := measure
	switch role {
	case Peer:
		main = serve
		w.there.r, w.back.w = 0, 1
	case Host:
		w.back.r, w.there.w = hostFromPeer, hostToPeer
	case Source:
		main = source
	case Sink:
		main = sink
	}
	pid, f := w.fork(main, 0)
	if f != 0 {
		return fmt.Errorf("clone: %w", syscall.Errno(f&0xffff))
	}
	var status syscall.WaitStatus
	for {
		// Not a raw call: the runtime must know that this thread waits, so that its monitor rests.
		_, err := syscall.Wait4(int(pid), &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the measuring process: %w", err)
		}
		break
	}
	if status.Exited() && status.ExitStatus() == 0 {
		return nil
	}
	return fmt.Errorf("the measuring process ended with wait status %#x", uint32(status))
}
