package guest

import "culvert/shim/abi"

// Operations that run from a thread's record, of every kind.

// runRecord runs the operation of t's record once.
//
//go:nosplit
func runRecord(p *PerCPU, t *Thread) { ran(p, t, retry(p, t)) }

// retry continues the operation of t's record. It reports true when the call is done: RAX is set, the record and its
// reference are gone. Else t is in the wait set, and its caller blocks it.
//
//go:nosplit
func retry(p *PerCPU, t *Thread) bool {
	w := &t.Wait
	if w.Kind == abi.WaitSelect {
		return selectRetry(p, t)
	}
	if w.Kind == abi.WaitPoll {
		return pollRetry(p, t)
	}
	if w.Kind == abi.WaitFutex {
		return futexRetry(p, t)
	}
	f := fileAt(p.VM, w.File)
	if w.Kind == abi.WaitRead || w.Kind == abi.WaitWrite {
		return pipeRetry(p, t, f)
	}
	done := false
	if w.Kind == abi.WaitLinkRead || w.Kind == abi.WaitLinkWrite {
		for again := true; again; {
			linkPull(t, f)
			if w.Kind == abi.WaitLinkRead {
				done = pipeRead(p, t, f)
			} else {
				done = pipeWrite(p, t, f)
			}
			again = linkPush(p, t, f, done)
		}
	} else if w.Kind == abi.WaitEventRead {
		done = eventRead(p, t, f)
	} else if w.Kind == abi.WaitEventWrite {
		done = eventWrite(p, t, f)
	} else {
		done = epollRetry(p, t, f)
		if w.Kind == abi.WaitNone {
			return true // by the shim
		}
	}
	if done {
		w.Kind = abi.WaitNone
		putFile(p, t, f)
	}
	return done
}

// leaveWaits takes t out of the wait set of its record, first thing after it was woken. A wake that t may not use,
// since something else wants its attention, is passed on.
//
//go:nosplit
func leaveWaits(p *PerCPU, t *Thread) {
	kind := t.Wait.Kind
	if kind == abi.WaitPoll || kind == abi.WaitSelect {
		pollLeave(p, t)
		return
	}
	if kind == abi.WaitFutex {
		futexLeave(p, t)
		return
	}
	f := fileAt(p.VM, t.Wait.File)
	if kind == abi.WaitEpoll {
		epollLeave(p, t, f)
		return
	}
	if kind == abi.WaitEventRead || kind == abi.WaitEventWrite {
		eventLeave(p, t, f)
		return
	}
	pipeLeave(p, t, f, kind == abi.WaitRead || kind == abi.WaitLinkRead)
}
