package inside

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/wire"
)

// beatEvery is how often init says that it is alive.
const beatEvery = time.Second

// server is init's side of the port.
type server struct {
	out   *wire.Writer
	roots chan string // tags of root exports that no run uses

	mu     sync.Mutex
	runs   map[uint32]*run // guarded by mu
	shares map[string]bool // tags mounted below shareDir; guarded by mu
}

func newServer(port *os.File, roots int) *server {
	s := &server{
		out:    wire.NewWriter(port),
		roots:  make(chan string, roots),
		runs:   map[uint32]*run{},
		shares: map[string]bool{},
	}
	for i := range roots {
		s.roots <- fmt.Sprintf("%s%d", RootTag, i)
	}
	return s
}

func (s *server) hello(marks phases) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	info := wire.HelloInfo{Version: wire.Version, Kernel: unix.ByteSliceToString(u.Release[:]), Phases: marks}
	b, err := wire.Encode(info)
	if err != nil {
		return err
	}
	return s.out.Write(wire.Frame{Kind: wire.Hello, Payload: b})
}

func (s *server) beat() {
	for range time.Tick(beatEvery) {
		if s.out.Write(wire.Frame{Kind: wire.Beat}) != nil {
			return // serve ends too
		}
	}
}

// serve reads frames until the port ends. It never waits for a run or for its
// own writer.
func (s *server) serve(in *wire.Reader) error {
	for {
		f, err := in.Read()
		if err != nil {
			return fmt.Errorf("port: %w", err)
		}
		if f.Kind == wire.Start {
			s.start(f)
			continue
		}
		s.mu.Lock()
		r := s.runs[f.Session]
		s.mu.Unlock()
		if r != nil { // else it ended while the frame was under way
			r.frame(f)
		}
	}
}

func (s *server) start(f wire.Frame) {
	r := newRun(s, f.Session)
	s.mu.Lock()
	_, taken := s.runs[f.Session]
	if !taken {
		s.runs[f.Session] = r
	}
	s.mu.Unlock()
	if taken {
		return // a keeper never does this; the first run goes on
	}
	go func() {
		end := r.do(f.Payload)
		s.mu.Lock()
		delete(s.runs, f.Session)
		idle := len(s.runs) == 0
		s.mu.Unlock()
		if idle {
			removeCgroups("/sys/fs/cgroup")
		}
		_ = s.out.Write(end) // serve sees a broken port
	}()
}

// setClock makes this machine's time the host's, so that a file written here and
// shared is not from the future or the past there. The hardware clock gave it whole
// seconds; a small difference is left, for the sake of runs that measure.
func setClock(now int64) error {
	const tolerated = 50 * time.Millisecond
	if d := time.Until(time.Unix(0, now)); d.Abs() < tolerated {
		return nil
	}
	ts := unix.NsecToTimespec(now)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// reseed mixes seed into the kernel's random numbers. Machines started from one
// snapshot would otherwise all draw the same.
func reseed(seed []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(seed); err != nil {
		return fmt.Errorf("random seed: %w", err)
	}
	// ENODATA: not seeded at all yet; then the seed counts when it is.
	if err := unix.IoctlSetInt(int(f.Fd()), unix.RNDRESEEDCRNG, 0); err != nil && err != unix.ENODATA {
		return fmt.Errorf("random seed: %w", err)
	}
	return nil
}

// mountShare mounts an export read-write for all supervisors to come. Without a
// cache both sides always see each other's writes.
func (s *server) mountShare(tag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shares[tag] {
		return nil
	}
	dir := filepath.Join(shareDir, tag)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	m := mount{tag, dir, "9p", 0, "trans=virtio,version=9p2000.L,msize=512000,cache=none,access=any"}
	if err := m.do(); err != nil {
		return err
	}
	s.shares[tag] = true
	return nil
}

// removeCgroups removes the control groups that runs left, deepest first. Those
// with processes stay, which means only that another run has begun.
func removeCgroups(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			sub := filepath.Join(dir, e.Name())
			removeCgroups(sub)
			_ = unix.Rmdir(sub)
		}
	}
}

// failure is why a run did not begin, with the exit code that says so.
type failure struct {
	code uint32
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failFrame makes the Fail frame of err: with its code, or 125.
func failFrame(session uint32, err error) wire.Frame {
	code := uint32(125)
	var f *failure
	if errors.As(err, &f) {
		code = f.code
	}
	return wire.Frame{Kind: wire.Fail, Session: session, Payload: append(wire.U32(code), err.Error()...)}
}
