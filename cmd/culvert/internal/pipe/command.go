// Package pipe is `culvert pipe`: a pipeline whose stages run in VMs of their own. Each stage is a `culvert run` of its
// own, so that a fault or a kill takes one stage; the pipe between two of them is memory that both VMs map, and no
// process of the host copies its bytes.
package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"culvert/cmd/culvert/internal/emulate"
	"culvert/cmd/culvert/internal/run"
	"culvert/vmm"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

const usage = `usage: culvert pipe [flags] [culvert run's flags] -- PROGRAM [ARG...] --- PROGRAM [ARG...] [--- ...]

Runs a pipeline whose programs, separated by ---, each run in a VM of their own. The
flags of culvert run hold for each of them; --stats=FILE writes FILE.1 for the first
stage, FILE.2 for the second, and so on. The exit code is the last program's.

`

// exitFailure is culvert's own failure.
const exitFailure = 125

// separator stands between stages.
const separator = "---"

// options are what the command line says.
type options struct {
	ring     int64
	pipefail bool
	flags    []string // of culvert run
	stages   [][]string
	shares   []string // the host's files that the stages write
}

var errHelp = errors.New("help")

// Command parses args, which come after "pipe", runs the pipeline and returns its exit code.
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
		fmt.Fprintf(stderr, "culvert pipe: %v\n", err)
	}
	return code
}

// parse takes its own flags out of the command line and leaves the others to culvert run.
func parse(args []string, out io.Writer) (*options, error) {
	o := &options{}
	fs := pflag.NewFlagSet("pipe", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.pipefail, "pipefail", false, "exit with the code of the last program that failed, as bash's pipefail")
	ring := fs.String("ring", "1M", "bytes that a pipe between two VMs holds, a power of two from 4K to 1M")
	help := fs.BoolP("help", "h", false, "describe the flags")
	own, programs := slices.Index(args, "--"), []string(nil)
	if own < 0 {
		own = len(args)
	} else {
		programs = args[own+1:]
	}
	mine, theirs := split(fs, args[:own])
	if err := fs.Parse(mine); err != nil {
		return nil, err
	}
	if *help {
		fmt.Fprint(out, usage+fs.FlagUsages())
		return nil, errHelp
	}
	var err error
	if o.ring, err = emulate.ParseSize(*ring); err != nil {
		return nil, fmt.Errorf("--ring: %w", err)
	}
	if o.ring < 4<<10 || o.ring > 1<<20 || o.ring&(o.ring-1) != 0 {
		return nil, fmt.Errorf("--ring %s: must be a power of two from 4K to 1M", *ring)
	}
	o.flags = theirs
	for {
		i := slices.Index(programs, separator)
		if i < 0 {
			break
		}
		o.stages = append(o.stages, programs[:i])
		programs = programs[i+1:]
	}
	o.stages = append(o.stages, programs)
	return o, o.check()
}

// split tells this command's flags, which are defined in fs, from those of culvert run.
func split(fs *pflag.FlagSet, args []string) (mine, theirs []string) {
	for i := 0; i < len(args); i++ {
		name, _, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		f := fs.Lookup(name)
		if args[i] == "-h" {
			f = fs.Lookup("help")
		}
		if f == nil || !strings.HasPrefix(args[i], "-") {
			theirs = append(theirs, args[i])
			continue
		}
		mine = append(mine, args[i])
		if !hasValue && f.NoOptDefVal == "" && i+1 < len(args) {
			i++
			mine = append(mine, args[i])
		}
	}
	return mine, theirs
}

// check refuses what cannot be.
func (o *options) check() error {
	if len(o.stages) < 2 {
		return fmt.Errorf("one program only: separate the programs of a pipeline by %s", separator)
	}
	for i, s := range o.stages {
		if len(s) == 0 {
			return fmt.Errorf("no program in stage %d of the pipeline", i+1)
		}
		shares, err := run.Shares(slices.Concat(o.stageFlags(i), []string{"--"}, s))
		if err != nil {
			return err
		}
		o.shares = append(o.shares, shares...)
	}
	return nil
}

// run runs the pipeline, here or on an emulated machine.
func (o *options) run(args []string, stdio [3]*os.File) (int, error) {
	if !slices.Contains(o.flags, "--no-emulate") {
		if why := usable(); why != nil {
			fmt.Fprintf(stdio[2], "culvert pipe: %v; using an emulated machine, which is slow and no boundary for strangers' code\n", why)
			return o.emulate(args, stdio)
		}
	}
	stages, err := o.start(stdio)
	if err != nil {
		return exitFailure, err
	}
	return o.wait(stages)
}

// usable says why VMs cannot run on this machine's KVM, if so.
func usable() error {
	vm, err := vmm.New(vmm.Config{Mem: smallest, CPUs: 1})
	if err == nil {
		return vm.Close()
	}
	if vmm.Unusable(err) {
		return err
	}
	return nil // each stage says it
}

// smallest is the memory of the VM that tries out the machine.
const smallest = 16 << 20

// emulate runs the same command line on an emulated machine.
func (o *options) emulate(args []string, stdio [3]*os.File) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return exitFailure, err
	}
	return emulate.Run(context.Background(), emulate.Options{
		Args:  append([]string{self, "pipe", "--no-emulate"}, args...),
		Stdin: stdio[0], Stdout: stdio[1], Stderr: stdio[2], Shares: o.shares,
	})
}

// start starts all stages, the first reading stdin and the last writing stdout.
func (o *options) start(stdio [3]*os.File) (stages []*exec.Cmd, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var open []*os.File // the links' files, which the stages inherit; some are there twice
	defer func() {
		for _, f := range open {
			f.Close() //nolint:errcheck // closed before
		}
		if err != nil {
			kill(stages)
		}
	}()
	var in linkEnd // of the link from the stage before
	for i, program := range o.stages {
		c := exec.Command(self, "run")
		c.Stderr = stdio[2]
		c.Args = append(c.Args, o.stageFlags(i)...)
		if i == 0 {
			c.Stdin = stdio[0]
		} else {
			c.Args = append(c.Args, "--link-in="+inherit(c, in))
		}
		if i == len(o.stages)-1 {
			c.Stdout = stdio[1]
		} else {
			var out linkEnd
			if out, in, err = newLink(int(o.ring)); err != nil {
				return stages, err
			}
			open = append(append(open, out[:]...), in[:]...)
			c.Args = append(c.Args, "--link-out="+inherit(c, out))
		}
		c.Args = append(append(c.Args, "--"), program...)
		if err := c.Start(); err != nil {
			return stages, fmt.Errorf("start %s: %w", program[0], err)
		}
		stages = append(stages, c)
	}
	return stages, nil
}

// stageFlags are the flags for stage i: each has a file of statistics of its own.
func (o *options) stageFlags(i int) []string {
	flags := slices.Clone(o.flags)
	for j, f := range flags {
		if file, ok := strings.CutPrefix(f, "--stats="); ok && file != "-" {
			flags[j] = fmt.Sprintf("--stats=%s.%d", file, i+1)
		}
	}
	return append(flags, "--no-emulate")
}

// inherit passes the files of a link to the child and answers the number of the first.
func inherit(c *exec.Cmd, files linkEnd) string {
	const first = 3 // ExtraFiles come after standard input, output and error
	n := first + len(c.ExtraFiles)
	c.ExtraFiles = append(c.ExtraFiles, files[:]...)
	return strconv.Itoa(n)
}

// linkEnd is one end of a pipe between two stages: the files that culvert run takes.
type linkEnd [run.LinkFiles]*os.File

// newLink makes a pipe between two stages.
func newLink(ring int) (out, in linkEnd, err error) {
	var open []*os.File
	add := func(fd int, name string) *os.File {
		open = append(open, os.NewFile(uintptr(fd), name))
		return open[len(open)-1]
	}
	defer func() {
		if err != nil {
			for _, f := range open {
				f.Close()
			}
		}
	}()
	memory, err := vmm.NewLinkMemory(ring, runtime.NumCPU() == 1)
	if err != nil {
		return out, in, err
	}
	open = append(open, memory)
	for _, end := range []*linkEnd{&out, &in} {
		bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return out, in, fmt.Errorf("eventfd for a pipe between VMs: %w", err)
		}
		end[run.LinkMemory], end[run.LinkBell] = memory, add(bell, "bell")
	}
	out[run.LinkRing], in[run.LinkRing] = in[run.LinkBell], out[run.LinkBell]
	alive, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return out, in, fmt.Errorf("sockets for a pipe between VMs: %w", err)
	}
	out[run.LinkAlive], in[run.LinkAlive] = add(alive[0], "socket"), add(alive[1], "socket")
	return out, in, nil
}

// wait waits for all stages and returns the pipeline's exit code. Signals that end a pipeline reach each stage.
func (o *options) wait(stages []*exec.Cmd) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				for _, c := range stages {
					c.Process.Signal(s) //nolint:errcheck // it has ended
				}
			case <-done:
				return
			}
		}
	}()
	defer close(done)
	code, failed := 0, 0
	for _, c := range stages {
		err := c.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return exitFailure, fmt.Errorf("wait for a stage: %w", err)
		}
		if code = exitCode(c.ProcessState); code != 0 {
			failed = code
		}
	}
	if o.pipefail {
		return failed, nil
	}
	return code, nil
}

// exitCode is a stage's, or 128+n if signal n ended its process.
func exitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}

// kill ends the stages that were started before one could not be.
func kill(stages []*exec.Cmd) {
	for _, c := range stages {
		c.Process.Kill() //nolint:errcheck // it has ended
		c.Wait()         //nolint:errcheck // killed
	}
}
