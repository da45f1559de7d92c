// Package machine starts one emulated machine and carries frames to and from
// the runs in it.
//
// The machine is QEMU's microvm with software emulation (TCG) of an AMD
// processor that has SVM, so that /dev/kvm inside is real. Choices that were
// measured:
//
//   - one thread for all virtual CPUs: with one thread each, KVM's state inside
//     got lost now and then, and the machine never got on;
//   - an unpacked kernel through its PVH entry, no disk, no PCI: 2 s to init
//     where the firmware, the bzImage and q35 took 9 s;
//   - the counter's rate and loops_per_jiffy given (see tscKHz).
package machine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/inside"
	"culvert/cmd/culvert/internal/emulate/kernel"
	"culvert/cmd/culvert/internal/emulate/wire"
)

// Export is a directory of the host that the machine may write to.
type Export struct {
	Tag, Path string
}

// Config is what a machine is made of.
type Config struct {
	CPUs    int
	Mem     int64  // bytes
	CPU     string // QEMU's -cpu
	Thread  string // "single" or "multi"; see the package comment
	Init    string // path of a static binary that calls inside.Main
	Roots   int    // how many runs at the same time
	Exports []Export
	Append  string // more kernel parameters

	Snapshots string // directory for them; empty to do without
	Kernel    *kernel.Kernel
	Limit     time.Duration // from QEMU's start to the inside's first word
}

// Machine is a running machine.
type Machine struct {
	Hello  *wire.HelloInfo // nil if it was started from a snapshot
	Booted time.Duration   // from QEMU's start until the inside could be spoken to

	began   time.Time
	out     *wire.Writer
	monitor *monitor
	stop    func()        // kills QEMU
	gone    chan struct{} // closed when QEMU has ended and cause is set
	heard   atomic.Bool   // a frame came since the watcher last looked
	console *os.File      // what the kernel said

	mu       sync.Mutex
	next     uint32                      // session; guarded by mu
	sessions map[uint32]func(wire.Frame) // guarded by mu
	cause    error                       // why it is gone or must go; guarded by mu
	ended    error                       // how QEMU ended; set before gone is closed
}

// DeadError says that a machine came to nothing through no fault of the
// caller: it hung or broke down. Another try may succeed.
type DeadError struct{ Err error }

func (e *DeadError) Error() string { return e.Err.Error() }
func (e *DeadError) Unwrap() error { return e.Err }

// silence is how long the inside, which speaks once a second, may be silent.
// It is counted in looks a second apart, so that a host that was suspended or
// stopped this process does not count.
const silence = 30

// Boot starts a machine and waits until its inside can be spoken to. With
// cfg.Snapshots it starts from a snapshot if there is one, and makes one if not.
func Boot(ctx context.Context, cfg Config) (*Machine, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, errors.New("qemu-system-x86_64 is missing: install the package qemu-system-x86")
	}
	if cfg.Snapshots == "" {
		m, err := cold(ctx, cfg, qemu)
		if err == nil {
			go m.watch(silence)
		}
		return m, err
	}
	path, err := snapshotPath(cfg, qemu)
	if err != nil {
		return nil, err
	}
	if f, err := openSnapshot(path); err == nil {
		defer f.Close()
		m, err := warm(ctx, cfg, qemu, f)
		if err == nil || ctx.Err() != nil {
			return m, err
		}
		_ = os.Remove(path) // whatever is wrong with it; a new one is made now
	}
	m, err := cold(ctx, cfg, qemu)
	if err != nil {
		return nil, err
	}
	if err := m.save(path); err != nil {
		m.Close()
		return nil, &DeadError{err}
	}
	go m.watch(silence)
	return m, nil
}

// cold starts a machine from nothing. Nobody watches it yet.
func cold(ctx context.Context, cfg Config, qemu string) (*Machine, error) {
	initrd, err := initramfs(cfg.Init, cfg.Kernel)
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	hello := make(chan *wire.HelloInfo, 1)
	m, err := start(cfg, qemu, initrd, nil, hello)
	if err != nil {
		return nil, err
	}
	limit := time.NewTimer(cfg.Limit)
	defer limit.Stop()
	select {
	case m.Hello = <-hello:
		m.Booted = time.Since(m.began)
		return m, nil
	case <-m.gone:
		err = m.Cause()
	case <-limit.C:
		err = &DeadError{fmt.Errorf("the emulated machine did not start within %v%s", cfg.Limit, m.tail())}
	case <-ctx.Done():
		err = ctx.Err()
	}
	m.Close()
	return nil, err
}

// warm starts a machine from a snapshot. If it does not speak soon, it is dead.
func warm(ctx context.Context, cfg Config, qemu string, state *os.File) (*Machine, error) {
	none, err := memfd("none") // the initramfs has been unpacked; QEMU wants a file
	if err != nil {
		return nil, err
	}
	defer none.Close()
	m, err := start(cfg, qemu, none, state, make(chan *wire.HelloInfo, 1))
	if err != nil {
		return nil, err
	}
	if err := m.restore(ctx); err != nil {
		m.Close()
		return nil, err
	}
	m.Booted = time.Since(m.began)
	go m.watch(silence / 2)
	return m, nil
}

// start starts QEMU and speaks with its monitor. state, if not nil, is a snapshot.
func start(cfg Config, qemu string, initrd, state *os.File, hello chan<- *wire.HelloInfo) (*Machine, error) {
	console, err := memfd("console")
	if err != nil {
		return nil, err
	}
	m := &Machine{
		began:    time.Now(),
		gone:     make(chan struct{}),
		console:  console,
		sessions: map[uint32]func(wire.Frame){},
	}
	fail := func(err error) (*Machine, error) {
		console.Close()
		return nil, err
	}
	port, qemuPort, err := socketpair()
	if err != nil {
		return fail(err)
	}
	defer qemuPort.Close()
	mon, qemuMon, err := socketpair()
	if err != nil {
		port.Close()
		return fail(err)
	}
	defer qemuMon.Close()
	m.out = wire.NewWriter(port)
	args := arguments(cfg, tscKHz())
	files := []*os.File{qemuPort, initrd, console, qemuMon} // descriptors 3 to 6: see arguments
	if state != nil {
		files = append(files, state)
		args = append(args, "-incoming", "fd:7")
	}
	if err := m.exec(qemu, args, files, port); err != nil {
		port.Close()
		mon.Close()
		return fail(err)
	}
	go m.read(port, hello)
	if m.monitor, err = newMonitor(mon); err != nil {
		m.fail(err)
		<-m.gone
		if cause := m.ended; cause != nil { // QEMU's own complaint says more
			err = cause
		}
		return fail(err)
	}
	return m, nil
}

// arguments makes QEMU's command line.
func arguments(cfg Config, khz uint64) []string {
	params := []string{
		"console=ttyS0 quiet panic=-1 mitigations=off audit=0",
		fmt.Sprintf("tsc=reliable tsc_early_khz=%d lpj=%d no_timer_check", khz, khz*1000/uint64(cfg.Kernel.HZ)),
		// Parts of the start that cost a tenth of a second each and serve nothing
		// here: a page-table audit, self-tests, a boot-time kprobe scan, bounce
		// buffers, modules for mandatory access control.
		"rodata=off cryptomgr.notests initcall_blacklist=init_kprobe_trace swiotlb=noforce lsm=landlock,yama",
		"rcupdate.rcu_expedited=1 random.trust_cpu=on",
		fmt.Sprintf("%s%d", inside.RootsParam, cfg.Roots),
		cfg.Append,
	}
	args := []string{
		"-M", "microvm",
		"-accel", "tcg,thread=" + cfg.Thread,
		"-cpu", cfg.CPU,
		"-smp", fmt.Sprint(cfg.CPUs),
		"-m", fmt.Sprintf("%dM", cfg.Mem>>20),
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-kernel", cfg.Kernel.Vmlinux(),
		"-initrd", "/proc/self/fd/4",
		"-append", strings.Join(params, " "),
		"-serial", "file:/proc/self/fd/5",
		"-global", "virtio-mmio.force-legacy=false",
		"-chardev", "socket,id=monitor,fd=6",
		"-mon", "chardev=monitor,mode=control",
		"-chardev", "socket,id=port,fd=3",
		"-device", "virtio-serial-device,max_ports=2",
		"-device", "virtserialport,chardev=port,name=culvert",
	}
	for i := range cfg.Roots {
		args = append(args, export(fmt.Sprintf("%s%d", inside.RootTag, i), "/", ",readonly=on")...)
	}
	for _, e := range cfg.Exports {
		args = append(args, export(e.Tag, e.Path, "")...)
	}
	return args
}

func export(tag, path, opts string) []string {
	path = strings.ReplaceAll(path, ",", ",,") // QEMU's quoting
	return []string{
		"-fsdev", "local,id=" + tag + ",path=" + path + ",security_model=none,multidevs=remap" + opts,
		"-device", "virtio-9p-device,fsdev=" + tag + ",mount_tag=" + tag,
	}
}

// exec starts QEMU, which dies with this process however that ends.
func (m *Machine) exec(qemu string, args []string, files []*os.File, ours *os.File) error {
	cmd := exec.Command(qemu, args...)
	cmd.ExtraFiles = files
	// Not in the terminal's foreground process group: it must not get Ctrl-C.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	var msg firstBytes
	cmd.Stderr = &msg
	started := make(chan error)
	go func() {
		// The signal comes when the thread that started QEMU ends, so it must not.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		m.finish(qemuEnd(err, msg.String(), m.tail()))
		ours.Close()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start QEMU: %w", err)
	}
	m.stop = func() { _ = cmd.Process.Kill() } // fails if it has ended
	return nil
}

// qemuEnd makes QEMU's end into an error: its own complaint, or a machine that
// reset itself, which is what a kernel does when it panics.
func qemuEnd(err error, msg, tail string) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		line, _, _ := strings.Cut(strings.TrimSpace(msg), "\n")
		return fmt.Errorf("QEMU failed (%w): %s", err, line)
	}
	if err != nil {
		return &DeadError{fmt.Errorf("QEMU ended: %w%s", err, tail)}
	}
	return &DeadError{fmt.Errorf("the emulated machine stopped%s", tail)}
}

// finish records why the machine is gone, once, and tells its runs.
func (m *Machine) finish(cause error) {
	m.mu.Lock()
	m.ended = cause
	if m.cause == nil {
		m.cause = cause
	}
	sessions := m.sessions
	m.sessions = map[uint32]func(wire.Frame){}
	m.mu.Unlock()
	close(m.gone)
	for _, f := range sessions {
		f(wire.Frame{Kind: wire.Died})
	}
}

// Cause says why the machine is gone, nil if it is not.
func (m *Machine) Cause() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cause
}

// Gone is closed when the machine has ended.
func (m *Machine) Gone() <-chan struct{} { return m.gone }

// Close ends the machine at once; nothing in it is worth saving. It returns
// when QEMU has ended.
func (m *Machine) Close() {
	m.fail(errors.New("closed"))
	<-m.gone
	m.monitor.c.Close()
	m.console.Close()
}

// fail kills QEMU for a reason, of which the first counts.
func (m *Machine) fail(cause error) {
	m.mu.Lock()
	if m.cause == nil {
		m.cause = cause
	}
	m.mu.Unlock()
	m.stop()
}

// read hands each frame to its run. A handler must not wait.
func (m *Machine) read(port io.Reader, hello chan<- *wire.HelloInfo) {
	in := wire.NewReader(bufio.NewReaderSize(port, 64<<10))
	for {
		f, err := in.Read()
		if err != nil {
			m.fail(&DeadError{fmt.Errorf("the emulated machine's port: %w", err)})
			return
		}
		m.heard.Store(true)
		if f.Kind == wire.Hello {
			h, err := wire.GetHello(f.Payload)
			if err != nil {
				m.fail(err)
				return
			}
			select {
			case hello <- h:
			default: // said twice
			}
			continue
		}
		m.mu.Lock()
		handle := m.sessions[f.Session]
		m.mu.Unlock()
		if handle != nil {
			handle(f)
		}
	}
}

// watch kills the machine when its inside has been silent for too long: at
// first for most seconds, then for silence.
func (m *Machine) watch(most int) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for silent := 0; silent < most; silent++ {
		select {
		case <-tick.C:
		case <-m.gone:
			return
		}
		if m.heard.Swap(false) {
			silent, most = -1, silence
		}
	}
	m.fail(&DeadError{fmt.Errorf("the emulated machine has been silent for %d s%s", most, m.tail())})
}

// Session is one run's way to the machine.
type Session struct {
	ID uint32
	m  *Machine
}

// Open begins a session. handle gets its frames, must not wait, and gets Died
// last if the machine dies.
func (m *Machine) Open(handle func(wire.Frame)) (*Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cause != nil {
		return nil, m.cause
	}
	m.next++
	m.sessions[m.next] = handle
	return &Session{m.next, m}, nil
}

// Writer sends frames, whose Session must be the session's ID.
func (s *Session) Writer() *wire.Writer { return s.m.out }

// Close ends the session: no more frames are handled. The run, if it goes on,
// is killed.
func (s *Session) Close() {
	s.m.mu.Lock()
	_, open := s.m.sessions[s.ID]
	delete(s.m.sessions, s.ID)
	s.m.mu.Unlock()
	if open {
		_ = s.m.out.Write(wire.Frame{Kind: wire.Kill, Session: s.ID}) // a dead machine runs nothing
	}
}

// tail returns the console's last line for an error message, or nothing.
func (m *Machine) tail() string {
	const most = 4096
	st, err := m.console.Stat()
	if err != nil || st.Size() == 0 {
		return ""
	}
	n := min(st.Size(), most)
	b := make([]byte, n)
	if _, err := m.console.ReadAt(b, st.Size()-n); err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return fmt.Sprintf("; its console's last line: %s", bytes.TrimSpace(lines[len(lines)-1]))
}

// String describes the machine's start, for a person who looks into it.
func (m *Machine) String() string {
	console, err := io.ReadAll(io.NewSectionReader(m.console, 0, 1<<20))
	if err != nil {
		return err.Error()
	}
	if m.Hello == nil {
		return fmt.Sprintf("emulated machine restored in %v", m.Booted)
	}
	return fmt.Sprintf("emulated machine started in %v; inside, in us: %v\n%s", m.Booted, m.Hello.Phases, console)
}

// firstBytes keeps the first bytes written to it.
type firstBytes struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

func (f *firstBytes) Write(p []byte) (int, error) {
	const most = 4096
	f.mu.Lock()
	defer f.mu.Unlock()
	f.b = append(f.b, p[:min(len(p), most-len(f.b))]...)
	return len(p), nil
}

func (f *firstBytes) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.b)
}

func memfd(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("culvert-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// socketpair makes the port: our end is pollable, QEMU sets its own end up.
func socketpair() (ours, theirs *os.File, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(p[0]), "port"), os.NewFile(uintptr(p[1]), "port"), nil
}
