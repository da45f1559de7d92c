// Package run is `culvert run`: it builds a VM, its file tree and its personality, runs one program in it, and says
// how that ended.
package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"culvert/cmd/culvert/internal/emulate"
	"culvert/shim"
	"culvert/shim/vfs/rootfs"
	"culvert/vmm"
	"culvert/vmm/jail"

	"golang.org/x/sys/unix"
)

// Exit codes that are not the program's.
const (
	exitTimeout       = 124
	exitFailure       = 125
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // plus the signal
)

// Command parses args, which come after "run", runs the program and returns the exit code.
func Command(args []string, stdin, stdout, stderr *os.File) int {
	o, err := parse(args, stdout)
	if errors.Is(err, errHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "culvert run: %v\n", err)
		return exitFailure
	}
	code, err := o.run(args, [3]*os.File{stdin, stdout, stderr})
	if err != nil {
		fmt.Fprintf(stderr, "culvert run: %v\n", err)
	}
	return code
}

// run runs the program, here or on an emulated machine.
func (o *options) run(args []string, stdio [3]*os.File) (int, error) {
	links, err := o.openLinks()
	if err != nil {
		return exitFailure, err
	}
	s, err := o.create(links)
	if err != nil {
		if o.noEmulate || !wantsEmulation(err) {
			return exitFailure, err
		}
		return o.emulate(args, stdio, err)
	}
	code, err := o.runVM(s, stdio, links)
	return code, errors.Join(err, s.close())
}

// machine describes the VM. What ring 0 serves by itself nobody could trace.
func (o *options) machine(links links) vmm.Config {
	return vmm.Config{Mem: int(o.mem), CPUs: o.cpus, ForwardAll: o.strace != nil, Links: links.memory()}
}

// wantsEmulation reports whether err means that this machine's KVM cannot be used.
func wantsEmulation(err error) bool {
	return vmm.Unusable(err)
}

// emulate runs the same command line on an emulated machine. Files that the guest may write and the statistics are
// the real host's.
func (o *options) emulate(args []string, stdio [3]*os.File, why error) (int, error) {
	fmt.Fprintf(stdio[2], "culvert run: %v; using an emulated machine, which is slow and no boundary for strangers' code\n", why)
	self, err := os.Executable()
	if err != nil {
		return exitFailure, err
	}
	shares, err := o.shares()
	if err != nil {
		return exitFailure, err
	}
	return emulate.Run(context.Background(), emulate.Options{
		Args:  append([]string{self, "run", "--no-emulate"}, args...),
		Stdin: stdio[0], Stdout: stdio[1], Stderr: stdio[2], Shares: shares,
	})
}

// Shares parses a command line, args as Command has them, for commands that pass it on: it returns the host's files that
// the run writes.
func Shares(args []string) ([]string, error) {
	o, err := parse(args, io.Discard)
	if err != nil {
		return nil, err
	}
	return o.shares()
}

// shares are the host's files that the run writes.
func (o *options) shares() (files []string, err error) {
	for _, m := range o.mounts {
		if m.ReadWrite {
			files = append(files, m.Host)
		}
	}
	if o.stats != "" && o.stats != "-" {
		file, err := filepath.Abs(o.stats)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// quotaOfMem is the part of the VM's memory size that its files may take of the host's memory besides.
const quotaOfMem = 2

// runVM runs the program in the machine.
func (o *options) runVM(s *session, stdio [3]*os.File, links links) (int, error) {
	code, err := o.start(s, stdio, links)
	if err != nil {
		return code, err
	}
	// The file must be open before the jail closes.
	out, err := o.openStats(stdio[2])
	if err != nil {
		return exitFailure, errors.Join(err, s.kernel.Close())
	}
	if out != nil {
		defer out.Close()
	}
	jailed, err := o.confine(s.root)
	if err != nil {
		return exitFailure, errors.Join(err, s.kernel.Close())
	}
	stopSignals := forwardSignals(s.kernel)
	defer stopSignals()
	if o.timeout > 0 {
		timer := time.AfterFunc(o.timeout, func() { s.kernel.Stop(shim.ExitStatus{Kind: shim.Timeout}) })
		defer timer.Stop()
	}
	status, closeErr := s.run()
	reportUnknown(s.kernel, stdio[2])
	if out != nil {
		stats := collect(s.vm, s.kernel, status)
		stats.Jail = jailed
		if err := writeStats(out, stats); err != nil {
			return exitFailure, err
		}
	}
	code, err = o.exitCode(status)
	if closeErr != nil && code == 0 {
		code = exitFailure
	}
	return code, errors.Join(err, closeErr)
}

const (
	hostname  = "culvert"
	maxInodes = 1 << 18
)

// exitCode says in the exit code, and where that is not the program's own in a line, how the VM ended.
func (o *options) exitCode(s shim.ExitStatus) (int, error) {
	switch s.Kind {
	case shim.Exited:
		return s.Code, nil
	case shim.Signalled:
		return exitSignal + s.Signal, nil
	case shim.OOM:
		return exitSignal + int(unix.SIGKILL), fmt.Errorf("%s: out of memory (--mem is %d MiB)", o.args[0], o.mem>>20)
	case shim.Timeout:
		return exitTimeout, fmt.Errorf("%s: ended after --timeout %v", o.args[0], o.timeout)
	case shim.Killed:
		return exitSignal + int(unix.SIGKILL), nil
	}
	return exitFailure, s.Err
}

// forwardSignals passes signals that ask culvert to end, and those that terminals send, on to the first program.
func forwardSignals(k *shim.Kernel) (stop func()) {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT)
	// A write to a pipe that nobody reads is the guest's to notice.
	signal.Ignore(unix.SIGPIPE)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-ch:
				if sig, ok := s.(syscall.Signal); ok {
					k.Signal(int(sig))
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}

// openStats opens the file for statistics, nil if none are wanted.
func (o *options) openStats(stderr *os.File) (*os.File, error) {
	switch o.stats {
	case "":
		return nil, nil
	case "-":
		// Standard error is let go when the guest closes it.
		fd, err := unix.FcntlInt(stderr.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("--stats: standard error: %w", err)
		}
		return os.NewFile(uintptr(fd), stderr.Name()), nil
	}
	f, err := os.Create(o.stats)
	if err != nil {
		return nil, fmt.Errorf("--stats: %w", err)
	}
	return f, nil
}

// confine closes the jail, unless --no-jail, and says what is in force.
func (o *options) confine(root *rootfs.Root) ([]string, error) {
	if o.noJail {
		return []string{}, nil
	}
	// The guest's /proc/cpuinfo is made from the host's.
	c := jail.Config{Paths: []jail.Path{{Host: "/proc/cpuinfo"}}}
	for _, p := range root.HostPaths() {
		c.Paths = append(c.Paths, jail.Path{Host: p.Path, Write: p.ReadWrite})
	}
	inForce, err := jail.Enter(c)
	if err != nil {
		return nil, fmt.Errorf("%w (--no-jail runs without it, for debugging and not for strangers' programs)", err)
	}
	return inForce, nil
}
