package pipes

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"culvert/shim/abi"
)

// The kinds of traffic on a pipe.
const (
	records = iota // writes of one size, atomic; reads of that size; any number of readers and writers
	stream         // one writer, one reader, any sizes, bytes that follow from their position
	packet         // O_DIRECT; any number of readers and writers
	mixed          // a stream, written as bytes and as packets
	tokens         // rounds: one write of a record for each reader, and each reader takes one
	drain          // rounds: each writer fills its page, one read empties all
	kinds
)

const crewSize = 5

// crew is a pipe and the threads that use it. It leads many lives: each with other roles, over the same memory.
type crew struct {
	s        *sched
	p        Pipe
	rings    [2][]byte // Data says which is in use
	rng      *rand.Rand
	members  [crewSize]*member
	messages *atomic.Int64 // still to be sent in the whole test
	life     uint64        // counts; ^0 = no more. Stored last by begin, loaded first by the members.

	// Of one life.
	kind    int
	size    int // of a record
	writers int
	early   bool // ends close before their time
	resizes bool
	working atomic.Int64 // members that have not ended this life
	dead    atomic.Int64 // closes that said Dead
	sawEOF  atomic.Bool
	sent    atomic.Int64 // messages, bytes of a stream
	got     atomic.Int64
	sums    atomic.Uint64 // of the messages sent, less those received
	share   int64         // messages in a round of tokens or drain
	over    WaitSet       // those who wait for the end of a round
}

const (
	idle = iota
	reads
	writes
	resizes
)

// member is a thread of a crew.
type member struct {
	c      *crew
	t      *thread
	rng    *rand.Rand
	life   uint64
	parked bool     // waits for the next life; else the fields below are its own
	joined *WaitSet // the set it waits in

	role  int
	polls bool
	left  int // messages, or tries, to go
	mode  Mode
	msg   []byte // what is left of the message that it writes
	pos   uint64 // of a stream
	room  bool   // poll said POLLOUT
	turn  int64  // rounds that it has done its part of
	buf   []byte
}

// fill makes a message: a sum of 4 bytes, then noise that follows from a number.
func fill(b []byte, n uint64) {
	copy(b, noise[n%(noiseLen-abi.PIPE_BUF):])
	if len(b) >= 12 {
		binary.LittleEndian.PutUint64(b[4:], n)
		binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	}
}

func intact(b []byte) bool {
	return len(b) < 12 || binary.LittleEndian.Uint32(b) == crc32.ChecksumIEEE(b[4:])
}

// hash of an intact message; the messages of a life are compared by their sum.
func hash(b []byte) uint64 {
	return uint64(b[0])<<16 + uint64(b[len(b)-1])<<24 + uint64(len(b)) + uint64(b[len(b)/2])<<32
}

// noise is what messages are made of; its length has no factor in common with ring sizes. A stream repeats it.
var noise = func() []byte {
	b := make([]byte, noiseLen)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}()

const noiseLen = 1<<16 + 3

// streamAt reports the noise of a stream from position pos on, at most n bytes.
func streamAt(pos uint64, n int) []byte {
	at := int(pos % noiseLen)
	return noise[at:min(at+n, noiseLen)]
}

// ring is what Data names. Only between Begin and End.
func (c *crew) ring() []byte { return c.rings[atomic.LoadUint64(&c.p.Data)&1] }

// begin starts a life: a new pipe, roles, ends. Nobody else is in the pipe.
func (c *crew) begin() {
	Init(&c.p, 0, abi.PageSize<<c.rng.IntN(5))
	c.kind = c.rng.IntN(kinds)
	c.size = []int{16, 16, 64, 64, 100, 100, 512, 4096}[c.rng.IntN(8)]
	c.early = c.rng.IntN(4) == 0
	c.resizes = c.rng.IntN(4) == 0
	quota := 50 + c.rng.IntN(1500)
	c.sent.Store(0)
	c.got.Store(0)
	c.sums.Store(0)
	c.dead.Store(0)
	c.sawEOF.Store(false)
	c.working.Store(crewSize)
	readers := 1 + c.rng.IntN(2)
	c.writers = 1 + c.rng.IntN(2)
	switch c.kind {
	case stream, mixed:
		readers, c.writers = 1, 1
	case tokens: // nobody but the chain of wakes gets the second and third reader going
		c.size = min(c.size, 512)
		readers, c.writers, c.share, c.early = 3, 1, 3, false
	case drain: // nor the second writer
		Init(&c.p, 0, 2*abi.PageSize)
		c.size = abi.PageSize
		readers, c.writers, c.share, c.early, c.resizes = 1, 2, 2, false, false
	}
	c.over = WaitSet{}
	for i, m := range c.members {
		m.role, m.polls, m.left, m.msg, m.pos, m.room, m.turn = idle, c.rng.IntN(3) == 0, quota, nil, 0, false, 0
		switch {
		case i < readers:
			m.role = reads
			c.p.OpenReader()
		case i < readers+c.writers:
			m.role = writes
			c.p.OpenWriter()
		case i == crewSize-1 && c.resizes:
			m.role, m.left = resizes, 30
		}
	}
	atomic.AddUint64(&c.life, 1)
}

// end checks a life and begins the next one. Only the last member comes here.
func (c *crew) end() {
	sent, got := c.sent.Load(), c.got.Load()
	if d := c.dead.Load(); d != 1 {
		c.s.fail("%d closes said Dead", d)
	}
	if (c.sawEOF.Load() || c.kind >= tokens) && (sent != got || c.sums.Load() != 0) || got > sent {
		c.s.fail("kind %d: %d sent, %d received, sums differ by %#x", c.kind, sent, got, c.sums.Load())
	}
	if c.messages.Load() > 0 {
		c.begin()
	} else {
		atomic.StoreUint64(&c.life, ^uint64(0))
	}
	for _, m := range c.members {
		c.s.wake(m.t.index)
	}
}

// step goes on with a member's part in this life.
func (m *member) step(t *thread) outcome {
	c := m.c
	claimed := atomic.SwapUint64(&t.claim, 0) != 0
	if m.parked {
		life := atomic.LoadUint64(&c.life)
		if life == m.life {
			return block
		}
		if life == ^uint64(0) {
			return done
		}
		m.life, m.parked = life, false
	}
	if set := m.joined; set != nil { // whoever stops waiting removes its bit first
		m.joined = nil
		if woken := set.Leave(t.index); claimed && woken && !m.polls {
			m.pass()
		}
		if claimed {
			return yield
		}
	}
	if m.rng.IntN(16) == 0 {
		return yield
	}
	out := done
	switch m.role {
	case reads:
		out = m.read()
	case writes:
		out = m.write()
	case resizes:
		out = m.resize()
	}
	if out != done {
		return out
	}
	m.close()
	c.s.progress.Add(1)
	m.parked = true
	if c.working.Add(-1) == 0 {
		c.end()
	}
	return again
}

// pass hands on a wake that this member does not use.
func (m *member) pass() {
	if m.role == reads {
		m.c.s.obey(&m.c.p, m.c.p.PassRead())
	} else {
		m.c.s.obey(&m.c.p, m.c.p.PassWrite())
	}
}

func (m *member) close() {
	c, w := m.c, Wake{Reader: -1, Writer: -1}
	switch m.role {
	case reads:
		w = c.p.CloseReader()
	case writes:
		w = c.p.CloseWriter()
	}
	if w.Flags&Dead != 0 {
		c.dead.Add(1)
	}
	c.s.obey(&c.p, w)
}

// pause lets others run now and then, where interleavings matter: two cores alone meet too rarely.
func (m *member) pause() {
	if m.rng.IntN(16) == 0 {
		runtime.Gosched()
	}
}

// wait joins a set and looks again.
func (m *member) wait(set *WaitSet, ready func() bool) outcome {
	m.pause()
	set.Join(m.t.index)
	m.joined = set
	m.pause()
	if ready() {
		return again
	}
	return block
}

func (m *member) read() outcome {
	c, p := m.c, &m.c.p
	if c.early && m.rng.IntN(400) == 0 {
		m.pass()
		return done
	}
	switch { // a round ends for all before the next
	case c.kind == tokens && c.got.Load() < m.turn*c.share:
		return m.settle(&c.got, m.turn*c.share)
	case c.kind == drain && m.left == 0: // the writers were given as many rounds
		return done
	case c.kind == drain && c.sent.Load() < (m.turn+1)*c.share:
		return m.settle(&c.sent, (m.turn+1)*c.share)
	}
	want := c.size
	switch c.kind {
	case drain:
		want *= c.writers
	case stream:
		want = 1 + m.rng.IntN(9000)
	case packet, mixed:
		want = abi.PIPE_BUF
	}
	s, st := p.BeginRead(uint64(want), runtime.Gosched)
	switch st {
	case LockBusy:
		return yield
	case EOF:
		c.sawEOF.Store(true)
		return done
	case WouldBlock:
		if m.polls {
			return m.wait(&p.PWait, func() bool { return p.Readiness(ReadEnd, 0) != 0 })
		}
		return m.wait(&p.RWait, p.Readable)
	}
	if m.rng.IntN(64) == 0 { // the copy faults
		c.s.obey(p, p.EndRead(0))
		return yield
	}
	m.pause()
	ring := c.ring()
	n := copy(m.buf, ring[s.Off:s.Off+s.N1])
	n += copy(m.buf[n:], ring[:s.N2])
	c.s.obey(p, p.EndRead(uint64(n)))
	c.s.progress.Add(1)
	m.check(m.buf[:n])
	return again
}

// check looks at what was read.
func (m *member) check(b []byte) {
	c := m.c
	if c.kind == stream || c.kind == mixed {
		c.got.Add(int64(len(b)))
		for len(b) > 0 {
			want := streamAt(m.pos, len(b))
			if !bytes.Equal(b[:len(want)], want) {
				c.s.fail("stream: wrong bytes in %d at position %d", len(want), m.pos)
			}
			m.pos += uint64(len(want))
			b = b[len(want):]
		}
		c.messages.Add(-1)
		return
	}
	if c.kind == drain && len(b) == c.writers*c.size {
		m.left--
		m.turn++
		m.check(b[:c.size])
		b = b[c.size:]
	}
	if c.kind != packet && len(b) != c.size || !intact(b) {
		c.s.fail("kind %d: a message of %d bytes (records are %d) is torn", c.kind, len(b), c.size)
	}
	if c.kind == tokens {
		m.turn++
	}
	c.sums.Add(-hash(b))
	c.messages.Add(-1)
	if c.got.Add(1); c.kind == tokens {
		c.s.wakeSet(&c.over)
	}
}

// settle waits until count has come to n. Whoever counts wakes.
func (m *member) settle(count *atomic.Int64, n int64) outcome {
	return m.wait(&m.c.over, func() bool { return count.Load() >= n })
}

func (m *member) write() outcome {
	c, p := m.c, &m.c.p
	if len(m.msg) == 0 {
		if m.left == 0 || c.early && m.rng.IntN(400) == 0 {
			m.pass()
			return done
		}
		switch {
		case c.kind == tokens && c.got.Load() < m.turn*c.share:
			return m.settle(&c.got, m.turn*c.share)
		case c.kind == drain && c.sent.Load() < m.turn*c.share: // the pipe is not yet full: this write shall sleep
			return m.settle(&c.sent, m.turn*c.share)
		}
		m.turn++
		m.compose()
	}
	s, st := p.BeginWrite(uint64(len(m.msg)), m.mode, runtime.Gosched)
	if m.room && st == WouldBlock && m.mode != Stream && c.writers == 1 && !c.resizes {
		c.s.fail("kind %d: POLLOUT, and a write of %d bytes would block", c.kind, len(m.msg))
	}
	m.room = false
	switch st {
	case LockBusy:
		return yield
	case EPIPE:
		return done
	case WouldBlock:
		if m.polls {
			return m.wait(&p.PWait, func() bool {
				bits := p.Readiness(WriteEnd, 0)
				m.room = bits&POLLOUT != 0
				return bits != 0
			})
		}
		return m.wait(&p.WWait, p.Writable)
	}
	if m.rng.IntN(64) == 0 { // the copy faults
		c.s.obey(p, p.EndWrite(0, m.mode))
		return yield
	}
	m.pause()
	ring := c.ring()
	n := copy(ring[s.Off:s.Off+s.N1], m.msg)
	n += copy(ring[:s.N2], m.msg[n:])
	w := p.EndWrite(uint64(n), m.mode)
	m.count(m.msg[:n])
	c.s.obey(p, w)
	if c.kind == drain {
		c.s.wakeSet(&c.over)
	}
	c.s.progress.Add(1)
	m.msg = m.msg[n:]
	return again
}

// compose makes the next message: of records one to three at once, so that one write is for several readers.
func (m *member) compose() {
	c, flags := m.c, uint64(0)
	m.left--
	switch c.kind {
	case records, tokens, drain:
		n := min(1+m.rng.IntN(3), abi.PIPE_BUF/c.size)
		if c.kind == tokens {
			n = int(c.share)
		}
		m.msg = m.buf[:n*c.size]
		for i := 0; i < n; i++ {
			fill(m.msg[i*c.size:(i+1)*c.size], m.rng.Uint64())
		}
	case packet:
		m.msg, flags = m.buf[:1+m.rng.IntN(1<<m.rng.IntN(13))], abi.O_DIRECT
		fill(m.msg, m.rng.Uint64())
	case stream, mixed:
		m.msg = m.buf[:1+m.rng.IntN(1<<m.rng.IntN(14))]
		if c.kind == mixed && m.rng.IntN(2) == 0 {
			flags = abi.O_DIRECT
		}
		for done := 0; done < len(m.msg); {
			n := copy(m.msg[done:], streamAt(m.pos, len(m.msg)-done))
			m.pos += uint64(n)
			done += n
		}
	}
	m.mode = ModeOf(uint64(len(m.msg)), flags)
}

// count enters what was published.
func (m *member) count(b []byte) {
	c := m.c
	switch c.kind {
	case records, tokens, drain:
		for ; len(b) > 0; b = b[c.size:] {
			c.sent.Add(1)
			c.sums.Add(hash(b[:c.size]))
		}
	case packet:
		c.sent.Add(1)
		c.sums.Add(hash(b))
	case stream, mixed:
		c.sent.Add(int64(len(b)))
	}
}

func (m *member) resize() outcome {
	c, p := m.c, &m.c.p
	if m.left == 0 {
		return done
	}
	m.left--
	size := uint64(abi.PageSize) << m.rng.IntN(5)
	from, to, st := p.BeginResize(size, runtime.Gosched)
	if st != OK {
		return yield
	}
	next := atomic.LoadUint64(&p.Data) ^ 1
	if err := CopySpan(c.rings[next], to, c.ring(), from); err != nil {
		c.s.fail("resize: %v", err)
	}
	c.s.obey(p, p.EndResize(size, next))
	return yield
}

// TestStress sends checksummed messages through pipes that are closed, resized and made anew all the time.
func TestStress(t *testing.T) {
	total := int64(3_000_000)
	if raceEnabled {
		total = 150_000
	}
	if testing.Short() {
		total /= 10
	}
	var messages atomic.Int64
	messages.Store(total)
	s := &sched{}
	s.claims.Store(total / 2000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var crews []*crew
	for i := 0; i < 24; i++ {
		c := &crew{s: s, messages: &messages, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
		c.rings[0], c.rings[1] = make([]byte, 1<<16), make([]byte, 1<<16)
		for j := range c.members {
			m := &member{c: c, parked: true, buf: make([]byte, 9000), rng: rand.New(rand.NewPCG(seed, uint64(i*100+j+1000)))}
			m.t = &thread{step: m.step}
			c.members[j] = m
		}
		crews = append(crews, c)
	}
	// Neighbours in a wait set's words belong to different pipes, and to all words.
	slots := rand.New(rand.NewPCG(seed, 77)).Perm(abi.MaxThreads)[:len(crews)*crewSize]
	s.threads = make([]*thread, abi.MaxThreads)
	for i, slot := range slots {
		s.threads[slot] = crews[i/crewSize].members[i%crewSize].t
	}
	for _, c := range crews {
		c.begin()
	}
	start := time.Now()
	s.run(t, 4)
	lives := uint64(0)
	for _, c := range crews {
		lives += c.p.Generation
	}
	t.Logf("%d messages over %d pipes, one after the other in %d places, in %v", total-messages.Load(), lives, len(crews),
		time.Since(start).Round(time.Millisecond))
}
