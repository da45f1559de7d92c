package inside

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/wire"
)

// run is init's view of one run: the supervisor and the streams between it and
// the port.
type run struct {
	srv     *server
	session uint32
	stdin   *wire.Receiver
	outs    [2]*wire.Sender // stdout, stderr

	begin chan struct{} // Go came
	quit  chan struct{} // Kill came
	once  struct{ begin, quit sync.Once }

	mu      sync.Mutex
	ctl     *wire.Writer // to the supervisor, once it has begun; guarded by mu
	master  *os.File     // of the pty, if there is one; guarded by mu
	pending []wire.Frame // Signal and Resize from before; at most maxPending; guarded by mu
}

// maxPending bounds what a run may be sent before it has begun.
const maxPending = 64

// errKilled ends a run that was called off before it began.
var errKilled = errors.New("killed")

func newRun(s *server, session uint32) *run {
	return &run{
		srv:     s,
		session: session,
		stdin:   wire.NewReceiver(s.out, session, wire.Stdin),
		outs:    [2]*wire.Sender{wire.NewSender(s.out, session, wire.Stdout), wire.NewSender(s.out, session, wire.Stderr)},
		begin:   make(chan struct{}),
		quit:    make(chan struct{}),
	}
}

// frame takes one frame from the port and does not wait.
func (r *run) frame(f wire.Frame) {
	switch f.Kind {
	case wire.Go:
		r.once.begin.Do(func() { close(r.begin) })
	case wire.Kill:
		r.kill()
	case wire.Data:
		if r.stdin.Put(f.Payload) != nil {
			r.kill()
		}
	case wire.End:
		r.stdin.End()
	case wire.Credit, wire.Stop:
		if f.Stream == wire.Stdin {
			return
		}
		out := r.outs[f.Stream-wire.Stdout]
		if f.Kind == wire.Stop {
			out.Stop()
		} else if n, err := wire.GetU32(f.Payload); err == nil {
			out.Credit(n)
		}
	case wire.Signal, wire.Resize:
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ctl == nil && len(r.pending) < maxPending {
			r.pending = append(r.pending, f)
		} else if r.ctl != nil {
			r.control(f)
		}
	}
}

// kill ends the run; what nobody may read any more is dropped.
func (r *run) kill() {
	r.once.quit.Do(func() { close(r.quit) })
	r.stdin.Close()
	for _, out := range r.outs {
		out.Stop()
	}
}

// control acts on a Signal or Resize. Preconditions: r.mu is held, r.ctl is set.
// The supervisor's socket holds far more than the few frames that come.
func (r *run) control(f wire.Frame) {
	if f.Kind == wire.Signal {
		_ = r.ctl.Write(f) // a supervisor that is gone needs no signal
		return
	}
	if size, err := wire.GetSize(f.Payload); err == nil && r.master != nil {
		setSize(r.master, size)
	}
}

func setSize(tty *os.File, s wire.Size) {
	raw, err := tty.SyscallConn() // Fd would make it block
	if err != nil {
		return
	}
	// Both fail only if the terminal is gone.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ,
			&unix.Winsize{Row: s.Rows, Col: s.Cols, Xpixel: s.X, Ypixel: s.Y})
	})
}

// do carries the run out and returns its last frame: Exit or Fail.
func (r *run) do(payload []byte) wire.Frame {
	req, err := wire.GetRequest(payload)
	if err != nil {
		return failFrame(r.session, err)
	}
	if err := errors.Join(setClock(req.Now), reseed(req.Seed)); err != nil {
		return failFrame(r.session, err)
	}
	var tag string
	select {
	case tag = <-r.srv.roots:
	case <-r.quit:
		return failFrame(r.session, errKilled)
	}
	defer func() { r.srv.roots <- tag }()
	for _, s := range req.Shares {
		if err := r.srv.mountShare(s.Tag); err != nil {
			return failFrame(r.session, err)
		}
	}
	code, err := r.supervised(req, tag)
	r.kill() // its goroutines end
	if err != nil {
		return failFrame(r.session, err)
	}
	return wire.Frame{Kind: wire.Exit, Session: r.session, Payload: wire.U32(code)}
}

// supervised runs the supervisor to its end.
func (r *run) supervised(req *wire.Request, tag string) (uint32, error) {
	ctl, theirs, err := controlPair()
	if err != nil {
		return 0, err
	}
	defer ctl.Close()
	ours, child, err := stdio(req)
	if err != nil {
		theirs.Close()
		return 0, err
	}
	defer closeAll(ours[:])
	cmd := exec.Cmd{
		Path: "/proc/self/exe", Args: []string{SupervisorName},
		Env:        []string{},
		Stdin:      child[0],
		Stdout:     child[1],
		Stderr:     child[2],
		ExtraFiles: []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		},
	}
	err = cmd.Start()
	theirs.Close()
	closeAll(child[:])
	if err != nil {
		return 0, fmt.Errorf("start the supervisor: %w", err)
	}
	gone := make(chan struct{})
	go func() { // Kill ends the supervisor, and with it its PID namespace
		select {
		case <-r.quit:
			_ = cmd.Process.Kill()
		case <-gone:
		}
	}()
	code, err := r.converse(req, tag, cmd.Process.Pid, ctl, &ours)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait() // its status says nothing that converse does not know
	close(gone)
	return code, err
}

// converse speaks with the supervisor: setup, Ready, Go, Exit.
func (r *run) converse(req *wire.Request, tag string, pid int, ctl *os.File, ours *[3]*os.File) (uint32, error) {
	in, out := wire.NewReader(ctl), wire.NewWriter(ctl)
	setup, err := wire.Encode(supervision{Request: *req, Tag: tag})
	if err != nil {
		return 0, err
	}
	if err := out.Write(wire.Frame{Kind: wire.Start, Payload: setup}); err != nil {
		return 0, err
	}
	f, err := r.answer(in, wire.Ready)
	if err != nil {
		return 0, err
	}
	if req.TTY {
		fd, err := wire.GetU32(f.Payload)
		if err != nil {
			return 0, err
		}
		if err := r.takeTTY(pid, int(fd), req, ours); err != nil {
			return 0, err
		}
	}
	if err := r.srv.out.Write(wire.Frame{Kind: wire.Ready, Session: r.session}); err != nil {
		return 0, err
	}
	select {
	case <-r.begin:
	case <-r.quit:
		return 0, errKilled
	}
	var streams sync.WaitGroup
	r.pump(req, ours, &streams)
	if err := out.Write(wire.Frame{Kind: wire.Go}); err != nil {
		return 0, err
	}
	r.mu.Lock()
	r.ctl = out
	for _, f := range r.pending {
		r.control(f)
	}
	r.mu.Unlock()
	f, err = r.answer(in, wire.Exit)
	if err != nil {
		return 0, err
	}
	streams.Wait() // all output is sent before Exit
	return wire.GetU32(f.Payload)
}

// answer reads the supervisor's next frame, which is want or Fail.
func (r *run) answer(in *wire.Reader, want wire.Kind) (wire.Frame, error) {
	f, err := in.Read()
	if err != nil {
		select {
		case <-r.quit:
			return f, errKilled
		default:
			// The command's own doing, such as kill -9 1 as root, or out of memory.
			return f, fmt.Errorf("the run's supervisor died: %w", err)
		}
	}
	if f.Kind == wire.Fail {
		code, err := wire.GetU32(f.Payload)
		if err != nil {
			return f, err
		}
		return f, &failure{code, errors.New(string(f.Payload[4:]))}
	}
	if f.Kind != want {
		return f, fmt.Errorf("%w: kind %d from the supervisor, want %d", wire.ErrFrame, f.Kind, want)
	}
	return f, nil
}

// takeTTY gets the pty's master from the supervisor, which opened it in the
// run's own /dev/pts so that ttyname(3) works there.
func (r *run) takeTTY(pid, fd int, req *wire.Request, ours *[3]*os.File) error {
	p, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(p)
	m, err := unix.PidfdGetfd(p, fd, 0)
	if err != nil {
		return fmt.Errorf("pidfd_getfd: %w", err)
	}
	if err := unix.SetNonblock(m, true); err != nil { // for the poller, so that Close wakes a Read
		return err
	}
	master := os.NewFile(uintptr(m), "ptmx")
	setSize(master, req.Size)
	closeAll(ours[:2])
	ours[0], ours[1] = master, master
	if req.TTYErr {
		closeAll(ours[2:])
		ours[2] = nil
	}
	r.mu.Lock()
	r.master = master
	r.mu.Unlock()
	return nil
}

// pump starts the goroutines that move the streams. wg waits for the output.
func (r *run) pump(req *wire.Request, ours *[3]*os.File, wg *sync.WaitGroup) {
	stdin := ours[0]
	go func() {
		_ = r.stdin.Deliver(stdin) // the command has closed it: Stop was sent
		if !req.TTY {
			stdin.Close()
		}
	}()
	for i, f := range ours[1:] {
		if f == nil {
			_ = r.srv.out.Write(wire.Frame{Kind: wire.End, Stream: uint8(wire.Stdout + i), Session: r.session})
			continue
		}
		var src io.Reader = f
		if f == stdin {
			src = ttyReader{f}
		}
		wg.Go(func() {
			if err := r.outs[i].Copy(src); errors.Is(err, wire.ErrStopped) {
				f.Close() // the command's next write gets SIGPIPE, or SIGHUP from a tty
			}
		})
	}
}

// ttyReader turns EIO, which a master returns when the last slave is closed,
// into the end of the stream.
type ttyReader struct{ f *os.File }

func (t ttyReader) Read(p []byte) (int, error) {
	n, err := t.f.Read(p)
	if errors.Is(err, unix.EIO) {
		err = io.EOF
	}
	return n, err
}

// stdio makes the pipes of a run. With a pty the first two are placeholders
// until takeTTY.
func stdio(req *wire.Request) (ours, child [3]*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(ours[:])
			closeAll(child[:])
		}
	}()
	for i := range ours {
		var rd, wr *os.File
		if rd, wr, err = os.Pipe(); err != nil {
			return ours, child, err
		}
		if i == wire.Stdin {
			child[i], ours[i] = rd, wr
		} else {
			ours[i], child[i] = rd, wr
		}
	}
	return ours, child, nil
}

// controlPair makes the socket between init and a supervisor. Init's end is
// pollable; the supervisor's, descriptor 3 there, blocks.
func controlPair() (ours, theirs *os.File, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(p[0]), "control"), os.NewFile(uintptr(p[1]), "control"), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// supervision is what a supervisor is told.
type supervision struct {
	Request wire.Request
	Tag     string // root export to mount
}

func decodeSupervision(p []byte) (*supervision, error) {
	var s supervision
	if err := wire.Decode(bytes.NewReader(p), &s); err != nil {
		return nil, err
	}
	return &s, nil
}
