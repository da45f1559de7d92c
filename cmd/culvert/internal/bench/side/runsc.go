package side

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"culvert/cmd/culvert/internal/bench/proc"
	"culvert/cmd/culvert/internal/bench/workload"

	"golang.org/x/sys/unix"
)

// Names of gVisor's sides: runsc with its KVM platform, and with its ptrace-less one for machines without KVM.
const (
	RunscName        = "runsc"
	RunscSystrapName = "runsc-systrap"
)

// Runsc is a sandbox of gVisor's, made by `runsc run`. It has this machine's files, read-only.
type Runsc struct {
	name     string
	runsc    string // path
	version  string
	platform string
	self     string // this program
	dir      string // bundles and runsc's own state
	agent    *agent
}

// NewRunsc finds runsc, at path or, if that is empty, in PATH.
func NewRunsc(name, path, self string) (*Runsc, error) {
	platform := "kvm"
	if name == RunscSystrapName {
		platform = "systrap"
	}
	if path == "" {
		path = "runsc"
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("gVisor: %w (install runsc, see gvisor.dev/docs/user_guide/install, or name it with --runsc)", err)
	}
	if found, err = filepath.Abs(found); err != nil {
		return nil, fmt.Errorf("gVisor: %w", err)
	}
	out, err := exec.Command(found, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("gVisor: %s --version: %w", found, err)
	}
	version, _, _ := strings.Cut(string(out), "\n")
	dir, err := os.MkdirTemp("", "culvert-bench-runsc-")
	if err != nil {
		return nil, fmt.Errorf("gVisor: %w", err)
	}
	return &Runsc{name: name, runsc: found, version: version, platform: platform, self: self, dir: dir}, nil
}

func (r *Runsc) Name() string { return r.name }

func (r *Runsc) About() string {
	return fmt.Sprintf("gVisor, %s, platform %s, no network, this machine's files read-only", r.version, r.platform)
}

// command makes a bundle for a program and the command that runs it. A container's name must be new.
func (r *Runsc) command(name string, args ...string) (*exec.Cmd, error) {
	bundle := filepath.Join(r.dir, name)
	if err := os.MkdirAll(bundle, 0o700); err != nil {
		return nil, fmt.Errorf("gVisor's bundle: %w", err)
	}
	text, err := json.Marshal(bundleConfig(args))
	if err != nil {
		return nil, fmt.Errorf("gVisor's bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600); err != nil {
		return nil, fmt.Errorf("gVisor's bundle: %w", err)
	}
	flags := []string{"--root=" + filepath.Join(r.dir, "state"), "--platform=" + r.platform, "--network=none", "--ignore-cgroups"}
	if os.Geteuid() != 0 {
		flags = append(flags, "--rootless")
	}
	return exec.Command(r.runsc, append(flags, "run", "--bundle="+bundle, name)...), nil
}

// tmpDir is where programs in the sandbox may write. It is not /tmp, where this program or what it measures may be.
const tmpDir = "/dev/shm"

// bundleConfig is the config.json of the OCI runtime specification: a root process that sees the host's files, read-only.
func bundleConfig(args []string) any {
	type object = map[string]any
	var namespaces []object
	for _, n := range []string{"pid", "ipc", "uts", "mount", "network"} {
		namespaces = append(namespaces, object{"type": n})
	}
	return object{
		"ociVersion": "1.0.2",
		"process": object{
			"args": args, "cwd": "/", "user": object{"uid": 0, "gid": 0}, "noNewPrivileges": true,
			"env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=" + tmpDir},
		},
		"root":     object{"path": "/", "readonly": true},
		"hostname": "bench",
		"mounts": []object{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": tmpDir, "type": "tmpfs", "source": "tmpfs"},
		},
		"linux": object{"namespaces": namespaces},
	}
}

// Start starts the sandbox first, if it does not run.
func (r *Runsc) Start(args ...string) (*Process, error) {
	if r.agent != nil && r.agent.broken.Load() {
		r.agent.close()
		r.agent = nil
	}
	if r.agent == nil {
		var err error
		if r.agent, err = r.boot(); err != nil {
			return nil, fmt.Errorf("gVisor: %w", err)
		}
	}
	return r.agent.start(args)
}

func (r *Runsc) boot() (*agent, error) {
	cmd, err := r.command(fmt.Sprintf("agent-%d", time.Now().UnixNano()), r.self, workload.Word, workload.Agent)
	if err != nil {
		return nil, err
	}
	theirs, ours, err := stdio()
	if err != nil {
		return nil, err
	}
	said := &Tail{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], said
	err = cmd.Start()
	closeAll(theirs[:]...)
	if err != nil {
		closeAll(ours[:]...)
		return nil, err
	}
	a := &agent{in: ours[0], out: ours[1], lines: bufio.NewReader(ours[1]), said: said, wait: cmd.Wait,
		cpu:  func() (time.Duration, error) { return proc.TreeCPU(cmd.Process.Pid) },
		kill: func() { killTree(cmd) }}
	return a.await()
}

// killTree kills a command and its descendants, of which gVisor has some in sessions of their own.
func killTree(cmd *exec.Cmd) {
	if cmd.Process == nil {
		return
	}
	pids, err := proc.Tree(cmd.Process.Pid)
	if err != nil {
		return // it has ended, and its own with it
	}
	for _, p := range pids {
		_ = unix.Kill(p, unix.SIGKILL) // it may have ended
	}
}

// Launch runs the program in a sandbox of its own.
func (r *Runsc) Launch(program, name string) (*Launch, error) {
	cmd, err := r.command(name, program)
	if err != nil {
		return nil, err
	}
	return &Launch{Cmd: cmd, Kill: func() { killTree(cmd) }, Free: func() {},
		IsRAM: func(m proc.Mapping) bool { return strings.Contains(m.Name, "memfd:runsc-memory") }}, nil
}

// Close ends the sandbox.
func (r *Runsc) Close() error {
	if r.agent != nil {
		r.agent.close()
	}
	// Containers that were killed are left in the state directory, with what they have mounted there.
	if err := os.RemoveAll(r.dir); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("gVisor: %w", err)
	}
	return nil
}
