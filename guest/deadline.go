package guest

import (
	"unsafe"

	"culvert/shim/abi"
)

// Time-outs of blocked calls. A record's deadline is absolute. The host has one timer for all of them and says in
// VM.Timer when it will fire; only an earlier deadline needs an exit. When the timer fires, the host first stores Forever
// in VM.Timer and then looks at all records; a thread stores its deadline and then looks at VM.Timer. So either the host
// finds the deadline, or the thread finds that it has to tell.
//
// What has expired the host says, in Wait.Expired, by the deadline that has: a record that began meanwhile has another.

// afterMillis is the deadline of a time-out in milliseconds, an int; negative is none. Not ok: the shim has to wait.
//
//go:nosplit
func afterMillis(p *PerCPU, ms uint64) (deadline uint64, ok bool) {
	n := int32(ms)
	if n < 0 {
		return Forever, true
	}
	return after(p, uint64(n)*1_000_000)
}

// afterTimespec is the deadline of a struct timespec in user memory; address 0 is none.
//
//go:nosplit
func afterTimespec(p *PerCPU, addr uint64) (deadline uint64, ok bool) {
	if addr == 0 {
		return Forever, true
	}
	ns, ok := readTimespec(p, addr)
	if !ok {
		return 0, false
	}
	return after(p, ns)
}

// readTimespec is a struct timespec in user memory, in ns.
//
//go:nosplit
func readTimespec(p *PerCPU, addr uint64) (ns uint64, ok bool) {
	if addr >= uint64(abi.UserEnd)-16 || p.Copy(unsafe.Pointer(&p.TimeSpec), at(addr), 16) != 0 {
		return 0, false
	}
	sec, ns := p.TimeSpec[0], p.TimeSpec[1]
	if sec >= maxSec || ns >= nsPerSec {
		return 0, false
	}
	return sec*nsPerSec + ns, true
}

// maxSec bounds the time-outs that are served here, in seconds: 34 years.
const maxSec = 1 << 30

//go:nosplit
func after(p *PerCPU, ns uint64) (deadline uint64, ok bool) {
	if ns == 0 {
		return 0, true
	}
	now, ok := readClock(p, clockMonotonic)
	return now + ns, ok
}

// timedOut reports whether the record's time is over.
//
//go:nosplit
func timedOut(w *Wait) bool {
	d := load(&w.Deadline)
	return d == 0 || d != Forever && load(&w.Expired) == d
}

// storeLeft stores what is left of the record's time, if the call says so (poll_select_finish). That this fails changes
// nothing.
//
//go:nosplit
func storeLeft(p *PerCPU, t *Thread) {
	w := &t.Wait
	if w.Left == 0 {
		return
	}
	now, _ := readClock(p, clockMonotonic)
	left := w.Deadline - min(now, w.Deadline)
	for {
		p.TimeSpec[0], p.TimeSpec[1] = left/nsPerSec, left%nsPerSec
		if w.Aux == selectMicros {
			p.TimeSpec[1] /= nsPerMicro
		}
		if p.Copy(at(w.Left), unsafe.Pointer(&p.TimeSpec), 16) == 0 || !resolveCopy(p, t) {
			return
		}
	}
}

// setTimer tells the host of the record's deadline, if its timer would fire too late for it.
//
//go:nosplit
func setTimer(p *PerCPU, t *Thread) {
	d := load(&t.Wait.Deadline)
	if d < load(&p.VM.Timer) {
		p.Call.Args[0] = d
		hypercall(p, t, abi.KindNote, abi.NoteDeadline)
	}
}
