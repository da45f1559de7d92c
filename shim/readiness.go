package shim

import "container/list"

// readiness is the wait queue of an object that can be polled: what a file's poll method hands to poll_wait in Linux.
// Blocked calls sleep on the embedded Queue; poll and epoll watch with callbacks that see which events came.
// Kernel.mu guards it; the zero value is ready for use.
type readiness struct {
	Queue
	shared    list.List // of *watch, the youngest first: add_wait_queue puts it there
	exclusive list.List // of *watch, first come first served
}

// watch is a callback on a readiness.
type watch struct {
	// fn gets the POLL bits that may have become true, 0 if unknown. It must not change the readiness it is called
	// from. The result, whether somebody was woken, counts for exclusive watches only.
	fn   func(events uint32) bool
	list *list.List
	elem *list.Element
}

// watch has fn called at each notify. Of the exclusive watches only as many are called as it takes until one has
// woken somebody (WQ_FLAG_EXCLUSIVE).
func (r *readiness) watch(exclusive bool, fn func(events uint32) bool) *watch {
	w := &watch{fn: fn, list: &r.shared}
	if exclusive {
		w.list = &r.exclusive
		w.elem = w.list.PushBack(w)
	} else {
		w.elem = w.list.PushFront(w)
	}
	return w
}

// cancel ends the watch; a second call does nothing.
func (w *watch) cancel() {
	if w.elem != nil {
		w.list.Remove(w.elem)
		w.elem = nil
	}
}

// notify tells all who wait that events may have become true.
func (r *readiness) notify(events uint32) {
	r.Wake()
	for e := r.shared.Front(); e != nil; e = e.Next() {
		e.Value.(*watch).fn(events)
	}
	for e := r.exclusive.Front(); e != nil; e = e.Next() {
		if e.Value.(*watch).fn(events) {
			break
		}
	}
}

// watched reports whether anybody waits.
func (r *readiness) watched() bool {
	return !r.Empty() || r.shared.Len()+r.exclusive.Len() > 0
}
