package signals

import (
	"testing"

	"culvert/pipes/tso"
)

// The protocol of masks, actions and pending signals, over all interleavings with x86's store buffers. There is one signal,
// sent once to the process.

// The words of the model.
const (
	mask1   tso.Word = iota // 1: the first thread blocks the signal
	mask2                   // of the second thread
	action                  // 0: the signal ends the process, 1: it is caught
	queued                  // the shim's queue
	pending                 // Table.pending
	attn1                   // the first thread is to visit the shim
	attn2
	dead  // the process has ended
	ran   // the first thread has gone on in ring 3 after its call
	mutex // Kernel.mu
	ended
)

// mutant names what is left out or done wrongly; "" is the protocol.
type mutant string

type program struct{ tso.Program }

// end counts a processor that has ended.
func (p *program) end() { p.RMW(3, ended, func(old uint8) uint8 { return old + 1 }) }

// leave is Thread.leave of the thread with that mask: it takes the signal unless it blocks it.
func (p *program) leave(mask tso.Word) {
	none := tso.NewLabel()
	p.Load(0, mask)
	p.JumpNe(0, 0, none)
	p.Xchg(queued, tso.Value(0))
	p.Xchg(pending, tso.Value(0))
	p.At(none)
}

// changer is the first thread, which stores v in its mask or in the action, and then is in ring 3, where attention comes.
func changer(m mutant, word tso.Word, v uint8) *tso.Program {
	p := &program{}
	quiet, ring3, out := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	if m == "pending before the change" {
		p.Load(1, pending)
	}
	if m == "change by a plain store" {
		p.Store(word, tso.Value(v))
	} else {
		p.Xchg(word, tso.Value(v))
	}
	if m != "pending before the change" {
		p.Load(1, pending)
	}
	if m == "no look at pending" {
		p.Jump(quiet)
	}
	p.JumpEq(1, 0, quiet)
	// NoteSignals.
	p.Acquire(mutex)
	p.Load(0, mask1)
	skip := tso.NewLabel()
	p.JumpEq(0, 0, skip)
	if m != "no retarget" {
		p.Load(1, queued)
		p.JumpEq(1, 0, skip)
		p.Load(1, mask2)
		p.JumpNe(1, 0, skip)
		p.Xchg(attn2, tso.Value(1))
	}
	p.At(skip)
	p.leave(mask1)
	p.Load(2, dead)
	p.Xchg(mutex, tso.Value(0))
	p.JumpNe(2, 0, out)
	p.At(quiet)
	// Ring 3, if the shim does not want to see the thread before it is there.
	p.Load(0, attn1)
	p.JumpEq(0, 0, ring3)
	p.Acquire(mutex)
	p.Xchg(attn1, tso.Value(0))
	p.leave(mask1)
	p.Load(2, dead)
	p.Xchg(mutex, tso.Value(0))
	p.JumpNe(2, 0, out)
	p.At(ring3)
	p.Xchg(ran, tso.Value(1))
	p.At(out)
	p.end()
	return &p.Program
}

// sender is Kernel.send: the first thread is preferred.
func sender(m mutant) *tso.Program {
	p := &program{}
	second, out := tso.NewLabel(), tso.NewLabel()
	p.Acquire(mutex)
	publish := func() {
		p.Xchg(queued, tso.Value(1))
		if m == "pending by a plain store" {
			p.Store(pending, tso.Value(1))
		} else {
			p.Xchg(pending, tso.Value(1))
		}
	}
	if m != "choice before pending" {
		publish()
	}
	p.Load(0, mask1)
	p.Load(1, mask2)
	p.Load(2, action)
	if m == "choice before pending" {
		publish()
	}
	p.JumpNe(0, 0, second)
	caught := tso.NewLabel()
	p.JumpNe(2, 0, caught)
	p.Store(dead, tso.Value(1)) // under the mutex
	p.At(caught)
	p.Xchg(attn1, tso.Value(1))
	p.Jump(out)
	p.At(second)
	p.JumpNe(1, 0, out)
	p.Xchg(attn2, tso.Value(1))
	p.At(out)
	p.Xchg(mutex, tso.Value(0))
	p.end()
	return &p.Program
}

// judge looks at the end.
func judge() *tso.Program {
	p := &program{}
	p.Await(ended, 2)
	p.Assert("the signal waits, and nobody who does not block it is told", func(w *tso.World, _ int) bool {
		return w.Mem[queued] == 0 || w.Mem[attn1] == 1 && w.Mem[mask1] == 0 || w.Mem[attn2] == 1 && w.Mem[mask2] == 0 ||
			w.Mem[mask1] == 1 && w.Mem[mask2] == 1
	})
	p.Assert("the thread went on after the process had ended by an action it had changed", func(w *tso.World, _ int) bool {
		return w.Mem[action] == 0 || w.Mem[dead] == 0 || w.Mem[ran] == 0
	})
	p.Assert("Pending lacks a signal", func(w *tso.World, _ int) bool { return w.Mem[queued] == w.Mem[pending] })
	return &p.Program
}

// TestExplore runs every scenario as it is, which must pass, and without each step that it shows to be needed, which must not.
func TestExplore(t *testing.T) {
	for _, s := range []struct {
		name                 string
		mask1, mask2, action uint8
		word                 tso.Word // which the first thread changes
		to                   uint8
		mutants              []mutant
	}{
		{"a thread unblocks the signal", 1, 1, 1, mask1, 0, []mutant{
			"pending before the change", "change by a plain store", "no look at pending", "choice before pending",
			"pending by a plain store",
		}},
		{"a thread blocks the signal that another may take", 0, 0, 1, mask1, 1, []mutant{
			"pending before the change", "change by a plain store", "no look at pending", "no retarget",
		}},
		{"a thread catches what would end the process", 0, 1, 0, action, 1, []mutant{
			"pending before the change", "change by a plain store", "no look at pending", "choice before pending",
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			var w tso.World
			w.Mem[mask1], w.Mem[mask2], w.Mem[action] = s.mask1, s.mask2, s.action
			tso.Check(t, w, func(m mutant) []*tso.Program {
				return []*tso.Program{changer(m, s.word, s.to), sender(m), judge()}
			}, s.mutants)
		})
	}
}
