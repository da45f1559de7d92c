package shim

import (
	"culvert/shim/sig"
	"culvert/shim/strace"
)

// Tracer is told of what programs do, in order: see strace.Printer, which prints it. Its methods are called with
// Kernel.mu held.
type Tracer interface {
	Start(pid int)
	Entry(pid int, nr uint64, args [6]uint64, mem strace.Memory)
	Exit(pid int, ret uint64, mem strace.Memory)
	Signal(pid int, info []byte)
	Superseded(pid, by int)
	Exited(pid, code int)
	Killed(pid, signo int, core bool)
}

// traceEntry tells the tracer of a call.
func (t *Thread) traceEntry(nr uint64, a Args) {
	if tr := t.k.cfg.Trace; tr != nil && t.mm != nil {
		tr.Entry(t.tid, nr, a, t.mm.Space)
	}
}

// traceExit tells the tracer of a call's end: re is the restart that it asks for, or 0.
func (t *Thread) traceExit(re restart) {
	tr := t.k.cfg.Trace
	if tr == nil || t.mm == nil {
		return
	}
	ret := t.slot.RAX
	if re != 0 {
		ret = -uint64(re)
	}
	tr.Exit(t.tid, ret, t.mm.Space)
}

// traceSignal tells the tracer of a delivery.
func (t *Thread) traceSignal(i *sig.Info) {
	if tr := t.k.cfg.Trace; tr != nil {
		b := i.Marshal()
		tr.Signal(t.tid, b[:])
	}
}

// traceEnd tells the tracer that t has ended.
func (t *Thread) traceEnd() {
	tr := t.k.cfg.Trace
	if tr == nil {
		return
	}
	if signo := t.p.exitStatus & 0x7f; signo != 0 {
		tr.Killed(t.tid, signo, t.p.exitStatus&0x80 != 0)
		return
	}
	tr.Exited(t.tid, t.p.exitStatus>>8&0xff)
}
