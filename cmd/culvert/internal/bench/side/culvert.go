package side

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"

	"culvert/cmd/culvert/internal/bench/exits"
	"culvert/cmd/culvert/internal/bench/proc"
	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/run"
)

// CulvertName is what culvert's own side is called.
const CulvertName = "culvert"

// Culvert is a VM of this process, made as `culvert run` makes it, for each workload.
type Culvert struct {
	Self   string // this program
	CPUs   int
	Stderr *os.File
	Events *exits.Events // nil: the kernel's exits are not counted
}

func (Culvert) Name() string  { return CulvertName }
func (Culvert) About() string { return "a VM of culvert" }
func (Culvert) Close() error  { return nil }

// guestMem is the memory of a VM, of culvert's and of others.
const guestMem = 1 << 30

// flags are those of culvert run.
func (v Culvert) flags() []string {
	return []string{"--cpus", strconv.Itoa(v.CPUs), "--mem", strconv.Itoa(guestMem>>20) + "M"}
}

func (v Culvert) Start(args ...string) (*Process, error) {
	theirs, ours, err := stdio()
	if err != nil {
		return nil, err
	}
	argv := slices.Concat(v.flags(), []string{"--", v.Self, workload.Word}, args)
	s, err := run.Start(argv, [3]*os.File{theirs[0], theirs[1], v.Stderr})
	if err != nil {
		closeAll(theirs[:]...)
		closeAll(ours[:]...)
		return nil, err
	}
	closed := make(chan struct{})
	go func() { // an end of the VM is the end of its output, as a process's is
		<-s.Done()
		closeAll(theirs[:]...)
		close(closed)
	}()
	var kernel *exits.Counter
	return &Process{In: ours[0], Out: ours[1], Lines: bufio.NewReader(ours[1]), kill: s.Stop, CPU: proc.SelfCPU,
		Counts: func() exits.Counts {
			if kernel == nil {
				kernel = v.Events.Open() // not before: the vCPUs' threads must be there
			}
			return exits.Read(s.Metrics, kernel)
		},
		finish: func(bool) error {
			ours[0].Close()
			code, err := s.Wait()
			<-closed
			if kernel != nil {
				err = errors.Join(err, kernel.Close())
			}
			ours[1].Close()
			if err == nil && code != 0 {
				err = &EndError{Code: code}
			}
			return err
		}}, nil
}

// Pipeline is culvert pipe, whose VMs are processes of their own: their exits are not counted.
func (v Culvert) Pipeline(name string) (*Process, error) {
	program := func(role string) []string { return []string{v.Self, workload.Word, name, role} }
	return process(exec.Command(v.Self, slices.Concat([]string{"pipe", "--no-emulate"}, v.flags(), []string{"--"}, program(workload.Source),
		[]string{"---"}, program(workload.Sink))...))
}

// Launch is culvert run, with statistics in the file STATS beside the program; see Stats.
func (v Culvert) Launch(program, _ string) (*Launch, error) {
	args := slices.Concat([]string{"run", "--no-emulate", "--stats=" + Stats(program)}, v.flags(), []string{"--", program})
	cmd := exec.Command(v.Self, args...)
	return &Launch{Cmd: cmd, Kill: killer(cmd), Free: func() {},
		// The VM's memory may be in several mappings; nothing else of culvert's is as large as a quarter of it, but what Go
		// reserves and does not touch.
		IsRAM: func(m proc.Mapping) bool { return m.Name == "" && m.Size() >= guestMem/4 }}, nil
}

// Stats is the file of statistics of a launch of culvert.
func Stats(program string) string { return program + ".json" }
