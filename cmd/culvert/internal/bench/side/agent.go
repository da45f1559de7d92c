package side

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"culvert/cmd/culvert/internal/bench/workload"
)

// agent is the workload's agent on a system that takes long to start, so that it runs all the workloads of a report.
type agent struct {
	in, out *os.File
	lines   *bufio.Reader
	cpu     func() (time.Duration, error)
	kill    func()
	wait    func() error // for the end of the whole system
	said    fmt.Stringer
	broken  atomic.Bool // it was killed, or answered nonsense
}

// bootLimit is how long a system may take to start. One that is emulated twice takes half a minute, on a busy machine
// many times that.
const bootLimit = 5 * time.Minute

// await waits for the agent's first line, by which the system has started.
func (a *agent) await() (*agent, error) {
	timer := time.AfterFunc(bootLimit, a.stop)
	defer timer.Stop()
	line, err := a.lines.ReadBytes('\n')
	var e workload.Ended
	if err == nil && (json.Unmarshal(line, &e) != nil || e.Said != workload.Ready) {
		err = fmt.Errorf("it began with %q", line)
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("it ended, or took longer than %v", bootLimit)
	}
	if err != nil {
		a.close()
		return nil, fmt.Errorf("the system did not start: %w; it said: %s", err, a.said)
	}
	return a, nil
}

// start has the agent run a workload.
func (a *agent) start(args []string) (*Process, error) {
	if _, err := io.WriteString(a.in, strings.Join(args, " ")+"\n"); err != nil {
		a.stop()
		return nil, fmt.Errorf("command the agent: %w; it said: %s", err, a.said)
	}
	return &Process{In: a.in, Out: a.out, Lines: a.lines, CPU: a.cpu, kill: a.stop, finish: a.finish}, nil
}

// stop ends the whole system by force.
func (a *agent) stop() {
	a.broken.Store(true)
	a.kill()
}

// finish has the workload end, and reads how it did. A line that comes before may be an answer that nobody waits for.
func (a *agent) finish(asked bool) error {
	if !asked {
		if _, err := io.WriteString(a.in, workload.End); err != nil {
			a.stop()
			return fmt.Errorf("end the workload: %w; it said: %s", err, a.said)
		}
	}
	const stale = 4
	for range stale {
		line, err := a.lines.ReadBytes('\n')
		if err != nil {
			a.stop()
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("the system ended; it said: %s", a.said)
			}
			return fmt.Errorf("end of the workload: %w", err)
		}
		var e workload.Ended
		if json.Unmarshal(line, &e) == nil && e.Code != nil {
			if *e.Code == 0 {
				return nil
			}
			return &EndError{Code: *e.Code, Said: e.Said}
		}
	}
	a.stop()
	return errors.New("end of the workload: its agent does not speak of it")
}

// close ends the system. How does not matter any more.
func (a *agent) close() {
	a.stop()
	_ = a.wait()
	closeAll(a.in)
	if a.out != a.in {
		closeAll(a.out)
	}
}
