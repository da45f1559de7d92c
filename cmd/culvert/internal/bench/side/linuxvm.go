package side

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"culvert/cmd/culvert/internal/bench/proc"
	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/emulate/cpio"
	"culvert/cmd/culvert/internal/emulate/kernel"

	"golang.org/x/sys/unix"
)

// LinuxVMName is what a Linux guest is called.
const LinuxVMName = "linux-vm"

// LinuxVM is a Linux guest: QEMU's microvm with KVM, Debian's kernel, and an initramfs that holds this program as its
// first process, or the one to be started.
type LinuxVM struct {
	qemu, version string
	kernel        *kernel.Kernel
	self          string // this program
	cpus          int
	accel         []string // QEMU's: what executes the guest
	clock         string   // kernel parameters about it; KVM's guests ask KVM
	agent         *agent
}

// NewLinuxVM finds QEMU and the kernel, which is downloaded if need be; then a line goes to progress.
func NewLinuxVM(self string, cpus int, progress io.Writer) (*LinuxVM, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, fmt.Errorf("a Linux guest: %w (install the package qemu-system-x86)", err)
	}
	out, err := exec.Command(qemu, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("a Linux guest: %s --version: %w", qemu, err)
	}
	version, _, _ := strings.Cut(string(out), "\n")
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("a Linux guest: kernel cache: %w", err)
	}
	k, err := kernel.Get(context.Background(), filepath.Join(cache, "culvert"), progress)
	if err != nil {
		return nil, fmt.Errorf("a Linux guest: %w", err)
	}
	return &LinuxVM{qemu: qemu, version: version, kernel: k, self: self, cpus: cpus,
		accel: []string{"-accel", "kvm", "-cpu", "host"}}, nil
}

func (l *LinuxVM) Name() string { return LinuxVMName }

func (l *LinuxVM) About() string {
	return fmt.Sprintf("a Linux %s guest on %s, microvm, KVM, %d CPU(s), all files in its initramfs", l.kernel.Release, l.version, l.cpus)
}

// parameters are the kernel's. What takes long to start and serves nothing here is left out, so that the start that
// culvert is compared with is a good one.
func (l *LinuxVM) parameters(more string) string {
	p := "console=ttyS0 quiet loglevel=0 panic=-1 reboot=t tsc=reliable no_timer_check audit=0 rodata=off cryptomgr.notests " +
		"initcall_blacklist=init_kprobe_trace swiotlb=noforce random.trust_cpu=on rcupdate.rcu_expedited=1 lsm=landlock"
	// The guest must not pay for what its host does not.
	if line, err := os.ReadFile("/proc/cmdline"); err == nil && strings.Contains(string(line), "mitigations=off") {
		p += " mitigations=off"
	}
	return p + " " + l.clock + " " + more
}

// command is QEMU with an initramfs that QEMU has as its descriptor 3. Serial is the console.
func (l *LinuxVM) command(serial, parameters string, initrd *os.File, args ...string) *exec.Cmd {
	cmd := exec.Command(l.qemu, slices.Concat([]string{"-M", "microvm"}, l.accel, []string{
		"-smp", strconv.Itoa(l.cpus), "-m", fmt.Sprintf("%dM", guestMem>>20),
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-kernel", l.kernel.Vmlinux(), "-initrd", "/proc/self/fd/3", "-append", l.parameters(parameters), "-serial", serial,
	}, args)...)
	cmd.ExtraFiles = []*os.File{initrd}
	// Not in the terminal's foreground process group, where Ctrl-C would reach it, and never longer than this process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// initramfs makes the archive: a program at /init, and modules in order.
func (l *LinuxVM) initramfs(program string, modules []string) (*os.File, error) {
	image, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	fd, err := unix.MemfdCreate("initramfs", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("initramfs: memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "initramfs")
	if err := l.writeInitramfs(f, image, modules); err != nil {
		f.Close()
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	return f, nil
}

// guestInit is the path of the first process. It is not /init, which is how culvert knows the emulated machine's.
const guestInit = "bench"

func (l *LinuxVM) writeInitramfs(f io.Writer, image []byte, modules []string) error {
	w := cpio.NewWriter(f)
	for _, dir := range workload.GuestDirs() {
		if err := w.Dir(dir, 0o755); err != nil {
			return err
		}
	}
	// The kernel opens /dev/console for the first process.
	if err := w.Char("dev/console", 0o600, 5, 1); err != nil {
		return err
	}
	if err := w.File(guestInit, 0o755, image); err != nil {
		return err
	}
	for i, name := range modules {
		ko, err := os.ReadFile(filepath.Join(l.kernel.Dir, name))
		if err != nil {
			return err
		}
		if err := w.File(fmt.Sprintf("%s/%02d.ko", workload.GuestModules, i), 0o644, ko); err != nil {
			return err
		}
	}
	return w.Close()
}

// portModules are the kernel's modules up to virtio-serial's, which are in the order of their dependencies.
func (l *LinuxVM) portModules() []string {
	for i, name := range l.kernel.Modules {
		if strings.TrimSuffix(name, ".ko") == "virtio_console" {
			return l.kernel.Modules[:i+1]
		}
	}
	return nil // built in
}

// Start starts the guest first, if it does not run.
func (l *LinuxVM) Start(args ...string) (*Process, error) {
	if l.agent != nil && l.agent.broken.Load() {
		l.agent.close()
		l.agent = nil
	}
	if l.agent == nil {
		var err error
		if l.agent, err = l.boot(); err != nil {
			return nil, fmt.Errorf("a Linux guest: %w", err)
		}
	}
	return l.agent.start(args)
}

func (l *LinuxVM) boot() (*agent, error) {
	initrd, err := l.initramfs(l.self, l.portModules())
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	port, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(port[0]), "port"), os.NewFile(uintptr(port[1]), "port of QEMU")
	cmd := l.command("stdio", fmt.Sprintf("rdinit=/%s -- %s %s %s", guestInit, workload.Word, workload.Agent, workload.Guest), initrd,
		"-global", "virtio-mmio.force-legacy=false", "-chardev", "socket,id=port,fd=4",
		"-device", "virtio-serial-device,max_ports=2", "-device", "virtserialport,chardev=port,name=bench")
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	said := &Tail{}
	cmd.Stdout, cmd.Stderr = said, said
	err = cmd.Start()
	theirs.Close() // or the end of QEMU would not be the end of the port
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	a := &agent{in: ours, out: ours, lines: bufio.NewReader(ours), said: said, wait: cmd.Wait,
		cpu:  func() (time.Duration, error) { return proc.TreeCPU(cmd.Process.Pid) },
		kill: killer(cmd)}
	return a.await()
}

// Launch boots a guest whose first process is the program, with the console as its output. There are no modules: nothing
// that takes less time starts it.
func (l *LinuxVM) Launch(program, _ string) (*Launch, error) {
	initrd, err := l.initramfs(program, nil)
	if err != nil {
		return nil, fmt.Errorf("a Linux guest: %w", err)
	}
	cmd := l.command("stdio", "rdinit=/"+guestInit, initrd)
	return &Launch{Cmd: cmd, Kill: killer(cmd), Free: func() { initrd.Close() },
		IsRAM: func(m proc.Mapping) bool { return m.Size() >= guestMem/4 }}, nil
}

// Close ends the guest.
func (l *LinuxVM) Close() error {
	if l.agent != nil {
		l.agent.close()
	}
	return nil
}
