package epoll

import (
	"testing"

	"culvert/pipes/tso"
)

// The protocol as programs for the explorer. The summary of the ready bits, the wait set of sleepers and the bits
// themselves are one word each; package pipes explores wait sets by themselves. Thread i is bit i of sleepers.
const (
	obj      tso.Word = iota // what the item watches: 1 is ready
	bit                      // its ready bit
	sum                      // the summary
	sleepers                 // the wait set
	state0                   // of threads
	state1
	lock
	want  // version<<2 | armed
	data  // the user's
	watch // of the object's watchers: 1 is the item
	walk  // a vCPU's walk word
	use   // how often the item's place was used
	outer
	outerSleepers
)

const (
	run = iota + 1
	blocked
	woken
)

// mutant names what is left out or done wrongly; "" is the protocol.
type mutant string

type program struct{ tso.Program }

func or(b uint8) func(uint8) uint8     { return func(old uint8) uint8 { return old | b } }
func clear1(b uint8) func(uint8) uint8 { return func(old uint8) uint8 { return old &^ b } }

// wakeOne takes a thread out of the set and makes it ready.
func (p *program) wakeOne(set tso.Word) {
	done, second := tso.NewLabel(), tso.NewLabel()
	p.Lock(func(w *tso.World, t int) bool {
		low := w.Mem[set] & -w.Mem[set]
		w.Reg[t][2] = low
		w.Mem[set] &^= low
		return true
	})
	p.JumpEq(2, 0, done)
	for i, state := range []tso.Word{state0, state1} {
		if i == 1 {
			p.At(second)
		} else {
			p.JumpNe(2, 1, second)
		}
		again := tso.NewLabel()
		p.At(again)
		p.CAS(2, state, blocked, run)
		p.JumpEq(2, 1, done)
		p.CAS(2, state, run, woken)
		p.JumpEq(2, 1, done)
		p.Load(2, state)
		p.JumpNe(2, woken, again)
		p.Jump(done)
	}
	p.At(done)
}

// mark is Instance.mark and the wake of Instance.Event.
func (p *program) mark(m mutant) {
	done := tso.NewLabel()
	if m == "event: wakes before it marks" {
		p.wakeOne(sleepers)
	}
	if m == "event: summary first" {
		p.RMW(3, sum, or(1))
	}
	if m == "event: plain store of the bit" {
		p.Store(bit, tso.Value(1))
	} else {
		p.RMW(3, bit, or(1))
	}
	if m != "event: summary first" {
		p.Load(3, sum)
		p.JumpNe(3, 0, done)
		p.RMW(3, sum, or(1))
		p.At(done)
	}
	if m != "event: wakes before it marks" {
		p.wakeOne(sleepers)
	}
}

// unmark is Instance.clear.
func (p *program) unmark(m mutant) {
	p.RMW(3, bit, clear1(1))
	p.settle(m)
}

// settle is Instance.settle.
func (p *program) settle(m mutant) {
	out := tso.NewLabel()
	p.RMW(3, sum, clear1(1))
	if m != "settle: no second look" {
		p.Load(3, bit)
		p.JumpEq(3, 0, out)
		p.RMW(3, sum, or(1))
	}
	p.At(out)
}

// wait is epoll_wait of thread i, which ends when it has an event. Level-triggered items stay ready.
func (p *program) wait(m mutant, i int, edge bool) {
	me, mine := state0+tso.Word(i), uint8(1)<<i
	retry, none, got, sleep, end, scan := tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.At(retry)
	p.RMW(0, sleepers, clear1(mine))
	p.Acquire(lock)
	p.Load(0, sum)
	p.JumpEq(0, 0, none)
	p.Load(0, bit)
	p.JumpNe(0, 0, scan)
	p.settle(m)
	p.Jump(none)
	p.At(scan)
	if edge {
		if m == "edge: asks before it clears the bit" {
			p.Load(0, obj)
			p.unmark(m)
		} else {
			p.unmark(m)
			p.Load(0, obj)
		}
		p.JumpNe(0, 0, got)
	} else {
		p.Load(0, obj)
		p.JumpNe(0, 0, got)
		p.unmark(m)
		if m != "level: does not ask again" {
			p.Load(0, obj)
			p.JumpEq(0, 0, none)
			p.RMW(3, bit, or(1))
			p.RMW(3, sum, or(1))
			p.Jump(got)
		}
	}
	p.At(none)
	p.Xchg(lock, tso.Value(0))
	p.RMW(0, sleepers, or(mine))
	if m != "sleep: no second look" {
		p.Load(0, sum)
		p.JumpNe(0, 0, retry)
	}
	p.CAS(0, me, run, blocked)
	p.JumpEq(0, 1, sleep)
	p.Xchg(me, tso.Value(run))
	p.Jump(retry)
	p.At(sleep)
	p.AwaitNot(me, blocked)
	p.Jump(retry)
	p.At(got)
	p.Xchg(lock, tso.Value(0))
	if m != "collect: no passing on" {
		p.Load(0, sum)
		p.JumpEq(0, 0, end)
		p.wakeOne(sleepers)
	}
	p.At(end)
}

// event makes the object ready and tells its item.
func (p *program) event(m mutant) {
	if m == "event: before the change" {
		p.mark("")
		p.Xchg(obj, tso.Value(1))
		return
	}
	if m == "event: no fence after the change" {
		p.Store(obj, tso.Value(1))
		p.Store(bit, tso.Value(1))
		p.Store(sum, tso.Value(1))
		done := tso.NewLabel()
		p.Load(2, sleepers) // looked at before the stores are seen
		p.JumpEq(2, 0, done)
		p.wakeOne(sleepers)
		p.At(done)
		return
	}
	p.Xchg(obj, tso.Value(1))
	p.mark(m)
}

// flicker takes and gives readiness, and tells: the object of a level-triggered item comes and goes.
func (p *program) flicker(m mutant) {
	p.Xchg(obj, tso.Value(0))
	p.event(m)
}

// report is a collector that visits an armed EPOLLONESHOT item until the data of its last modification was reported.
func (p *program) report(m mutant) {
	again, end := tso.NewLabel(), tso.NewLabel()
	p.At(again)
	p.Await(bit, 1)
	p.RMW(3, bit, clear1(1))
	p.Load(0, want)
	p.JumpIf(func(r []uint8) bool { return r[0]&1 == 0 }, again)
	p.Load(1, data)
	if m == "report: disarms whatever it finds" {
		p.RMW(3, want, clear1(1))
	} else if m == "report: no version" {
		p.Lock(func(w *tso.World, t int) bool {
			w.Reg[t][3] = w.Mem[want] & 1
			w.Mem[want] &^= 1
			return true
		})
		p.JumpEq(3, 0, again)
	} else {
		p.Lock(func(w *tso.World, t int) bool {
			w.Reg[t][3] = 0
			if w.Mem[want] == w.Reg[t][0] {
				w.Mem[want] &^= 1
				w.Reg[t][3] = 1
			}
			return true
		})
		retry := tso.NewLabel()
		p.JumpEq(3, 1, retry)
		p.RMW(3, bit, or(1)) // repeat
		p.Jump(again)
		p.At(retry)
	}
	p.Assert("a version was reported with the data of another", func(w *tso.World, t int) bool {
		return w.Reg[t][1] == w.Reg[t][0]>>2
	})
	p.JumpEq(1, 2, end)
	p.Jump(again)
	p.At(end)
}

// modify is Ref.Set on the item that has version 0 and data 0: version 1 wants nothing, version 2 has data 2.
func (p *program) modify(m mutant) {
	if m != "modify: the old events stay" {
		p.Xchg(want, tso.Value(1<<2))
	}
	if m == "modify: events before data" {
		p.Xchg(want, tso.Value(2<<2|1))
		p.Xchg(data, tso.Value(2))
	} else {
		p.Xchg(data, tso.Value(2))
		p.Xchg(want, tso.Value(2<<2|1))
	}
	if m != "modify: does not ask" {
		p.RMW(3, bit, or(1)) // the object is ready
	}
}

// walker tells the items of the object.
func (p *program) walker(m mutant) {
	out := tso.NewLabel()
	switch m {
	case "walk: no word":
	case "walk: plain store":
		p.Store(walk, tso.Value(1))
	default:
		p.Xchg(walk, tso.Value(1))
	}
	p.Load(0, watch)
	p.JumpEq(0, 0, out)
	p.Assert("the walk is at an item that is in use again", func(w *tso.World, _ int) bool { return w.Mem[use] == 1 })
	p.RMW(3, bit, or(1))
	p.Assert("the walk set the bit of another item", func(w *tso.World, _ int) bool { return w.Mem[use] == 1 })
	p.At(out)
	p.Xchg(walk, tso.Value(2))
}

// reuse removes the item and uses its place again after the grace period.
func (p *program) reuse(m mutant) {
	free := tso.NewLabel()
	if m != "reuse: retired before it is unlinked" {
		p.Xchg(watch, tso.Value(0))
	}
	if m != "reuse: no grace" {
		p.Load(0, walk)
		p.JumpNe(0, 1, free)
		p.AwaitNot(walk, 1)
	}
	p.At(free)
	if m == "reuse: retired before it is unlinked" {
		p.Xchg(watch, tso.Value(0))
	}
	p.Xchg(use, tso.Value(2))
}

// The nested scenario: bit is the inner instance's, outer the outer one's; its item watches the inner instance.

// tellOuter is a walk of the inner instance's watchers.
func (p *program) tellOuter() {
	p.RMW(3, outer, or(1))
	p.wakeOne(outerSleepers)
}

// peek leaves in register 0 whether the inner instance has events.
func (p *program) peek() {
	out := tso.NewLabel()
	p.Load(0, bit)
	p.JumpEq(0, 0, out)
	p.Load(0, obj)
	p.At(out)
}

// waitOuter is epoll_wait on the outer instance by thread 0.
func (p *program) waitOuter(m mutant) {
	retry, none, got, sleep := tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.At(retry)
	p.RMW(0, outerSleepers, clear1(1))
	p.Load(0, outer)
	p.JumpEq(0, 0, none)
	p.peek()
	p.JumpNe(0, 0, got)
	p.RMW(3, outer, clear1(1))
	if m != "nested: does not ask again" {
		p.peek()
		p.JumpEq(0, 0, none)
		p.RMW(3, outer, or(1))
		p.Jump(got)
	}
	p.At(none)
	p.RMW(0, outerSleepers, or(1))
	p.Load(0, outer)
	p.JumpNe(0, 0, retry)
	p.CAS(0, state0, run, blocked)
	p.JumpEq(0, 1, sleep)
	p.Xchg(state0, tso.Value(run))
	p.Jump(retry)
	p.At(sleep)
	p.AwaitNot(state0, blocked)
	p.Jump(retry)
	p.At(got)
}

// collectInner is a collection of the inner instance without waiting; its item is level-triggered.
func (p *program) collectInner(m mutant) {
	end, told := tso.NewLabel(), tso.NewLabel()
	p.Load(0, bit)
	p.JumpEq(0, 0, end)
	p.Load(0, obj)
	p.JumpNe(0, 0, end)
	p.RMW(3, bit, clear1(1))
	p.Load(0, obj)
	p.JumpEq(0, 0, end)
	p.RMW(3, bit, or(1))
	p.At(told)
	if m != "nested: a bit is put back and nobody told" {
		p.tellOuter()
	}
	p.At(end)
}

func (p *program) innerEvent(m mutant) {
	p.Xchg(obj, tso.Value(1))
	if m == "nested: told before the inner bit" {
		p.tellOuter()
		p.RMW(3, bit, or(1))
		return
	}
	p.RMW(3, bit, or(1))
	p.tellOuter()
}

type scenario struct {
	name    string
	cast    func(m mutant) []*tso.Program
	start   func(w *tso.World)
	mutants []mutant
}

func build(fs ...func(p *program)) []*tso.Program {
	ps := make([]*tso.Program, len(fs))
	for i, f := range fs {
		p := new(program)
		f(p)
		ps[i] = &p.Program
	}
	return ps
}

func scenarios() []scenario {
	one := func(edge bool) func(m mutant) []*tso.Program {
		return func(m mutant) []*tso.Program {
			return build(func(p *program) { p.wait(m, 0, edge) }, func(p *program) { p.event(m) })
		}
	}
	waits := []mutant{"event: wakes before it marks", "event: summary first", "event: before the change",
		"event: no fence after the change", "sleep: no second look"}
	// A bit that was left set, of an item that is not ready.
	stale := func(w *tso.World) { w.Mem[bit], w.Mem[sum] = 1, 1 }
	return []scenario{
		{"an edge-triggered item", one(true), stale, append(waits[:5:5], "edge: asks before it clears the bit")},
		{"a level-triggered item", one(false), stale, append(waits[:5:5], "level: does not ask again")},
		{
			name: "a level-triggered item that comes and goes", start: stale,
			cast: func(m mutant) []*tso.Program {
				return build(func(p *program) { p.wait(m, 0, false) }, func(p *program) { p.event(m); p.flicker(m) })
			},
			mutants: []mutant{"level: does not ask again", "settle: no second look", "event: plain store of the bit"},
		},
		{
			name: "two threads, a level-triggered item",
			cast: func(m mutant) []*tso.Program {
				return build(func(p *program) { p.wait(m, 0, false) }, func(p *program) { p.wait(m, 1, false) },
					func(p *program) { p.event(m) })
			},
			mutants: []mutant{"collect: no passing on", "sleep: no second look"},
		},
		{
			name:  "a report and a modification",
			start: func(w *tso.World) { w.Mem[want], w.Mem[bit] = 1, 1 },
			cast: func(m mutant) []*tso.Program {
				return build(func(p *program) { p.report(m) }, func(p *program) { p.modify(m) })
			},
			mutants: []mutant{"report: disarms whatever it finds", "report: no version", "modify: events before data",
				"modify: the old events stay", "modify: does not ask"},
		},
		{
			name:  "a walk and the reuse of an item",
			start: func(w *tso.World) { w.Mem[watch], w.Mem[use] = 1, 1 },
			cast: func(m mutant) []*tso.Program {
				return build(func(p *program) { p.walker(m) }, func(p *program) { p.reuse(m) })
			},
			mutants: []mutant{"walk: no word", "walk: plain store", "reuse: no grace", "reuse: retired before it is unlinked"},
		},
		{
			name:  "a nested wait",
			start: func(w *tso.World) { w.Mem[bit], w.Mem[outer] = 1, 1 },
			cast: func(m mutant) []*tso.Program {
				return build(func(p *program) { p.waitOuter(m) }, func(p *program) { p.collectInner(m) },
					func(p *program) { p.innerEvent(m) })
			},
			mutants: []mutant{"nested: does not ask again", "nested: a bit is put back and nobody told",
				"nested: told before the inner bit"},
		},
	}
}

// TestExplore runs every scenario as it is, which must pass, and with each of its mutants, which must not.
func TestExplore(t *testing.T) {
	for _, s := range scenarios() {
		var w tso.World
		w.Mem[state0], w.Mem[state1] = run, run
		if s.start != nil {
			s.start(&w)
		}
		t.Run(s.name, func(t *testing.T) { tso.Check(t, w, s.cast, s.mutants) })
	}
}
