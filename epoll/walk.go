package epoll

import "sync/atomic"

// Walk tells the watchers of an object of an event, and those of the instances that become ready by it, and so on. It
// is an iterator, since its caller wakes:
//
//	w.Start(object's Watch, events)
//	for w.Next(&tell) { wake tell.Thread, make tell.Note }
//
// Preconditions: the object was changed before, by a locked operation; the word of this vCPU is odd from before the
// object's Watch is loaded to the end.
type Walk struct {
	at     [Depth]uint64 // next item on each level
	events uint64        // of level 0; of the others it is readable
	level  uint64
}

// Tell is whom to tell.
type Tell struct {
	Thread int64  // slot of a thread to make ready, or -1
	Note   uint64 // 1 + index of an instance's open file of which the shim wants a note, or 0
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
func (w *Walk) Next(t *Tell) bool {
	for {
		l := w.level
		if l >= Depth {
			return false
		}
		at := w.at[l]
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
		e := instanceAt(c.Inst)
		i := at >> itemShift & 63
		w.at[l] = atomic.LoadUint64(&c.Item(i).Next)
		thread, heard, last := e.Event(c, i, events)
		if last {
			w.at[l] = 0
		}
		if !heard {
			continue
		}
		up := atomic.LoadUint64(&e.Watch)
		if l++; up != 0 && l < Depth {
			w.at[l], w.level = up, l
		}
		t.Thread, t.Note = thread, 0
		if atomic.LoadUint64(&e.HostWatch) != 0 {
			t.Note = e.File + 1
		}
		return true
	}
}
