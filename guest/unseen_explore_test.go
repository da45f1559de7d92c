package guest

import (
	"testing"

	"culvert/pipes/tso"
)

// The protocol of sysExit, explored over all interleavings: a thread ends in ring 0, while the shim serves a call that wants it
// to take a signal. Somebody must take that before the shim's lock is given up or by the thread's own call, and the slot must
// become free, but not while ring 0 is in it.

const (
	stateWord tso.Word = iota // 1: DEAD
	deadWord                  // VM.Dead
	attnWord
	onCPUWord
	bigLock
	deadSeen // Kernel.dead
	exited   // Thread.exited
	unburied // the thread is in Kernel.unburied
	slotFree // Kernel.slots has it no more
	taken    // somebody takes the signal
)

// endUnseen is Kernel.endUnseen, with what Thread.exit does about signals.
func endUnseen(p *tso.Program, m mutant) {
	look, bury, free, end := tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.Load(0, deadWord)
	p.Load(1, deadSeen)
	p.JumpIf(func(rs []uint8) bool { return rs[0] != rs[1] }, look)
	p.Jump(bury)
	p.At(look)
	p.Xchg(deadSeen, tso.Plus(0, 0))
	p.Load(0, exited)
	p.JumpNe(0, 0, bury)
	p.Load(0, stateWord)
	p.JumpEq(0, 0, bury)
	p.Xchg(exited, tso.Value(1))
	p.Xchg(unburied, tso.Value(1))
	p.Load(0, attnWord)
	p.JumpEq(0, 0, bury)
	p.Xchg(taken, tso.Value(1)) // Process.retarget
	p.At(bury)
	p.Load(0, unburied)
	p.JumpEq(0, 0, end)
	p.Load(0, slotFree)
	p.JumpNe(0, 0, free)
	p.Load(0, stateWord)
	p.JumpEq(0, 0, end)
	if m != "shim: frees what is in use" {
		p.Load(0, onCPUWord)
		p.JumpNe(0, 0, end)
	}
	p.Assert("the slot is freed while ring 0 is in it", func(w *tso.World, _ int) bool { return w.Mem[onCPUWord] == 0 })
	p.At(free)
	p.Xchg(slotFree, tso.Value(1))
	p.Xchg(unburied, tso.Value(0))
	p.At(end)
}

// dying is sysExit, and the call that follows if it does not serve the thread.
func dying(m mutant) *tso.Program {
	p := new(tso.Program)
	calls, buried, end := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	if m == "thread: looks at Attn first" {
		p.Load(2, attnWord)
	}
	if m == "thread: counts first" {
		p.RMW(0, deadWord, func(old uint8) uint8 { return old + 1 })
	}
	p.Xchg(stateWord, tso.Value(1))
	switch m {
	case "thread: counts first":
	case "thread: counts by a plain store":
		p.Store(deadWord, tso.Value(1))
	default:
		p.RMW(0, deadWord, func(old uint8) uint8 { return old + 1 })
	}
	if m != "thread: looks at Attn first" {
		p.Load(2, attnWord)
	}
	p.JumpNe(2, 0, calls)
	p.Xchg(onCPUWord, tso.Value(0))
	p.Jump(end)
	p.At(calls)
	p.Xchg(stateWord, tso.Value(0))
	p.Acquire(bigLock)
	endUnseen(p, m)
	p.Load(0, exited)
	p.JumpNe(0, 0, buried)
	p.Xchg(exited, tso.Value(1))
	p.Xchg(taken, tso.Value(1))
	p.At(buried)
	p.Xchg(slotFree, tso.Value(1))
	endUnseen(p, m)
	p.Xchg(bigLock, tso.Value(0))
	p.Xchg(onCPUWord, tso.Value(0))
	p.At(end)
	return p
}

// wanting is the shim: a call that sends the signal, and one later.
func wanting(m mutant) *tso.Program {
	p := new(tso.Program)
	other, sent := tso.NewLabel(), tso.NewLabel()
	p.Acquire(bigLock)
	endUnseen(p, m)
	p.Load(0, exited)
	p.JumpNe(0, 0, other)
	if m == "shim: plain store to Attn" {
		p.Store(attnWord, tso.Value(1))
	} else {
		p.Xchg(attnWord, tso.Value(1))
	}
	p.Jump(sent)
	p.At(other)
	p.Xchg(taken, tso.Value(1))
	p.At(sent)
	if m != "shim: does not look again" {
		endUnseen(p, m)
	}
	p.Xchg(bigLock, tso.Value(0))
	p.Await(onCPUWord, 0)
	p.Assert("nobody takes the signal", func(w *tso.World, _ int) bool { return w.Mem[taken] == 1 })
	p.Acquire(bigLock)
	endUnseen(p, m)
	p.Assert("the slot is lost", func(w *tso.World, _ int) bool { return w.Mem[slotFree] == 1 })
	p.Xchg(bigLock, tso.Value(0))
	return p
}

// TestExploreExit runs the protocol as it is, which must pass, and without each step that it needs, which must not.
func TestExploreExit(t *testing.T) {
	var start tso.World
	start.Mem[onCPUWord] = 1
	tso.Check(t, start, func(m mutant) []*tso.Program { return []*tso.Program{dying(m), wanting(m)} }, []mutant{
		"thread: looks at Attn first", "thread: counts first", "thread: counts by a plain store",
		"shim: plain store to Attn", "shim: does not look again", "shim: frees what is in use",
	})
}
