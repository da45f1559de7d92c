package pipes

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestHostEnd lets the host hold both outer ends of guest threads' pipes, as it does for stdin and stdout of a VM: it
// feeds one pipe, two guest threads copy to another, the host drains that. It sleeps on notes alone.
func TestHostEnd(t *testing.T) {
	total := 200_000_000
	if raceEnabled || testing.Short() {
		total = 2_000_000
	}
	in, out := newEnd(DefaultSize), newEnd(DefaultSize)
	in.Pipe.Data, out.Pipe.Data = 0, 1
	notes := map[*Pipe]chan struct{}{in.Pipe: make(chan struct{}, 1), out.Pipe: make(chan struct{}, 1)}
	s := &sched{}
	obey := func(p *Pipe, w Wake) {
		if w.Flags&WakeNote != 0 {
			select {
			case notes[p] <- struct{}{}:
			default:
			}
		}
		s.obey(p, w)
	}
	// rest is the host's sleep: watch, look again, wait for a note.
	rest := func(p *Pipe, ready func() bool) bool {
		atomic.AddUint64(&p.HostWatch, 1)
		defer atomic.AddUint64(&p.HostWatch, ^uint64(0))
		for !ready() {
			select {
			case <-notes[p]:
			case <-time.After(20 * time.Second):
				s.fail("no note: head %d, tail %d", atomic.LoadUint64(&p.Head), atomic.LoadUint64(&p.Tail))
				return false
			}
		}
		return true
	}
	s.threads = []*thread{{step: (&copier{in: in, out: out, obey: obey}).step}}
	var wg sync.WaitGroup
	wg.Go(func() { // the host writes
		rng := rand.New(rand.NewPCG(1, 2))
		for pos := 0; pos < total && !s.stop.Load(); {
			b := streamAt(uint64(pos), min(1+rng.IntN(40000), total-pos))
			n, w, st, err := in.Write(b, ModeOf(uint64(len(b)), 0))
			if err != nil {
				s.fail("%v", err)
			}
			if st == WouldBlock && !rest(in.Pipe, in.Pipe.Writable) {
				return
			}
			if st == OK {
				obey(in.Pipe, w)
				pos += n
				s.progress.Add(1)
			}
		}
		obey(in.Pipe, in.Pipe.CloseWriter())
	})
	wg.Go(func() { // the host reads
		buf, pos := make([]byte, 50000), 0
		for !s.stop.Load() {
			n, w, st, err := out.Read(buf)
			if err != nil {
				s.fail("%v", err)
			}
			switch st {
			case EOF:
				if pos != total {
					s.fail("EOF after %d of %d bytes", pos, total)
				}
				return
			case WouldBlock:
				if !rest(out.Pipe, out.Pipe.Readable) {
					return
				}
			case OK:
				obey(out.Pipe, w)
				for b := buf[:n]; len(b) > 0; {
					want := streamAt(uint64(pos), len(b))
					if !bytes.Equal(b[:len(want)], want) {
						s.fail("wrong bytes at %d", pos)
						return
					}
					pos += len(want)
					b = b[len(want):]
				}
				s.progress.Add(1)
			}
		}
	})
	s.run(t, 2)
	wg.Wait()
	if m := s.failed.Load(); m != nil {
		t.Fatal(*m)
	}
}

// copier is a guest thread that splices in to out.
type copier struct {
	in, out End
	obey    func(*Pipe, Wake)
	joined  *WaitSet
}

func (c *copier) step(t *thread) outcome {
	if c.joined != nil {
		c.joined.Leave(t.index)
		c.joined = nil
	}
	in, out := c.in.Pipe, c.out.Pipe
	m, st := BeginMove(in, out, runtime.Gosched)
	switch st {
	case LockBusy:
		return yield
	case EOF:
		c.obey(out, out.CloseWriter())
		return done
	case WouldBlock:
		return c.wait(t, &in.RWait, in.Readable)
	case WouldBlockOut:
		return c.wait(t, &out.WWait, out.Writable)
	}
	for m.Bytes < 30000 {
		from, to, n := m.Next(in, out, 30000-m.Bytes, true)
		if n == 0 {
			break
		}
		if err := CopySpan(c.out.Ring, to, c.in.Ring, from); err != nil {
			panic(err)
		}
	}
	onIn, onOut := EndMove(in, out, m, true)
	c.obey(in, onIn)
	c.obey(out, onOut)
	return again
}

func (c *copier) wait(t *thread, set *WaitSet, ready func() bool) outcome {
	set.Join(t.index)
	c.joined = set
	if ready() {
		return again
	}
	return block
}

// TestCorrupt: words that name bytes outside the ring are an error, and the lock is free again.
func TestCorrupt(t *testing.T) {
	e := newEnd(4096)
	e.write(t, pattern(100, 0), 0)
	e.Pipe.Size = 1 << 30
	e.Pipe.Head, e.Pipe.Tail = 1<<20, 1<<20+5
	_, _, _, err := e.Read(make([]byte, 10))
	var c *CorruptError
	if !errors.As(err, &c) || c.Ring != 4096 {
		t.Errorf("read: %v", err)
	}
	if _, _, _, err := e.Write(make([]byte, 10), Atomic); !errors.As(err, &c) {
		t.Errorf("write: %v", err)
	}
	if e.Pipe.ReadLock != 0 || e.Pipe.WriteLock != 0 {
		t.Error("a lock is held")
	}
	for _, bad := range []Span{{Off: 5000, N1: 1}, {Off: 4000, N1: 97}, {Off: ^uint64(0), N1: 2}, {N1: 1, N2: 5000}} {
		if err := CopySpan(make([]byte, 9000), Span{N1: 8000}, e.Ring, bad); !errors.As(err, &c) {
			t.Errorf("from %+v: %v", bad, err)
		}
		if err := CopySpan(e.Ring, bad, make([]byte, 9000), Span{N1: 8000}); !errors.As(err, &c) {
			t.Errorf("to %+v: %v", bad, err)
		}
	}
}
