package shim

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFileBasics(t *testing.T) {
	vm := newFileVM(t)
	fd := vm.open("/tmp/a", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644)
	if fd != 0 {
		t.Fatalf("first descriptor is %d", fd)
	}
	vm.fails(unix.EEXIST, unix.SYS_OPENAT, atFDCWD, vm.str("/tmp/a"), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0)
	vm.write(fd, "hello world")
	if got := vm.must(unix.SYS_LSEEK, fd, 6, unix.SEEK_SET); got != 6 {
		t.Errorf("lseek = %d", got)
	}
	if got := vm.read(fd, 100); got != "world" {
		t.Errorf("read %q", got)
	}
	a := vm.alloc(100)
	if n := vm.must(unix.SYS_PREAD64, fd, a, 5, 0); n != 5 || string(vm.get(a, 5)) != "hello" {
		t.Errorf("pread %d %q", n, vm.get(a, 5))
	}
	vm.must(unix.SYS_FSTAT, fd, a)
	if st := vm.get(a, statSize); le.Uint64(st[48:]) != 11 || le.Uint32(st[24:]) != unix.S_IFREG|0o644 {
		t.Errorf("size %d, mode %o", le.Uint64(st[48:]), le.Uint32(st[24:]))
	}
	vm.must(unix.SYS_FTRUNCATE, fd, 3)
	vm.must(unix.SYS_LSEEK, fd, 0, unix.SEEK_SET)
	if got := vm.read(fd, 100); got != "hel" {
		t.Errorf("read %q", got)
	}
	vm.must(unix.SYS_CLOSE, fd)
	vm.fails(unix.EBADF, unix.SYS_CLOSE, fd)
	if got := vm.open("/etc/passwd", unix.O_RDONLY, 0); got != 0 {
		t.Errorf("descriptor %d, want the lowest free one", got)
	}
	if got := vm.read(0, 4); got != "root" {
		t.Errorf("read %q", got)
	}
}

func TestHostStdio(t *testing.T) {
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer outR.Close()
	vm := newFileVM(t, inR, outW, outW)
	vm.write(1, "out")
	buf := make([]byte, 10)
	if n, _ := outR.Read(buf); string(buf[:n]) != "out" {
		t.Errorf("host read %q", buf[:n])
	}
	a := vm.alloc(100)
	p := vm.start(vm.t, unix.SYS_READ, 0, a, 3)
	if !p.blocked() {
		t.Error("read of an empty stdin does not block")
	}
	inW.WriteString("abcdef")
	if n, e := p.wait(); n != 3 || e != 0 || string(vm.get(a, 3)) != "abc" {
		t.Errorf("read = %d, %v, %q", n, e, vm.get(a, 3))
	}
	// What was not asked for is still the host's.
	if n, _ := inR.Read(buf); string(buf[:n]) != "def" {
		t.Errorf("host finds %q", buf[:n])
	}
	inW.Close()
	if n := vm.must(unix.SYS_READ, 0, a, 3); n != 0 {
		t.Errorf("read at the end = %d", n)
	}
	outR.Close()
	vm.in(func() { vm.t.p.actions.put(int(unix.SIGPIPE), sigAction{handler: SIG_IGN}) })
	vm.await("the guest does not see that nobody reads", func() bool { return vm.ready(1)&unix.POLLERR != 0 })
	vm.fails(unix.EPIPE, unix.SYS_WRITE, 1, a, 3)
	outW.Close()
}

func TestHostStdinShared(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("0123456789")
	f.Seek(2, 0)
	vm := newFileVM(t, f)
	if got := vm.read(0, 3); got != "234" {
		t.Errorf("read %q", got)
	}
	if off, _ := f.Seek(0, 1); off != 5 {
		t.Errorf("the host's offset is %d", off)
	}
}

func TestPipeShim(t *testing.T) {
	vm := newFileVM(t)
	r, w := vm.pipe(0)
	vm.write(w, "x")
	a := vm.alloc(1 << 17)
	if got := vm.read(r, 10); got != "x" {
		t.Errorf("read %q", got)
	}
	// A blocked reader is woken by a write, a blocked writer by reads.
	child := vm.fork(0)
	p := vm.start(child, unix.SYS_READ, r, a, 10)
	if !p.blocked() {
		t.Fatal("read does not block")
	}
	vm.write(w, "abc")
	if n, e := p.wait(); n != 3 || e != 0 {
		t.Errorf("read = %d, %v", n, e)
	}
	p = vm.start(child, unix.SYS_WRITE, w, a, 1<<17)
	total := 0
	for total < 1<<17 {
		total += int(vm.must(unix.SYS_READ, r, a, 5000))
	}
	if n, e := p.wait(); n != 1<<17 || e != 0 {
		t.Errorf("write = %d, %v", n, e)
	}
	// End of file when the last writer goes.
	vm.must(unix.SYS_CLOSE, w)
	p = vm.start(vm.t, unix.SYS_READ, r, a, 10)
	if !p.blocked() {
		t.Error("the child still has the write end")
	}
	if n, e := vm.start(child, unix.SYS_CLOSE, w).wait(); n != 0 || e != 0 {
		t.Errorf("close = %d, %v", n, e)
	}
	if n, e := p.wait(); n != 0 || e != 0 {
		t.Errorf("read = %d, %v", n, e)
	}
}

func TestProc(t *testing.T) {
	vm := newFileVM(t)
	r, _ := vm.pipe(0)
	for name, want := range map[string]string{
		"/proc/self/stat":            "1 (true) R 0 1 1 ",
		"/proc/self/status":          "Name:\ttrue\n",
		"/proc/self/cmdline":         "true\x00",
		"/proc/1/comm":               "true\n",
		"/proc/self/maps":            "/usr/bin/true",
		"/proc/meminfo":              "MemTotal:",
		"/proc/cpuinfo":              "processor\t: 0\n",
		"/proc/self/limits":          "Max open files            1024                 1048576              files     \n",
		"/proc/mounts":               "proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n",
		"/proc/self/fdinfo/0":        "flags:\t00\n",
		"/proc/sys/kernel/pid_max":   "32768\n",
		"/proc/sys/fs/pipe-max-size": "1048576\n",
		"/proc/self/environ":         "PATH=/bin\x00",
		"/proc/thread-self/comm":     "true\n",
		"/proc/filesystems":          "nodev\tproc\n",
		"/proc/uptime":               ".",
	} {
		fd := vm.open(name, unix.O_RDONLY, 0)
		if got := vm.read(fd, 20000); !strings.Contains(got, want) {
			t.Errorf("%s lacks %q:\n%s", name, want, got)
		}
		vm.must(unix.SYS_CLOSE, fd)
	}
	// As many fields as Linux has.
	host, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	stat := vm.open("/proc/self/stat", unix.O_RDONLY, 0)
	if got := vm.read(stat, 1000); len(strings.Fields(got)) != len(strings.Fields(string(host))) {
		t.Errorf("stat has %d fields, Linux's %d", len(strings.Fields(got)), len(strings.Fields(string(host))))
	}
	a := vm.alloc(200)
	for name, want := range map[string]string{
		"/proc/self":      "1",
		"/proc/self/exe":  "/usr/bin/true",
		"/proc/self/cwd":  "/",
		"/proc/self/fd/0": "pipe:[",
		"/dev/stdin":      "/proc/self/fd/0",
	} {
		n := vm.must(unix.SYS_READLINK, vm.str(name), a, 200)
		if got := string(vm.get(a, int(n))); !strings.HasPrefix(got, want) {
			t.Errorf("%s -> %s, want %s", name, got, want)
		}
	}
	// Reopening the read end of the pipe for writing gives a write end.
	w := vm.open("/proc/self/fd/0", unix.O_WRONLY, 0)
	vm.write(w, "again")
	if got := vm.read(r, 10); got != "again" {
		t.Errorf("read %q", got)
	}
}

func TestGetdents(t *testing.T) {
	vm := newFileVM(t)
	vm.must(unix.SYS_MKDIR, vm.str("/tmp/d"), 0o755)
	for _, n := range []string{"one", "two", "three"} {
		vm.must(unix.SYS_CLOSE, vm.open("/tmp/d/"+n, unix.O_CREAT|unix.O_WRONLY, 0o600))
	}
	fd := vm.open("/tmp/d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	vm.fails(unix.EINVAL, unix.SYS_GETDENTS64, fd, vm.alloc(8), 8)
	seen := map[string]byte{}
	a := vm.alloc(64)
	for {
		n := vm.must(unix.SYS_GETDENTS64, fd, a, 64)
		if n == 0 {
			break
		}
		for b := vm.get(a, int(n)); len(b) > 0; b = b[le.Uint16(b[16:]):] {
			name, _, _ := strings.Cut(string(b[direntHead:]), "\x00")
			seen[name] = b[18]
		}
	}
	if len(seen) != 5 || seen["one"] != unix.DT_REG || seen["."] != unix.DT_DIR {
		t.Errorf("%v", seen)
	}
}

// /proc/PID is a pidfd for signals, a subdirectory is not.
func TestProcPidfd(t *testing.T) {
	vm := newFileVM(t)
	for path, want := range map[string]unix.Errno{
		"/proc/self": 0, "/proc/1": 0, "/proc": unix.EBADF, "/proc/self/task": unix.EBADF, "/proc/self/task/1": unix.EBADF, "/tmp": unix.EBADF,
	} {
		fd := vm.open(path, unix.O_RDONLY, 0)
		if _, e := vm.call(unix.SYS_PIDFD_SEND_SIGNAL, fd, 0, 0, 0); e != want {
			t.Errorf("signal 0 by %s: %v, want %v", path, e, want)
		}
	}
}
