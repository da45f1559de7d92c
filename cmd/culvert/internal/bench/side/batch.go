package side

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/shim"
)

// answerLimit is how long a batch may take.
const answerLimit = 2 * time.Minute

// ErrEnded says that the workload ended when it should have answered. Why, its end tells.
var ErrEnded = errors.New("the workload ended before it answered")

// Answer is the workload's.
type Answer struct {
	Ops   uint64   `json:"ops"`
	NS    uint64   `json:"ns"`
	Ticks uint64   `json:"ticks"` // that the single operations took together
	Each  []uint64 `json:"each"`  // ticks of each
	Call  uint64   `json:"call"`
	Errno int      `json:"errno"`
	workload.Ended
}

// Batch has ops operations carried out.
func (p *Process) Batch(ops uint64) (Answer, error) { return p.ask(ops, fmt.Sprintf("%d\n", ops)) }

// Singles has ops operations carried out and timed one by one.
func (p *Process) Singles(ops uint64) (Answer, error) {
	a, err := p.ask(ops, fmt.Sprintf("%ds\n", ops))
	if err == nil && uint64(len(a.Each)) != ops {
		err = fmt.Errorf("the workload timed %d operations, not %d", len(a.Each), ops)
	}
	return a, err
}

func (p *Process) ask(ops uint64, command string) (Answer, error) {
	var a Answer
	timer := time.AfterFunc(answerLimit, p.kill)
	_, err := io.WriteString(p.In, command)
	// A workload that has ended took no command; what it said last is more than the error of the write.
	line, readErr := p.Lines.ReadBytes('\n')
	if !timer.Stop() {
		return a, fmt.Errorf("the workload did not answer within %v to a batch of %d operations", answerLimit, ops)
	}
	switch {
	case errors.Is(readErr, io.EOF) || errors.Is(readErr, os.ErrClosed):
		return a, ErrEnded
	case readErr != nil:
		return a, fmt.Errorf("read the workload's answer: %w", readErr)
	}
	if jsonErr := json.Unmarshal(line, &a); jsonErr != nil {
		return a, fmt.Errorf("the workload's answer %q: %w", line, jsonErr)
	}
	if a.Code != nil {
		p.over = true
		return a, &EndError{Code: *a.Code, Said: a.Said}
	}
	switch {
	case err != nil:
		return a, fmt.Errorf("command the workload: %w", err)
	case a.Errno != 0:
		return a, fmt.Errorf("%s failed in the workload: %w", callName(a.Call), syscall.Errno(a.Errno))
	case a.Ops != ops:
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
