package guest

import (
	"culvert/pipes"
)

// A standard file of the VM that is a regular file on the host has a ring for what is written to it, which the shim
// empties before it serves any other request of the VM: whoever looks at the file finds what was written. Nobody waits for
// room here, since writes to files wait for nobody: what does not fit is the shim's.

// output puts a write of n bytes, whose buffer is in t's record, into the ring of f. It reports false, with nothing done, if the
// shim has to do it.
//
//go:nosplit
func output(p *PerCPU, t *Thread, f *File, n uint64) bool {
	pipe := pipeOf(f)
	span, st := pipe.BeginWrite(n, pipes.Atomic, p.Pause)
	if st != pipes.OK {
		return false
	}
	t.Wait.Done = 0
	whole := copyRing(p, t, load(&pipe.Data), span, true) == n
	if !whole {
		n = 0
	}
	pipe.EndWrite(n, pipes.Atomic) // the shim looks by itself
	if whole {
		t.RAX = n
	}
	return whole
}
