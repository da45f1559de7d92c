package epoll

import (
	"sync/atomic"

	"culvert/pipes"
	"culvert/shim/abi"
)

// Bits of an item's events beside the poll bits (include/uapi/linux/eventpoll.h).
const (
	EPOLLEXCLUSIVE = 1 << 28
	EPOLLWAKEUP    = 1 << 29
	EPOLLONESHOT   = 1 << 30
	EPOLLET        = 1 << 31

	// private are those that are no events: EP_PRIVATE_BITS.
	private = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET
	// eventMask is the half of Want that holds events.
	eventMask = 1<<32 - 1
	// hangUp are events for everybody: Linux wakes exclusive waiters one by one, but all at the end of an object.
	hangUp = pipes.POLLHUP | pipes.POLLERR
	// readable is the event of an instance that has events (ep_eventpoll_poll).
	readable = pipes.POLLIN | pipes.POLLRDNORM
)

// Sizes.
const (
	// Items is how many items a chunk has; they are numbered from 1. One less than a power of two: a mask.
	Items = 63
	// MaxChunks bounds the chunks of an instance, which with them fills a page.
	MaxChunks = 384
	// MaxItems bounds the interests of an instance.
	MaxItems = Items * MaxChunks
	// Depth is how many instances an event may pass: EP_MAX_NESTS and the one at the bottom.
	Depth = 5

	sumWords  = 8 // a power of two, so that an index is masked: MaxChunks bits are in use
	levels    = 8 // the same, for Depth
	lockTries = 64
)

// Instance is an epoll instance: a page, apart from its chunks.
type Instance struct {
	Lock      uint64 // 1 = a thread collects
	Watch     uint64 // first of the items that watch this instance; the host stores it
	HostWatch uint64 // not 0: the shim wants a note on each event
	File      uint64 // index of the open file, for that note; the host stores it
	Chunks    uint64 // chunks in use; only grows; the host stores it
	Stamp     uint64 // the last that was given out
	_         [2]uint64

	Sum [sumWords]uint64 // a bit per chunk

	Sleepers pipes.WaitSet // threads in epoll_wait, woken one by one

	Chunk [MaxChunks]uint64 // addresses in the guest; the host stores each before Chunks counts it
}

// Item is an interest, a cache line. The host stores all but what Want says of EPOLLONESHOT.
type Item struct {
	Want uint64 // version<<32 | events
	Data uint64 // the user's
	// What is watched: constant from the insertion to the reuse of the item.
	Kind  uint64 // abi.File*
	Obj   uint64 // address of the object in the guest
	Ends  uint64 // of a pipe: the ends that the description has
	Since uint64 // of a pipe: see pipes.Pipe.Readiness
	Next  uint64 // address of the object's next watcher
	Stamp uint64 // of when the ready bit was set: the order of events
}

// Chunk is a page of items. The place of item 0 holds the chunk's own words.
type Chunk struct {
	items [Items + 1]Item
}

// head is the chunk's own words.
type head struct {
	Ready  uint64 // a bit per item
	Inst   uint64 // address of the instance in the guest; constant
	Number uint64 // of the chunk in it; constant
	_      [5]uint64
}

// Item returns item i, 1 to Items.
//
//go:nosplit
func (c *Chunk) Item(i uint64) *Item { return &c.items[i&Items] }

// Events is the half of Want that says what is wanted.
//
//go:nosplit
func Events(want uint64) uint64 { return want & eventMask }

// armed reports whether the item wants anything: it is not free, nor disarmed.
//
//go:nosplit
func armed(want uint64) bool { return want&(eventMask&^private) != 0 }

// mark sets the ready bit of item i, at the end of the order if it was not set. The summary's bit is set only if it is
// missing: a collector that clears it looks at the ready word after that.
//
//go:nosplit
func (e *Instance) mark(c *Chunk, i uint64) {
	bit := uint64(1) << (i & 63)
	if atomic.OrUint64(&c.head().Ready, bit)&bit == 0 {
		e.stamp(c, i)
	}
	e.summarise(c)
}

// stamp puts the item at the end of the order.
//
//go:nosplit
func (e *Instance) stamp(c *Chunk, i uint64) {
	atomic.StoreUint64(&c.Item(i).Stamp, atomic.AddUint64(&e.Stamp, 1))
}

// summarise sets the summary's bit of a chunk.
//
//go:nosplit
func (e *Instance) summarise(c *Chunk) {
	w, bit := e.summary(c)
	if atomic.LoadUint64(w)&bit == 0 {
		atomic.OrUint64(w, bit)
	}
}

// clear clears the ready bit of item i, and the summary's with the chunk's last one.
// Preconditions: Lock is held.
//
//go:nosplit
func (e *Instance) clear(c *Chunk, i uint64) {
	bit := uint64(1) << (i & 63)
	if atomic.AndUint64(&c.head().Ready, ^bit)&^bit == 0 {
		e.settle(c)
	}
}

// settle clears the summary's bit of a chunk without ready bits. A bit that came meanwhile is seen by the second look.
//
//go:nosplit
func (e *Instance) settle(c *Chunk) {
	w, bit := e.summary(c)
	atomic.AndUint64(w, ^bit)
	if atomic.LoadUint64(&c.head().Ready) != 0 {
		atomic.OrUint64(w, bit)
	}
}

// summary returns the summary's word and bit of a chunk.
//
//go:nosplit
func (e *Instance) summary(c *Chunk) (*uint64, uint64) {
	n := c.head().Number
	if n >= MaxChunks {
		n = 0
	}
	return &e.Sum[n>>6&(sumWords-1)], 1 << (n & 63)
}

// Any reports whether an item may have events: what a sleeper tests between Join and sleep.
//
//go:nosplit
func (e *Instance) Any() bool {
	sum := uint64(0)
	for i := range e.Sum {
		sum |= atomic.LoadUint64(&e.Sum[i])
	}
	return sum != 0
}

// PassOn hands on the wake of a thread that was woken and collects nothing; -1 if there is none to wake.
//
//go:nosplit
func (e *Instance) PassOn() int64 {
	if e.Sleepers.Empty() || !e.Any() {
		return -1
	}
	return e.Sleepers.Take()
}

// Event tells item i of events of its object, 0 if unknown: ep_poll_callback. heard: the item's bit was set, and the
// caller tells the watchers of the instance. thread is a sleeper to make ready, or -1. last: an exclusive item has
// found its thread, and the exclusive ones after it need not be told.
//
//go:nosplit
func (e *Instance) Event(c *Chunk, i, events uint64) (thread int64, heard, last bool) {
	it := c.Item(i)
	want := atomic.LoadUint64(&it.Want) & eventMask
	if !armed(want) || events != 0 && events&(want&Sees(it.Kind, it.Ends)) == 0 {
		return -1, false, false
	}
	e.mark(c, i)
	thread = -1
	if !e.Sleepers.Empty() {
		thread = e.Sleepers.Take()
	}
	return thread, true, thread >= 0 && lastToHear(want, events)
}

// lastToHear reports whether an item that has found a thread to wake is the one that events are for: the result of
// ep_poll_callback where it counts. Events without a name and hang-ups are for all (wake_up_interruptible_all).
//
//go:nosplit
func lastToHear(want, events uint64) bool {
	both := events & (pipes.POLLIN | pipes.POLLOUT)
	return want&EPOLLEXCLUSIVE != 0 && events != 0 && events&hangUp == 0 &&
		(both == 0 || both&(both-1) == 0 && want&both != 0)
}

// Sees returns the events of a pipe that watchers of a description with these ends are told of: rd_wait and wr_wait of
// fs/pipe.c.
//
//go:nosplit
func Sees(kind, ends uint64) uint64 {
	if kind != abi.FilePipe {
		return eventMask
	}
	sees := uint64(hangUp)
	if ends&pipes.ReadEnd != 0 {
		sees |= pipes.POLLIN | pipes.POLLRDNORM
	}
	if ends&pipes.WriteEnd != 0 {
		sees |= pipes.POLLOUT | pipes.POLLWRNORM
	}
	return sees
}
