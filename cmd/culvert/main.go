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
			func(args []string, _, stdout, stderr *os.File) int { return doctor.Command(args, stdout, stderr) }},
		{"syscalls", "list the system calls that a guest has",
			func(args []string, _, stdout, stderr *os.File) int { return syscalls.Command(args, stdout, stderr) }},
		{"version", "print the version", version},
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
		usage(stdout)
		return 0
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

func version(_ []string, _, stdout, _ *os.File) int {
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
