package pipes

import (
	"sync/atomic"

	"culvert/shim/abi"
)

// packets is the number of entries of Pipe.Packet: a page each of the largest ring.
const packets = MaxSize / abi.PageSize

// A packet takes PIPE_BUF positions and an entry is of a page: this does not compile unless they are the same.
const _ uint = -(abi.PIPE_BUF ^ abi.PageSize)

// run returns how many bytes lie at pos in one piece, and whether they are a packet: bytes end where a packet starts.
// Preconditions: ReadLock is held, pos < tail, and a packet that has pos inside it starts there.
//
//go:nosplit
func (p *Pipe) run(pos, tail uint64) (n uint64, packet bool) {
	if atomic.LoadUint64(&p.Slotted) == 0 { // stored before the Tail that published the first packet
		return tail - pos, false
	}
	if n = p.packetAt(pos, tail); n != 0 {
		return n, true
	}
	page := pos &^ abi.PageMask
	for i := 0; i < packets && page+abi.PageSize <= tail; i++ {
		e := uint64(p.Packet[page>>abi.PageShift&(packets-1)])
		if start := page + e&abi.PageMask; e != 0 && start > pos {
			return start - pos, false
		}
		page += abi.PageSize
	}
	return tail - pos, false
}

// packetAt returns the length of the packet that starts at pos, or 0. While Tail is inside pos's page, a writer may
// be about to put an entry there: the entry is not looked at.
//
//go:nosplit
func (p *Pipe) packetAt(pos, tail uint64) uint64 {
	if tail < pos|abi.PageMask+1 {
		return 0
	}
	e := uint64(p.Packet[pos>>abi.PageShift&(packets-1)])
	if e&abi.PageMask != pos&abi.PageMask {
		return 0
	}
	return e >> abi.PageShift
}

// putPacket enters a packet of n bytes at tail and returns the Tail that publishes it. The entry's last user, a ring
// or more of positions ago, has been cleared: Head has passed its page, or there would not be PIPE_BUF bytes of room.
//
//go:nosplit
func (p *Pipe) putPacket(tail, n uint64) uint64 {
	p.Packet[tail>>abi.PageShift&(packets-1)] = uint32(n<<abi.PageShift | tail&abi.PageMask)
	atomic.StoreUint64(&p.Slotted, 1)
	return tail + abi.PIPE_BUF
}

// consume returns the Head after n bytes at head were read, and More if they were bytes that a packet follows.
//
//go:nosplit
func (p *Pipe) consume(head, n uint64) (next, flags uint64) {
	tail := atomic.LoadUint64(&p.Tail)
	if p.packetAt(head, tail) != 0 {
		return p.dropPacket(head), 0
	}
	next = head + n
	if p.packetAt(next, tail) != 0 {
		flags = More
	}
	return next, flags
}

// dropPacket removes the packet at pos and returns the position after it.
//
//go:nosplit
func (p *Pipe) dropPacket(pos uint64) uint64 {
	p.Packet[pos>>abi.PageShift&(packets-1)] = 0
	p.Skip = 0
	return pos + abi.PIPE_BUF
}

// Bytes is FIONREAD: the bytes that reads could get. Once there were packets it needs ReadLock.
//
//go:nosplit
func (p *Pipe) Bytes(pause func()) (uint64, Status) {
	head := atomic.LoadUint64(&p.Head)
	tail := atomic.LoadUint64(&p.Tail)
	if atomic.LoadUint64(&p.Slotted) == 0 {
		return min(tail-head, atomic.LoadUint64(&p.Size)), OK // Head may have moved on since
	}
	if !lock(&p.ReadLock, pause) {
		return 0, LockBusy
	}
	pos := atomic.LoadUint64(&p.Head)
	tail = atomic.LoadUint64(&p.Tail)
	sum := -p.Skip
	for i := 0; i < 2*packets+1 && pos < tail; i++ {
		n, packet := p.run(pos, tail)
		sum += n
		pos += n
		if packet {
			pos += abi.PIPE_BUF - n
		}
	}
	unlock(&p.ReadLock)
	return sum, OK
}
