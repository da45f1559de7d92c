package bench

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/run"

	"golang.org/x/sys/unix"
)

// side is a system that the workload runs on.
type side interface {
	name() string
	// start starts the program with these arguments. Its standard error is the side's.
	start(args []string) (*instance, error)
}

// workloadArgs are the arguments of the workload for a kind.
func workloadArgs(kind string) []string { return []string{workload.Word, kind} }

// stdio makes the two pipes to a workload: the ends that it gets, as its descriptors 0 and 1, and ours.
func stdio() (theirs, ours [2]*os.File, err error) {
	if theirs[0], ours[0], err = os.Pipe(); err != nil {
		return theirs, ours, fmt.Errorf("pipe to the workload: %w", err)
	}
	if ours[1], theirs[1], err = os.Pipe(); err != nil {
		theirs[0].Close()
		ours[0].Close()
		return theirs, ours, fmt.Errorf("pipe from the workload: %w", err)
	}
	return theirs, ours, nil
}

func closeAll(files [2]*os.File) {
	files[0].Close()
	files[1].Close()
}

// nativeSide is bare Linux: this machine's own kernel.
type nativeSide struct {
	self   string
	stderr *os.File
}

func (nativeSide) name() string { return "native" }

func (n nativeSide) start(args []string) (*instance, error) {
	theirs, ours, err := stdio()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(n.self, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], n.stderr
	// Of its own group, so that all its processes can be ended at once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, err
	}
	return &instance{stdin: ours[0], stdout: ours[1], lines: bufio.NewReader(ours[1]),
		// ESRCH, when all have ended, is as good.
		kill: func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) },
		wait: cmd.Wait}, nil
}

// vmSide is culvert: a VM of this process, made as `culvert run` makes it.
type vmSide struct {
	self   string
	flags  []string // of culvert run
	stderr *os.File
	events *kvmEvents
}

func (vmSide) name() string { return "culvert" }

func (v vmSide) start(args []string) (*instance, error) {
	theirs, ours, err := stdio()
	if err != nil {
		return nil, err
	}
	s, err := run.Start(slices.Concat(v.flags, []string{"--", v.self}, args), [3]*os.File{theirs[0], theirs[1], v.stderr})
	if err != nil {
		closeAll(theirs)
		closeAll(ours)
		return nil, err
	}
	closed := make(chan struct{})
	go func() { // an end of the VM is the end of its output, as a process's is
		<-s.Done()
		closeAll(theirs)
		close(closed)
	}()
	var kernel *kvmCounter
	i := &instance{stdin: ours[0], stdout: ours[1], lines: bufio.NewReader(ours[1]), kill: s.Stop}
	i.counts = func() counts {
		if kernel == nil {
			kernel = v.events.open() // not before: the vCPUs' threads must be there
		}
		return readCounts(s.Metrics, kernel)
	}
	i.wait = func() error {
		code, err := s.Wait()
		<-closed
		if kernel != nil {
			err = errors.Join(err, kernel.close())
		}
		if err == nil && code != 0 {
			err = fmt.Errorf("the workload's exit code is %d", code)
		}
		return err
	}
	return i, nil
}
