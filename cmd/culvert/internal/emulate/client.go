package emulate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/wire"
)

// errDied is why a client has no exit code: the machine died. begun says whether
// the command had begun.
type diedError struct {
	begun bool
	cause string
}

func (e *diedError) Error() string { return e.cause }

// client is the outside end of one run, on whatever carries its frames.
type client struct {
	out     *wire.Writer
	session uint32
	opt     *Options
	tty     *terminal // nil if the command gets pipes

	stdin *wire.Sender
	outs  [2]*wire.Receiver // stdout, stderr

	ready  chan struct{}
	isOpen sync.Once
	last   chan wire.Frame // Exit, Fail, Died or Refuse; the first counts
}

func newClient(opt *Options, out *wire.Writer, session uint32) *client {
	c := &client{
		out:     out,
		session: session,
		opt:     opt,
		tty:     findTerminal(opt),
		stdin:   wire.NewSender(out, session, wire.Stdin),
		ready:   make(chan struct{}),
		last:    make(chan wire.Frame, 1),
	}
	for i := range c.outs {
		c.outs[i] = wire.NewReceiver(out, session, uint8(wire.Stdout+i))
	}
	return c
}

// handle takes one frame and does not wait.
func (c *client) handle(f wire.Frame) {
	switch f.Kind {
	case wire.Ready:
		c.isOpen.Do(func() { close(c.ready) })
	case wire.Data, wire.End:
		if f.Stream == wire.Stdin {
			return
		}
		r := c.outs[f.Stream-wire.Stdout]
		if f.Kind == wire.End {
			r.End()
		} else if err := r.Put(f.Payload); err != nil {
			c.finish(wire.Frame{Kind: wire.Died, Payload: []byte(err.Error())})
		}
	case wire.Credit:
		if n, err := wire.GetU32(f.Payload); err == nil && f.Stream == wire.Stdin {
			c.stdin.Credit(n)
		}
	case wire.Stop:
		c.stdin.Stop()
	case wire.Exit, wire.Fail, wire.Died, wire.Refuse:
		c.finish(f)
	}
}

func (c *client) finish(f wire.Frame) {
	select {
	case c.last <- f:
	default:
	}
}

// send sends a frame of this run. A broken carrier shows as Died.
func (c *client) send(kind wire.Kind, payload []byte) {
	_ = c.out.Write(wire.Frame{Kind: kind, Session: c.session, Payload: payload})
}

// run carries the run out. payload is the encoded request.
func (c *client) run(ctx context.Context, payload []byte, signals <-chan os.Signal) (int, error) {
	c.send(wire.Start, payload)
	select {
	case <-c.ready:
	case f := <-c.last:
		return c.verdict(f, false)
	case s := <-signals:
		return c.killed(s)
	case <-ctx.Done():
		c.send(wire.Kill, nil)
		return exitFailure, ctx.Err()
	}
	if err := c.tty.raw(); err != nil {
		c.send(wire.Kill, nil)
		return exitFailure, err
	}
	defer c.tty.restore()
	go func() { _ = c.stdin.Copy(c.opt.Stdin) }() // stops with the run, or with this process
	var outputs sync.WaitGroup
	for i, w := range []io.Writer{c.opt.Stdout, c.opt.Stderr} {
		outputs.Go(func() {
			// An output that nobody reads stops the command by SIGPIPE: the
			// receiver tells the other end.
			_ = c.outs[i].Deliver(w)
		})
	}
	c.send(wire.Go, nil)
	for {
		select {
		case s := <-signals:
			c.forward(s)
		case <-ctx.Done():
			c.send(wire.Kill, nil)
			return exitFailure, ctx.Err()
		case f := <-c.last:
			if f.Kind == wire.Exit {
				outputs.Wait()
			}
			c.stdin.Stop()
			return c.verdict(f, true)
		}
	}
}

// killed ends a run that a signal reached before the command began.
func (c *client) killed(s os.Signal) (int, error) {
	c.send(wire.Kill, nil)
	return exitBySignal(s), nil
}

func (c *client) forward(s os.Signal) {
	switch s {
	case unix.SIGWINCH:
		if c.tty != nil {
			c.send(wire.Resize, c.tty.size().Bytes())
			return // the pty sends the signal
		}
		fallthrough
	default:
		if n, ok := s.(unix.Signal); ok {
			c.send(wire.Signal, wire.U32(uint32(n)))
		}
	}
}

// verdict reads the last frame.
func (c *client) verdict(f wire.Frame, begun bool) (int, error) {
	switch f.Kind {
	case wire.Exit, wire.Fail:
		code, err := wire.GetU32(f.Payload)
		if err != nil {
			return exitFailure, err
		}
		if f.Kind == wire.Fail {
			return int(code), errors.New(string(f.Payload[4:]))
		}
		return int(code), nil
	case wire.Refuse:
		return exitFailure, errRefused
	default:
		return exitFailure, &diedError{begun, string(f.Payload)}
	}
}

// request makes the request of a run.
func (c *client) request(shares []wire.Share) (*wire.Request, error) {
	groups, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	req := &wire.Request{
		Args: c.opt.Args, Env: c.opt.Env, Dir: c.opt.Dir,
		UID: os.Geteuid(), GID: os.Getegid(), Groups: groups,
		Shares: shares, Now: time.Now().UnixNano(),
	}
	req.Umask, req.NoFile = inherited()
	req.Seed = make([]byte, 64)
	_, _ = rand.Read(req.Seed) // never fails
	if req.Hostname, err = os.Hostname(); err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	if c.tty != nil {
		req.TTY, req.TTYErr, req.Size = true, c.tty.alsoErr, c.tty.size()
	}
	return req, nil
}

// watchSignals collects what is forwarded, except signals that this process was
// told to ignore, as nohup(1) does. SIGPIPE is taken so that a closed stdout is
// an error of write(2) here and ends the command, not this process.
func watchSignals() (<-chan os.Signal, func()) {
	got := make(chan os.Signal, 16)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGWINCH} {
		if !signal.Ignored(s) {
			signal.Notify(got, s)
		}
	}
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	return got, func() { signal.Stop(got); signal.Stop(pipe) }
}

func exitBySignal(s os.Signal) int {
	if n, ok := s.(unix.Signal); ok {
		return 128 + int(n)
	}
	return exitFailure
}
