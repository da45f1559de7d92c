// Command culvert runs Linux programs that it does not trust in micro-VMs without a Linux kernel.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"culvert/cmd/culvert/internal/bench"
	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/doctor"
	"culvert/cmd/culvert/internal/emulate"
	"culvert/cmd/culvert/internal/pipe"
	"culvert/cmd/culvert/internal/run"
	"culvert/cmd/culvert/internal/syscalls"
)

func main() {
	if emulate.IsInit() {
		os.Exit(emulate.Init())
	}
	if workload.Requested(os.Args) {
		os.Exit(workload.Main(os.Args))
	}
	os.Exit(command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// subcommand is a row of the usage text.
type subcommand struct {
	name, help string
	run        func(args []string, stdin *os.File, stdout, stderr *os.File) int
}

func subcommands() []subcommand {
	return []subcommand{
		{"run", "run a program in a VM", run.Command},
		{"pipe", "run a pipeline, each program in a VM of its own", pipe.Command},
		{"emulate", "run any command on an emulated machine that has KVM",
			func(args []string, stdin, stdout, stderr *os.File) int {
				return emulate.Command(args, stdin, stdout, stderr)
			}},
		{"bench", "measure a VM, and bare Linux beside it", bench.Command},
		{"doctor", "say what this machine offers and what falls back to what",
			prints("doctor", doctor.Command)},
		{"syscalls", "list the system calls that a guest has",
			prints("syscalls", syscalls.Command)},
		{"version", "print the version", prints("version", version)},
	}
}

// exitFailure is culvert's own failure, as in env(1), timeout(1) and docker-run(1).
const exitFailure = 125

// command runs a subcommand and returns the exit code.
func command(args []string, stdin, stdout, stderr *os.File) int {
	if len(args) == 0 {
		usage(stderr)
		return exitFailure
	}
	for _, c := range subcommands() {
		if c.name == args[0] {
			return c.run(args[1:], stdin, stdout, stderr)
		}
	}
	switch args[0] {
	case "help", "-h", "--help":
		return prints("help", func(_ []string, stdout, _ io.Writer) int { usage(stdout); return 0 })(nil, stdin, stdout, stderr)
	case "--version":
		return prints("version", version)(nil, stdin, stdout, stderr)
	}
	fmt.Fprintf(stderr, "culvert: no such command: %s (see culvert help)\n", args[0])
	return exitFailure
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: culvert COMMAND [flags] [-- PROGRAM ARGS...]\n\nCommands:\n")
	for _, c := range subcommands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.help)
	}
	fmt.Fprint(w, "\nculvert COMMAND --help describes a command's flags.\n")
}

// prints is a subcommand that only prints: output that could not be written is its failure.
func prints(name string, run func(args []string, stdout, stderr io.Writer) int) func(args []string, stdin, stdout, stderr *os.File) int {
	return func(args []string, _, stdout, stderr *os.File) int {
		w := &firstError{w: stdout}
		code := run(args, w, stderr)
		if w.err != nil {
			fmt.Fprintf(stderr, "culvert %s: %v\n", name, w.err)
			return exitFailure
		}
		return code
	}
}

// firstError remembers the first error of a writer.
type firstError struct {
	w   io.Writer
	err error
}

func (f *firstError) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if f.err == nil {
		f.err = err
	}
	return n, err
}

func version(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintf(stderr, "culvert version: unexpected argument: %s\n", args[0])
		return exitFailure
	}
	v, goVersion := "(devel)", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
		if info.Main.Version != "" {
			v = info.Main.Version
		}
	}
	fmt.Fprintf(stdout, "culvert %s, built with %s\n", v, goVersion)
	return 0
}
