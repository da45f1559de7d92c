package guest

import (
	"unsafe"

	"culvert/shim/abi"
)

// Constants for the assembly (go_asm.h).
const (
	version     = abi.Version
	kindDie     = abi.KindDie
	portCall    = abi.PortCall
	flagsUser   = abi.FlagsUser
	flagsForced = abi.FlagsForced
	userCS      = abi.UserCS
	userDS      = abi.UserDS
	smallSize   = 92 // bytes of smallMovs: a fault anywhere in it is one of its copy
)

// onSyscall is called by sysEntry with the thread's registers in its slot.
//
//go:nosplit
func onSyscall(p *PerCPU, t *Thread) {
	nr := t.RAX
	if nr < abi.NumSyscalls {
		code := (*uint64)(at(p.VM.Fast + nr*8))
		if *code != 0 {
			// A func value is a pointer to a word that holds a code address.
			f := *(*func(*PerCPU, *Thread) bool)(unsafe.Pointer(&code))
			if f(p, t) {
				p.Stats.Fast[nr&(abi.NumSyscalls-1)]++
				leave(p)
				return
			}
		}
	}
	forward(p, t, abi.KindSyscall, nr)
	leave(p)
}

// onTrap is called by the gates for exceptions in ring 3 and for the kick vector.
//
//go:nosplit
func onTrap(p *PerCPU, t *Thread) {
	if p.Vector == abi.VecKick {
		p.Stats.Ticks++
		if anyReady(p) {
			yield(p, t)
		}
		leave(p)
		return
	}
	if p.Vector != abi.VecPF || !fixFault(p, p.CR2, p.Err) {
		c := p.Call
		c.Vector, c.Err, c.CR2, c.Copy = p.Vector, p.Err, p.CR2, 0
		forward(p, t, abi.KindFault, 0)
	}
	leave(p)
}

// leave runs before every return to ring 3: translations that lost rights are flushed, threads that the host wants to
// see visit it, and a late kick is sent. A kick that comes after these checks is not lost: interrupts are off here, so
// KVM injects it as soon as ring 3 runs.
//
//go:nosplit
func leave(p *PerCPU) {
	for {
		flush(p)
		t := cur(p)
		if load(&t.Attn) == 0 {
			if t.Iret == 0 || t.RIP < uint64(abi.UserEnd) {
				break
			}
			// IRETQ to a non-canonical address would fault in ring 0 with the user's GS base.
			c := p.Call
			c.Vector, c.Err, c.CR2, c.Copy = abi.VecGP, 0, 0, 0
			forward(p, t, abi.KindFault, 0)
			continue
		}
		note(p, t, abi.NoteAttention, 0)
	}
	if p.LateKick != 0 {
		p.LateKick++
		if p.LateKick > 2 {
			p.LateKick = 0
			kickIdle(p)
		}
	}
}

// flush acts on a shootdown: the request that was read is stored as the answer only after CR3 was loaded, so a
// request raised in between is answered by the next round.
//
//go:nosplit
func flush(p *PerCPU) {
	for {
		req := load(&p.FlushReq)
		if req == p.FlushAck {
			return
		}
		p.SetCR3(p.CR3)
		store(&p.FlushAck, req)
	}
}

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
	p.SaveFPU(t)
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
			p.LoadFPU(t)
		}
		if flags&abi.FlagIret != 0 {
			t.Iret = 1
		}
		return
	}
	if c.Action == abi.ActExit {
		exit(p, t)
	} else if block(p, t) {
		// Woken on the way: t goes on, with whatever the shim left in its slot.
		if resumeRecord(p, t) {
			setSpace(p, t.Space)
			p.LoadFPU(t)
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
