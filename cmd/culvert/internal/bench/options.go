package bench

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"culvert/cmd/culvert/internal/bench/report"
	"culvert/cmd/culvert/internal/bench/side"
	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/shim/abi"

	"github.com/spf13/pflag"
)

const usage = `usage: culvert bench [flags] MEASUREMENT...

Measures a VM, and with --against other systems beside it, in turns. MEASUREMENT
is syscall, pingpong, pipe, epoll, thread, signal, fork, program, fault, stdio,
vm-to-vm, startup, memory or all.

--against native is bare Linux, runsc a sandbox of gVisor's on its KVM platform,
runsc-systrap one without KVM, linux-vm a Linux guest of QEMU's with KVM. One that
is not installed is left out, with a line that says what to install.

The exit code is 0; 1 if a measurement failed, or nothing that --against names could
be measured; 3 if --compare found something worse by more than --threshold; 125 if
culvert bench could not measure at all.

On a machine without a usable /dev/kvm everything, bare Linux included, is
measured on one emulated machine: there only ratios and exits mean something.

`

// options are what the command line says.
type options struct {
	groups    []string // without "all", in the order of measuring
	params    workload.Params
	plan      plan
	cpus      int
	against   []string
	runsc     string // path; "" is runsc in PATH
	format    string
	svg       string // file; "" is none
	compare   string // file; "" is none
	threshold float64
	input     string // file; "" measures
	noEmulate bool
	progress  bool // although standard error is no terminal: it leads to one
}

// Bounds.
const (
	maxSamples   = 10000
	maxDuration  = time.Hour
	maxSizes     = 64
	maxThreshold = 1000 // percent
)

// errHelp says that help was asked for and printed.
var errHelp = errors.New("help")

// parse reads the command line. Help goes to out.
func parse(args []string, out io.Writer) (*options, error) {
	o := &options{params: workload.DefaultParams()}
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&o.cpus, "cpus", 1, "virtual CPUs; everything is bound to as many of the machine's")
	fs.StringSliceVar(&o.against, "against", nil, "measure these too, in turns: native, runsc, runsc-systrap, linux-vm")
	fs.StringVar(&o.runsc, "runsc", "", "gVisor's program, if it is not in PATH")
	sizes := fs.StringSlice("size", sizeTexts(o.params.Blocks), "block sizes of pipe, stdio and vm-to-vm, 1 to 1M, as in 512,64K")
	fs.IntVar(&o.params.Processes, "processes", o.params.Processes, "processes of the ring")
	fs.IntVar(&o.plan.samples, "samples", 20, "batches of each measurement, on each side")
	fs.DurationVar(&o.plan.duration, "duration", time.Second, "how long all batches of a measurement take, on each side")
	fs.Uint64Var(&o.plan.count, "count", 0, "operations of a batch, instead of --duration")
	fs.DurationVar(&o.plan.warmup, "warmup", 0, "warm up for this long at least; finding the size of batches is a warm-up too")
	fs.StringVar(&o.format, "format", "table", "table, json, csv or gobench (for benchstat)")
	fs.StringVar(&o.svg, "svg", "", "draw throughput and latencies into this file")
	fs.StringVar(&o.compare, "compare", "", "compare with this report, which --format json has printed")
	fs.Float64Var(&o.threshold, "threshold", 10, "with --compare: how many percent worse is too much")
	fs.StringVar(&o.input, "input", "", "print this report, which --format json has printed, instead of measuring")
	fs.BoolVar(&o.noEmulate, "no-emulate", false, "fail on a machine without a usable /dev/kvm instead of emulating one")
	fs.BoolVar(&o.progress, "progress", false, "")
	if err := fs.MarkHidden("progress"); err != nil {
		return nil, err
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprint(out, usage+fs.FlagUsages())
			return nil, errHelp
		}
		return nil, err
	}
	if err := o.setSizes(*sizes); err != nil {
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
	case o.params.Processes < 2 || o.params.Processes > workload.MaxProcesses:
		return fmt.Errorf("--processes %d: must be 2 to %d", o.params.Processes, workload.MaxProcesses)
	case o.plan.samples < 1 || o.plan.samples > maxSamples:
		return fmt.Errorf("--samples %d: must be 1 to %d", o.plan.samples, maxSamples)
	case o.plan.duration <= 0 || o.plan.duration > maxDuration:
		return fmt.Errorf("--duration %v: must be more than 0 and at most %v", o.plan.duration, maxDuration)
	case o.plan.count > maxOps:
		return fmt.Errorf("--count %d: must be at most %d", o.plan.count, uint64(maxOps))
	case o.plan.warmup < 0 || o.plan.warmup > maxDuration:
		return fmt.Errorf("--warmup %v: must be 0 to %v", o.plan.warmup, maxDuration)
	case report.Formats()[o.format] == nil:
		return fmt.Errorf("--format %s: must be table, json, csv or gobench", o.format)
	case !(o.threshold >= 0 && o.threshold <= maxThreshold): // not a number is neither
		return fmt.Errorf("--threshold %v: must be 0 to %d percent", o.threshold, maxThreshold)
	}
	if o.runsc != "" {
		path, err := filepath.Abs(o.runsc)
		if err != nil {
			return fmt.Errorf("--runsc: %w", err)
		}
		o.runsc = path
	}
	for i, name := range o.against {
		if !slices.Contains(peerNames(), name) {
			return fmt.Errorf("--against %s: must be %s", name, strings.Join(peerNames(), ", "))
		}
		if slices.Contains(o.against[:i], name) {
			return fmt.Errorf("--against %s: given twice", name)
		}
	}
	return nil
}

// peerNames are the values of --against.
func peerNames() []string {
	return []string{side.NativeName, side.RunscName, side.RunscSystrapName, side.LinuxVMName}
}

// sizeTexts writes sizes as setSizes reads them.
func sizeTexts(sizes []int) []string {
	var texts []string
	for _, n := range sizes {
		if n%1024 == 0 {
			texts = append(texts, strconv.Itoa(n/1024)+"K")
		} else {
			texts = append(texts, strconv.Itoa(n))
		}
	}
	return texts
}

// setSizes reads block sizes: a number, with K or M for so many times 1024 or its square.
func (o *options) setSizes(texts []string) error {
	if len(texts) == 0 || len(texts) > maxSizes {
		return fmt.Errorf("--size: must be 1 to %d sizes", maxSizes)
	}
	o.params.Blocks = nil
	for _, text := range texts {
		number, unit := strings.TrimSuffix(text, "K"), 1<<10
		if number == text {
			number, unit = strings.TrimSuffix(text, "M"), 1<<20
		}
		if number == text {
			unit = 1
		}
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || n < 1 || n*uint64(unit) > workload.MaxBlock {
			return fmt.Errorf("--size %s: must be 1 to %dM", text, workload.MaxBlock>>20)
		}
		if size := int(n) * unit; !slices.Contains(o.params.Blocks, size) {
			o.params.Blocks = append(o.params.Blocks, size)
		}
	}
	slices.Sort(o.params.Blocks)
	return nil
}

// groups are what the command line can ask for, in order.
func groups() []string {
	var names []string
	for _, k := range workload.Kinds(workload.DefaultParams()) {
		if !slices.Contains(names, k.Group) {
			names = append(names, k.Group)
		}
	}
	return append(names, startupName, memoryName)
}

// choose sets the groups asked for.
func (o *options) choose(names []string) error {
	all := groups()
	switch {
	case o.input != "" && len(names) > 0:
		return fmt.Errorf("--input: nothing is measured, so %s cannot be", strings.Join(names, ", "))
	case o.input != "":
		return nil
	case len(names) == 0:
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

// inner is the command line of the measuring part alone, which prints JSON: all that the emulated machine is to do. Its
// files are thrown away, so pictures and comparisons are made here.
func (o *options) inner() []string {
	args := []string{"--format=json", "--cpus", strconv.Itoa(o.cpus), "--size", strings.Join(sizeTexts(o.params.Blocks), ","),
		"--processes", strconv.Itoa(o.params.Processes), "--samples", strconv.Itoa(o.plan.samples), "--duration", o.plan.duration.String(),
		"--count", strconv.FormatUint(o.plan.count, 10), "--warmup", o.plan.warmup.String()}
	if len(o.against) > 0 {
		args = append(args, "--against", strings.Join(o.against, ","))
	}
	if o.runsc != "" {
		args = append(args, "--runsc", o.runsc)
	}
	return append(args, o.groups...)
}
