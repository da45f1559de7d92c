package guest

import "culvert/shim/abi"

// hypercall fills the common words of the request, rings the doorbell and answers a shootdown that came meanwhile: no
// user memory is touched between an exit and that.
//
//go:nosplit
func hypercall(p *PerCPU, t *Thread, kind, nr uint64) {
	c := p.Call
	c.Version, c.Kind, c.NR = abi.Version, kind, nr
	if t != nil {
		c.Thread, c.RIP = t.Index, t.RIP
	}
	p.Out(abi.PortCall)
	flush(p)
	if p.Deferred != 0 {
		dropFrame(p, p.Deferred)
		p.Deferred = 0
	}
}

// forward hands t to the shim: a system call, a fault or a note. On return p.Cur is a thread that may run: t, or
// another one if the shim blocked or ended t.
//
//go:nosplit
func forward(p *PerCPU, t *Thread, kind, nr uint64) {
	c := p.Call
	if kind == abi.KindSyscall {
		c.Args[0], c.Args[1], c.Args[2] = t.RDI, t.RSI, t.RDX
		c.Args[3], c.Args[4], c.Args[5] = t.R10, t.R8, t.R9
	}
	p.Save(t)
	charge(p, t)
	hypercall(p, t, kind, nr)
	flags := c.Flags
	if c.Action == abi.ActReturn {
		if flags&abi.FlagSpace != 0 {
			setSpace(p, t.Space)
		} else if flags&abi.FlagFlush != 0 {
			p.SetCR3(p.CR3)
		}
		if flags&abi.FlagFPU != 0 {
			p.Load = 1
		}
		if flags&abi.FlagIret != 0 {
			t.Iret = 1
		}
		return
	}
	p.TSC = p.RDTSC()
	if c.Action == abi.ActExit {
		exit(p, t)
	} else if block(p, t) {
		// Woken on the way: t goes on, with whatever the shim left in its slot.
		p.Load = 1
		if resumeRecord(p, t) {
			setSpace(p, t.Space)
			return
		}
	}
	schedule(p)
}

// note is forward for a KindNote with one argument.
//
//go:nosplit
func note(p *PerCPU, t *Thread, nr, arg uint64) {
	p.Call.Args[0] = arg
	forward(p, t, abi.KindNote, nr)
}

// attend makes a note for a thread that is not in ring 3 yet. It reports false if the thread is gone or
// blocked, and nothing was taken in its place.
//
//go:nosplit
func attend(p *PerCPU, t *Thread, nr uint64) bool {
	hypercall(p, t, abi.KindNote, nr)
	p.TSC = p.RDTSC()
	c := p.Call
	if c.Action == abi.ActExit {
		exit(p, t)
		return false
	}
	if c.Action == abi.ActBlock {
		return block(p, t)
	}
	if c.Flags&abi.FlagSpace != 0 {
		setSpace(p, t.Space)
	}
	if c.Flags&abi.FlagIret != 0 {
		t.Iret = 1
	}
	return true
}
