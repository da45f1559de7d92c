package run

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"culvert/shim"
	"culvert/shim/strace"
	"culvert/shim/vfs/memfs"
	"culvert/shim/vfs/rootfs"
	"culvert/vmm"

	"golang.org/x/sys/unix"
)

// hwcap2FSGSBase is HWCAP2_FSGSBASE of arch/x86/include/uapi/asm/hwcap2.h: programs may use the instructions.
const hwcap2FSGSBase = 1 << 1

// session is a program in a VM: the machine, its file tree and its personality.
type session struct {
	vm     *vmm.VM
	root   *rootfs.Root
	cmd    command
	kernel *shim.Kernel
}

// spareProcs are the processors of Go's scheduler beside one for each vCPU: for a blocked call, for the monitor, and for the
// runtime's own work.
const spareProcs = 3

// create makes the machine, and the file tree meanwhile: neither needs the other, and the tree waits for the host's file
// system.
func (o *options) create(links links) (*session, error) {
	smallPages()
	// A vCPU's thread keeps its P of Go's scheduler while it is in the guest for a short time, or for the first 10 ms of a long one.
	// Blocked calls are goroutines, which have to run meanwhile.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), o.cpus+spareProcs))
	quota := memfs.NewQuota(o.mem/quotaOfMem, maxInodes)
	cmd := o.command()
	var root *rootfs.Root
	var rootErr error
	var tree sync.WaitGroup
	tree.Go(func() {
		root, rootErr = rootfs.New(rootfs.Options{Dir: o.root, Shown: cmd.shown, Mounts: o.mounts, Hostname: hostname, Quota: quota})
	})
	vm, err := vmm.New(o.machine(links))
	tree.Wait()
	switch {
	case err != nil && rootErr == nil:
		root.Close()
	case err == nil && rootErr != nil:
		err = errors.Join(rootErr, vm.Close())
	}
	if err != nil {
		return nil, err
	}
	return &session{vm: vm, root: root, cmd: cmd}, nil
}

// close frees what create made.
func (s *session) close() error {
	s.root.Close()
	return s.vm.Close()
}

// start makes the personality and loads the program as its first process. If that fails it returns culvert's exit code
// for it.
func (o *options) start(s *session, stdio [3]*os.File, links links) (code int, err error) {
	env := o.environ()
	program, code, err := findProgram(s.root, s.cmd.program, env)
	if err != nil {
		return code, err
	}
	vm := s.vm
	l := vm.Layout()
	xcr0, xsaveSize := vm.XSave()
	var trace shim.Tracer
	if o.strace != nil {
		trace = strace.NewPrinter(stdio[2], *o.strace)
	}
	k, err := shim.New(shim.Config{
		Machine: vm, NumCPUs: o.cpus, TSCKHz: vm.TSCKHz(), TSC: vm.TSC(), HWCap: vm.HWCap(), HWCap2: hwcap2FSGSBase,
		Layout: shim.Layout{VMPage: l.VMPage, Threads: l.Threads, NumThreads: l.NumThreads, ThreadSize: l.ThreadSize, Files: l.Files,
			NumFiles: l.NumFiles, Refs: l.Refs, Futexes: l.Futexes, Pools: l.Pools, KernelCR3: l.KernelCR3, FirstFree: l.FirstFree,
			XSaveSize: xsaveSize, XCR0: xcr0},
		Program: program, Args: s.cmd.args, Env: env, Dir: o.workdir, Namespace: s.root.NS, Hostname: hostname,
		Stdio: stdio, Links: links.ends(), Trace: trace,
	})
	if err != nil {
		return exitFailure, err
	}
	if err := vm.ShowClock(k.ClockPage()); err != nil {
		return exitFailure, errors.Join(err, k.Close())
	}
	if err := k.Start(); err != nil {
		return startFailure(err), errors.Join(fmt.Errorf("%s: %w", o.args[0], err), k.Close())
	}
	s.kernel = k
	return 0, nil
}

// keepPolling has a thread of Go's runtime wait in its network poller until the file that it answers is closed. Where none
// waits there, the runtime has another thread look each time that a processor of its scheduler falls idle, as that of a
// vCPU's thread does whenever the runtime's monitor finds it in the guest: two more switches in each tick of the host's clock.
func keepPolling() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "eventfd")
	go func() {
		var count [8]byte
		f.Read(count[:]) //nolint:errcheck // nobody writes: it returns when f is closed
	}()
	return f, nil
}

// run runs the VM until its program ends or the kernel is stopped. Only closing goes wrong with an error: all else is
// in the status.
func (s *session) run() (shim.ExitStatus, error) {
	if poll, err := keepPolling(); err == nil { // else it is slower
		defer poll.Close()
	}
	stopped := make(chan struct{})
	go func() {
		<-s.kernel.Done()
		s.vm.Stop()
		close(stopped)
	}()
	if err := s.vm.Run(s.kernel); err != nil {
		s.kernel.Stop(shim.ExitStatus{Kind: shim.VMMError, Err: err})
	}
	err := s.kernel.Close()
	<-stopped // Stop still looks at vCPUs when the last of them has left Run, and the machine is closed next
	return s.kernel.Status(), err
}

// Session is a program that runs in a VM as `culvert run` has it run, for commands that look at the machine meanwhile.
type Session struct {
	session
	options *options
	status  shim.ExitStatus
	err     error
	done    chan struct{}
}

// Start starts what `culvert run` with these arguments would run, on this machine's KVM: an error for which
// vmm.Unusable holds says that there is none. Signals, --timeout, --stats and --no-emulate are the command's own and have
// no meaning here.
func Start(args []string, stdio [3]*os.File) (*Session, error) {
	o, err := parse(args, stdio[1])
	if err != nil {
		return nil, err
	}
	inner, err := o.create(links{})
	if err != nil {
		return nil, err
	}
	if _, err := o.start(inner, stdio, links{}); err != nil {
		return nil, errors.Join(err, inner.close())
	}
	s := &Session{session: *inner, options: o, done: make(chan struct{})}
	go func() {
		s.status, s.err = s.session.run()
		close(s.done)
	}()
	return s, nil
}

// Metrics returns the machine's counters. Preconditions: Wait has not been called.
func (s *Session) Metrics() vmm.Metrics { return s.vm.Metrics() }

// Done is closed when the program has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Stop ends the program, if it has not ended.
func (s *Session) Stop() { s.kernel.Stop(shim.ExitStatus{Kind: shim.Killed}) }

// Wait waits for the program's end, frees the machine and returns the exit code that `culvert run` would have. It may
// be called once.
func (s *Session) Wait() (int, error) {
	<-s.done
	code, err := s.options.exitCode(s.status)
	return code, errors.Join(err, s.err, s.close())
}
