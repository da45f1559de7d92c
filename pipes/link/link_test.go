package link

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"culvert/pipes"
	"culvert/shim/abi"
)

const ringSize = 2 * abi.PageSize

// vm is one side of a link: its own pipe over the shared ring, and a bell.
type vm struct {
	pipe  pipes.Pipe
	end   uint64
	words *Words
	ring  []byte
	bell  chan struct{}
	other *vm
}

// pair makes the two sides of a link.
func pair() (writer, reader *vm) {
	words, ring := new(Words), make([]byte, ringSize)
	side := func(end uint64) *vm {
		v := &vm{end: end, words: words, ring: ring, bell: make(chan struct{}, 1)}
		pipes.Init(&v.pipe, 0, ringSize)
		v.pipe.OpenReader()
		v.pipe.OpenWriter()
		return v
	}
	writer, reader = side(pipes.WriteEnd), side(pipes.ReadEnd)
	writer.other, reader.other = reader, writer
	return writer, reader
}

func (v *vm) host() pipes.End {
	return pipes.End{Pipe: &v.pipe, Ring: v.ring, Pause: runtime.Gosched}
}

func (v *vm) publish(when When) {
	if Publish(&v.pipe, v.words, v.end, when) {
		select {
		case v.other.bell <- struct{}{}:
		default:
		}
	}
}

// block waits for the bell unless the other side has come meanwhile.
func (v *vm) block(t *testing.T, ready func() bool) {
	Want(v.words, v.end)
	Pull(&v.pipe, v.words, v.end)
	if ready() {
		return
	}
	select {
	case <-v.bell:
	case <-time.After(20 * time.Second):
		t.Errorf("end %d waits for a bell that nobody rings", v.end)
		runtime.Goexit()
	}
}

func TestWordsLayout(t *testing.T) {
	var w Words
	if unsafe.Sizeof(w) > RingOffset || unsafe.Offsetof(w.Head) < 64 {
		t.Errorf("%d bytes, Head at %d: want a page at most, and the sides' words in lines of their own",
			unsafe.Sizeof(w), unsafe.Offsetof(w.Head))
	}
}

// Bytes arrive in order, and nobody sleeps for ever.
func TestStream(t *testing.T) {
	w, r := pair()
	const total = 4 << 20
	var both sync.WaitGroup
	both.Go(func() {
		rng := rand.New(rand.NewPCG(1, 1))
		buf := make([]byte, 3*abi.PageSize)
		for sent := 0; sent < total; {
			n := min(1+rng.IntN(len(buf)), total-sent)
			for i := range n {
				buf[i] = byte((sent + i) * 7 >> 3)
			}
			for part := buf[:n]; len(part) > 0; {
				Pull(&w.pipe, w.words, w.end)
				m, _, st, err := w.host().Write(part, pipes.ModeOf(uint64(n), 0))
				if err != nil {
					t.Error(err)
					return
				}
				w.publish(Later)
				if st == pipes.WouldBlock {
					w.publish(Now) // as a vCPU that has nothing to run
					w.block(t, w.pipe.Writable)
				}
				part, sent = part[m:], sent+m
			}
		}
	})
	both.Go(func() {
		rng := rand.New(rand.NewPCG(2, 2))
		buf := make([]byte, 3*abi.PageSize)
		for got := 0; got < total; {
			Pull(&r.pipe, r.words, r.end)
			n, _, st, err := r.host().Read(buf[:1+rng.IntN(len(buf))])
			if err != nil {
				t.Error(err)
				return
			}
			for i := range n {
				if want := byte((got + i) * 7 >> 3); buf[i] != want {
					t.Errorf("byte %d is %#x, want %#x", got+i, buf[i], want)
					return
				}
			}
			got += n
			r.publish(Later)
			if st == pipes.WouldBlock {
				r.block(t, r.pipe.Readable)
			}
		}
	})
	both.Wait()
}

// Whatever the other VM stores, a pipe's positions stay such that spans lie in the ring, and never go back.
func TestHostileWords(t *testing.T) {
	w, r := pair()
	var stop atomic.Bool
	var liar sync.WaitGroup
	liar.Go(func() {
		rng := rand.New(rand.NewPCG(3, 3))
		for !stop.Load() {
			v := rng.Uint64()
			if rng.IntN(2) == 0 { // near the truth
				v = atomic.LoadUint64(&r.pipe.Head) + rng.Uint64N(4*ringSize) - ringSize
			}
			atomic.StoreUint64(&w.words.Tail, v)
			atomic.StoreUint64(&w.words.Head, rng.Uint64N(4*ringSize))
			atomic.StoreUint64(&w.words.ReaderWait, rng.Uint64())
			atomic.StoreUint64(&w.words.WriterWait, rng.Uint64())
		}
	})
	rng := rand.New(rand.NewPCG(4, 4))
	buf := make([]byte, ringSize)
	before := map[*vm][2]uint64{}
	for range 200000 {
		for _, v := range []*vm{w, r} {
			Pull(&v.pipe, v.words, v.end)
			head, tail := v.pipe.Head, v.pipe.Tail
			if tail-head > ringSize || head < before[v][0] || tail < before[v][1] {
				t.Fatalf("end %d: head %d, tail %d after %v", v.end, head, tail, before[v])
			}
			before[v] = [2]uint64{head, tail}
			n := 1 + rng.IntN(len(buf))
			var err error
			if v.end == pipes.ReadEnd {
				_, _, _, err = v.host().Read(buf[:n])
			} else {
				_, _, _, err = v.host().Write(buf[:n], pipes.Stream)
			}
			if err != nil {
				t.Fatal(err)
			}
			Publish(&v.pipe, v.words, v.end, Now)
		}
	}
	stop.Store(true)
	liar.Wait()
}

// A reader that waits hears of a few bytes at once, of more when half of the ring is full, and of anything when its writer's
// VM has nothing to run.
func TestLater(t *testing.T) {
	for _, c := range []struct {
		bytes int
		when  When
		bell  bool
	}{
		{0, Now, false}, {1, Later, true}, {abi.PIPE_BUF, Later, true},
		{ringSize / 2, Later, true}, {ringSize, Later, true}, {ringSize/2 - 1, Now, true},
	} {
		w, r := pair()
		Want(r.words, r.end)
		if _, _, _, err := w.host().Write(make([]byte, c.bytes), pipes.Stream); err != nil {
			t.Fatal(err)
		}
		if got := Publish(&w.pipe, w.words, w.end, c.when); got != c.bell {
			t.Errorf("%d bytes of %d, %d: bell %v", c.bytes, ringSize, c.when, got)
		}
	}
	w, r := pair()
	w.pipe.Size, r.pipe.Size = 4*ringSize, 4*ringSize
	Want(r.words, r.end)
	atomic.StoreUint64(&w.pipe.Tail, abi.PIPE_BUF+1)
	if Publish(&w.pipe, w.words, w.end, Later) {
		t.Error("a bell for less than half a ring")
	}
	Pull(&r.pipe, r.words, r.end)
	if !r.pipe.Readable() {
		t.Error("what is published later cannot be read before")
	}
	if !Publish(&w.pipe, w.words, w.end, Now) || Publish(&w.pipe, w.words, w.end, Now) {
		t.Error("not exactly one bell")
	}
}

// VMs that take turns ring for little, and for all else only when they have nothing more to run.
func TestTurns(t *testing.T) {
	for _, c := range []struct {
		written, read int
		when          When
		reader        bool // whose VM waits
		bell          bool
	}{
		{1, 0, Later, true, true}, {abi.PIPE_BUF, 0, Later, true, true},
		{abi.PIPE_BUF + 1, 0, Later, true, false}, {ringSize, 0, Later, true, false}, {ringSize, 0, Now, true, true},
		{ringSize, ringSize / 2, Later, false, false}, {ringSize, ringSize, Later, false, false},
		{ringSize, ringSize/2 - 1, Now, false, false}, {ringSize, ringSize / 2, Now, false, true},
	} {
		w, r := pair()
		w.words.Turns = 1
		if _, _, _, err := w.host().Write(make([]byte, c.written), pipes.Stream); err != nil {
			t.Fatal(err)
		}
		waits, works := w, r
		if c.reader {
			waits, works = r, w
		} else {
			Publish(&w.pipe, w.words, w.end, Now)
			Pull(&r.pipe, r.words, r.end)
			if _, _, _, err := r.host().Read(make([]byte, c.read)); err != nil {
				t.Fatal(err)
			}
		}
		Want(waits.words, waits.end)
		if got := Publish(&works.pipe, works.words, works.end, c.when); got != c.bell {
			t.Errorf("%+v: bell %v", c, got)
		}
	}
}
