package inside

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/wire"
)

// controlFD is the socket to init.
const controlFD = 3

// supervise is the whole life of a supervisor, process 1 of its PID namespace.
func supervise() int {
	unix.CloseOnExec(controlFD)
	ctl := os.NewFile(controlFD, "control")
	in, out := wire.NewReader(ctl), wire.NewWriter(ctl)
	code, err := supervised(in, out)
	last := wire.Frame{Kind: wire.Exit, Payload: wire.U32(code)}
	if err != nil {
		last = failFrame(0, err)
	}
	if out.Write(last) != nil {
		return 1
	}
	return 0
}

func supervised(in *wire.Reader, out *wire.Writer) (uint32, error) {
	f, err := in.Read()
	if err != nil {
		return 0, fmt.Errorf("supervisor: %w", err)
	}
	sup, err := decodeSupervision(f.Payload)
	if err != nil {
		return 0, err
	}
	req := &sup.Request
	if err := buildRoot(sup); err != nil {
		return 0, err
	}
	if err := unix.Sethostname([]byte(req.Hostname)); err != nil {
		return 0, fmt.Errorf("host name: %w", err)
	}
	if err := os.Chdir(req.Dir); err != nil {
		return 0, fmt.Errorf("working directory: %w", err)
	}
	path, err := lookPath(req)
	if err != nil {
		return 0, err
	}
	if err := limits(req); err != nil {
		return 0, err
	}
	attr := attributes(req)
	ready := wire.Frame{Kind: wire.Ready}
	master := -1
	if req.TTY {
		if master, err = attachTTY(req, attr); err != nil {
			return 0, err
		}
		ready.Payload = wire.U32(uint32(master))
	}
	if err := out.Write(ready); err != nil {
		return 0, err
	}
	if f, err := in.Read(); err != nil || f.Kind != wire.Go {
		return 0, errors.Join(errKilled, err)
	}
	if master >= 0 {
		unix.Close(master) // init has it; its end is the only one
	}
	pid, err := syscall.ForkExec(path, req.Args, attr)
	if err != nil {
		return 0, execFailure(req.Args[0], err)
	}
	for fd := range 3 { // so that a reader of the command's streams depends on it alone
		unix.Close(fd)
	}
	go signals(in, pid)
	return reap(pid)
}

// attributes are those of the command's process when it has pipes.
func attributes(req *wire.Request) *syscall.ProcAttr {
	groups := make([]uint32, len(req.Groups))
	for i, id := range req.Groups {
		groups[i] = uint32(id)
	}
	return &syscall.ProcAttr{
		Env:   req.Env,
		Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uint32(req.UID), Gid: uint32(req.GID), Groups: groups},
			Setpgid:    true,
		},
	}
}

// attachTTY puts a new pty in the place of the pipes, as the controlling
// terminal of a new session, and returns its master.
func attachTTY(req *wire.Request, attr *syscall.ProcAttr) (int, error) {
	master, slave, err := openTTY(req)
	if err != nil {
		return -1, err
	}
	attr.Files[0], attr.Files[1] = uintptr(slave), uintptr(slave)
	if req.TTYErr {
		attr.Files[2] = uintptr(slave)
	}
	attr.Sys.Setpgid, attr.Sys.Setsid, attr.Sys.Setctty, attr.Sys.Ctty = false, true, true, 0
	return master, nil
}

// reap waits for children, its own and those it inherits, until pid has ended.
func reap(pid int) (uint32, error) {
	for {
		var st unix.WaitStatus
		got, err := unix.Wait4(-1, &st, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case got != pid:
		case st.Signaled():
			return 128 + uint32(st.Signal()), nil
		case st.Exited():
			return uint32(st.ExitStatus()), nil
		}
	}
}

// signals passes signals on. Those that a terminal sends go to the command's
// process group, as a terminal's do; others to the command alone.
func signals(in *wire.Reader, pid int) {
	for {
		f, err := in.Read()
		if err != nil {
			os.Exit(1) // init gave the run up; this ends the namespace
		}
		n, err := wire.GetU32(f.Payload)
		if f.Kind != wire.Signal || err != nil || n == 0 || n > 64 {
			continue
		}
		to := pid
		switch sig := unix.Signal(n); sig {
		case unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGWINCH:
			to = -pid
		}
		_ = unix.Kill(to, unix.Signal(n)) // fails if it has just ended
	}
}

// buildRoot mounts the run's own file system and moves into it.
func buildRoot(sup *supervision) error {
	if err := (mount{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""}).do(); err != nil {
		return err
	}
	if err := mountLower(sup.Tag); err != nil {
		return err
	}
	if err := (mount{"upper", upperDir, "tmpfs", 0, "size=75%,mode=755"}).do(); err != nil {
		return err
	}
	for _, d := range []string{"/u", "/w"} {
		if err := os.Mkdir(upperDir+d, 0o755); err != nil {
			return err
		}
	}
	if err := mountAll([]mount{
		{"root", rootDir, "overlay", 0, "lowerdir=" + lowerDir + ",upperdir=" + upperDir + "/u,workdir=" + upperDir + "/w"},
		{"dev", rootDir + "/dev", "devtmpfs", unix.MS_NOSUID, ""},
		{"shm", rootDir + "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"devpts", rootDir + "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"},
		{"proc", rootDir + "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sys", rootDir + "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"cgroup", rootDir + "/sys/fs/cgroup", "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tracing", rootDir + "/sys/kernel/tracing", "tracefs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"debug", rootDir + "/sys/kernel/debug", "debugfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	}); err != nil {
		return err
	}
	trees, err := cloneShares(sup.Request.Shares)
	if err != nil {
		return err
	}
	// switch_root(8): after it the old root is below the new one and no path
	// leads there, and the namespace's root is the process's root.
	if err := os.Chdir(rootDir); err != nil {
		return err
	}
	if err := (mount{".", "/", "", unix.MS_MOVE, ""}).do(); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	return attachShares(sup.Request.Shares, trees)
}

// mountLower mounts the host's root. The kernel lets an export be mounted once
// at a time and frees it a moment after the last run's namespace has ended.
func mountLower(tag string) error {
	const limit = 10 * time.Second
	// loose: cached for as long as this mount lives, which is one run.
	// noxattr: an overlay asks for extended attributes at every lookup.
	m := mount{tag, lowerDir, "9p", unix.MS_RDONLY,
		"trans=virtio,version=9p2000.L,msize=512000,cache=loose,access=any,noxattr"}
	end := time.Now().Add(limit)
	for {
		err := m.do()
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// cloneShares opens each shared path as a detached mount, then takes the whole
// exports out of this namespace.
func cloneShares(shares []wire.Share) ([]int, error) {
	var trees []int
	for _, s := range shares {
		src := filepath.Join(shareDir, s.Tag, s.Sub)
		fd, err := unix.OpenTree(unix.AT_FDCWD, src, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("share %s: %w", s.Path, err)
		}
		trees = append(trees, fd)
	}
	exports, err := os.ReadDir(shareDir)
	if err != nil {
		return nil, err
	}
	for _, e := range exports {
		if err := unix.Unmount(filepath.Join(shareDir, e.Name()), unix.MNT_DETACH); err != nil && err != unix.EINVAL {
			return nil, fmt.Errorf("unmount export %s: %w", e.Name(), err)
		}
	}
	return trees, nil
}

// attachShares mounts them where the host has them.
func attachShares(shares []wire.Share, trees []int) error {
	for i, s := range shares {
		if err := mountPoint(s); err != nil {
			return fmt.Errorf("share %s: %w", s.Path, err)
		}
		if err := unix.MoveMount(trees[i], "", unix.AT_FDCWD, s.Path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("share %s: %w", s.Path, err)
		}
		unix.Close(trees[i])
	}
	return nil
}

// mountPoint makes what is missing of a shared path, for example in /dev/shm.
func mountPoint(s wire.Share) error {
	if _, err := os.Lstat(s.Path); err == nil {
		return nil
	}
	dir := s.Path
	if s.File {
		dir = filepath.Dir(s.Path)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !s.File {
		return nil
	}
	f, err := os.OpenFile(s.Path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// openTTY makes a pty in the run's own devpts.
func openTTY(req *wire.Request) (master, slave int, err error) {
	master, err = unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("open a terminal: %w", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, -1, fmt.Errorf("unlock the terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return -1, -1, fmt.Errorf("terminal's number: %w", err)
	}
	name := fmt.Sprintf("/dev/pts/%d", n)
	if err := os.Chown(name, req.UID, -1); err != nil {
		return -1, -1, err
	}
	slave, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("open %s: %w", name, err)
	}
	return master, slave, nil
}

// limits takes over what a process inherits besides its environment.
func limits(req *wire.Request) error {
	unix.Umask(req.Umask)
	if req.NoFile == 0 {
		return nil
	}
	// syscall's Setrlimit, so that the runtime does not undo it for the child.
	lim := syscall.Rlimit{Cur: min(req.NoFile, softNoFile), Max: req.NoFile}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	return nil
}

// softNoFile is Linux's own default. The client's soft limit is not known: its Go runtime has raised it.
const softNoFile = 1024

// lookPath finds the command as execvp(3) does, in the request's PATH.
func lookPath(req *wire.Request) (string, error) {
	name := req.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := "/usr/local/bin:/usr/bin:/bin"
	for _, kv := range req.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	denied := false
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join(dir, name)
		if dir == "" {
			full = "./" + name
		}
		st, err := os.Stat(full)
		if err != nil || st.IsDir() {
			continue
		}
		if st.Mode()&0o111 == 0 {
			denied = true
			continue
		}
		return full, nil
	}
	if denied {
		return "", execFailure(name, unix.EACCES)
	}
	return "", &failure{127, fmt.Errorf("%s: command not found", name)}
}

// execFailure gives execve's error the exit code that shells give it.
func execFailure(name string, err error) error {
	code := uint32(126)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		code = 127
	}
	return &failure{code, fmt.Errorf("%s: %w", name, err)}
}
