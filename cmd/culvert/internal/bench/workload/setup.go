package workload

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"culvert/cmd/culvert/internal/bench/tinyelf"

	"golang.org/x/sys/unix"
)

// The set-up of kinds: it runs in the Go program.

func newPipe() (pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return pipe{}, fmt.Errorf("pipe2: %w", err)
	}
	return pipe{r: fds[0], w: fds[1]}, nil
}

// pipes makes the two pipes between the measuring process and its peer.
func pipes(w *work) error {
	for _, p := range []*pipe{&w.there, &w.back} {
		var err error
		if *p, err = newPipe(); err != nil {
			return err
		}
	}
	return nil
}

// ring makes a pipe to each process of the ring.
func ring(w *work) error {
	for range w.kind.n {
		p, err := newPipe()
		if err != nil {
			return err
		}
		w.ring = append(w.ring, p)
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

// counting lays out the sigaction of the handler that counts, and the set of SIGUSR1. The kernel's struct sigaction is
// the handler, flags, restorer and mask, 8 bytes each.
func counting(w *work) error {
	const ( // arch/x86/include/uapi/asm/signal.h
		saSiginfo  = 0x4
		saRestorer = 0x04000000
		saOnstack  = 0x08000000
	)
	handler, restorer := signalCode()
	store64(w.action, uint64(handler))
	store64(w.action+8, saSiginfo|saOnstack|saRestorer)
	store64(w.action+16, uint64(restorer))
	store64(w.action+24, 0)
	store64(w.sigset, 1<<(unix.SIGUSR1-1))
	return nil
}

// signals is counting, with the pipes by which the peer says that it is ready.
func signals(w *work) error { return errors.Join(counting(w), pipes(w)) }

// tinyProgram writes the program to be executed to a temporary file.
func tinyProgram(w *work) error {
	image, err := tinyelf.Exit()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "culvert-bench-")
	if err != nil {
		return fmt.Errorf("file for the program to execute: %w", err)
	}
	w.cleanup = func() { os.Remove(f.Name()) }
	_, err = f.Write(image)
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return fmt.Errorf("write the program to execute: %w", err)
	}
	return w.program(f.Name())
}

// selfProgram has this program executed, with a word that makes it end at once.
func selfProgram(w *work) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return w.program(self, Word, Nothing)
}

// shellLoop does what scripts do most: it starts a small program, many times.
const shellLoop = "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done"

// missingError is a program that the system does not have.
type missingError struct{ name string }

func (e *missingError) Error() string { return "it has no " + e.name }

// systemDir is where installed looks: PATH may name another program on one side than on the other.
const systemDir = "/usr/bin/"

// installed has a program of the system executed, the same on each side.
func installed(name string, args ...string) func(w *work) error {
	return func(w *work) error {
		path, err := exec.LookPath(systemDir + name)
		if err != nil {
			return &missingError{name}
		}
		return w.program(append([]string{path}, args...)...)
	}
}

// program lays out execve's arguments in the workload's memory: strings from stringsAt on, then the vectors. The
// environment is empty.
func (w *work) program(args ...string) error {
	at := stringsAt
	w.path = w.base + uintptr(at)
	w.argv = w.base + argvAt
	w.envp = w.argv + 8*uintptr(len(args)) // argv's last word, which is 0: an empty vector
	store64(w.envp, 0)
	for i, s := range args {
		if at+len(s)+1 > stringsEnd || i >= maxArgs-1 {
			return fmt.Errorf("program %s: its arguments are too long", args[0])
		}
		store64(w.argv+8*uintptr(i), uint64(w.base)+uint64(at))
		at += copy(w.memory[at:], s+"\x00")
	}
	return nil
}
