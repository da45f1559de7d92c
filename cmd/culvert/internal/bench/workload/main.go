package workload

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
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
	exitFailed = 1
	exitUsage  = 2
)

// Main is the workload; args are the program's. It returns the exit code.
func Main(args []string) int {
	if len(args) != 3 {
		fmt.Fprintf(os.Stderr, "usage: culvert %s NAME\n", Word)
		return exitUsage
	}
	if args[2] == Nothing {
		return 0
	}
	kind, ok := Find(args[2])
	if !ok {
		fmt.Fprintf(os.Stderr, "culvert %s: %s: no such measurement\n", Word, args[2])
		return exitUsage
	}
	if err := run(kind); err != nil {
		fmt.Fprintf(os.Stderr, "culvert %s %s: %v\n", Word, kind.Name, err)
		return exitFailed
	}
	return 0
}

type pipe struct{ r, w, epoll int }

// work is what the processes without a runtime work on. They change nothing in it, but the memory behind the addresses.
type work struct {
	kind        Kind
	there, back pipe // from the measuring process to its peer, and back
	cleanup     func()

	memory []byte  // mapped: no Go memory
	base   uintptr // its address
	line   []byte  // part of memory, for the answer

	// Addresses in memory.
	scratch, time, events, status, zeros, lineAddr, input, block uintptr
	path, argv, envp                                             uintptr
}

// Offsets in the memory.
const (
	scratchAt = 0
	timeAt    = 64
	eventsAt  = 128
	statusAt  = 192
	zerosAt   = 256 // a sigaction of zeros: SIG_DFL
	argvAt    = 512
	maxArgs   = 8
	stringsAt = 1024
	lineAt    = 6 << 10
	inputAt   = 7 << 10
	inputSize = 512
	blockAt   = 8 << 10
)

func newWork(kind Kind) (*work, error) {
	memory, err := unix.Mmap(-1, 0, blockAt+max(kind.Block, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	base := addressOf(memory)
	return &work{kind: kind, cleanup: func() {}, memory: memory, base: base, line: memory[lineAt:inputAt],
		scratch: base + scratchAt, time: base + timeAt, events: base + eventsAt, status: base + statusAt,
		zeros: base + zerosAt, lineAddr: base + lineAt, input: base + inputAt, block: base + blockAt}, nil
}

// run prepares, forks the measuring process and waits for its end.
func run(kind Kind) error {
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
	pid, f := w.fork(measure)
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
