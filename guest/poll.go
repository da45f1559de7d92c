package guest

import (
	"unsafe"

	"culvert/pipes"
	"culvert/shim/abi"
)

// poll(2) on files that are all pipes and eventfds: do_poll of fs/select.c. Few of them can be waited for: a poller is in
// the PWait of each. Of many it is only asked what they have (pollMany). All other calls are the shim's.

// sysPoll is poll(2).
//
//go:nosplit
func sysPoll(p *PerCPU, t *Thread) bool {
	if t.RSI > PollFiles {
		return pollMany(p, t, uint32(t.RDX) == 0)
	}
	d, ok := afterMillis(p, t.RDX)
	return ok && poll(p, t, d, 0)
}

// sysPpoll is ppoll(2). A call with a signal mask ends here only if there is something: then nobody sees the mask, while
// without anything even a time-out of 0 looks for signals that it lets through.
//
//go:nosplit
func sysPpoll(p *PerCPU, t *Thread) bool {
	masked := t.R10 != 0
	if masked && (t.R8 != 8 || !maskReadable(p, t.R10)) {
		return false
	}
	d, ok := afterTimespec(p, t.RDX)
	if !ok {
		return false
	}
	if masked || t.RSI > PollFiles {
		return pollMany(p, t, d == 0 && !masked)
	}
	left := t.RDX
	if d == 0 || d == Forever {
		left = 0
	}
	return poll(p, t, d, left)
}

// maskReadable reports whether the signal mask of a call can be read. What it says does not matter to a call that ends at once,
// but Linux reads it first.
//
//go:nosplit
func maskReadable(p *PerCPU, addr uint64) bool {
	if addr >= uint64(abi.UserEnd)-8 {
		return false
	}
	_, fault := p.LoadUser(at(addr))
	return fault == 0
}

// poll reads the array and takes references to its files. left is where what is left of the time goes; 0 is nowhere.
//
//go:nosplit
func poll(p *PerCPU, t *Thread, deadline, left uint64) bool {
	addr, n := t.RDI, t.RSI
	if n-1 >= PollFiles || n > load(&t.MaxPoll) || addr >= uint64(abi.UserEnd)-8*PollFiles {
		return false
	}
	if p.Copy(unsafe.Pointer(&p.PollFDs), at(addr), n*8) != 0 {
		return false // the shim resolves the fault, or answers EFAULT
	}
	w := &t.Wait
	w.Len = 0
	for i := uint64(0); i < n && i < PollFiles; i++ {
		e := p.PollFDs[i]
		index := uint64(NoFile)
		if int32(e) >= 0 {
			f := getFile(p, t, e&NoFile)
			if f == nil {
				pollDrop(p, t)
				return false
			}
			index = f.Index
			if !pollable(f) {
				w.Poll[i], w.Len = index, i+1
				pollDrop(p, t)
				return false
			}
		}
		w.Poll[i] = index | e&(0xffff<<32)
		w.Len = i + 1
	}
	w.Kind, w.File, w.Addr, w.Done, w.Aux, w.Left = abi.WaitPoll, 0, addr, 0, 0, left
	w.Expired = Forever
	store(&w.Deadline, deadline)
	runRecord(p, t)
	return true
}

// pollRetry looks at all files, and waits if none has anything.
//
//go:nosplit
func pollRetry(p *PerCPU, t *Thread) bool {
	w := &t.Wait
	n := pollScan(p, w)
	if n == 0 && !timedOut(w) {
		pollJoin(p, t)
		n = pollScan(p, w)
		if n == 0 {
			setTimer(p, t)
			return false
		}
		pollLeave(p, t)
	}
	finish(t, abi.EFAULT)
	if pollStore(p, t) {
		t.RAX = n
	}
	storeLeft(p, t)
	w.Kind = abi.WaitNone
	pollDrop(p, t)
	return true
}

// pollScan asks all files, stores the answers in the record and counts those that have something.
//
//go:nosplit
func pollScan(p *PerCPU, w *Wait) (n uint64) {
	for i := uint64(0); i < w.Len && i < PollFiles; i++ {
		e := w.Poll[i] &^ (0xffff << 48)
		if e&NoFile != NoFile {
			f := fileAt(p.VM, e&NoFile)
			got := fileReadiness(f) & (e>>32 | pipes.POLLERR | pipes.POLLHUP) & 0xffff
			if got != 0 {
				n++
			}
			e |= got << 48
		}
		w.Poll[i] = e
	}
	return n
}

// pollable says whether ring 0 knows the readiness of a file, and where its pollers wait.
//
//go:nosplit
func pollable(f *File) bool {
	kind := load(&f.Kind)
	return (kind == abi.FilePipe || kind == abi.FileEventFD) && load(&f.Mode) != 0
}

// fileReadiness is the readiness of a file that is pollable.
//
//go:nosplit
func fileReadiness(f *File) uint64 {
	if load(&f.Kind) == abi.FilePipe {
		return pipeOf(f).Readiness(load(&f.Mode), load(&f.Since))
	}
	return eventOf(f).Readiness()
}

// pollSet is where pollers of a file wait.
//
//go:nosplit
func pollSet(f *File) *pipes.WaitSet {
	if load(&f.Kind) == abi.FilePipe {
		return &pipeOf(f).PWait
	}
	return &eventOf(f).PWait
}

//go:nosplit
func pollJoin(p *PerCPU, t *Thread) {
	w := &t.Wait
	for i := uint64(0); i < w.Len && i < PollFiles; i++ {
		if j := w.Poll[i] & NoFile; j != NoFile {
			pollSet(fileAt(p.VM, j)).Join(t.Index)
		}
	}
}

// pollLeave leaves all sets. Pollers are all woken, so there is nothing to pass on.
//
//go:nosplit
func pollLeave(p *PerCPU, t *Thread) {
	w := &t.Wait
	for i := uint64(0); i < w.Len && i < PollFiles; i++ {
		if j := w.Poll[i] & NoFile; j != NoFile {
			pollSet(fileAt(p.VM, j)).Leave(t.Index)
		}
	}
}

// pollStore writes the answers, which lie in the record as they do in the user's array; false if they cannot be stored.
//
//go:nosplit
func pollStore(p *PerCPU, t *Thread) bool {
	w := &t.Wait
	for i := uint64(0); i < w.Len && i < PollFiles; i++ {
		answer := w.Poll[i] >> 48
		for {
			p.PollFDs[0] = answer
			if p.Copy(at(w.Addr+i*8+6), unsafe.Pointer(&p.PollFDs), 2) == 0 {
				break
			}
			if !resolveCopy(p, t) {
				return false
			}
		}
	}
	return true
}

// pollDrop drops the record's references.
//
//go:nosplit
func pollDrop(p *PerCPU, t *Thread) {
	w := &t.Wait
	for i := uint64(0); i < w.Len && i < PollFiles; i++ {
		if j := w.Poll[i] & NoFile; j != NoFile {
			putFile(p, t, fileAt(p.VM, j))
		}
	}
	w.Len = 0
}
