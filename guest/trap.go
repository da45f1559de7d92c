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
	numSyscalls = abi.NumSyscalls
	smallSize   = 93 // bytes of smallMovs: a fault anywhere in it is one of its copy
)

// onSyscall is called by sysEntry with the thread's registers in its slot.
//
//go:nosplit
func onSyscall(p *PerCPU, t *Thread) {
	nr := t.RAX
	if nr < abi.NumSyscalls {
		how := uint64(p.Serve[nr])
		done := false
		if how >= ServeCode {
			// A func value is a pointer to a word that holds a code address.
			code := &p.Calls[how&(maxCalls-1)]
			done = (*(*func(*PerCPU, *Thread) bool)(unsafe.Pointer(&code)))(p, t)
		} else if how != 0 {
			t.RAX = load((*uint64)(unsafe.Add(unsafe.Pointer(t), how*8)))
			done = true
		}
		if done {
			p.Stats.Fast[min(how, uint64(len(p.Stats.Fast)-1))]++
			if p.Due != 0 {
				due(p, t)
			}
			if !free(p) {
				leave(p)
			}
			return
		}
	}
	forward(p, t, abi.KindSyscall, nr)
	leave(p)
}

// What the code of a system call leaves to be done when it has returned, in PerCPU.Due: the stack is flat then.
const (
	dueSleep    = iota + 1 // t is in the wait sets of its record
	dueSchedule            // t is ready, and saved
	dueSIGPIPE             // t wrote to a pipe that nobody reads
)

// due does what PerCPU.Due says. After it the running thread may be another one.
//
//go:nosplit
func due(p *PerCPU, t *Thread) {
	what := p.Due
	p.Due = 0
	if what == dueSIGPIPE {
		t.Wait.Aux = 0
		note(p, t, abi.NoteSIGPIPE, 0)
		return
	}
	if what == dueSleep {
		p.Save(t)
		if block(p, t) {
			p.Load = 1 // the shim may change them meanwhile
			if resumeRecord(p, t) {
				return
			}
		}
	}
	schedule(p)
}

// onTrap is called by the gates for exceptions in ring 3 and for the kick vector.
//
//go:nosplit
func onTrap(p *PerCPU, t *Thread) {
	if p.Vector == abi.VecKick {
		p.Stats.Ticks++
		if anyReady(p) {
			yield(p, t)
			schedule(p)
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

// free reports that nothing keeps the running thread from ring 3: what leave looks at.
//
//go:nosplit
func free(p *PerCPU) bool {
	t := cur(p)
	return load(&p.FlushReq) == p.FlushAck && load(&t.Attn)|t.Iret|p.LateKick == 0
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
