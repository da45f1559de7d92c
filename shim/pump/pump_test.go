package pump

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/pipes"

	"golang.org/x/sys/unix"
)

// owner is a VM without vCPUs; the test writes, reads and idles in its place.
type owner struct {
	sync.Mutex
	q      *pipes.Pipe
	hasty  bool
	failed error
}

func (o *owner) Obey(pipes.Wake) {}
func (o *owner) Quiet()          { atomic.StoreUint64(&o.q.HostWatch, 0) }
func (o *owner) Fail(err error)  { o.failed = err }
func (o *owner) Hasty() bool     { return o.hasty }

// rig is a pump with both its sides.
type rig struct {
	*owner
	end  pipes.End
	pump *Pump
	peer *os.File // the other end of the host's pipe
	over chan struct{}
}

func newRig(t *testing.T, out bool) *rig {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	mine, peer := fds[0], fds[1]
	if out {
		mine, peer = peer, mine
	}
	q := new(pipes.Pipe)
	pipes.Init(q, 0, RingSize)
	q.OpenReader()
	q.OpenWriter()
	r := &rig{owner: &owner{q: q}, end: pipes.End{Pipe: q, Ring: make([]byte, RingSize), Pause: runtime.Gosched},
		peer: os.NewFile(uintptr(peer), "peer"), over: make(chan struct{})}
	var err error
	if r.pump, err = New(r.owner, r.end, NewPipe(mine, out), out, runtime.NumCPU()); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.pump.Run()
		close(r.over)
	}()
	t.Cleanup(func() {
		r.finish(t)
		r.pump.Close()
		r.peer.Close()
	})
	return r
}

// finish ends the VM and waits for the goroutine.
func (r *rig) finish(t *testing.T) {
	t.Helper()
	r.Lock()
	r.hasty = true
	r.pump.Finish()
	r.Unlock()
	select {
	case <-r.over:
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not return")
	}
}

// note is what ring 0 does after an operation.
func (r *rig) note(w pipes.Wake) {
	if w.Flags&pipes.WakeNote != 0 {
		r.Lock()
		r.pump.Rouse()
		r.Quiet()
		r.Unlock()
	}
}

// rested waits until the goroutine has nothing to do.
func (r *rig) rested(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		r.Lock()
		asleep := r.pump.Asleep()
		r.Unlock()
		if asleep {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the goroutine does not come to rest")
		}
	}
}

// idle is a vCPU that has nothing to run: it polls for what Idle answers, for a moment.
func (r *rig) idle(fired bool) bool {
	r.Lock()
	events := r.pump.Idle(fired)
	fds := []unix.PollFd{{Fd: int32(r.pump.host.FD()), Events: events}}
	r.Unlock()
	if events == 0 {
		return false
	}
	n, _ := unix.Poll(fds, 1)
	return n > 0
}

// disturb plays the time slices and the vCPUs that idle.
func (r *rig) disturb(t *testing.T) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		rng := rand.New(rand.NewPCG(1, 2))
		fired := false
		for {
			select {
			case <-done:
				return
			default:
			}
			switch rng.IntN(4) {
			case 0:
				r.Lock()
				r.pump.Tick()
				r.Unlock()
			case 1:
				time.Sleep(time.Duration(rng.IntN(200)) * time.Microsecond)
			default:
				fired = r.idle(fired)
			}
		}
	}()
	return func() { close(done); <-ended }
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 4)
	}
	return b
}

// Whoever moves the bytes, the goroutine or vCPUs that idle, they arrive in order.
func TestOutput(t *testing.T) {
	for _, vcpus := range []bool{false, true} {
		r := newRig(t, true)
		if vcpus {
			defer r.disturb(t)()
		}
		want := pattern(8 << 20)
		go func() {
			for left := want; len(left) > 0; {
				n, w, st, _ := r.end.Write(left[:min(len(left), 30000)], pipes.Stream)
				if st == pipes.OK {
					r.note(w)
				} else {
					time.Sleep(50 * time.Microsecond) // as a guest that waits for room
				}
				left = left[n:]
			}
			r.note(r.q.CloseWriter())
			r.Lock()
			r.pump.Rouse()
			r.Unlock()
		}()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r.peer, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("vCPUs %v: the host got other bytes, %v", vcpus, err)
		}
		if vcpus {
			r.idle(false) // sees the end, and leaves it to the goroutine
		}
		select {
		case <-r.over:
		case <-time.After(10 * time.Second):
			t.Fatalf("vCPUs %v: the guest has closed its end, and Run goes on", vcpus)
		}
	}
}

func TestInput(t *testing.T) {
	for _, vcpus := range []bool{false, true} {
		r := newRig(t, false)
		if vcpus {
			defer r.disturb(t)()
		}
		want := pattern(8 << 20)
		go func() {
			r.peer.Write(want)
			r.peer.Close()
		}()
		got, buf := []byte{}, make([]byte, 40000)
		for deadline := time.Now().Add(20 * time.Second); len(got) < len(want) && time.Now().Before(deadline); {
			n, w, st, _ := r.end.Read(buf)
			if st == pipes.OK {
				r.note(w)
			} else {
				time.Sleep(50 * time.Microsecond)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("vCPUs %v: the guest got other bytes, %d of %d", vcpus, len(got), len(want))
		}
		select {
		case <-r.over:
		case <-time.After(10 * time.Second):
			t.Fatalf("vCPUs %v: Run goes on after the end of the input", vcpus)
		}
	}
}

// What vCPUs do not come to do the goroutine does, but not before they had their time; and nothing is left on a ring that a vCPU keeps empty.
func TestTick(t *testing.T) {
	r := newRig(t, true)
	r.rested(t)
	r.idle(false)
	if r.pump.Restless() {
		t.Error("there is something to do with an empty ring")
	}
	if _, w, _, _ := r.end.Write([]byte("hello"), pipes.Stream); w.Flags&pipes.WakeNote != 0 {
		t.Error("the doorbell is on while vCPUs do the work")
	}
	time.Sleep(5 * time.Millisecond)
	if !r.end.Pipe.Readable() {
		t.Fatal("the goroutine works while vCPUs do")
	}
	for range patience { // the rig has no processor to spare
		r.Lock()
		if !r.pump.Restless() {
			t.Error("there is nothing to do with a ring in which bytes are left")
		}
		r.pump.Tick()
		r.Unlock()
	}
	time.Sleep(5 * time.Millisecond)
	if !r.end.Pipe.Readable() {
		t.Fatal("the goroutine takes over early")
	}
	r.Lock()
	r.pump.Tick()
	r.Unlock()
	buf := make([]byte, 10)
	r.peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := r.peer.Read(buf); string(buf[:n]) != "hello" {
		t.Errorf("the host read %q, %v", buf[:n], err)
	}
	if r.pump.Restless() {
		t.Error("there is something to do with a ring that is the goroutine's")
	}
}

// newRing returns a pipe with both ends open, and who owns its host's end.
func newRing() (*pipes.Pipe, *owner) {
	q := new(pipes.Pipe)
	pipes.Init(q, 0, RingSize)
	q.OpenReader()
	q.OpenWriter()
	return q, &owner{q: q}
}

// A vCPU that idles before the goroutine has begun leaves the work to it: one of them at a time.
func TestIdleBeforeRun(t *testing.T) {
	q, o := newRing()
	p, err := New(o, pipes.End{Pipe: q, Ring: make([]byte, RingSize), Pause: runtime.Gosched}, NewPipe(-1, false), false, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o.Lock()
	defer o.Unlock()
	if p.Idle(false) != 0 || p.inline.Load() {
		t.Error("a vCPU takes over from a goroutine that has not begun")
	}
}

// The host's reader goes while vCPUs do the work and have none: the guest is to know at once.
func TestReaderGone(t *testing.T) {
	r := newRig(t, true)
	r.rested(t)
	r.idle(false)
	r.peer.Close()
	select {
	case <-r.over:
	case <-time.After(10 * time.Second):
		t.Fatal("Run goes on without a reader")
	}
}

// hostFunc is a Host that is a function.
type hostFunc func() (int, error)

func (f hostFunc) FD() int                       { return -1 }
func (f hostFunc) Move(_, _ []byte) (int, error) { return f() }
func (f hostFunc) Grow()                         {}
func (f hostFunc) Close() error                  { return nil }

// Two vCPUs idle: the one that does the work goes on for the other, which came in the midst of it and sleeps, until the host
// has no more. Else nobody would watch the host.
func TestIdleMeanwhile(t *testing.T) {
	q, o := newRing()
	var p *Pump // which host calls
	moves := 0
	host := hostFunc(func() (int, error) {
		if moves++; moves > 1 {
			return -1, unix.EAGAIN
		}
		o.Lock()
		defer o.Unlock()
		if p.Idle(false) != 0 {
			t.Error("two vCPUs do the work")
		}
		return 1, nil
	})
	var err error
	p, err = New(o, pipes.End{Pipe: q, Ring: make([]byte, RingSize), Pause: runtime.Gosched}, host, false, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o.Lock()
	defer o.Unlock()
	p.busy = false // Run has come to rest
	if got := p.Idle(false); got != unix.POLLIN || moves != 2 {
		t.Errorf("the vCPU watches for %#x after %d moves, want POLLIN after 2", got, moves)
	}
}
