package eventfd

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"culvert/pipes"
	"culvert/shim/abi"
)

func TestLayout(t *testing.T) {
	var e EventFD
	for name, off := range map[string]uintptr{"RWait": unsafe.Offsetof(e.RWait), "end": unsafe.Sizeof(e)} {
		if off%64 != 0 {
			t.Errorf("%s at %d is not on a cache line", name, off)
		}
	}
	if n := unsafe.Sizeof(e); n > abi.PageSize {
		t.Errorf("an eventfd takes %d bytes, more than a page", n)
	}
}

// TestLinux does the same to an eventfd of the running kernel and to ours.
func TestLinux(t *testing.T) {
	values := rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64Range(max-4, max-1), rapid.Uint64Range(0, max-1))
	rapid.Check(t, func(t *rapid.T) {
		var e EventFD
		semaphore, start := rapid.Bool().Draw(t, "semaphore"), rapid.Uint32Range(0, 3).Draw(t, "start")
		flags := unix.EFD_NONBLOCK | unix.EFD_CLOEXEC
		if semaphore {
			flags |= unix.EFD_SEMAPHORE
		}
		fd, err := unix.Eventfd(uint(start), flags)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		Init(&e, uint64(start), semaphore)
		var buf [8]byte
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				v := values.Draw(t, "v")
				binary.NativeEndian.PutUint64(buf[:], v)
				_, err := unix.Write(fd, buf[:])
				if room := e.Writable(v); room != (err == nil) {
					t.Fatalf("Writable(%d) = %v; Linux %v", v, room, err)
				}
				w, st := e.Write(v)
				if (st == pipes.OK) != (err == nil) || st == pipes.WouldBlock != (err == unix.EAGAIN) {
					t.Fatalf("write %d: status %d; Linux %v", v, st, err)
				}
				if st == pipes.OK && w.Events != pipes.POLLIN {
					t.Fatalf("write %d: %+v", v, w)
				}
			},
			"read": func(t *rapid.T) {
				_, err := unix.Read(fd, buf[:])
				v, w, st := e.Read()
				if (st == pipes.OK) != (err == nil) || st == pipes.WouldBlock != (err == unix.EAGAIN) ||
					err == nil && v != binary.NativeEndian.Uint64(buf[:]) {
					t.Fatalf("read: %d, status %d; Linux %d, %v", v, st, binary.NativeEndian.Uint64(buf[:]), err)
				}
				if st == pipes.OK && w.Events != pipes.POLLOUT {
					t.Fatalf("read: %+v", w)
				}
			},
			"": func(t *rapid.T) {
				fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT | pipes.POLLRDNORM | pipes.POLLWRNORM}}
				if _, err := unix.Poll(fds, 0); err != nil && err != unix.EINTR {
					t.Fatal(err)
				}
				if got := e.Readiness(); got != uint64(fds[0].Revents) {
					t.Fatalf("poll: %#x; Linux %#x", got, fds[0].Revents)
				}
				if e.Readable() != (fds[0].Revents&unix.POLLIN != 0) {
					t.Fatalf("Readable = %v", e.Readable())
				}
			},
		})
	})
}

func TestWakes(t *testing.T) {
	var e EventFD
	Init(&e, 0, true)
	want := func(what string, got pipes.Wake, reader int64, events, flags uint64) {
		t.Helper()
		if w := (pipes.Wake{Reader: reader, Writer: -1, Events: events, Flags: flags}); got != w {
			t.Errorf("%s: %+v, want %+v", what, got, w)
		}
	}
	for _, i := range []uint64{3, 4, 5} {
		e.RWait.Join(i)
	}
	w, _ := e.Write(0)
	want("nothing was added", w, -1, pipes.POLLIN, 0)
	w, _ = e.Write(3)
	want("one reader", w, 3, pipes.POLLIN, 0)
	_, w, _ = e.Read()
	want("the next one", w, 4, pipes.POLLOUT, 0)
	want("a reader that takes nothing", e.Pass(), 5, 0, 0)
	e.PWait.Join(9)
	e.HostWatch = 1
	w, _ = e.Write(max - 5)
	want("pollers and the shim", w, -1, pipes.POLLIN, pipes.WakePollers|pipes.WakeNote)
	if _, st := e.Write(9); st != pipes.WouldBlock {
		t.Errorf("full: status %d", st)
	}
	e.WWait.Join(1)
	_, w, _ = e.Read()
	want("all writers", w, -1, pipes.POLLOUT, pipes.WakePollers|pipes.WakeNote|pipes.WakeAll)
}

// parking is where the goroutines of TestStress sleep: a place for one wake each, as WOKEN is.
type parking []chan struct{}

func (p parking) wake(i int64) {
	if i >= 0 {
		select {
		case p[i] <- struct{}{}:
		default:
		}
	}
}

func (p parking) obey(e *EventFD, w pipes.Wake) {
	p.wake(w.Reader)
	if w.Flags&pipes.WakeAll != 0 {
		p.all(&e.WWait)
	}
}

func (p parking) all(s *pipes.WaitSet) {
	for w := uint64(0); w < pipes.SetWords; w++ {
		for b := s.TakeWord(w); b != 0; b &= b - 1 {
			p.wake(int64(w<<6) + int64(bits.TrailingZeros64(b)))
		}
	}
}

// TestStress: four readers and four writers, as a semaphore and as a counter that is nearly always full. What is
// written is read, and nobody sleeps for ever.
func TestStress(t *testing.T) {
	rounds := uint64(200_000)
	if testing.Short() {
		rounds = 20_000
	}
	t.Run("semaphore", func(t *testing.T) { stress(t, rounds, true, 1, 7) })
	t.Run("counter", func(t *testing.T) { stress(t, rounds, false, 1<<62, 3) })
}

// stress sends so many units, most at once in a write.
func stress(t *testing.T, units uint64, semaphore bool, unit, most uint64) {
	var e EventFD
	Init(&e, 0, semaphore)
	park := make(parking, abi.MaxThreads)
	var read atomic.Uint64
	var wg sync.WaitGroup
	sleep := func(i uint64, set *pipes.WaitSet, ready func() bool) {
		set.Join(i)
		if !ready() {
			select {
			case <-park[i]:
			case <-time.After(30 * time.Second):
				panic(fmt.Sprintf("lost wake-up of %d: count %#x, %d of %d units read", i, atomic.LoadUint64(&e.Count),
					read.Load(), units))
			}
		}
		set.Leave(i)
	}
	reader := func(i uint64) {
		for read.Load() < units {
			v, w, st := e.Read()
			switch st {
			case pipes.OK:
				park.obey(&e, w)
				if read.Add(v/unit) == units {
					park.all(&e.RWait)
				}
			case pipes.WouldBlock:
				sleep(i, &e.RWait, func() bool { return e.Readable() || read.Load() == units })
			default:
				runtime.Gosched()
			}
		}
	}
	writer := func(i uint64) {
		for left := units / 4; left > 0; {
			n := min(left, 1+left%most)
			w, st := e.Write(n * unit)
			switch st {
			case pipes.OK:
				park.obey(&e, w)
				left -= n
			case pipes.WouldBlock:
				sleep(i, &e.WWait, func() bool { return e.Writable(n * unit) })
			default:
				runtime.Gosched()
			}
		}
	}
	for n := uint64(0); n < 4; n++ {
		r, w := n*500, n*500+1 // in several words of the sets
		park[r], park[w] = make(chan struct{}, 1), make(chan struct{}, 1)
		wg.Go(func() { reader(r) })
		wg.Go(func() { writer(w) })
	}
	wg.Wait()
	if n := read.Load(); n != units || e.Count != 0 {
		t.Errorf("%d units read of %d, count %d", n, units, e.Count)
	}
}
