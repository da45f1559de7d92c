package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"culvert/cmd/culvert/internal/bench/tinyelf"
	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/run"
)

// Starting has samples of one operation, each a process of its own: culvert executing a program of a few instructions,
// the first of which is to write a byte. The time is from just before the process is made until the byte has come
// through a pipe.
const (
	startupName = "startup"
	startupOp   = "from exec to the first instructions of a static program, seen by a byte that it writes"
)

// Phases of a start. The first is from the exec of a culvert that does nothing to its end; those of the VM are from the
// start of its making, and the last two from the exec.
const (
	phaseProcess = "process"
	phaseOpen    = "open"
	phaseCreate  = "create"
	phaseLoad    = "load"
	phaseKernel  = "guest_kernel"
	phaseProgram = "program"
	phaseEnd     = "end"
)

// phaseRows are the phases in order, as the table shows them.
func phaseRows() []struct{ key, text string } {
	return []struct{ key, text string }{
		{phaseProcess, "a culvert that does nothing, from exec to its end"},
		{phaseOpen, "VM: /dev/kvm is open"},
		{phaseCreate, "VM: memory and vCPUs are made"},
		{phaseLoad, "VM: files and the program are loaded"},
		{phaseKernel, "VM: the guest kernel runs"},
		{phaseProgram, "from exec: the program's byte has come"},
		{phaseEnd, "from exec: culvert has ended"},
	}
}

// starter measures starts on one side.
type starter struct {
	side    string
	command func(program, stats string) []string
	vm      bool

	samples []Sample
	phases  map[string][]float64 // in microseconds
	total   counts
	err     error
}

// startup measures starting on this machine, and against bare Linux if asked.
func startup(self string, o *options, tell func(done int)) Measurement {
	vm := &starter{side: "culvert", vm: true, phases: map[string][]float64{}, command: func(program, stats string) []string {
		return []string{self, "run", "--no-emulate", "--cpus", strconv.Itoa(o.cpus), "--stats=" + stats, "--", program}
	}}
	starters := []*starter{vm}
	for _, name := range o.against {
		starters = append(starters, &starter{side: name, phases: map[string][]float64{},
			command: func(program, _ string) []string { return []string{program} }})
	}
	program, stats, remove, err := startupFiles()
	if err != nil {
		for _, s := range starters {
			s.err = err
		}
	} else {
		defer remove()
		for i := -1; i < o.samples; i++ { // the first is the warm-up
			tell(max(i, 0))
			for _, s := range starters {
				s.sample(program, stats, i >= 0)
			}
			vm.process(self, i >= 0)
		}
	}
	var names []string
	var results []Result
	for _, s := range starters {
		names = append(names, s.side)
		results = append(results, s.result())
	}
	return measurement(startupName, startupOp, 0, names, results)
}

// startupFiles makes a directory with the program, and the name of a file for statistics.
func startupFiles() (program, stats string, remove func(), err error) {
	image, err := tinyelf.Hello()
	if err != nil {
		return "", "", nil, err
	}
	dir, err := os.MkdirTemp("", "culvert-bench-")
	if err != nil {
		return "", "", nil, fmt.Errorf("directory for the program to start: %w", err)
	}
	remove = func() { os.RemoveAll(dir) }
	program = filepath.Join(dir, "hello")
	if err := os.WriteFile(program, image, 0o755); err != nil {
		remove()
		return "", "", nil, fmt.Errorf("the program to start: %w", err)
	}
	return program, filepath.Join(dir, "stats.json"), remove, nil
}

// phase notes a duration, if the sample counts.
func (s *starter) phase(name string, d time.Duration, counts bool) {
	if counts {
		s.phases[name] = append(s.phases[name], float64(d)/1e3)
	}
}

// sample starts once; it counts unless it is the warm-up.
func (s *starter) sample(program, stats string, counts bool) {
	if s.err != nil {
		return
	}
	first, end, err := startOnce(s.command(program, stats))
	if err != nil {
		s.err = err
		return
	}
	s.phase(phaseProgram, first, counts)
	s.phase(phaseEnd, end, counts)
	sample := Sample{Ops: 1, NS: uint64(first), NSPerOp: float64(first)}
	if s.vm {
		n, err := s.vmStats(stats, counts)
		if err != nil {
			s.err = err
			return
		}
		sample.Exits = &n
	}
	if counts {
		s.samples = append(s.samples, sample)
	}
}

// process times a culvert that does nothing: what Go's runtime and the kernel's exec take of a start.
func (s *starter) process(self string, counts bool) {
	if s.err != nil {
		return
	}
	start := time.Now()
	if err := exec.Command(self, workloadArgs(workload.Nothing)...).Run(); err != nil {
		s.err = fmt.Errorf("a culvert that does nothing: %w", err)
		return
	}
	s.phase(phaseProcess, time.Since(start), counts)
}

// startLimit is how long a start may take.
const startLimit = 2 * time.Minute

// startOnce starts a program that writes one byte, and says when the byte came and when the process had ended.
func startOnce(argv []string) (first, end time.Duration, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, 0, fmt.Errorf("pipe: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout = w
	said := &tail{}
	cmd.Stderr = said
	start := time.Now()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return 0, 0, err
	}
	timer := time.AfterFunc(startLimit, func() { _ = cmd.Process.Kill() }) // it may have ended
	defer timer.Stop()
	var b [1]byte
	_, readErr := io.ReadFull(r, b[:])
	first = time.Since(start)
	err = cmd.Wait()
	end = time.Since(start)
	if err := errors.Join(err, readErr); err != nil {
		return 0, 0, fmt.Errorf("start of %s: %w; it said: %s", argv[0], err, said.text)
	}
	return first, end, nil
}

// tail keeps the beginning of what a program says on its standard error, which is a line.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 1 << 10
	t.text = append(t.text, p[:min(len(p), most-len(t.text))]...)
	return len(p), nil
}

// vmStats reads the statistics of the run that has ended.
func (s *starter) vmStats(file string, counted bool) (exits uint64, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("statistics of the start: %w", err)
	}
	var st run.Stats
	if err := json.Unmarshal(text, &st); err != nil {
		return 0, fmt.Errorf("statistics of the start: %w", err)
	}
	for phase, key := range map[string]string{phaseOpen: "open", phaseCreate: "create", phaseLoad: "load", phaseKernel: "first_instruction"} {
		s.phase(phase, time.Duration(st.StartupUS[key])*time.Microsecond, counted)
	}
	c := counts{byReason: st.Exits}
	if counted {
		s.total.add(c)
	}
	return c.exits(), nil
}

func (s *starter) result() Result {
	if s.err != nil {
		return Result{Error: s.err.Error()}
	}
	r := result(s.samples, 0)
	r.PhasesUS = map[string]float64{}
	for name, us := range s.phases {
		r.PhasesUS[name] = summarise(us).P50
	}
	if s.vm {
		r.Exits = s.total.perOp(uint64(len(s.samples)))
	}
	return r
}
