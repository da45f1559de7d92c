package signals

import (
	"testing"

	"culvert/pipes/tso"
)

// The protocol of a thread that waits for a signal in ring 0, over all interleavings with a sender. The signal is sent once, and
// the thread blocks it but for the wait.

// Words of the model, beside those of explore_test.go that it uses: mask1, queued, pending, mutex, attn1.
const (
	saved tso.Word = iota + 11 // all registers of the thread are in its slot
	kind                       // of the record
	state                      // Thread.State
	taken                      // the ready bit
)

// Values of kind and state.
const (
	none      = 0
	inShim    = 1 // WaitShim
	inRing    = 2 // WaitSignal
	running   = 0
	blocked   = 1
	wokenSoon = 2
)

// deliver is Thread.leave and finishBlocked: the frame is in the slot.
func (p *program) deliver() {
	p.Xchg(queued, tso.Value(0))
	p.Xchg(pending, tso.Value(0))
	p.Xchg(mask1, tso.Value(1))
	p.Xchg(kind, tso.Value(none))
}

// wake is guest.Wake.
func (p *program) wake(m mutant) {
	again, slept, done := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.At(again)
	p.CAS(0, state, blocked, running)
	p.JumpNe(0, 0, slept)
	if m == "only who sleeps is woken" {
		p.Jump(done)
	}
	p.CAS(0, state, running, wokenSoon)
	p.JumpNe(0, 0, done)
	p.Jump(again)
	p.At(slept)
	p.Xchg(taken, tso.Value(1))
	p.At(done)
}

// suspends is guest's suspend, and what follows it until the thread is in ring 3 again.
func suspends(m mutant) *tso.Program {
	p := &program{}
	sleep, look, again, noted, settled, out := tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	store := p.Xchg
	if m == "plain stores" {
		store = p.Store
	}
	if m == "pending before the change" {
		p.Load(1, pending)
	}
	if m == "the record before the registers" {
		store(mask1, tso.Value(0))
		store(kind, tso.Value(inRing))
		p.Store(saved, tso.Value(1))
	} else {
		p.Store(saved, tso.Value(1))
		store(mask1, tso.Value(0))
		store(kind, tso.Value(inRing))
	}
	if m != "pending before the change" {
		p.Load(1, pending)
	}
	if m == "no look at pending" {
		p.Jump(sleep)
	}
	p.JumpEq(1, 0, sleep)
	// The record is taken back, and the call made by the shim.
	if m == "taken back by a store" {
		p.Xchg(kind, tso.Value(none))
	} else {
		p.CAS(0, kind, inRing, none)
		p.JumpEq(0, 0, sleep)
	}
	p.Xchg(mask1, tso.Value(1))
	p.Acquire(mutex)
	p.Xchg(attn1, tso.Value(0))
	p.Load(0, queued)
	p.JumpNe(0, 0, settled)
	p.Xchg(mask1, tso.Value(0))
	p.Xchg(kind, tso.Value(inShim))
	p.Xchg(mutex, tso.Value(0))
	// block, and resumeRecord.
	p.At(sleep)
	p.CAS(0, state, running, blocked)
	p.JumpNe(0, 0, again)
	p.Xchg(state, tso.Value(running))
	p.Jump(look)
	p.At(again)
	p.AwaitNot(taken, 0)
	p.Xchg(taken, tso.Value(0))
	p.At(look)
	p.Load(0, kind)
	p.JumpEq(0, none, out)
	p.Load(0, attn1)
	p.JumpNe(0, 0, noted)
	p.Jump(sleep)
	p.At(noted) // NoteAttention
	p.Acquire(mutex)
	p.Xchg(attn1, tso.Value(0))
	p.Load(0, queued)
	p.JumpNe(0, 0, settled)
	p.Xchg(mutex, tso.Value(0))
	p.Jump(look)
	p.At(settled)
	p.deliver()
	p.Xchg(mutex, tso.Value(0))
	p.At(out)
	p.Assert("the wait is over, and the signal was not delivered", func(w *tso.World, _ int) bool {
		return w.Mem[queued] == 0 && w.Mem[mask1] == 1
	})
	return &p.Program
}

// signals is Kernel.send, Thread.interrupt and what the vCPU does before its call returns.
func signals(m mutant) *tso.Program {
	p := &program{}
	end, mine, attend := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.Acquire(mutex)
	p.Xchg(queued, tso.Value(1))
	p.Xchg(pending, tso.Value(1))
	p.Load(0, mask1)
	p.JumpNe(0, 0, end)
	p.Load(0, kind)
	p.JumpEq(0, inShim, mine)
	if m == "taken over by a store" {
		p.JumpNe(0, inRing, attend)
		p.Xchg(kind, tso.Value(inShim))
	} else {
		p.CAS(0, kind, inRing, inShim)
		p.JumpEq(0, 0, attend)
	}
	p.At(mine)
	p.Assert("a frame is built of registers that are not in the slot", func(w *tso.World, _ int) bool { return w.Mem[saved] == 1 })
	p.deliver()
	p.wake(m)
	p.Jump(end)
	p.At(attend)
	p.Xchg(attn1, tso.Value(1))
	p.wake(m)
	p.At(end)
	p.Xchg(mutex, tso.Value(0))
	return &p.Program
}

// TestExploreSuspend runs the protocol as it is, which must pass, and without each step that it needs, which must not.
func TestExploreSuspend(t *testing.T) {
	var w tso.World
	w.Mem[mask1] = 1
	tso.Check(t, w, func(m mutant) []*tso.Program { return []*tso.Program{suspends(m), signals(m)} }, []mutant{
		"plain stores", "pending before the change", "the record before the registers", "no look at pending",
		"taken back by a store", "taken over by a store", "only who sleeps is woken",
	})
}
