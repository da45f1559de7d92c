package hostfs

import (
	"container/list"

	"golang.org/x/sys/unix"
)

// handle is a host descriptor with a count of its users; guarded by Pool.mu. One
// without users sits in the LRU list and is closed when the limit is reached.
type handle struct {
	pool  *Pool
	fd    int
	refs  int
	eager bool          // closed with its last user: the host must not see it linger
	elem  *list.Element // in pool.lru; nil once retired
	slot  **handle      // the node's field that points here, cleared on closing
}

// admit makes room for one more descriptor, closing the least recently used.
// ENFILE if all are in use. Preconditions: p.mu is held.
func (p *Pool) admit() error {
	for e := p.lru.Back(); e != nil && p.fds >= p.max; {
		prev := e.Prev()
		if h := e.Value.(*handle); h.refs == 0 {
			p.retire(h)
		}
		e = prev
	}
	if p.fds >= p.max {
		return unix.ENFILE
	}
	return nil
}

// install makes fd the node's handle in slot, with one user.
func (p *Pool) install(slot **handle, fd int, eager bool) (*handle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := *slot; h != nil { // someone was faster
		closeFD(fd)
		h.refs++
		return h, nil
	}
	if err := p.admit(); err != nil {
		closeFD(fd)
		return nil, err
	}
	h := &handle{pool: p, fd: fd, refs: 1, eager: eager, slot: slot}
	h.elem = p.lru.PushFront(h)
	p.fds++
	*slot = h
	return h, nil
}

// use returns the handle in slot with one more user, nil if there is none.
func (p *Pool) use(slot **handle) *handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := *slot
	if h != nil {
		h.refs++
		p.lru.MoveToFront(h.elem)
	}
	return h
}

// done ends a use.
func (h *handle) done() {
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	h.refs--
	switch {
	case h.refs > 0:
	case h.elem == nil:
		h.close()
	case h.eager:
		h.pool.retire(h)
	}
}

// retire closes a handle, after its last user. Preconditions: p.mu is held, h is
// in the list.
func (p *Pool) retire(h *handle) {
	p.lru.Remove(h.elem)
	h.elem = nil
	*h.slot = nil
	if h.refs == 0 {
		h.close()
	}
}

// close closes the descriptor. Preconditions: p.mu is held.
func (h *handle) close() {
	closeFD(h.fd)
	h.fd = -1
	h.pool.fds--
}

// closeFD closes a descriptor whose data, if any, was written by write(2): an
// error that close could report belongs to fsync(2), which the guest may call.
func closeFD(fd int) { _ = unix.Close(fd) }
