package futex

import (
	"testing"

	"culvert/pipes/tso"
)

// The protocol of waits, wakes and requeues, over all interleavings with x86's store buffers. One thread waits; the
// lists are words that say whether its node is in them.

// The words of the model.
const (
	word  tso.Word = iota // what the thread waits on, while it is 0
	lock1                 // of the bucket it waits in
	lock2                 // of the one it may be moved to
	head1
	head2
	node    // Node.Bucket: 0, 1 or 2
	state   // of the thread
	fence   // PerCPU.Barrier
	result  // of the wait
	counted // wakes that wakers counted
	ended   // processors that have ended
)

const (
	running = 1 + iota
	blocked
	late // WOKEN
)

// Results.
const (
	resWoken = 1 + iota
	resAgain
	resInterrupted
)

// mutant names what is left out or done wrongly; "" is the protocol.
type mutant string

type program struct{ tso.Program }

// plus adds to a word, atomically.
func (p *program) plus(a tso.Word) { p.RMW(3, a, func(old uint8) uint8 { return old + 1 }) }

// wake is guest.Wake.
func (p *program) wake() {
	done := tso.NewLabel()
	p.CAS(3, state, blocked, running)
	p.JumpEq(3, 1, done)
	p.CAS(3, state, running, late)
	p.JumpEq(3, 1, done)
	p.CAS(3, state, blocked, running) // it blocked in between
	p.At(done)
}

// release is Unlock.
func (p *program) release(a tso.Word) { p.Xchg(a, tso.Value(0)) }

// waiter is futex_wait; signals says that one may end it.
func waiter(m mutant, signals bool) *tso.Program {
	p := &program{}
	woken, again, out, leave := tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	if m == "compare without the lock" {
		p.Load(0, word)
	}
	if m == "lock by a plain store" {
		p.Await(lock1, 0)
		p.Store(lock1, tso.Value(1))
	} else {
		p.Acquire(lock1)
	}
	if m != "compare without the lock" {
		p.Load(0, word)
	}
	p.JumpNe(0, 0, again)
	p.Store(head1, tso.Value(1))
	p.Xchg(node, tso.Value(1))
	p.release(lock1)
	p.CAS(0, state, running, blocked)
	p.JumpEq(0, 0, leave)
	if signals {
		p.MayJump(leave)
	}
	p.AwaitNot(state, blocked)
	p.At(leave)
	p.Load(0, node)
	p.JumpEq(0, 0, woken)
	// Leave, from bucket 1 or 2.
	for i, lock := range []tso.Word{lock1, lock2} {
		next, second := tso.NewLabel(), uint8(i+1)
		p.JumpNe(0, second, next)
		p.Acquire(lock)
		if m != "leave: no second look" {
			ok := tso.NewLabel()
			p.Load(1, node)
			p.JumpEq(1, second, ok)
			p.release(lock)
			p.Jump(leave)
			p.At(ok)
		}
		p.Store(head1+tso.Word(i), tso.Value(0))
		p.Xchg(node, tso.Value(0))
		p.release(lock)
		p.Xchg(result, tso.Value(resInterrupted))
		p.Jump(out)
		p.At(next)
	}
	p.At(again)
	p.release(lock1)
	p.Xchg(result, tso.Value(resAgain))
	p.Jump(out)
	p.At(woken)
	p.Xchg(result, tso.Value(resWoken))
	p.At(out)
	p.plus(ended)
	return &p.Program
}

// waker stores the word, if it is to, and wakes one in bucket 1 or 2.
func waker(m mutant, bucket int, store bool) *tso.Program {
	p := &program{}
	lock, head := lock1+tso.Word(bucket-1), head1+tso.Word(bucket-1)
	out, locked := tso.NewLabel(), tso.NewLabel()
	if store {
		p.Store(word, tso.Value(1))
	}
	if m != "no barrier" {
		p.Xchg(fence, tso.Value(0))
	}
	switch m {
	case "quiet: head first":
		p.Load(1, head)
		p.Load(0, lock)
	case "quiet: no look at the lock":
		p.Set(0, tso.Value(0))
		p.Load(1, head)
	default:
		p.Load(0, lock)
		p.Load(1, head)
	}
	p.JumpNe(0, 0, locked)
	p.JumpEq(1, 0, out)
	p.At(locked)
	if m != "wake without the lock" {
		p.Acquire(lock)
	}
	rel := tso.NewLabel()
	p.Load(0, head)
	p.JumpEq(0, 0, rel)
	p.Store(head, tso.Value(0))
	p.Xchg(node, tso.Value(0))
	p.plus(counted)
	p.wake()
	p.At(rel)
	p.release(lock)
	p.At(out)
	p.plus(ended)
	return &p.Program
}

// mover is futex_requeue from bucket 1 to 2.
func mover(m mutant) *tso.Program {
	p := &program{}
	out := tso.NewLabel()
	p.Acquire(lock1)
	if m != "requeue: one lock" {
		p.Acquire(lock2)
	}
	p.Load(0, head1)
	p.JumpEq(0, 0, out)
	p.Store(head1, tso.Value(0))
	p.Store(head2, tso.Value(1))
	p.Xchg(node, tso.Value(2))
	p.At(out)
	p.release(lock1)
	if m != "requeue: one lock" {
		p.release(lock2)
	}
	p.plus(ended)
	return &p.Program
}

// judge looks at the end. If no wake was bound to come, a last signal is.
func judge(n uint8, signal bool) *tso.Program {
	p := &program{}
	if signal {
		p.Plain(func(w *tso.World, _ int) bool { return w.Mem[ended] >= n-1 })
		p.wake()
	}
	p.Await(ended, n)
	p.Assert("a wake was counted that the thread did not see, or the other way round", func(w *tso.World, _ int) bool {
		return w.Mem[counted] == 1 == (w.Mem[result] == resWoken) && w.Mem[counted] <= 1
	})
	p.Assert("a node is left", func(w *tso.World, _ int) bool {
		return w.Mem[head1] == 0 && w.Mem[head2] == 0 && w.Mem[node] == 0
	})
	return &p.Program
}

// TestExplore runs every scenario as it is, which must pass, and without each step that it shows to be needed, which must not.
func TestExplore(t *testing.T) {
	for _, s := range []struct {
		name    string
		cast    func(m mutant) []*tso.Program
		mutants []mutant
	}{
		{
			"the word changes, then a wake: the thread does not sleep",
			func(m mutant) []*tso.Program {
				return []*tso.Program{waiter(m, false), waker(m, 1, true), judge(2, false)}
			},
			[]mutant{"no barrier", "quiet: head first", "quiet: no look at the lock", "compare without the lock",
				"lock by a plain store"},
		},
		{
			"two wakes and a signal: one of three ends the wait",
			func(m mutant) []*tso.Program {
				return []*tso.Program{waiter(m, true), waker(m, 1, true), waker(m, 1, false), judge(3, false)}
			},
			[]mutant{"leave: no second look", "wake without the lock"},
		},
		{
			"a requeue, a wake where the thread is moved to, and a signal",
			func(m mutant) []*tso.Program {
				return []*tso.Program{waiter(m, true), mover(m), waker(m, 2, false), judge(3, true)}
			},
			[]mutant{"requeue: one lock"},
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			var w tso.World
			w.Mem[state] = running
			tso.Check(t, w, s.cast, s.mutants)
		})
	}
}
