package guest

import (
	"unsafe"

	"culvert/pipes"
	"culvert/pipes/eventfd"
	"culvert/shim/abi"
)

// read(2) and write(2) on eventfds, in the same way as on pipes: eventfd_read and eventfd_write of fs/eventfd.c.

// eventRecord prepares the record of an operation on f. Wrong sizes are the shim's to refuse.
//
//go:nosplit
func eventRecord(p *PerCPU, t *Thread, f *File, kind, addr, n uint64) bool {
	w := &t.Wait
	value := uint64(0)
	if kind == abi.WaitRead {
		kind = abi.WaitEventRead
	} else {
		kind = abi.WaitEventWrite
		if n == 8 {
			v, fault := p.LoadUser(at(addr))
			value = v
			if fault != 0 {
				n = 0
			}
		} else {
			n = 0
		}
	}
	if n < 8 || value == eventfd.Invalid {
		return false
	}
	w.Kind, w.File, w.Addr, w.Len, w.Done, w.Aux = kind, f.Index, addr, 8, 0, value
	return true
}

//go:nosplit
func eventOf(f *File) *eventfd.EventFD { return (*eventfd.EventFD)(at(load(&f.Obj))) }

// eventRead takes the counter. What was taken is lost if it cannot be stored, as in Linux.
//
//go:nosplit
func eventRead(p *PerCPU, t *Thread, f *File) bool {
	w, e := &t.Wait, eventOf(f)
	for {
		v, wake, st := e.Read()
		if st == pipes.OK {
			obeyEvent(p, t, f, e, wake)
			for {
				p.TimeSpec[0] = v
				if p.Copy(at(w.Addr), unsafe.Pointer(&p.TimeSpec), 8) == 0 {
					w.Done = 8
					return finish(t, 0)
				}
				if !resolveCopy(p, t) {
					return finish(t, abi.EFAULT)
				}
			}
		}
		if st == pipes.LockBusy {
			hypercall(p, t, abi.KindNote, abi.NoteYield)
			continue
		}
		if load(&f.Flags)&abi.O_NONBLOCK != 0 {
			return finish(t, abi.EAGAIN)
		}
		e.RWait.Join(t.Index)
		if !e.Readable() {
			return false
		}
		e.RWait.Leave(t.Index)
	}
}

// eventWrite adds the record's value.
//
//go:nosplit
func eventWrite(p *PerCPU, t *Thread, f *File) bool {
	w, e := &t.Wait, eventOf(f)
	for {
		wake, st := e.Write(w.Aux)
		if st == pipes.OK {
			obeyEvent(p, t, f, e, wake)
			w.Done = 8
			return finish(t, 0)
		}
		if st == pipes.LockBusy {
			hypercall(p, t, abi.KindNote, abi.NoteYield)
			continue
		}
		if load(&f.Flags)&abi.O_NONBLOCK != 0 {
			return finish(t, abi.EAGAIN)
		}
		e.WWait.Join(t.Index)
		if !e.Writable(w.Aux) {
			return false
		}
		e.WWait.Leave(t.Index)
	}
}

// eventLeave is leaveWaits for eventfds.
//
//go:nosplit
func eventLeave(p *PerCPU, t *Thread, f *File) {
	e := eventOf(f)
	if t.Wait.Kind != abi.WaitEventRead {
		e.WWait.Leave(t.Index) // writers are all woken: nothing to pass on
		return
	}
	if e.RWait.Leave(t.Index) && load(&t.Attn) != 0 {
		obeyEvent(p, t, f, e, e.Pass())
	}
}

// obeyEvent wakes whom an operation says, and tells those who watch.
//
//go:nosplit
func obeyEvent(p *PerCPU, t *Thread, f *File, e *eventfd.EventFD, w pipes.Wake) {
	if w.Reader >= 0 {
		wake(p, uint64(w.Reader))
	}
	if w.Flags == 0 {
		return
	}
	if w.Flags&pipes.WakeAll != 0 {
		wakeAll(p, &e.WWait)
	}
	if w.Flags&pipes.WakePollers != 0 {
		wakeAll(p, &e.PWait)
	}
	if w.Flags&pipes.WakeWatch != 0 {
		tell(p, t, &e.Watch, w.Events)
	}
	if w.Flags&pipes.WakeNote != 0 {
		p.Call.Args[0] = f.Index
		hypercall(p, t, abi.KindNote, abi.NotePipe)
	}
}
