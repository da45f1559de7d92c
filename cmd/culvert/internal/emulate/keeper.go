package emulate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/machine"
	"culvert/cmd/culvert/internal/emulate/wire"
)

// keeperName is argv[0] of a keeper.
const keeperName = "culvert-keeper"

func isKeeper() bool { return len(os.Args) == 7 && os.Args[0] == keeperName }

// keeperArgs is a keeper's argument vector, which keeperMain reads.
func keeperArgs(o *Options, dir string) []string {
	return []string{keeperName, dir, o.Cache, fmt.Sprint(o.CPUs), fmt.Sprint(o.Mem), o.CPU, o.Idle.String()}
}

// keeper holds one machine and relays between clients and the runs in it.
type keeper struct {
	opt    Options
	config string
	hash   string // of the binary, as it was when the machine was booted
	idle   time.Duration

	booted chan struct{} // closed when m or err is set
	m      *machine.Machine
	err    error

	end     chan string   // why the keeper ends; the first counts
	changed chan struct{} // clients changed

	mu      sync.Mutex
	clients int // guarded by mu
}

// keeperMain is a keeper's life. Its stderr is the log.
func keeperMain() int {
	if err := keeperRun(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "culvert keeper: %v\n", err)
		return exitFailure
	}
	return 0
}

func keeperRun(args []string) error {
	dir := args[1]
	k := &keeper{
		opt:     Options{Cache: args[2], CPU: args[5]},
		booted:  make(chan struct{}),
		end:     make(chan string, 1),
		changed: make(chan struct{}, 1),
	}
	var err error
	if _, err = fmt.Sscan(args[3], &k.opt.CPUs); err != nil {
		return fmt.Errorf("CPUs %q: %w", args[3], err)
	}
	if _, err = fmt.Sscan(args[4], &k.opt.Mem); err != nil {
		return fmt.Errorf("memory %q: %w", args[4], err)
	}
	if k.idle, err = time.ParseDuration(args[6]); err != nil {
		return fmt.Errorf("idle time: %w", err)
	}
	if err := k.opt.setupMachine(); err != nil {
		return err
	}
	k.config = k.opt.config()
	// /proc/self/exe is the binary that runs, even if its path names another by now.
	k.opt.Init = "/proc/self/exe"
	if k.hash, err = hashFile(k.opt.Init); err != nil {
		return err
	}
	unix.Umask(0o177) // the socket is born with 0600
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath(dir), Net: "unix"})
	unix.Umask(0o077)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	unix.Close(3) // tells who started this
	return k.serve(l)
}

func (k *keeper) serve(l *net.UnixListener) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		k.m, k.err = k.opt.boot(ctx, keptRoots, []machine.Export{{Tag: shareTag, Path: "/"}}, "", os.Stderr)
		close(k.booted)
		if k.err != nil {
			k.stop(k.err.Error())
			return
		}
		fmt.Fprintf(os.Stderr, "culvert keeper: machine up in %v\n", k.m.Booted)
		<-k.m.Gone()
		k.stop(fmt.Sprintf("machine: %v", k.m.Cause()))
	}()
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				k.stop(err.Error())
				return
			}
			k.count(+1)
			go func() {
				defer k.count(-1)
				k.client(c)
			}()
		}
	}()
	why := k.wait()
	fmt.Fprintf(os.Stderr, "culvert keeper: ends: %s\n", why)
	l.Close() // removes the socket
	cancel()
	<-k.booted
	if k.m != nil {
		k.m.Close()
	}
	k.drain()
	return nil
}

// wait returns when it is time to end: asked to, or idle for long enough.
func (k *keeper) wait() string {
	timer := time.NewTimer(k.idle)
	defer timer.Stop()
	for {
		select {
		case why := <-k.end:
			return why
		case <-k.changed:
			timer.Reset(k.idle)
		case <-timer.C:
			k.mu.Lock()
			n := k.clients
			k.mu.Unlock()
			if n == 0 {
				return fmt.Sprintf("idle for %v", k.idle)
			}
		}
	}
}

// drain gives clients a moment to get their last frame.
func (k *keeper) drain() {
	const most = 2 * time.Second
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(time.Millisecond) {
		k.mu.Lock()
		n := k.clients
		k.mu.Unlock()
		if n == 0 {
			return
		}
	}
}

func (k *keeper) stop(why string) {
	select {
	case k.end <- why:
	default:
	}
}

func (k *keeper) count(d int) {
	k.mu.Lock()
	k.clients += d
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// client serves one connection: one run, or a request to end.
func (k *keeper) client(c *net.UnixConn) {
	defer c.Close()
	if checkPeer(c) != nil {
		return
	}
	in := wire.NewReader(bufio.NewReaderSize(c, 64<<10))
	f, err := in.Read()
	if err != nil {
		return
	}
	q := newQueue(c)
	defer q.close()
	switch f.Kind {
	case wire.Kill:
		k.stop("asked to")
		<-k.booted // the connection closes after the machine is gone
		if k.m != nil {
			<-k.m.Gone()
		}
	case wire.Start:
		k.relay(f, in, q)
	}
}

// relay passes a run's frames both ways under the machine's number for it.
func (k *keeper) relay(f wire.Frame, in *wire.Reader, q *queue) {
	outer := f.Session
	req, err := wire.GetRequest(f.Payload)
	if err != nil {
		q.put(wire.Frame{Kind: wire.Fail, Session: outer, Payload: append(wire.U32(exitFailure), err.Error()...)})
		return
	}
	if want := req.Kept; want.Config != k.config || want.Init != k.hash || want.Mem != 0 && want.Mem != k.opt.Mem {
		q.put(wire.Frame{Kind: wire.Refuse, Session: outer})
		return
	}
	<-k.booted
	if k.err != nil {
		q.put(k.bootFailed(outer))
		return
	}
	over := make(chan struct{})
	var once sync.Once
	s, err := k.m.Open(func(f wire.Frame) {
		f.Session = outer
		if f.Kind == wire.Died {
			f.Payload = []byte(fmt.Sprint(k.m.Cause()))
		}
		q.put(f)
		if f.Kind == wire.Exit || f.Kind == wire.Fail || f.Kind == wire.Died {
			once.Do(func() { close(over) })
		}
	})
	if err != nil {
		q.put(wire.Frame{Kind: wire.Died, Session: outer, Payload: []byte(err.Error())})
		return
	}
	defer s.Close() // kills the run if the client is gone
	go func() {
		for {
			f.Session = s.ID
			if s.Writer().Write(f) != nil {
				break
			}
			if f, err = in.Read(); err != nil {
				break
			}
		}
		once.Do(func() { close(over) })
	}()
	<-over
}

// bootFailed tells a client whether another try may help.
func (k *keeper) bootFailed(session uint32) wire.Frame {
	var dead *machine.DeadError
	if errors.As(k.err, &dead) {
		return wire.Frame{Kind: wire.Died, Session: session, Payload: []byte(k.err.Error())}
	}
	return wire.Frame{Kind: wire.Fail, Session: session, Payload: append(wire.U32(exitFailure), k.err.Error()...)}
}

// queue holds frames for a client, so that the machine's reader never waits for
// it. Credit bounds what a run may have under way; a client beyond that is cut off.
type queue struct {
	c *net.UnixConn
	w *wire.Writer

	mu    sync.Mutex
	more  sync.Cond
	buf   []wire.Frame // guarded by mu
	bytes int          // guarded by mu
	ended bool         // guarded by mu
	done  chan struct{}
}

const queueMost = 4 * wire.Window // bytes, payload and headers

func newQueue(c *net.UnixConn) *queue {
	q := &queue{c: c, w: wire.NewWriter(c), done: make(chan struct{})}
	q.more.L = &q.mu
	go q.pump()
	return q
}

func (q *queue) put(f wire.Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes += len(f.Payload) + wire.HeaderSize
	if q.bytes > queueMost {
		q.c.Close() // its reader sees that and ends the run
		return
	}
	q.buf = append(q.buf, f)
	q.more.Broadcast()
}

func (q *queue) pump() {
	defer close(q.done)
	for {
		q.mu.Lock()
		for len(q.buf) == 0 && !q.ended {
			q.more.Wait()
		}
		frames := q.buf
		q.buf = nil
		q.mu.Unlock()
		if len(frames) == 0 {
			return
		}
		for _, f := range frames {
			if q.w.Write(f) != nil {
				return
			}
			q.mu.Lock()
			q.bytes -= len(f.Payload) + wire.HeaderSize
			q.mu.Unlock()
		}
	}
}

// close sends what is queued and returns.
func (q *queue) close() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.more.Broadcast()
	<-q.done
}
