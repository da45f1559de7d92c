package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/emulate"
	"culvert/shim/abi"
	"culvert/vmm"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

const usage = `usage: culvert bench [flags] MEASUREMENT...

Measures a VM, and bare Linux beside it with --against native. MEASUREMENT is
syscall, pingpong, pipe, epoll, fork, fault, startup or all. The exit code is 0,
1 if a measurement failed, 125 if culvert bench could not measure at all.

On a machine without a usable /dev/kvm everything, bare Linux included, is
measured on one emulated machine: there only ratios and exits mean something.

`

// Exit codes.
const (
	exitFailed  = 1
	exitFailure = 125
)

// options are what the command line says.
type options struct {
	groups    []string // without "all", in the order of measuring
	cpus      int
	against   []string
	format    string
	samples   int
	duration  time.Duration
	noEmulate bool
}

// Bounds.
const (
	maxSamples  = 10000
	maxDuration = time.Hour
)

// errHelp says that help was asked for and printed.
var errHelp = errors.New("help")

// parse reads the command line. Help goes to out.
func parse(args []string, out io.Writer) (*options, error) {
	o := &options{}
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&o.cpus, "cpus", 1, "virtual CPUs; everything is bound to as many of the machine's")
	fs.StringSliceVar(&o.against, "against", nil, "measure these too, in turns: native is bare Linux")
	fs.StringVar(&o.format, "format", "table", "table, json or gobench (for benchstat)")
	fs.IntVar(&o.samples, "samples", 20, "batches of each measurement, on each side")
	fs.DurationVar(&o.duration, "duration", time.Second, "how long all batches of a measurement take, on each side")
	fs.BoolVar(&o.noEmulate, "no-emulate", false, "fail on a machine without a usable /dev/kvm instead of emulating one")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprint(out, usage+fs.FlagUsages())
			return nil, errHelp
		}
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, o.choose(fs.Args())
}

// check refuses what cannot be.
func (o *options) check() error {
	switch {
	case o.cpus < 1 || o.cpus > abi.MaxVCPUs:
		return fmt.Errorf("--cpus %d: must be 1 to %d", o.cpus, abi.MaxVCPUs)
	case o.samples < 1 || o.samples > maxSamples:
		return fmt.Errorf("--samples %d: must be 1 to %d", o.samples, maxSamples)
	case o.duration <= 0 || o.duration > maxDuration:
		return fmt.Errorf("--duration %v: must be more than 0 and at most %v", o.duration, maxDuration)
	case formats()[o.format] == nil:
		return fmt.Errorf("--format %s: must be table, json or gobench", o.format)
	}
	for i, name := range o.against {
		if name != "native" {
			return fmt.Errorf("--against %s: only native can be compared with", name)
		}
		if i > 0 {
			return fmt.Errorf("--against %s: given twice", name)
		}
	}
	return nil
}

// groups are what the command line can ask for, in order.
func groups() []string {
	var names []string
	for _, k := range workload.Kinds() {
		if !slices.Contains(names, k.Group) {
			names = append(names, k.Group)
		}
	}
	return append(names, startupName)
}

// choose sets the groups asked for.
func (o *options) choose(names []string) error {
	all := groups()
	if len(names) == 0 {
		return fmt.Errorf("nothing to measure given: %s or all", strings.Join(all, ", "))
	}
	for _, n := range names {
		if n != "all" && !slices.Contains(all, n) {
			return fmt.Errorf("%s: no such measurement; there are %s and all", n, strings.Join(all, ", "))
		}
	}
	for _, g := range all {
		if slices.Contains(names, g) || slices.Contains(names, "all") {
			o.groups = append(o.groups, g)
		}
	}
	return nil
}

// Command parses args, which come after "bench", measures, and returns the exit code.
func Command(args []string, stdin, stdout, stderr *os.File) int {
	o, err := parse(args, stdout)
	if errors.Is(err, errHelp) {
		return 0
	}
	code := exitFailure
	if err == nil {
		code, err = o.run(args, [3]*os.File{stdin, stdout, stderr})
	}
	if err != nil {
		fmt.Fprintf(stderr, "culvert bench: %v\n", err)
	}
	return code
}

// probeMem is enough for the guest kernel's self-test.
const probeMem = 32 << 20

// run measures here or on an emulated machine.
func (o *options) run(args []string, stdio [3]*os.File) (int, error) {
	vm, err := vmm.New(vmm.Config{Mem: probeMem, CPUs: o.cpus})
	if err == nil {
		err = vm.Close()
	}
	if err != nil {
		if o.noEmulate || !vmm.Unusable(err) {
			return exitFailure, err
		}
		return o.emulate(args, stdio, err)
	}
	undo, err := bind(o.cpus)
	if err != nil {
		return exitFailure, err
	}
	report, err := o.measure(stdio[2])
	if err := errors.Join(err, undo()); err != nil {
		return exitFailure, err
	}
	if err := formats()[o.format](stdio[1], report); err != nil {
		return exitFailure, fmt.Errorf("write the report: %w", err)
	}
	list := failures(report)
	if len(list) == 0 {
		return 0, nil
	}
	return exitFailed, fmt.Errorf("failed: %s", strings.Join(list, "; "))
}

// minEmulated is the least number of processors that an emulated machine has.
const minEmulated = 2

// emulate runs the same command line on an emulated machine, so that all sides are measured in one boot.
func (o *options) emulate(args []string, stdio [3]*os.File, why error) (int, error) {
	fmt.Fprintf(stdio[2], "culvert bench: %v; using an emulated machine, where only ratios and exits mean something\n", why)
	self, err := os.Executable()
	if err != nil {
		return exitFailure, err
	}
	return emulate.Run(context.Background(), emulate.Options{
		Args:  append([]string{self, "bench", "--no-emulate"}, args...),
		CPUs:  max(o.cpus, minEmulated),
		Stdin: stdio[0], Stdout: stdio[1], Stderr: stdio[2],
	})
}

// measure measures all that was asked for.
func (o *options) measure(stderr *os.File) (*Report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	events, kvmErr := findKVMEvents()
	sides := []side{vmSide{self: self, flags: []string{"--cpus", strconv.Itoa(o.cpus)}, stderr: stderr, events: events}}
	for range o.against {
		sides = append(sides, nativeSide{self: self, stderr: stderr})
	}
	report := &Report{Meta: newMeta(o, kvmErr)}
	line := newProgress(stderr)
	defer line.clear()
	for _, k := range workload.Kinds() {
		if slices.Contains(o.groups, k.Group) {
			line.begin(k.Name, o.samples)
			report.Measurements = append(report.Measurements,
				measure(sides, k, plan{samples: o.samples, duration: o.duration}, line.tell))
		}
	}
	if slices.Contains(o.groups, startupName) {
		line.begin(startupName, o.samples)
		report.Measurements = append(report.Measurements, startup(self, o, line.tell))
	}
	return report, nil
}

// progress is a line on a terminal; elsewhere it is silent.
type progress struct {
	w       io.Writer
	name    string
	samples int
}

func newProgress(f *os.File) *progress {
	p := &progress{w: io.Discard}
	raw, err := f.SyscallConn() // Fd would make it block
	if err != nil {
		return p
	}
	// A file that is closed is no terminal.
	_ = raw.Control(func(fd uintptr) {
		if _, err := unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			p.w = f
		}
	})
	return p
}

// clearLine goes to the line's beginning and erases it.
const clearLine = "\r\x1b[K"

func (p *progress) begin(name string, samples int) {
	p.name, p.samples = name, samples
	fmt.Fprintf(p.w, clearLine+"%s: warming up", name)
}

func (p *progress) tell(done int) {
	fmt.Fprintf(p.w, clearLine+"%s: sample %d of %d", p.name, done+1, p.samples)
}

func (p *progress) clear() { fmt.Fprint(p.w, clearLine) }
