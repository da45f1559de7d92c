package sig

import (
	"bytes"
	"encoding/binary"
	"testing"

	"culvert/guest/signals"
)

func TestQueueOrder(t *testing.T) {
	var q Queue
	for _, n := range []int{SIGTERM, SIGHUP, 40, SIGSEGV, 34} {
		q.Push(User(n, SI_USER, n, 0), true)
	}
	for _, want := range []int32{SIGSEGV, SIGHUP, SIGTERM, 34, 40} {
		i, ok := q.Pop(^Set(0))
		if !ok || i.Signo != want || i.PID() != uint32(want) {
			t.Fatalf("got %d of pid %d, want %d", i.Signo, i.PID(), want)
		}
	}
	if _, ok := q.Pop(^Set(0)); ok || q.Set() != 0 || q.Len() != 0 {
		t.Fatal("the queue is not empty")
	}
}

func TestQueueStandardOnceRealtimeOften(t *testing.T) {
	var q Queue
	for i := range 3 {
		q.Push(User(SIGUSR1, SI_USER, i, 0), true)
		q.Push(User(50, SI_QUEUE, i, 0), true)
	}
	if q.Len() != 4 {
		t.Fatalf("%d siginfos are held", q.Len())
	}
	if i, _ := q.Pop(Of(SIGUSR1)); i.PID() != 0 || q.Set().Has(SIGUSR1) {
		t.Error("the first SIGUSR1 counts, once")
	}
	for want := range uint32(3) {
		if i, _ := q.Pop(Of(50)); i.PID() != want {
			t.Errorf("real-time signal %d, want %d", i.PID(), want)
		}
	}
}

func TestQueueFull(t *testing.T) {
	var q Queue
	if q.Push(User(50, SI_QUEUE, 1, 0), false) {
		t.Error("a real-time signal without room was taken")
	}
	if !q.Push(User(50, SI_USER, 1, 0), false) || !q.Push(User(SIGINT, SI_TKILL, 1, 0), false) {
		t.Error("a signal of kill without room was refused")
	}
	if i, ok := q.Pop(Of(SIGINT)); !ok || i.Code != SI_USER || i.PID() != 0 {
		t.Errorf("a signal without siginfo gives %+v", i)
	}
}

func TestQueueDiscard(t *testing.T) {
	var q Queue
	q.Push(Kernel(SIGTSTP), true)
	q.Push(Timer(SIGALRM, 3, 0, 1), true)
	q.Push(Timer(40, 3, 0, 1), true)
	q.Push(Timer(40, 4, 0, 1), true)
	q.Discard(Stops)
	q.DiscardTimer(3)
	if q.Set() != Of(40) || q.Len() != 1 || !q.HasTimer(4) || q.HasTimer(3) {
		t.Errorf("set %#x, %d siginfos", q.Set(), q.Len())
	}
}

func TestAutodisarmIsNeverOn(t *testing.T) {
	s := Stack{SP: 0x1000, Size: 0x1000, Flags: SS_AUTODISARM}
	if s.On(0x1800) || s.State(0x1800) != 0 {
		t.Error("SS_AUTODISARM: the stack counts as unused")
	}
	s.Flags = 0
	if !s.On(0x1800) || !s.On(0x2000) || s.On(0x1000) || s.State(0x1800) != SS_ONSTACK {
		t.Error("bounds: the top belongs to the stack, the bottom does not")
	}
}

// FuzzXState: whatever a frame holds, the area that comes out is one that XRSTOR accepts.
func FuzzXState(f *testing.F) {
	x := XState{Size: 832, XCR0: 7}
	area := make([]byte, x.Size)
	x.Init(area)
	f.Add(x.Save(area), uint64(64))
	f.Add(bytes.Repeat([]byte{0xff}, x.FrameSize()), uint64(0))
	f.Fuzz(func(t *testing.T, state []byte, addr uint64) {
		state = append(state, make([]byte, x.FrameSize())...)[:x.FrameSize()]
		for _, x := range []XState{x, {Size: 512}} {
			area := make([]byte, 832)
			x.Init(area)
			before := bytes.Clone(area)
			err := x.Restore(area, state[:x.FrameSize()], addr)
			if err != nil {
				if !bytes.Equal(before, area) {
					t.Fatal("a refused state changed the area")
				}
				continue
			}
			le := binary.LittleEndian
			if le.Uint32(area[signals.OffMXCSR:])&^0xffbf != 0 {
				t.Fatalf("MXCSR %#x", le.Uint32(area[signals.OffMXCSR:]))
			}
			if x.XCR0 != 0 && (le.Uint64(area[offXSTATEBV:])&^x.XCR0 != 0 || !bytes.Equal(area[offXCOMPBV:576], make([]byte, 56))) {
				t.Fatalf("header %x", area[512:576])
			}
		}
	})
}
