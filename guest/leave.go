package guest

import "culvert/shim/abi"

// How a thread leaves its vCPU without waiting, and what a return to ring 3 does that has something to do.

// yield puts the running thread t back among the ready ones; the caller takes the next.
//
//go:nosplit
func yield(p *PerCPU, t *Thread) {
	p.Save(t)
	t.Yields++
	charge(p, t)
	store(&t.OnCPU, 0)
	setReady(p.VM, t.Index)
}

// exit leaves the dead thread t: its address space first, so that the host may free it, then the slot.
//
//go:nosplit
func exit(p *PerCPU, t *Thread) {
	charge(p, t)
	setSpace(p, nil)
	store(&t.OnCPU, 0)
	store(&t.State, abi.StateFree)
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
