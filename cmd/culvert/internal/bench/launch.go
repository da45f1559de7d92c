package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"culvert/cmd/culvert/internal/bench/exits"
	"culvert/cmd/culvert/internal/bench/proc"
	"culvert/cmd/culvert/internal/bench/report"
	"culvert/cmd/culvert/internal/bench/side"
	"culvert/cmd/culvert/internal/bench/stats"
	"culvert/cmd/culvert/internal/bench/tinyelf"
	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/run"
)

// Names of what is measured by starting a system, and not by a workload in one.
const (
	startupName = "startup"
	startupOp   = "from exec to the first instructions of a static program, seen by a byte that it writes"
	memoryName  = "memory"
	memoryOp    = "resident memory, shared pages in parts (PSS), of all processes of an idle VM, less the guest's memory"
)

// Starting has samples of one operation, each a system of its own: it executes a program of a few instructions, the first
// of which is to write a byte. The time is from just before the process is made until the byte has come through a pipe.
// Memory is looked at some time after that byte came from a program that then sleeps.
const (
	startLimit = 5 * time.Minute        // how long a start may take
	slow       = 10 * time.Second       // a side whose starts have taken that long altogether is started no more
	settle     = 500 * time.Millisecond // until what a start left to be done has been done
	memoryRuns = 3
)

// launcher measures launches on one side.
type launcher struct {
	side    side.Side
	samples []report.Sample
	phases  map[string][]float64 // in microseconds
	total   exits.Counts
	took    time.Duration
	skipped string
	err     error
}

// launches measures by launching a program, in turns on all sides. Once launches once and says what that took; it notes
// its samples itself, unless this was the warm-up.
func launches(sides []side.Side, n int, image []byte, tell func(done int), once func(l *launcher, program, name string, counts bool) error) []*launcher {
	var list []*launcher
	for _, s := range sides {
		list = append(list, &launcher{side: s, phases: map[string][]float64{}})
	}
	dir, err := os.MkdirTemp("", "culvert-bench-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.WriteFile(filepath.Join(dir, "program"), image, 0o755)
	}
	for _, l := range list {
		if err != nil {
			l.err = fmt.Errorf("the program to start: %w", err)
		}
	}
	for i := -1; i < n; i++ { // the first is the warm-up
		tell(max(i, 0))
		for _, l := range list {
			if l.err != nil || l.skipped != "" || l.took > slow && len(l.samples) > 0 {
				continue
			}
			began := time.Now()
			// A side that takes very long has its only sample in its first start.
			l.err = once(l, filepath.Join(dir, "program"), fmt.Sprintf("launch-%d-%d", time.Now().UnixNano(), i), i >= 0)
			l.took += time.Since(began)
		}
	}
	return list
}

// join makes a measurement of launches.
func join(name, op string, list []*launcher) report.Measurement {
	var names []string
	var results []report.Result
	for _, l := range list {
		names = append(names, l.side.Name())
		results = append(results, l.result())
	}
	return report.Measurement{Name: name, Group: name, Op: op}.Join(names, results)
}

func (l *launcher) result() report.Result {
	switch {
	case l.err != nil:
		return report.Result{Error: l.err.Error()}
	case l.skipped != "":
		return report.Result{Skipped: l.skipped}
	}
	r := report.NewResult(l.samples, 0)
	for name, us := range l.phases {
		if r.PhasesUS == nil {
			r.PhasesUS = map[string]float64{}
		}
		r.PhasesUS[name] = stats.Summarise(us).P50
	}
	if len(l.samples) > 0 && l.samples[0].Exits != nil {
		r.PerOp = l.total.PerOp(uint64(len(l.samples)))
	}
	return r
}

// startup measures starting.
func startup(self string, sides []side.Side, p plan, tell func(done int)) report.Measurement {
	image, err := tinyelf.Hello()
	if err != nil {
		return report.Measurement{Name: startupName, Group: startupName, Op: startupOp, Result: report.Result{Error: err.Error()}}
	}
	list := launches(sides, p.samples, image, tell, func(l *launcher, program, name string, counts bool) error {
		if err := l.start(program, name, counts); err != nil {
			return err
		}
		if l.side.Name() != side.CulvertName {
			return nil
		}
		return l.process(self, counts)
	})
	return join(startupName, startupOp, list)
}

// phase notes a duration, if the sample counts.
func (l *launcher) phase(name string, d time.Duration, counts bool) {
	if counts {
		l.phases[name] = append(l.phases[name], float64(d)/1e3)
	}
}

// start starts once; it counts unless it is the warm-up.
func (l *launcher) start(program, name string, counts bool) error {
	la, err := l.side.Launch(program, name)
	if err != nil {
		return err
	}
	defer la.Free()
	isVM := l.side.Name() == side.CulvertName
	r, err := begin(la)
	if err != nil {
		return err
	}
	first, err := r.mark()
	if err == nil && isVM {
		err = r.cmd.Wait()
	}
	end := time.Since(r.began)
	if err := errors.Join(err, r.end()); err != nil {
		return fmt.Errorf("start: %w; it said: %s", err, r.said)
	}
	sample := report.Sample{Ops: 1, NS: uint64(first), NSPerOp: float64(first)}
	l.phase(report.PhaseProgram, first, counts)
	if isVM {
		l.phase(report.PhaseEnd, end, counts)
		n, err := l.vmStats(side.Stats(program), counts)
		if err != nil {
			return err
		}
		sample.Exits = &n
	}
	if counts || l.took+first > slow {
		l.samples = append(l.samples, sample)
	}
	return nil
}

// process times a culvert that does nothing: what Go's runtime and the kernel's exec take of a start.
func (l *launcher) process(self string, counts bool) error {
	start := time.Now()
	if err := exec.Command(self, workload.Word, workload.Nothing).Run(); err != nil {
		return fmt.Errorf("a culvert that does nothing: %w", err)
	}
	l.phase(report.PhaseProcess, time.Since(start), counts)
	return nil
}

// vmStats reads the statistics of the run that has ended.
func (l *launcher) vmStats(file string, counts bool) (n uint64, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("statistics of the start: %w", err)
	}
	var st run.Stats
	if err := json.Unmarshal(text, &st); err != nil {
		return 0, fmt.Errorf("statistics of the start: %w", err)
	}
	for phase, key := range map[string]string{report.PhaseOpen: "open", report.PhaseCreate: "create", report.PhaseLoad: "load",
		report.PhaseKernel: "first_instruction"} {
		l.phase(phase, time.Duration(st.StartupUS[key])*time.Microsecond, counts)
	}
	c := exits.Counts{ByReason: st.Exits}
	if counts {
		l.total.Add(c)
	}
	return c.Exits(), nil
}

// launched is a command that runs.
type launched struct {
	cmd   *exec.Cmd
	kill  func()
	out   *os.File
	began time.Time
	said  *side.Tail
	timer *time.Timer
}

// begin starts a command.
func begin(la *side.Launch) (*launched, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	cmd := la.Cmd
	l := &launched{cmd: cmd, kill: la.Kill, out: r, said: &side.Tail{}}
	cmd.Stdout, cmd.Stderr = w, l.said
	l.began = time.Now()
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	l.timer = time.AfterFunc(startLimit, l.kill)
	return l, nil
}

// mark waits for the program's byte; what comes before it a kernel's console said.
func (l *launched) mark() (time.Duration, error) {
	in := bufio.NewReader(l.out)
	for {
		b, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return 0, errors.New("it ended, or took longer than " + startLimit.String() + ", and its program did not begin")
		}
		if err != nil || b == tinyelf.Mark {
			return time.Since(l.began), err
		}
		if _, err := l.said.Write([]byte{b}); err != nil {
			return 0, err
		}
	}
}

// end ends the command by force, if it has not ended.
func (l *launched) end() error {
	l.timer.Stop()
	if l.cmd.ProcessState == nil {
		l.kill()
		_ = l.cmd.Wait() // how does not matter
	}
	return l.out.Close()
}

// memory measures what an idle VM takes of the host's memory besides the guest's own.
func memory(self string, sides []side.Side, tell func(done int)) report.Measurement {
	image, err := tinyelf.Idle()
	if err != nil {
		return report.Measurement{Name: memoryName, Group: memoryName, Op: memoryOp, Result: report.Result{Error: err.Error()}}
	}
	list := launches(sides, memoryRuns, image, tell, func(l *launcher, program, name string, counts bool) error {
		la, err := l.side.Launch(program, name)
		if err != nil {
			return err
		}
		defer la.Free()
		if la.IsRAM == nil {
			l.skipped = "there is no VM"
			return nil
		}
		if !counts {
			return nil // nothing warms up here
		}
		bytes, err := idle(la, self)
		if err == nil {
			l.samples = append(l.samples, report.Sample{Ops: 1, Bytes: bytes})
		}
		return err
	})
	return join(memoryName, memoryOp, list)
}

// idle starts a program that sleeps and looks at what it takes.
func idle(la *side.Launch, self string) (bytes float64, err error) {
	r, err := begin(la)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	if _, err := r.mark(); err != nil {
		return 0, fmt.Errorf("start: %w; it said: %s", err, r.said)
	}
	time.Sleep(settle)
	pids, err := proc.Tree(la.Cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		list, err := proc.Mappings(pid)
		if err != nil {
			return 0, err
		}
		for _, m := range list {
			switch {
			case la.IsRAM(m):
			case m.Name == self: // this process has it mapped too, so that its half would be missing
				bytes += float64(m.RSS)
			default:
				bytes += float64(m.PSS)
			}
		}
	}
	return bytes, nil
}
