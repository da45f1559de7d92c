package pipes

import (
	"bytes"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"culvert/shim/abi"
)

// newEnd makes a pipe of size bytes with a reader and a writer.
func newEnd(size uint64) End {
	e := End{Pipe: new(Pipe), Ring: make([]byte, size), Pause: runtime.Gosched}
	Init(e.Pipe, 0, size)
	e.Pipe.OpenReader()
	e.Pipe.OpenWriter()
	return e
}

// fataler is a test, of testing or of rapid.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// write and read are what the shim makes of write(2) and read(2) without blocking: n, or the status.
func (e End) write(t fataler, b []byte, flags uint64) (int, Status) {
	t.Helper()
	if len(b) == 0 {
		return 0, OK
	}
	mode, done := ModeOf(uint64(len(b)), flags), 0
	for done < len(b) {
		n, _, st, err := e.Write(b[done:], mode)
		if err != nil {
			t.Fatal(err)
		}
		if st != OK {
			if done > 0 {
				return done, OK
			}
			return 0, st
		}
		done += n
		if mode == Stream { // took what fits
			return done, OK
		}
	}
	return done, OK
}

func (e End) read(t fataler, b []byte) (int, Status) {
	t.Helper()
	done := 0
	for done < len(b) {
		n, w, st, err := e.Read(b[done:])
		if err != nil {
			t.Fatal(err)
		}
		if st != OK {
			if done > 0 {
				return done, OK
			}
			return 0, st
		}
		done += n
		if w.Flags&More == 0 {
			break
		}
	}
	return done, OK
}

func (e End) queued(t fataler) uint64 {
	t.Helper()
	n, st := e.Pipe.Bytes(e.Pause)
	if st != OK {
		t.Fatalf("Bytes: status %d", st)
	}
	return n
}

func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*7 + seed
	}
	return b
}

func TestLayout(t *testing.T) {
	var p Pipe
	for name, off := range map[string]uintptr{
		"Head": unsafe.Offsetof(p.Head), "Tail": unsafe.Offsetof(p.Tail), "Size": unsafe.Offsetof(p.Size),
		"RWait": unsafe.Offsetof(p.RWait), "WWait": unsafe.Offsetof(p.WWait), "PWait": unsafe.Offsetof(p.PWait),
		"Packet": unsafe.Offsetof(p.Packet), "end": unsafe.Sizeof(p),
	} {
		if off%64 != 0 {
			t.Errorf("%s at %d is not on a cache line", name, off)
		}
	}
	if n := unsafe.Sizeof(p); n > abi.PageSize {
		t.Errorf("a pipe takes %d bytes, more than a page", n)
	}
}

// TestWrites are the rules of PIPE_BUF: which writes a pipe of 64 KiB takes, by how full it is.
func TestWrites(t *testing.T) {
	for _, c := range []struct {
		name        string
		fill, write int
		flags       uint64
		n           int
		st          Status
		poll        uint64
	}{
		{"empty, all", 0, 65536, 0, 65536, OK, 0},
		{"empty, more than all", 0, 70000, 0, 65536, OK, 0},
		{"atomic fits exactly", 65536 - 100, 100, 0, 100, OK, 0},
		{"atomic is never short", 65536 - 100, 101, 0, 0, WouldBlock, 0},
		{"PIPE_BUF is atomic", 65536 - 4095, 4096, 0, 0, WouldBlock, 0},
		{"PIPE_BUF fits", 65536 - 4096, 4096, 0, 4096, OK, 0},
		{"above PIPE_BUF is short", 65536 - 10, 4097, 0, 10, OK, 0},
		{"full", 65536, 1, 0, 0, WouldBlock, 0},
		{"full, long", 65536, 5000, 0, 0, WouldBlock, 0},
		{"leaves PIPE_BUF", 0, 65536 - 4096, 0, 65536 - 4096, OK, POLLOUT | POLLWRNORM},
		{"leaves less", 0, 65536 - 4095, 0, 65536 - 4095, OK, 0},
		{"nothing", 65536, 0, 0, 0, OK, 0},
		{"packet needs a slot", 65536 - 4095, 1, abi.O_DIRECT, 0, WouldBlock, 0},
		{"packet takes a slot", 65536 - 4096, 1, abi.O_DIRECT, 1, OK, 0},
		{"long write is packets", 65536 - 8192, 20000, abi.O_DIRECT, 8192, OK, 0},
	} {
		e := newEnd(DefaultSize)
		e.write(t, pattern(c.fill, 0), 0)
		n, st := e.write(t, pattern(c.write, 1), c.flags)
		if n != c.n || st != c.st {
			t.Errorf("%s: write = %d, status %d; want %d, %d", c.name, n, st, c.n, c.st)
		}
		if got := e.Pipe.Readiness(WriteEnd, 0); got != c.poll {
			t.Errorf("%s: poll = %#x, want %#x", c.name, got, c.poll)
		}
		if got := e.queued(t); got != uint64(c.fill+c.n) {
			t.Errorf("%s: FIONREAD = %d, want %d", c.name, got, c.fill+c.n)
		}
	}
}

func TestOneByteWrites(t *testing.T) {
	e := newEnd(DefaultSize)
	for i := 0; i < DefaultSize; i++ {
		if n, st := e.write(t, []byte{byte(i)}, 0); n != 1 || st != OK {
			t.Fatalf("byte %d: %d, status %d", i, n, st)
		}
	}
	if _, st := e.write(t, []byte{0}, 0); st != WouldBlock {
		t.Fatalf("a full pipe: status %d", st)
	}
}

// TestHangup goes through the states of case 09: poll bits, reads and writes as ends go away.
func TestHangup(t *testing.T) {
	const in, out = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
	e := newEnd(DefaultSize)
	p := e.Pipe
	poll := func(when string, ends, want uint64) {
		t.Helper()
		if got := p.Readiness(ends, 0); got != want {
			t.Errorf("%s: poll = %#x, want %#x", when, got, want)
		}
	}
	buf := make([]byte, 8)
	poll("empty", ReadEnd, 0)
	poll("empty", ReadEnd|WriteEnd, out)
	if _, st := e.read(t, buf); st != WouldBlock || p.Readable() {
		t.Errorf("empty: status %d, readable %v", st, p.Readable())
	}
	e.write(t, []byte("x"), 0)
	poll("data", ReadEnd, in)
	if w := p.CloseWriter(); w.Events != POLLHUP || w.Flags != WakeAll {
		t.Errorf("last writer: %+v", w)
	}
	poll("data, no writer", ReadEnd, in|POLLHUP)
	if n, st := e.read(t, buf); n != 1 || st != OK {
		t.Errorf("data, no writer: %d, status %d", n, st)
	}
	poll("no writer", ReadEnd, POLLHUP)
	if _, st := e.read(t, buf); st != EOF || !p.Readable() {
		t.Errorf("no writer: status %d, readable %v", st, p.Readable())
	}
	if w := p.CloseReader(); w.Flags != Dead || w.Events != 0 {
		t.Errorf("last end: %+v", w)
	}

	e = newEnd(DefaultSize)
	p = e.Pipe
	p.OpenReader()
	if w := p.CloseReader(); w.Flags != 0 || w.Events != 0 {
		t.Errorf("a reader is left: %+v", w)
	}
	if w := p.CloseReader(); w.Events != POLLERR || w.Flags != WakeAll {
		t.Errorf("last reader: %+v", w)
	}
	poll("no reader, room", WriteEnd, out|POLLERR)
	if _, st := e.write(t, buf, 0); st != EPIPE || !p.Writable() {
		t.Errorf("no reader: status %d", st)
	}
	if n, st := e.write(t, nil, 0); n != 0 || st != OK {
		t.Errorf("no reader, no bytes: %d, status %d", n, st)
	}
	p.OpenReader()
	e.write(t, pattern(DefaultSize, 0), 0)
	p.CloseReader()
	poll("no reader, full", WriteEnd, POLLERR)
}

// TestFIFO checks that a FIFO opened without a writer shows no POLLHUP before the first writer came and went.
func TestFIFO(t *testing.T) {
	var p Pipe
	Init(&p, 0, DefaultSize)
	if w := p.OpenReader(); w.Flags != WakeAll {
		t.Errorf("first reader wakes nobody: %+v", w)
	}
	if w := p.OpenReader(); w.Flags != 0 {
		t.Errorf("second reader wakes: %+v", w)
	}
	since := p.WriterOpens
	if got := p.Readiness(ReadEnd, since); got != 0 {
		t.Errorf("before a writer: %#x", got)
	}
	if w := p.OpenWriter(); w.Flags != WakeAll {
		t.Errorf("first writer wakes nobody: %+v", w)
	}
	p.CloseWriter()
	if got := p.Readiness(ReadEnd, since); got != POLLHUP {
		t.Errorf("after a writer: %#x", got)
	}
}

func TestWakes(t *testing.T) {
	e := newEnd(DefaultSize)
	p := e.Pipe
	one := func(what string, got Wake, reader, writer int64, events, flags uint64) {
		t.Helper()
		if want := (Wake{reader, writer, events, flags}); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	write := func(n int) Wake {
		t.Helper()
		_, w, st, err := e.Write(pattern(n, 0), Stream)
		if st != OK || err != nil {
			t.Fatalf("write %d: status %d, %v", n, st, err)
		}
		return w
	}
	read := func(n int) Wake {
		t.Helper()
		_, w, st, err := e.Read(make([]byte, n))
		if st != OK || err != nil {
			t.Fatalf("read %d: status %d, %v", n, st, err)
		}
		return w
	}
	const in, out = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
	one("nobody waits", write(10), -1, -1, in, 0)
	p.RWait.Join(7)
	p.RWait.Join(100)
	one("a write wakes one reader", write(10), 7, -1, in, 0)
	one("a read passes it on", read(15), 100, -1, 0, 0)
	one("nothing left to pass", read(5), -1, -1, 0, 0)

	p.PWait.Join(3)
	one("pollers hear of each write", write(65536-4095), -1, -1, in, WakePollers)
	p.WWait.Join(9)
	p.WWait.Join(4000)
	p.HostWatch = 1
	one("making room is an edge", read(1), -1, 9, out, WakePollers|WakeNote)
	one("the next read is none", read(1), -1, 4000, 0, 0)
	p.WWait.Join(9)
	one("a write passes room on", write(1), -1, 9, in, WakePollers|WakeNote)
	write(4096)
	p.WWait.Join(9)
	one("less than PIPE_BUF wakes nobody", read(1), -1, -1, 0, 0)
	p.WWait.Leave(9)
	one("closing the last reader", p.CloseReader(), -1, -1, POLLERR, WakeAll|WakePollers|WakeNote)

	e = newEnd(DefaultSize)
	p = e.Pipe
	write(1)
	p.RWait.Join(5)
	p.WWait.Join(6)
	one("a reader that takes nothing passes both on", p.PassRead(), 5, 6, 0, 0)
	p.WWait.Join(6)
	one("a writer that writes nothing", p.PassWrite(), -1, 6, 0, 0)
	p.RWait.Join(5)
	s, st := p.BeginRead(10, runtime.Gosched)
	if st != OK || s != (Span{0, 1, 0}) {
		t.Fatalf("BeginRead: %+v, status %d", s, st)
	}
	one("an abort passes on", p.EndRead(0), 5, -1, 0, 0)
	if n := e.queued(t); n != 1 {
		t.Errorf("an abort consumed: %d bytes left", n)
	}
}

func TestLockBusy(t *testing.T) {
	e := newEnd(DefaultSize)
	e.write(t, []byte("abc"), 0)
	pauses := 0
	pause := func() { pauses++ }
	if _, st := e.Pipe.BeginRead(1, pause); st != OK {
		t.Fatalf("status %d", st)
	}
	if _, st := e.Pipe.BeginRead(1, pause); st != LockBusy || pauses != lockTries {
		t.Errorf("second reader: status %d after %d pauses", st, pauses)
	}
	if _, st := e.Pipe.BeginWrite(1, Atomic, pause); st != OK {
		t.Errorf("a writer beside a reader: status %d", st)
	}
	if _, _, st := e.Pipe.BeginResize(4096, pause); st != LockBusy {
		t.Errorf("resize beside both: status %d", st)
	}
	if n, st := e.Pipe.Bytes(pause); st != OK || n != 3 {
		t.Errorf("FIONREAD beside a reader: %d, status %d", n, st)
	}
	e.Pipe.Slotted = 1
	if _, st := e.Pipe.Bytes(pause); st != LockBusy {
		t.Errorf("FIONREAD of packets beside a reader: status %d", st)
	}
	e.Pipe.EndWrite(0, Atomic)
	e.Pipe.EndRead(0)
}

func TestPackets(t *testing.T) {
	e := newEnd(4 * 4096)
	for i, n := range []int{10, 4096, 1, 300} {
		if got, st := e.write(t, pattern(n, byte(i)), abi.O_DIRECT); got != n || st != OK {
			t.Fatalf("packet %d: %d, status %d", i, got, st)
		}
	}
	if _, st := e.write(t, []byte("x"), abi.O_DIRECT); st != WouldBlock {
		t.Errorf("a fifth packet in four slots: status %d", st)
	}
	if n := e.queued(t); n != 10+4096+1+300 {
		t.Errorf("FIONREAD = %d", n)
	}
	buf := make([]byte, 5000)
	for i, c := range []struct{ max, n int }{{4, 4}, {5000, 4096}, {5000, 1}, {300, 300}} {
		n, st := e.read(t, buf[:c.max])
		if n != c.n || st != OK || !bytes.Equal(buf[:n], pattern(n, byte(i))) {
			t.Errorf("packet %d: %d bytes, status %d, want %d", i, n, st, c.n)
		}
	}
	if _, st := e.read(t, buf); st != WouldBlock {
		t.Errorf("drained: status %d", st)
	}
}

// TestReadFault: a copy that faults in a packet leaves it, one that faults in bytes takes those before the fault.
func TestReadFault(t *testing.T) {
	e, buf := newEnd(8192), make([]byte, 100)
	e.write(t, pattern(10, 1), 0)
	e.write(t, pattern(20, 2), abi.O_DIRECT)
	for i, want := range []uint64{7, 3, 0} {
		s, st := e.Pipe.BeginRead(100, e.Pause)
		if st != OK {
			t.Fatalf("fault %d: status %d", i, st)
		}
		if got, _ := e.Pipe.EndReadFault(min(7, s.N1)); got != want {
			t.Errorf("fault %d: %d bytes are consumed, want %d", i, got, want)
		}
	}
	if n, _ := e.read(t, buf); n != 20 || !bytes.Equal(buf[:n], pattern(20, 2)) {
		t.Errorf("the packet after a fault: %d bytes", n)
	}
}

// TestMixed: bytes and packets in one pipe; a read goes on from bytes into one packet and ends there.
func TestMixed(t *testing.T) {
	e := newEnd(8 * 4096)
	for lap := 0; lap < 50; lap++ {
		e.write(t, pattern(100, 1), 0)
		e.write(t, pattern(50, 2), abi.O_DIRECT)
		e.write(t, pattern(5000, 3), 0)
		e.write(t, pattern(7, 4), abi.O_DIRECT)
		if n := e.queued(t); n != 100+50+5000+7 {
			t.Fatalf("FIONREAD = %d", n)
		}
		buf := make([]byte, 10000)
		n, _ := e.read(t, buf[:60])
		if n != 60 || !bytes.Equal(buf[:60], pattern(100, 1)[:60]) {
			t.Fatalf("bytes: %d", n)
		}
		n, _ = e.read(t, buf[:70])
		if n != 70 || !bytes.Equal(buf[:40], pattern(100, 1)[60:]) || !bytes.Equal(buf[40:70], pattern(30, 2)) {
			t.Fatalf("bytes and a cut packet: %d", n)
		}
		n, _ = e.read(t, buf)
		if n != 5007 || !bytes.Equal(buf[:5000], pattern(5000, 3)) || !bytes.Equal(buf[5000:n], pattern(7, 4)) {
			t.Fatalf("bytes and a packet: %d", n)
		}
	}
}

// move is splice or tee of at most want bytes.
func move(t fataler, src, dst End, want uint64, take bool) (uint64, Status) {
	t.Helper()
	m, st := BeginMove(src.Pipe, dst.Pipe, src.Pause)
	if st != OK {
		return 0, st
	}
	for m.Bytes < want {
		from, to, n := m.Next(src.Pipe, dst.Pipe, want-m.Bytes, take)
		if n == 0 {
			break
		}
		if err := CopySpan(dst.Ring, to, src.Ring, from); err != nil {
			t.Fatal(err)
		}
	}
	EndMove(src.Pipe, dst.Pipe, m, take)
	return m.Bytes, OK
}

func TestMove(t *testing.T) {
	src, dst := newEnd(8192), newEnd(16384)
	buf := make([]byte, 20000)
	if _, st := move(t, src, dst, 10, true); st != WouldBlock {
		t.Errorf("empty source: status %d", st)
	}
	for lap := 0; lap < 30; lap++ {
		src.write(t, pattern(5000, 9), 0)
		if n, _ := move(t, src, dst, 100, false); n != 100 {
			t.Fatalf("tee: %d", n)
		}
		if n, _ := move(t, src, dst, 9999, true); n != 5000 {
			t.Fatalf("splice: %d", n)
		}
		if n, _ := dst.read(t, buf); n != 5100 || !bytes.Equal(buf[:100], pattern(100, 9)) ||
			!bytes.Equal(buf[100:5100], pattern(5000, 9)) {
			t.Fatalf("read: %d", n)
		}
	}
	// A packet may be taken in parts; each part is a packet, and the rest keeps its slot.
	src.write(t, pattern(4000, 5), abi.O_DIRECT)
	src.write(t, pattern(20, 6), abi.O_DIRECT)
	if n, _ := move(t, src, dst, 1000, true); n != 1000 || src.queued(t) != 3020 || src.Pipe.Writable() {
		t.Fatalf("part of a packet: %d, %d left", n, src.queued(t))
	}
	if n, _ := move(t, src, dst, 3005, false); n != 3005 || src.queued(t) != 3020 {
		t.Fatalf("tee of a rest: %d, %d left", n, src.queued(t))
	}
	if n, _ := src.read(t, buf); n != 3000 || !bytes.Equal(buf[:n], pattern(4000, 5)[1000:]) {
		t.Fatalf("rest of a packet: %d", n)
	}
	for i, want := range [][]byte{pattern(4000, 5)[:1000], pattern(4000, 5)[1000:], pattern(5, 6)} {
		if n, _ := dst.read(t, buf); !bytes.Equal(buf[:n], want) {
			t.Errorf("packet %d: %d bytes, want %d", i, n, len(want))
		}
	}
	dst.write(t, pattern(16384, 0), 0)
	if _, st := move(t, src, dst, 10, true); st != WouldBlockOut {
		t.Errorf("full destination: status %d", st)
	}
	src.read(t, buf)
	src.Pipe.CloseWriter()
	if _, st := move(t, src, dst, 10, true); st != WouldBlockOut {
		t.Errorf("no writer, full destination: status %d", st)
	}
	dst.read(t, buf)
	if _, st := move(t, src, dst, 10, true); st != EOF {
		t.Errorf("no writer: status %d", st)
	}
	dst.Pipe.CloseReader()
	if _, st := move(t, src, dst, 10, true); st != EPIPE {
		t.Errorf("no reader: status %d", st)
	}
}

// resize is F_SETPIPE_SZ after the limits.
func (e *End) resize(t fataler, size uint64) Status {
	t.Helper()
	from, to, st := e.Pipe.BeginResize(size, e.Pause)
	if st != OK {
		return st
	}
	ring := make([]byte, size)
	if err := CopySpan(ring, to, e.Ring, from); err != nil {
		t.Fatal(err)
	}
	e.Ring = ring
	e.Pipe.EndResize(size, e.Pipe.Data+1)
	return OK
}

func TestResize(t *testing.T) {
	e := newEnd(4096)
	buf := make([]byte, 1<<20)
	for lap, size := range []uint64{8192, 4096, 65536, 1 << 20, 8192, 8192, 32768} {
		e.write(t, pattern(3000, byte(lap)), 0)
		if st := e.resize(t, size); st != OK {
			t.Fatalf("to %d: status %d", size, st)
		}
		n, st := e.write(t, pattern(1<<20, 77), 0)
		if n != int(size)-3000 || st != OK {
			t.Fatalf("%d bytes take %d more, status %d", size, n, st)
		}
		if size > 4096 {
			if st := e.resize(t, 4096); st != EBUSY {
				t.Fatalf("shrink below the contents: status %d", st)
			}
		}
		n, _ = e.read(t, buf)
		if n != int(size) || !bytes.Equal(buf[:3000], pattern(3000, byte(lap))) ||
			!bytes.Equal(buf[3000:n], pattern(n-3000, 77)) {
			t.Fatalf("contents after a resize to %d: %d bytes", size, n)
		}
	}
	e = newEnd(8192)
	e.write(t, pattern(100, 1), 0)
	e.write(t, pattern(9, 2), abi.O_DIRECT)
	e.Pipe.WWait.Join(12)
	from, to, st := e.Pipe.BeginResize(16384, e.Pause)
	if st != OK {
		t.Fatalf("status %d", st)
	}
	ring := make([]byte, 16384)
	if err := CopySpan(ring, to, e.Ring, from); err != nil {
		t.Fatal(err)
	}
	e.Ring = ring
	if w := e.Pipe.EndResize(16384, 0); w.Writer != 12 || w.Events != POLLOUT|POLLWRNORM {
		t.Errorf("growing wakes %+v", w)
	}
	if n, _ := e.read(t, buf); n != 109 || !bytes.Equal(buf[100:109], pattern(9, 2)) {
		t.Errorf("packet after a resize: %d bytes", n)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct{ arg, want uint32 }{
		{0, 4096}, {1, 4096}, {4096, 4096}, {4097, 8192}, {5000, 8192}, {1 << 20, 1 << 20}, {1<<20 + 1, 1 << 21},
		{1 << 31, 1 << 31}, {1<<31 + 1, 0}, {^uint32(0), 0},
	} {
		if got := RoundSize(c.arg); got != c.want {
			t.Errorf("RoundSize(%d) = %d, want %d", c.arg, got, c.want)
		}
	}
	l := DefaultLimits()
	for _, c := range []struct {
		used       uint64
		privileged bool
		hard       uint64
		want       uint64
	}{
		{0, false, 0, 16}, {16384 - 16, false, 0, 16}, {16384 - 15, false, 0, 2}, {1 << 30, false, 0, 2},
		{1 << 30, true, 0, 16}, {20000, false, 20002, 2}, {20001, false, 20002, 0}, {20001, true, 20002, 16},
	} {
		l.HardPage = c.hard
		if got := l.NewPipe(c.used, c.privileged); got != c.want {
			t.Errorf("NewPipe(%d, %v) with hard limit %d = %d, want %d", c.used, c.privileged, c.hard, got, c.want)
		}
	}
	l.HardPage = 0
	for _, c := range []struct {
		arg, old   uint32
		used       uint64
		privileged bool
		size       uint32
		errno      uint64
	}{
		{0, 65536, 16, false, 4096, 0},
		{5000, 65536, 16, false, 8192, 0},
		{1 << 20, 65536, 16, false, 1 << 20, 0},
		{1<<20 + 1, 65536, 16, false, 0, abi.EPERM},
		{1<<20 + 1, 65536, 16, true, 0, abi.EPERM},
		{1<<31 + 1, 65536, 16, true, 0, abi.EINVAL},
		{1 << 17, 65536, 16384, false, 0, abi.EPERM},
		{1 << 17, 65536, 16384, true, 1 << 17, 0},
		{1 << 17, 65536, 16384 - 16, false, 1 << 17, 0},
		{4096, 65536, 1 << 20, false, 4096, 0},
	} {
		size, errno := l.Resize(c.arg, c.old, c.used, c.privileged)
		if size != c.size || errno != c.errno {
			t.Errorf("Resize(%d, old %d, used %d, %v) = %d, %d; want %d, %d", c.arg, c.old, c.used, c.privileged,
				size, errno, c.size, c.errno)
		}
	}
}

// BenchmarkWriteRead is a write and a read of n bytes by one processor, the copies included.
func BenchmarkWriteRead(b *testing.B) {
	for _, n := range []int{1, 512, 4096, 65536} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			e, buf := newEnd(DefaultSize), make([]byte, n)
			mode := ModeOf(uint64(n), 0)
			b.SetBytes(int64(n))
			for b.Loop() {
				if _, _, st, _ := e.Write(buf, mode); st != OK {
					b.Fatalf("status %d", st)
				}
				if _, _, st, _ := e.Read(buf); st != OK {
					b.Fatalf("status %d", st)
				}
			}
		})
	}
}
