package shim

import "culvert/shim/sig"

// sigAction is a struct sigaction as the kernel sees it.
type sigAction struct {
	handler, flags, restorer uint64
	mask                     sig.Set
}

// sigActions are the dispositions that processes share under CLONE_SIGHAND; index 0 is signal 1.
type sigActions [sig.NSIG]sigAction

// signalPending reports whether a signal waits that the thread does not block.
func (t *Thread) signalPending() bool {
	return (t.pending.Set()|t.p.pending.Set())&^t.mask != 0
}
