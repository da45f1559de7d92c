package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"culvert/shim"
)

// instance is a running workload.
type instance struct {
	stdin  io.WriteCloser
	stdout *os.File // read end of a pipe
	lines  *bufio.Reader
	counts func() counts // nil: not a VM
	kill   func()        // ends it; may be called more than once
	wait   func() error  // waits for its end and frees all; called once
}

// Limits of the time that a workload may take: for a batch, and to end after its input did.
const (
	answerLimit = 2 * time.Minute
	endLimit    = 10 * time.Second
)

// answer is the workload's.
type answer struct {
	Ops   uint64 `json:"ops"`
	NS    uint64 `json:"ns"`
	Call  uint64 `json:"call"`
	Errno int    `json:"errno"`
}

// batch has ops operations carried out.
func (i *instance) batch(ops uint64) (answer, error) {
	var a answer
	if err := i.stdout.SetReadDeadline(time.Now().Add(answerLimit)); err != nil {
		return a, fmt.Errorf("read the workload's answer: %w", err)
	}
	if _, err := fmt.Fprintf(i.stdin, "%d\n", ops); err != nil {
		return a, fmt.Errorf("command the workload: %w", err)
	}
	line, err := i.lines.ReadBytes('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return a, fmt.Errorf("the workload did not answer within %v to a batch of %d operations", answerLimit, ops)
	case errors.Is(err, io.EOF):
		return a, fmt.Errorf("the workload ended during a batch of %d operations", ops)
	case err != nil:
		return a, fmt.Errorf("read the workload's answer: %w", err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("the workload's answer %q: %w", line, err)
	}
	if a.Errno != 0 {
		return a, fmt.Errorf("%s failed in the workload: %w", callName(a.Call), syscall.Errno(a.Errno))
	}
	if a.Ops != ops {
		return a, fmt.Errorf("the workload did %d operations, not %d", a.Ops, ops)
	}
	return a, nil
}

func callName(nr uint64) string {
	for _, s := range shim.Table() {
		if uint64(s.Nr) == nr {
			return s.Name
		}
	}
	return fmt.Sprintf("system call %d", nr)
}

// end ends the workload in good order, or by force.
func (i *instance) end() error {
	closeErr := i.stdin.Close()
	timer := time.AfterFunc(endLimit, i.kill)
	err := i.wait()
	if !timer.Stop() && err == nil {
		err = fmt.Errorf("the workload did not end within %v of its input", endLimit)
	}
	return errors.Join(closeErr, err, i.stdout.Close())
}

// abort ends the workload by force. How it ends then, and how its pipes do, adds nothing to the reason why.
func (i *instance) abort() error {
	i.kill()
	return errors.Join(i.stdin.Close(), i.wait(), i.stdout.Close())
}
