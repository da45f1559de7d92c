package epoll

import (
	"errors"
	"math/bits"
	"sync/atomic"
)

// Owner is the host's side of an instance: it makes and removes items. It believes nothing that lies in guest memory;
// what it needs is here. The host's lock guards it.
type Owner struct {
	inst   *Instance
	limbo  *Limbo
	pages  Pages
	addr   uint64
	chunks []*Chunk
	addrs  []uint64
	refs   [][Items + 1]*Ref // by place; nil is not in use
	free   []place
	live   int // items in use
}

// Pages is where instances and chunks come from: pages of guest memory, which must be zero.
type Pages interface {
	NewPage() (addr uint64, err error) // guest address
	FreePage(addr uint64)
	Instance(addr uint64) *Instance
	Chunk(addr uint64) *Chunk
}

// ErrFull says that an instance has MaxItems interests.
var ErrFull = errors.New("the epoll instance has no room for another interest")

type place struct {
	chunk int
	i     uint64
}

// NewOwner makes an instance. file is the index of its open file.
func NewOwner(pages Pages, limbo *Limbo) (*Owner, error) {
	addr, err := pages.NewPage()
	if err != nil {
		return nil, err
	}
	return &Owner{inst: pages.Instance(addr), limbo: limbo, pages: pages, addr: addr}, nil
}

// Addr is the instance's address in the guest.
func (o *Owner) Addr() uint64 { return o.addr }

// Instance is the instance as this process maps it.
func (o *Owner) Instance() *Instance { return o.inst }

// SetFile stores the index of the instance's open file, before anybody can reach the instance.
func (o *Owner) SetFile(index uint64) { atomic.StoreUint64(&o.inst.File, index) }

// Chunk returns the chunk that Pass.NextChunk named.
func (o *Owner) Chunk(n uint64) (*Chunk, bool) {
	if n >= uint64(len(o.chunks)) {
		return nil, false
	}
	return o.chunks[n], true
}

// Watched is what an item is about.
type Watched struct{ Kind, Obj, Ends, Since uint64 }

// Ref is an item as the host knows it.
type Ref struct {
	o  *Owner
	c  *Chunk
	at place
	// Value is the host's own.
	Value any

	list       *Watchers
	prev, next *Ref
	exclusive  bool
}

// Insert makes an item that wants nothing yet.
func (o *Owner) Insert(what Watched, value any) (*Ref, error) {
	o.limbo.Reclaim()
	if len(o.free) == 0 {
		if err := o.grow(); err != nil {
			return nil, err
		}
	}
	at := o.free[len(o.free)-1]
	o.free = o.free[:len(o.free)-1]
	o.live++
	r := &Ref{o: o, c: o.chunks[at.chunk], at: at, Value: value}
	o.refs[at.chunk][at.i] = r
	it := r.item()
	it.Kind, it.Obj, it.Ends, it.Since = what.Kind, what.Obj, what.Ends, what.Since
	atomic.StoreUint64(&it.Next, 0)
	// What its last user left. Nobody else changes the bit: the item wants nothing, and all who saw it want are gone.
	atomic.AndUint64(&r.c.head().Ready, ^(uint64(1) << at.i))
	return r, nil
}

// grow adds a chunk.
func (o *Owner) grow() error {
	n := len(o.chunks)
	if n == MaxChunks {
		return ErrFull
	}
	addr, err := o.pages.NewPage()
	if err != nil {
		return err
	}
	c := o.pages.Chunk(addr)
	c.head().Inst, c.head().Number = o.addr, uint64(n)
	o.chunks, o.addrs, o.refs = append(o.chunks, c), append(o.addrs, addr), append(o.refs, [Items + 1]*Ref{})
	atomic.StoreUint64(&o.inst.Chunk[n], addr)
	atomic.StoreUint64(&o.inst.Chunks, uint64(n+1))
	for i := uint64(Items); i > 0; i-- {
		o.free = append(o.free, place{n, i})
	}
	return nil
}

// Close gives the instance's pages back, once nobody can be in them. Preconditions: all items are removed, no open file
// names the instance, and no item of another instance watches it.
func (o *Owner) Close() {
	o.limbo.Reclaim()
	pages, addr, addrs := o.pages, o.addr, o.addrs
	o.limbo.Retire(func() {
		for _, a := range addrs {
			pages.FreePage(a)
		}
		pages.FreePage(addr)
	})
	o.addrs = nil
}

// Ref returns the item at a place; nil if there is none.
func (o *Owner) Ref(n, i uint64) *Ref {
	if n >= uint64(len(o.refs)) || i > Items {
		return nil
	}
	return o.refs[n][i]
}

// EachReady calls fn with every item whose bit is set, until it returns false.
func (o *Owner) EachReady(fn func(*Ref) bool) {
	for n, c := range o.chunks {
		for ready := atomic.LoadUint64(&c.head().Ready) &^ 1; ready != 0; ready &= ready - 1 {
			if r := o.refs[n][bits.TrailingZeros64(ready)]; r != nil && !fn(r) {
				return
			}
		}
	}
}

// Len is the number of items.
func (o *Owner) Len() int { return o.live }

func (r *Ref) item() *Item { return r.c.Item(r.at.i) }

// addr is the item's address in the guest.
func (r *Ref) addr() uint64 { return r.o.addrs[r.at.chunk] + r.at.i<<itemShift }

// Place is where the item lies: its chunk and its number there.
func (r *Ref) Place() (n, i uint64) { return uint64(r.at.chunk), r.at.i }

// Events is what the item wants now: of a disarmed one, nothing but what was to be private.
func (r *Ref) Events() uint32 { return uint32(atomic.LoadUint64(&r.item().Want)) }

// Data is the user's data.
func (r *Ref) Data() uint64 { return atomic.LoadUint64(&r.item().Data) }

// Ends reports whether a thread that the host woke for the item ends the search for the one that events are for: what
// Event says for a thread that it finds itself.
func (r *Ref) Ends(events uint64) bool {
	return lastToHear(atomic.LoadUint64(&r.item().Want), events)
}

// Marked reports whether the item's bit is set: then a modification is no event for those who wait (ep_modify). A
// collector that is about to clear the bit finds that the item has changed, and puts it back.
func (r *Ref) Marked() bool { return atomic.LoadUint64(&r.c.head().Ready)>>r.at.i&1 != 0 }

// Set changes what is wanted. The caller then looks whether the object has it, and calls Tell unless it is Marked.
func (r *Ref) Set(events uint32, data uint64) {
	it := r.item()
	v := r.bump(0)
	atomic.StoreUint64(&it.Data, data)
	atomic.StoreUint64(&it.Want, v+1<<32|uint64(events))
}

// bump stores events with the next version, and returns what it stored. A collector may disarm the item meanwhile, which
// does not change the version.
func (r *Ref) bump(events uint32) uint64 {
	it := r.item()
	v := (atomic.LoadUint64(&it.Want)>>32+1)<<32 | uint64(events)
	atomic.StoreUint64(&it.Want, v)
	return v
}

// Tell tells the item of events of its object, as Instance.Event does.
func (r *Ref) Tell(events uint64) (thread int64, heard, last bool) {
	return r.o.inst.Event(r.c, r.at.i, events)
}

// Remove ends the item. Its place is used again when no vCPU can be at it.
func (r *Ref) Remove() {
	r.bump(0)
	if r.list != nil {
		r.list.remove(r)
	}
	o, at := r.o, r.at
	o.live--
	o.refs[at.chunk][at.i] = nil
	o.limbo.Retire(func() { o.free = append(o.free, at) })
}

// Watchers is the host's side of the list of an object's watchers. The order is Linux's: add_wait_queue puts in front,
// add_wait_queue_exclusive at the end.
type Watchers struct {
	Head        *uint64 // the object's Watch word; nil if ring 0 does not know the object
	first, last *Ref
}

// Add puts the item into the list; it is told of events from now on.
func (w *Watchers) Add(r *Ref, exclusive bool) {
	r.list, r.exclusive = w, exclusive
	if exclusive && w.last != nil {
		r.prev = w.last
		w.last.next = r
		w.last = r
		w.store(r.prev, r.addr())
		return
	}
	r.next = w.first
	if w.first != nil {
		w.first.prev = r
		atomic.StoreUint64(&r.item().Next, w.first.addr())
	} else {
		w.last = r
	}
	w.first = r
	w.store(nil, r.addr())
}

// store sets what comes after prev, nil for the head.
func (w *Watchers) store(prev *Ref, addr uint64) {
	if prev != nil {
		atomic.StoreUint64(&prev.item().Next, addr)
	} else if w.Head != nil {
		atomic.StoreUint64(w.Head, addr)
	}
}

// remove takes the item out. Its own Next stays, for walks that stand on it.
func (w *Watchers) remove(r *Ref) {
	next := uint64(0)
	if r.next != nil {
		r.next.prev = r.prev
		next = r.next.addr()
	} else {
		w.last = r.prev
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		w.first = r.next
	}
	w.store(r.prev, next)
	r.list, r.prev, r.next = nil, nil, nil
}

// Empty reports whether nobody watches.
func (w *Watchers) Empty() bool { return w.first == nil }

// Each tells all watchers of events, by fn, which returns whether an exclusive one was the last to be told. fn must not
// change the list.
func (w *Watchers) Each(fn func(r *Ref) (last bool)) {
	for r := w.first; r != nil; r = r.next {
		if fn(r) {
			return
		}
	}
}
