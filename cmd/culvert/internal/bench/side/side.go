// Package side has the systems that `culvert bench` runs its workload on: VMs of culvert, bare Linux, gVisor, and a Linux
// guest of QEMU's.
package side

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"culvert/cmd/culvert/internal/bench/exits"
	"culvert/cmd/culvert/internal/bench/proc"
	"culvert/cmd/culvert/internal/bench/workload"

	"golang.org/x/sys/unix"
)

// Side is a system that the workload runs on.
type Side interface {
	Name() string
	About() string // what it is, for a report
	// Start starts the workload with these arguments. It may wait for the system to start first.
	Start(args ...string) (*Process, error)
	// Launch is a command that starts the system with a static program in it, and passes the program's output on. Name is
	// one that no other running launch of this side has.
	Launch(program, name string) (*Launch, error)
	// Close ends what is left of the system.
	Close() error
}

// Pipeliner is a side that can have a pipe between two of its systems.
type Pipeliner interface {
	// Pipeline starts a workload of two programs, each on a system of its own.
	Pipeline(name string) (*Process, error)
}

// Pipeline starts a pipeline on a side; one that cannot have any is said to lack it.
func Pipeline(s Side, name string) (*Process, error) {
	if p, ok := s.(Pipeliner); ok {
		return p.Pipeline(name)
	}
	return nil, &EndError{Code: workload.ExitMissing, Said: "it has no pipe between two of its kind"}
}

// Launch is a system to be started with one program.
type Launch struct {
	Cmd   *exec.Cmd
	Kill  func()                  // ends all that the command has started; it may have ended, or not have been started
	Free  func()                  // frees what the command needed
	IsRAM func(proc.Mapping) bool // is it the memory of a guest? nil: there is no guest
}

// Process is a running workload.
type Process struct {
	In, Out *os.File // pipes, or a socket, to its standard input and from its standard output
	Lines   *bufio.Reader
	Counts  func() exits.Counts           // nil: not a VM of culvert's
	CPU     func() (time.Duration, error) // of the host's processors, so far

	finish func(asked bool) error // asks it to end, unless it was asked, waits, and frees all
	kill   func()                 // ends it by force; may be called more than once
	over   bool                   // an agent has said already how it ended
}

// endLimit is how long a workload may take to end after it was asked to.
const endLimit = 30 * time.Second

// End ends the workload in good order, or by force. Asked says that it knows already.
func (p *Process) End(asked bool) error {
	if p.over {
		return nil
	}
	timer := time.AfterFunc(endLimit, p.kill)
	err := p.finish(asked)
	if !timer.Stop() && err == nil {
		err = fmt.Errorf("the workload did not end within %v", endLimit)
	}
	return err
}

// Abort ends the workload by force, unless it has ended. The error is its own end's.
func (p *Process) Abort() error {
	if p.over {
		return nil
	}
	p.kill()
	return p.finish(true)
}

// EndError says how a workload ended that failed.
type EndError struct {
	Code int
	Said string // on standard error
}

func (e *EndError) Error() string {
	if e.Said == "" {
		return fmt.Sprintf("the workload ended with exit code %d", e.Code)
	}
	return fmt.Sprintf("the workload ended with exit code %d: %s", e.Code, e.Said)
}

// Missing reports whether err says that the system lacks a program that was to be measured.
func Missing(err error) bool {
	var e *EndError
	return errors.As(err, &e) && e.Code == workload.ExitMissing
}

// Tail keeps the beginning of what a program says on its standard error, which is a line.
type Tail struct{ text []byte }

func (t *Tail) Write(p []byte) (int, error) {
	const most = 1 << 10
	t.text = append(t.text, p[:min(len(p), most-len(t.text))]...)
	return len(p), nil
}

func (t *Tail) String() string { return strings.Join(strings.Fields(string(t.text)), " ") }

// stdio makes the two pipes to a workload: the ends that it gets, as its descriptors 0 and 1, and ours.
func stdio() (theirs, ours [2]*os.File, err error) {
	if theirs[0], ours[0], err = pipe(); err != nil {
		return theirs, ours, fmt.Errorf("pipe to the workload: %w", err)
	}
	if ours[1], theirs[1], err = pipe(); err != nil {
		closeAll(theirs[0], ours[0])
		return theirs, ours, fmt.Errorf("pipe from the workload: %w", err)
	}
	return theirs, ours, nil
}

// pipe is os.Pipe without Go's network poller, a thread of which would wake up whenever a workload reads or writes.
func pipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// killer kills a command's process, if there is one.
func killer(cmd *exec.Cmd) func() {
	return func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill() // it may have ended
		}
	}
}

// waitError makes the end of a command an EndError, if it is one.
func waitError(err error, said string) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &EndError{Code: exit.ExitCode(), Said: said}
	}
	return err
}
