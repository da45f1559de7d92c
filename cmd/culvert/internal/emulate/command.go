package emulate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

const usage = `usage: culvert emulate [flags] -- COMMAND [ARG...]

Runs a command in a throw-away copy of this machine that has a real /dev/kvm,
under QEMU's software emulation. For trying and testing: it is slow, and no
boundary for strangers' code.

`

// Command is the command line: it parses args, which come after "emulate", runs
// the command, and returns the exit code. Messages go to stderr only.
func Command(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opt := Options{Stdin: stdin, Stdout: stdout, Stderr: stderr}
	stop, err := parse(&opt, args, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "culvert emulate: %v\n", err)
		return exitFailure
	case stop:
		if _, err := Stop(); err != nil {
			fmt.Fprintf(stderr, "culvert emulate: %v\n", err)
			return exitFailure
		}
		return 0
	}
	code, err := Run(context.Background(), opt)
	if err != nil {
		fmt.Fprintf(stderr, "culvert emulate: %v\n", err)
	}
	return code
}

// parse fills in opt. Help goes to out, since it was asked for.
func parse(opt *Options, args []string, out io.Writer) (stop bool, err error) {
	fs := pflag.NewFlagSet("emulate", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.SetInterspersed(false)
	fs.IntVar(&opt.CPUs, "cpus", defaultCPUs, "virtual CPUs")
	mem := fs.String("mem", "", "memory, as in 4G (default: 4G, or less if the host has less)")
	fs.StringVar(&opt.CPU, "cpu", "", "processor: default, fxsave, avx2, or what QEMU's -cpu takes (also $CULVERT_EMULATE_CPU)")
	fs.StringArrayVar(&opt.Shares, "share", nil, "host file or directory that the command reads and writes for real (repeatable)")
	fs.BoolVar(&opt.Keep, "keep", false, "keep the machine for later runs, which then start at once")
	fs.BoolVar(&opt.Fresh, "fresh", false, "use a machine of its own although one is kept")
	fs.BoolVar(&opt.NoSnapshot, "no-snapshot", false, "start the machine from cold, and save no snapshot of it")
	fs.DurationVar(&opt.Idle, "idle", defaultIdle, "how long a kept machine stays without a run")
	fs.BoolVar(&stop, "stop", false, "end the kept machine")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprint(out, usage+fs.FlagUsages())
		}
		return false, err
	}
	opt.Args = fs.Args()
	if *mem != "" {
		if opt.Mem, err = ParseSize(*mem); err != nil {
			return false, fmt.Errorf("--mem: %w", err)
		}
	}
	switch {
	case opt.CPUs < 1:
		return false, fmt.Errorf("--cpus %d: must be 1 to %d", opt.CPUs, maxCPUs)
	case opt.Idle <= 0:
		return false, fmt.Errorf("--idle %v: must be positive", opt.Idle)
	case opt.Keep && opt.Fresh:
		return false, errors.New("--keep and --fresh exclude each other")
	case stop && len(opt.Args) > 0:
		return false, errors.New("--stop takes no command")
	case !stop && len(opt.Args) == 0:
		return false, errors.New("no command given (culvert emulate -- COMMAND [ARG...])")
	}
	return stop, nil
}
