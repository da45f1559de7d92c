package epoll

import "sync/atomic"

// Walk tells the watchers of an object of an event, and those of the instances that become ready by it, and so on. It
// is an iterator, since its caller wakes:
//
//	w.Start(object's Watch, events)
//	for w.Next() { wake w.Thread, make w.Note }
//
// Preconditions: the object was changed before, by a locked operation; the word of this vCPU is odd from before the
// object's Watch is loaded to the end.
type Walk struct {
	// Whom to tell: the slot of a thread to make ready, or -1; and 1 + the index of the open file of an instance that the
	// shim watches, or 0.
	Thread int64
	Note   uint64

	at     [levels]uint64 // next item on each level
	events uint64         // of level 0; of the others it is readable
	level  uint64
}

// Start begins a walk at the first watcher, 0 if there is none.
//
//go:nosplit
func (w *Walk) Start(watch, events uint64) {
	w.at[0], w.events, w.level = watch, events, 0
}

// Next goes on to the next watcher that heard of the event; false at the end.
//
//go:nosplit
func (w *Walk) Next() bool {
	for {
		l := w.level
		if l >= Depth {
			return false
		}
		at := w.at[l&(levels-1)]
		if at == 0 {
			if l == 0 {
				return false
			}
			w.level = l - 1
			continue
		}
		events := uint64(readable)
		if l == 0 {
			events = w.events
		}
		c := chunkOf(at)
		e := instanceAt(c.head().Inst)
		i := at >> itemShift & 63
		w.at[l&(levels-1)] = atomic.LoadUint64(&c.Item(i).Next)
		thread, heard, last := e.Event(c, i, events)
		if last {
			w.at[l&(levels-1)] = 0
		}
		if !heard {
			continue
		}
		up := atomic.LoadUint64(&e.Watch)
		if l++; up != 0 && l < Depth {
			w.at[l&(levels-1)], w.level = up, l
		}
		w.Thread, w.Note = thread, 0
		if atomic.LoadUint64(&e.HostWatch) != 0 {
			w.Note = e.File + 1
		}
		return true
	}
}
