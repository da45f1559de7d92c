package side

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"culvert/cmd/culvert/internal/bench/proc"
	"culvert/cmd/culvert/internal/bench/workload"

	"golang.org/x/sys/unix"
)

// NativeName is what bare Linux is called.
const NativeName = "native"

// Native is bare Linux: this machine's own kernel.
type Native struct {
	Self string // this program
}

func (Native) Name() string  { return NativeName }
func (Native) About() string { return "bare Linux, this machine's own kernel" }
func (Native) Close() error  { return nil }

func (n Native) Start(args ...string) (*Process, error) { return n.StartWith(nil, args...) }

// StartWith starts the workload with more open files, as descriptors 3 and up.
func (n Native) StartWith(files []*os.File, args ...string) (*Process, error) {
	cmd := exec.Command(n.Self, slices.Concat([]string{workload.Word}, args)...)
	cmd.ExtraFiles = files
	return process(cmd)
}

// process starts a command as a workload.
func process(cmd *exec.Cmd) (*Process, error) {
	theirs, ours, err := stdio()
	if err != nil {
		return nil, err
	}
	said := &Tail{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], said
	// Of its own group, so that all its processes can be ended at once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	closeAll(theirs[:]...)
	if err != nil {
		closeAll(ours[:]...)
		return nil, err
	}
	return &Process{In: ours[0], Out: ours[1], Lines: bufio.NewReader(ours[1]),
		CPU: func() (time.Duration, error) { return proc.TreeCPU(cmd.Process.Pid) },
		// ESRCH, when all have ended, is as good.
		kill: func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) },
		finish: func(bool) error {
			ours[0].Close()
			err := waitError(cmd.Wait(), said.String())
			ours[1].Close()
			return err
		}}, nil
}

// Pipeline has a shell start both programs, with Linux's own pipe between them.
func (n Native) Pipeline(name string) (*Process, error) {
	const script = `"$0" "$1" "$2" "$3" | "$0" "$1" "$2" "$4"`
	return process(exec.Command("/bin/sh", "-c", script, n.Self, workload.Word, name, workload.Source, workload.Sink))
}

func (n Native) Launch(program, _ string) (*Launch, error) {
	cmd := exec.Command(program)
	return &Launch{Cmd: cmd, Kill: killer(cmd), Free: func() {}}, nil
}
