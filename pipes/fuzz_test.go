package pipes

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"culvert/shim/abi"
)

// piece is what a pipe holds, in the simplest model: bytes, or a packet.
type piece struct {
	b      []byte
	packet bool
}

// model is a pipe as a list.
type model struct {
	list []piece
	size int
}

func (m *model) used() (positions int) {
	for _, p := range m.list {
		if p.packet {
			positions += abi.PIPE_BUF
		} else {
			positions += len(p.b)
		}
	}
	return positions
}

func (m *model) write(b []byte, packet bool) int {
	free, n := m.size-m.used(), len(b)
	switch {
	case packet:
		done := 0
		for ; done < n && free >= abi.PIPE_BUF; free -= abi.PIPE_BUF {
			k := min(n-done, abi.PIPE_BUF)
			m.list = append(m.list, piece{b[done : done+k], true})
			done += k
		}
		return done
	case n <= abi.PIPE_BUF && free < n:
		return 0
	}
	n = min(n, free)
	if n > 0 {
		m.list = append(m.list, piece{b[:n], false})
	}
	return n
}

func (m *model) read(n int) []byte {
	var out []byte
	for len(m.list) > 0 && len(out) < n {
		p := &m.list[0]
		k := min(n-len(out), len(p.b))
		out = append(out, p.b[:k]...)
		p.b = p.b[k:]
		if p.packet {
			m.list = m.list[1:]
			break
		}
		if len(p.b) == 0 {
			m.list = m.list[1:]
		}
	}
	return out
}

// FuzzPipe runs a sequence of operations on a Pipe and on the list model.
func FuzzPipe(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add(bytes.Repeat([]byte{0, 255, 15, 1, 20, 0, 2, 100, 1, 3, 0, 0}, 30))
	f.Fuzz(func(t *testing.T, ops []byte) {
		e, m := newEnd(abi.PageSize), model{size: abi.PageSize}
		for i := 0; i+3 <= len(ops) && i < 600; i += 3 {
			n := int(binary.LittleEndian.Uint16(ops[i+1:])) % 20000
			switch ops[i] % 4 {
			case 0, 1:
				packet := ops[i]%4 == 1
				flags := uint64(0)
				if packet {
					flags = abi.O_DIRECT
				}
				b := pattern(n, byte(i))
				if got, _ := e.write(t, b, flags); got != m.write(b, packet) {
					t.Fatalf("op %d: write of %d: %d", i, n, got)
				}
			case 2:
				b := make([]byte, n)
				got, _ := e.read(t, b)
				if want := m.read(n); !bytes.Equal(b[:got], want) {
					t.Fatalf("op %d: read of %d: %d bytes, want %d", i, n, got, len(want))
				}
			case 3:
				size := abi.PageSize << (n % 6)
				fits := m.used() <= size
				if st := e.resize(t, uint64(size)); fits != (st == OK) {
					t.Fatalf("op %d: resize to %d: status %d", i, size, st)
				} else if fits {
					m.size = size
				}
			}
			queued := 0
			for _, p := range m.list {
				queued += len(p.b)
			}
			if got := e.queued(t); got != uint64(queued) {
				t.Fatalf("op %d: %d bytes queued, want %d", i, got, queued)
			}
			if got := e.Pipe.Readiness(ReadEnd|WriteEnd, 0); (got&POLLIN != 0) != (queued > 0) ||
				(got&POLLOUT != 0) != (m.size-m.used() >= abi.PIPE_BUF) {
				t.Fatalf("op %d: poll %#x with %d queued, %d used of %d", i, got, queued, m.used(), m.size)
			}
		}
	})
}

// FuzzHostile scribbles over a pipe's words and lets the host use it: it must return, in time, and touch nothing
// outside the ring (that would panic).
func FuzzHostile(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, uint64(1<<63), uint64(3), uint64(1<<40))
	f.Add([]byte{7, 6, 5}, ^uint64(0), ^uint64(0), ^uint64(0))
	f.Fuzz(func(t *testing.T, ops []byte, a, b, c uint64) {
		e, other := newEnd(8192), newEnd(4096)
		e.write(t, pattern(5000, 1), 0)
		e.write(t, pattern(50, 1), abi.O_DIRECT)
		p, v := e.Pipe, [...]uint64{a, b, c, 0, 1, 4096, 8191, 8192}
		words := [...]*uint64{&p.Head, &p.Tail, &p.Skip, &p.Size, &p.Slotted, &p.Ends, &p.RWait.Sum, &p.RWait.Cursor,
			&p.RWait.Words[3], &p.WWait.Sum, &p.HostWatch, &p.ReadLock, &p.WriteLock, &p.Data}
		buf := make([]byte, 10000)
		for i, op := range ops[:min(len(ops), 200)] {
			*words[int(op)%len(words)] = v[i%len(v)]
			p.Packet[int(op)*7%packets] = uint32(a >> (op % 32))
			e.Read(buf[:1+int(op)*30]) //nolint:errcheck // a CorruptError is as good as any answer
			e.Write(buf[:1+int(op)*30], Mode(op%3))
			p.Bytes(e.Pause)
			p.Readiness(ReadEnd|WriteEnd, 0)
			p.PassRead()
			p.PassWrite()
			if m, st := BeginMove(p, other.Pipe, runtime.Gosched); st == OK {
				for j := 0; j < 10; j++ {
					from, to, n := m.Next(p, other.Pipe, uint64(op)*100, op&1 != 0)
					if n == 0 {
						break
					}
					CopySpan(other.Ring, to, e.Ring, from) //nolint:errcheck // as above
				}
				EndMove(p, other.Pipe, m, op&1 != 0)
			}
			if from, to, st := p.BeginResize(8192, runtime.Gosched); st == OK {
				CopySpan(e.Ring, to, e.Ring, from) //nolint:errcheck // as above
				p.EndResize(8192, 0)
			}
			p.ReadLock, p.WriteLock = 0, 0
		}
	})
}
