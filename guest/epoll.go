package guest

import (
	"unsafe"

	"culvert/epoll"
	"culvert/pipes"
	"culvert/pipes/eventfd"
	"culvert/shim/abi"
)

// epoll_wait and its like on instances that lie in guest memory: do_epoll_wait, ep_poll and ep_send_events of
// fs/eventpoll.c. epoll_ctl is the shim's. Of files that only the shim knows the shim sets the ready bits; when one is
// met, the shim collects (NoteCollect), and that is the only exit.

// eventSize is the size of struct epoll_event, which is packed on x86-64.
const eventSize = 12

// sysEpollWait is epoll_wait(2).
//
//go:nosplit
func sysEpollWait(p *PerCPU, t *Thread) bool {
	d, ok := afterMillis(p, t.R10)
	return ok && epollWait(p, t, d, false)
}

// sysEpollPwait is epoll_pwait(2).
//
//go:nosplit
func sysEpollPwait(p *PerCPU, t *Thread) bool {
	d, ok := afterMillis(p, t.R10)
	return ok && epollWait(p, t, d, t.R8 != 0)
}

// sysEpollPwait2 is epoll_pwait2(2).
//
//go:nosplit
func sysEpollPwait2(p *PerCPU, t *Thread) bool {
	d, ok := afterTimespec(p, t.R10)
	return ok && epollWait(p, t, d, t.R8 != 0)
}

// epollWait starts a wait. What is not in order is the shim's to refuse. A call with a signal mask ends here only if
// there are events: then nobody sees the mask.
//
//go:nosplit
func epollWait(p *PerCPU, t *Thread, deadline uint64, masked bool) bool {
	if masked && (t.R9 != 8 || !maskReadable(p, t.R8)) {
		return false
	}
	addr, n := t.RSI, uint64(int64(int32(t.RDX)))
	if n-1 >= maxInt32/eventSize || addr >= uint64(abi.UserEnd) || n*eventSize > uint64(abi.UserEnd)-addr {
		return false
	}
	f := getFile(p, t, t.RDI)
	if f == nil {
		return false
	}
	if load(&f.Kind) != abi.FileEpoll || load(&f.Mode) == 0 || masked && !instanceOf(f).Any() {
		putFile(p, t, f)
		return false
	}
	w := &t.Wait
	w.Kind, w.File, w.Addr, w.Len, w.Done, w.Aux = abi.WaitEpoll, f.Index, addr, n, 0, 0
	w.Expired = Forever
	if masked {
		store(&w.Deadline, 0)
		retry(p, t)
		return t.RAX != 0
	}
	store(&w.Deadline, deadline)
	runRecord(p, t)
	return true
}

const maxInt32 = 1<<31 - 1

// Why a collection ended.
const (
	collected = iota
	collectBusy
	collectForeign
	collectFault
)

// epollRetry is ep_poll.
//
//go:nosplit
func epollRetry(p *PerCPU, t *Thread, f *File) bool {
	w := &t.Wait
	e := instanceOf(f)
	for {
		n, why := collect(p, t, e)
		if n != 0 {
			t.RAX = n
			return true
		}
		if why == collectBusy {
			hypercall(p, t, abi.KindNote, abi.NoteYield)
			continue
		}
		if why == collectFault {
			if !resolveCopy(p, t) {
				return finish(t, abi.EFAULT)
			}
			continue
		}
		if why == collectForeign {
			hypercall(p, t, abi.KindNote, abi.NoteCollect)
			if load(&w.Kind) == abi.WaitNone {
				return true
			}
		}
		if timedOut(w) {
			t.RAX = 0
			return true
		}
		e.Sleepers.Join(t.Index)
		if !e.Any() {
			setTimer(p, t)
			return false
		}
		e.Sleepers.Leave(t.Index)
		if load(&t.Attn) != 0 {
			// A signal does not wait until others leave the instance alone: the block fails, and the record is settled.
			Wake(p.VM, t)
			return false
		}
	}
}

// epollLeave is leaveWaits for instances.
//
//go:nosplit
func epollLeave(p *PerCPU, t *Thread, f *File) {
	e := instanceOf(f)
	if e.Sleepers.Leave(t.Index) && load(&t.Attn) != 0 {
		if next := e.PassOn(); next >= 0 {
			wake(p, uint64(next))
		}
	}
}

//go:nosplit
func instanceOf(f *File) *epoll.Instance { return (*epoll.Instance)(at(load(&f.Obj))) }

// collect stores the events that there are, and returns their number, or why there is none.
//
//go:nosplit
func collect(p *PerCPU, t *Thread, e *epoll.Instance) (n, why uint64) {
	c := &p.Pass
	enterWalk(p)
	c.Ring0 = true
	if !c.Begin(e, p.Pause) {
		leaveWalk(p)
		return 0, collectBusy
	}
	for n < t.Wait.Len && why == collected {
		i, what := c.Next(e)
		if what == epoll.End || i >= epoll.MaxChunks {
			break
		}
		chunk := (*epoll.Chunk)(at(load(&e.Chunk[i])))
		if what == epoll.Scan {
			c.Scan(e, chunk)
			continue
		}
		if !c.Look(e, chunk) {
			if c.Foreign {
				why = collectForeign
			}
			continue
		}
		why = visit(p, t, e, chunk, n)
		if why == visited {
			n, why = n+1, collected
		} else if why == visitMissed {
			why = collected
		}
	}
	next := c.End(e)
	told := c.Told
	leaveWalk(p)
	if next >= 0 {
		wake(p, uint64(next))
	} else if load(&e.HostWatch) != 0 && e.Any() {
		p.Call.Args[0] = e.File
		hypercall(p, t, abi.KindNote, abi.NotePipe)
	}
	if told {
		tell(p, t, &e.Watch, pipes.POLLIN|pipes.POLLRDNORM)
	}
	return n, why
}

// Results of visit, beside those of collect.
const (
	visited = collectFault + 1 + iota
	visitMissed
)

// visit asks the object of the item that Pass is at, and stores event n if there is one.
//
//go:nosplit
func visit(p *PerCPU, t *Thread, e *epoll.Instance, chunk *epoll.Chunk, n uint64) uint64 {
	c := &p.Pass
	for {
		ready, known := itemReadiness(p, c.Item(chunk))
		ready &= epoll.Events(c.Want)
		if !known {
			c.Restore(e, chunk)
			return collectForeign
		}
		if ready != 0 {
			if !c.Same(e, chunk) {
				return visitMissed
			}
			p.Event[0] = ready | c.Data<<32
			p.Event[1] = c.Data >> 32
			if p.Copy(at(t.Wait.Addr+n*eventSize), unsafe.Pointer(&p.Event), eventSize) != 0 {
				c.Restore(e, chunk)
				return collectFault
			}
			if !c.Done(e, chunk) {
				return visitMissed
			}
			return visited
		}
		if !c.Miss(e, chunk) {
			return visitMissed
		}
	}
}

// itemReadiness asks the object of an item; known is false if only the shim can.
//
//go:nosplit
func itemReadiness(p *PerCPU, it *epoll.Item) (ready uint64, known bool) {
	if it.Kind == abi.FilePipe {
		return (*pipes.Pipe)(at(it.Obj)).Readiness(it.Ends, it.Since), true
	}
	if it.Kind == abi.FileEventFD {
		return (*eventfd.EventFD)(at(it.Obj)).Readiness(), true
	}
	if it.Kind == abi.FileEpoll {
		return peek(p, it.Obj)
	}
	return 0, false
}

// peek asks a nested instance: ep_eventpoll_poll.
//
//go:nosplit
func peek(p *PerCPU, inst uint64) (ready uint64, known bool) {
	k := &p.Peek
	k.Start(inst)
	for it := k.Next(); it != nil; it = k.Next() {
		got := uint64(0)
		if it.Kind == abi.FilePipe {
			got = (*pipes.Pipe)(at(it.Obj)).Readiness(it.Ends, it.Since)
		} else if it.Kind == abi.FileEventFD {
			got = (*eventfd.EventFD)(at(it.Obj)).Readiness()
		} else if it.Kind != abi.FileEpoll || !k.Enter(it.Obj) {
			return 0, false
		}
		if got&epoll.Events(k.Want) != 0 && load(&it.Want) == k.Want {
			return pipes.POLLIN | pipes.POLLRDNORM, true
		}
	}
	return 0, !k.Exhausted()
}

// tell tells the watchers of an object of events: the object was changed before, by a locked operation. head is its
// Watch word.
//
//go:nosplit
func tell(p *PerCPU, t *Thread, head *uint64, events uint64) {
	enterWalk(p)
	w := &p.Walk
	w.Start(load(head), events)
	for w.Next() {
		if w.Thread >= 0 {
			wake(p, uint64(w.Thread))
		}
		if w.Note != 0 {
			p.Call.Args[0] = w.Note - 1
			hypercall(p, t, abi.KindNote, abi.NotePipe)
		}
	}
	leaveWalk(p)
}

// enterWalk and leaveWalk bracket all use of what the shim links and unlinks. Both are full barriers: a list is read
// after its word says so.
//
//go:nosplit
func enterWalk(p *PerCPU) {
	w := &p.VM.Walks[p.ID&(abi.MaxVCPUs-1)][0]
	store(w, *w|1)
}

//go:nosplit
func leaveWalk(p *PerCPU) {
	w := &p.VM.Walks[p.ID&(abi.MaxVCPUs-1)][0]
	store(w, (*w|1)+1)
}
