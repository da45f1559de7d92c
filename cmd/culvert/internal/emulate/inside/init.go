// Package inside is what runs within an emulated machine: init, which serves
// runs over a virtio-serial port, and one supervisor per run.
//
// The machine's initramfs holds one program, the culvert binary, and the kernel
// modules. The kernel starts it as init. Init never leaves the initramfs; each
// run gets a supervisor in namespaces of its own (mount, PID, IPC), which
//
//  1. mounts the host's root directory afresh over 9p, read-only, and an overlay
//     on it whose upper layer is a new tmpfs,
//  2. makes that its root as switch_root(8) does (after chroot(2) the kernel
//     would refuse user namespaces),
//  3. starts the command when it is told to, reaps orphans, and ends; the end of
//     its PID namespace kills whatever the command left.
//
// So a run sees the host's files as they are when it starts, and nothing of
// another run. The control group and network namespaces are the machine's own,
// because a command that measures or confines processes needs the real root of
// the control group tree.
package inside

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/wire"
)

// Names that the outside and the inside agree on.
const (
	InitName       = "/init"              // argv[0] of init, and its path in the initramfs
	SupervisorName = "culvert-supervisor" // argv[0] of a run's supervisor
	ModuleDir      = "modules"            // in the initramfs
	ModuleList     = "modules/order"      // file names in ModuleDir, one a line
	RootTag        = "root"               // 9p exports root0, root1... are the host's root
	RootsParam     = "culvert.roots="     // kernel parameter: how many there are
)

// Directories of the initramfs that supervisors mount on, each in its own
// namespace, and init's mounts of what is shared with the host.
const (
	lowerDir = "/m/lower"
	upperDir = "/m/upper"
	rootDir  = "/m/root"
	shareDir = "/share"
)

// Dirs are the directories that the initramfs must have, parents first.
func Dirs() []string {
	return []string{"dev", "proc", "sys", "m", "m/lower", "m/upper", "m/root", "share", ModuleDir}
}

// Is tells whether this process is init or a supervisor inside a machine.
// Both are process 1 of their PID namespace.
func Is() bool {
	return os.Getpid() == 1 && len(os.Args) > 0 && (os.Args[0] == InitName || os.Args[0] == SupervisorName)
}

// Main runs init or a supervisor. It returns only a supervisor's exit code.
func Main() int {
	if os.Args[0] == SupervisorName {
		return supervise()
	}
	err := initMain()
	fmt.Fprintf(os.Stderr, "culvert init: %v\n", err) // the console, which the outside keeps
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)    // QEMU exits: -no-reboot
	return 1
}

// mount is the arguments of mount(2).
type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

func (m mount) do() error {
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.fstype, m.target, err)
	}
	return nil
}

func mountAll(table []mount) error {
	for _, m := range table {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

// phases notes when each part of the start was over, for the outside to report.
type phases map[string]int64

func (p phases) mark(name string) {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	p[name] = t.Nano() / 1000
}

func initMain() error {
	marks := phases{}
	marks.mark("init")
	if err := mountAll([]mount{
		{"dev", "/dev", "devtmpfs", 0, ""},
		{"proc", "/proc", "proc", 0, ""},
		{"sys", "/sys", "sysfs", 0, ""},
	}); err != nil {
		return err
	}
	if err := insertModules(); err != nil {
		return err
	}
	marks.mark("modules")
	port, err := openPort()
	if err != nil {
		return err
	}
	marks.mark("port")
	if err := prepare(); err != nil {
		return err
	}
	roots, err := countRoots()
	if err != nil {
		return err
	}
	marks.mark("prepared")
	srv := newServer(port, roots)
	if err := srv.hello(marks); err != nil {
		return err
	}
	go srv.beat()
	return srv.serve(wire.NewReader(bufio.NewReaderSize(port, 64<<10)))
}

// insertModules inserts what the initramfs brings. The outside has put the
// files in the order of their dependencies.
func insertModules() error {
	list, err := os.ReadFile("/" + ModuleList)
	if err != nil {
		return fmt.Errorf("module list: %w", err)
	}
	for _, name := range strings.Fields(string(list)) {
		if err := insert(filepath.Join("/", ModuleDir, name)); err != nil {
			return err
		}
	}
	return nil
}

func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("module: %w", err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return fmt.Errorf("insert module %s: %w", path, err)
	}
	return nil
}

// openPort waits for the virtio-serial port, which the driver announces a
// moment after it is inserted.
func openPort() (*os.File, error) {
	const limit = 20 * time.Second
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		names, err := filepath.Glob("/dev/vport*")
		if err != nil || len(names) == 0 {
			continue
		}
		// Blocking on purpose: a read or write has a thread of its own then, and
		// virtio-console's blocking path neither spins nor drops.
		fd, err := unix.Open(names[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", names[0], err)
		}
		return os.NewFile(uintptr(fd), names[0]), nil
	}
	return nil, fmt.Errorf("no virtio-serial port after %v", limit)
}

// prepare does what all runs need once: device links that udev would make,
// permissions, the loopback interface.
func prepare() error {
	for name, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, name); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/dev/shm", "/dev/pts"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// As udev's rules do for the group kvm, here for everybody: the machine has
	// one user, the one who started it.
	if err := os.Chmod("/dev/kvm", 0o666); err != nil {
		return fmt.Errorf("KVM is not there: %w", err)
	}
	return loopbackUp()
}

// loopbackUp sets IFF_UP on lo.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// countRoots reads from the kernel's parameters how many root exports there are.
func countRoots() (int, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return 0, err
	}
	for _, word := range strings.Fields(string(line)) {
		if v, ok := strings.CutPrefix(word, RootsParam); ok {
			var n int
			if _, err := fmt.Sscanf(v, "%d", &n); err != nil || n < 1 || n > 64 {
				return 0, fmt.Errorf("kernel parameter %s: not 1 to 64", word)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("kernel parameter %s is missing", RootsParam)
}
