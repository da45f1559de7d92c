package pipes

import (
	"testing"

	"culvert/pipes/tso"
)

// program is code of this model under construction.
type program struct{ tso.Program }

// The words of the model. One word of a wait set stands for all of them. Thread i is bit i, and waits in State+i.
const (
	head tso.Word = iota
	tail
	readLock
	writers // open writers
	set     // a word of RWait
	sum     // the summary of RWait
	state0  // thread states, one a thread
	state1
	state2
	// Of the scenario about slots.
	ref
	gen
	fd
	// Of the scenario about registers.
	gpr
	fpu
	onCPU
	ready
)

// Values of a state word, as in abi.
const (
	run = iota + 1
	blocked
	woken
)

// mutant names what is left out or done wrongly; "" is the protocol.
type mutant string

// wake makes thread i ready (i is in a register's value n-1 order, so the code is written out for each thread).
func (p *program) wake(m mutant, r int, threads int) {
	done := tso.NewLabel()
	for i := 0; i < threads; i++ {
		next, again := tso.NewLabel(), tso.NewLabel()
		p.JumpNe(r, uint8(1)<<i, next)
		p.At(again)
		p.CAS(3, state0+tso.Word(i), blocked, run)
		p.JumpEq(3, 1, done)
		if m != "no WOKEN" {
			p.CAS(3, state0+tso.Word(i), run, woken)
			p.JumpEq(3, 1, done)
		}
		if m != "no WOKEN" && m != "wake tries once" {
			p.Load(3, state0+tso.Word(i))
			p.JumpNe(3, woken, again) // it blocked in between
		}
		p.Jump(done)
		p.At(next)
	}
	p.At(done)
}

// take is WaitSet.Take and the wake of whom it took.
func (p *program) take(m mutant, threads int) {
	again, found, done := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.At(again)
	p.Load(0, sum)
	p.JumpEq(0, 0, done)
	p.Load(1, set)
	p.JumpNe(1, 0, found)
	p.RMW(0, sum, func(uint8) uint8 { return 0 })
	if m == "summary: no second look" {
		p.Jump(again)
	}
	p.Load(1, set)
	p.JumpEq(1, 0, again)
	p.RMW(0, sum, func(uint8) uint8 { return 1 })
	if m == "summary: put back, not taken" {
		p.Jump(done)
	}
	p.At(found)
	p.Set(1, func(r []uint8) uint8 { return r[1] & -r[1] })
	p.Lock(func(w *tso.World, t int) bool {
		w.Reg[t][0] = w.Mem[set] & w.Reg[t][1]
		w.Mem[set] &^= w.Reg[t][1]
		return true
	})
	p.JumpEq(0, 0, again)
	p.wake(m, 1, threads)
	p.At(done)
}

// takeAll is TakeWord and the wake of all whom it took.
func (p *program) takeAll(m mutant, threads int) {
	if m != "sweep: word before summary" {
		p.RMW(1, sum, func(uint8) uint8 { return 0 })
	}
	p.RMW(2, set, func(uint8) uint8 { return 0 })
	if m == "sweep: word before summary" {
		p.RMW(1, sum, func(uint8) uint8 { return 0 })
	}
	for i := 0; i < threads; i++ {
		bit := uint8(1) << i
		p.Set(1, func(r []uint8) uint8 { return r[2] & bit })
		p.wake(m, 1, threads)
	}
}

// join is WaitSet.Join.
func (p *program) join(m mutant, i int) {
	bit := uint8(1) << i
	if m == "join: summary first" {
		p.RMW(0, sum, func(uint8) uint8 { return 1 })
	}
	if m == "join: plain OR" {
		p.Load(0, set)
		p.Store(set, func(r []uint8) uint8 { return r[0] | bit })
		p.Store(sum, tso.Value(1))
		return
	}
	p.RMW(0, set, func(old uint8) uint8 { return old | bit })
	if m != "join: summary first" {
		p.RMW(0, sum, func(uint8) uint8 { return 1 })
	}
}

// leave is WaitSet.Leave; register 0 is 0 if a waker had taken the bit.
func (p *program) leave(m mutant, i int) {
	bit := uint8(1) << i
	p.Lock(func(w *tso.World, t int) bool {
		w.Reg[t][0] = w.Mem[set] & bit
		w.Mem[set] &^= bit
		return true
	})
	if m == "leave clears the summary" {
		out := tso.NewLabel()
		p.Load(1, set)
		p.JumpNe(1, 0, out)
		p.RMW(1, sum, func(uint8) uint8 { return 0 })
		p.Load(1, set)
		p.JumpEq(1, 0, out)
		p.RMW(1, sum, func(uint8) uint8 { return 1 })
		p.At(out)
	}
}

// pass is PassRead.
func (p *program) pass(m mutant, threads int) {
	none := tso.NewLabel()
	p.queued(1)
	p.JumpEq(1, 0, none)
	p.take(m, threads)
	p.At(none)
}

// queued loads the number of bytes in the pipe.
func (p *program) queued(r int) {
	p.Load(r, head)
	p.Load(2, tail)
	p.Set(r, func(rs []uint8) uint8 { return rs[2] - rs[r] })
}

// reader is thread i of `threads`: it reads one byte, or finds EOF, where it asserts that want bytes were read. A
// reader that may time out gives up at any time while it sleeps.
type reader struct {
	thread, threads int
	timeout         bool
	untilEOF        uint8 // not 0: reads until EOF and asserts that Head is this then
}

func (p *program) reader(m mutant, o reader) {
	me := state0 + tso.Word(o.thread)
	retry, empty, take, gone, sleep, out, end := tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.At(retry)
	if m != "restart: no leave" {
		p.leave(m, o.thread)
	}
	p.Acquire(readLock)
	p.queued(1)
	p.JumpNe(1, 0, take)
	p.Load(1, writers)
	p.JumpNe(1, 0, empty)
	if m != "EOF: no second look at Tail" {
		p.queued(1)
		p.JumpNe(1, 0, take)
	}
	p.Xchg(readLock, tso.Value(0))
	if o.untilEOF != 0 {
		p.Assert("EOF before the last byte", func(w *tso.World, t int) bool { return w.Mem[head] == o.untilEOF })
	}
	p.Jump(end)

	p.At(take) // one byte, then EndRead
	p.Load(1, head)
	p.Xchg(head, tso.Plus(1, 1))
	p.Xchg(readLock, tso.Value(0))
	p.Load(0, tail)
	p.Set(0, func(r []uint8) uint8 { return r[0] - r[1] - 1 })
	p.JumpEq(0, 0, out)
	if m != "read: no passing on" {
		p.take(m, o.threads)
	}
	p.At(out)
	if o.untilEOF != 0 {
		p.Jump(retry)
	}
	p.Jump(end)

	p.At(empty)
	p.Xchg(readLock, tso.Value(0))
	p.join(m, o.thread)
	if m != "sleep: no second look" {
		p.queued(1)
		p.JumpNe(1, 0, retry)
		if m != "sleep: no look at Writers" {
			p.Load(1, writers)
			p.JumpEq(1, 0, retry)
		}
	}
	if m == "sleep: plain store" {
		p.Store(me, tso.Value(blocked))
		p.Jump(sleep)
	}
	p.CAS(0, me, run, blocked)
	p.JumpEq(0, 1, sleep)
	p.Xchg(me, tso.Value(run)) // WOKEN
	p.Jump(retry)
	p.At(sleep)
	if o.timeout {
		p.MayJump(gone)
	}
	p.AwaitNot(me, blocked) // ready: RUN, or WOKEN if a slow waker came after the first
	p.Jump(retry)

	p.At(gone) // the shim claims the thread; a waker may have been faster
	p.CAS(0, me, blocked, run)
	p.JumpEq(0, 0, retry)
	if m != "time-out: no leave" {
		p.leave(m, o.thread)
		p.JumpNe(0, 0, end)
		if m != "time-out: no passing on" {
			p.pass(m, o.threads)
		}
	}
	p.At(end)
}

// poller is a thread that waits until there is a byte, and leaves it.
func (p *program) poller(m mutant, i int) {
	me := state0 + tso.Word(i)
	again, sleep, end := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.At(again)
	p.leave(m, i)
	p.join(m, i)
	if m != "sleep: no second look" {
		p.queued(1)
		p.JumpNe(1, 0, end)
	}
	p.CAS(0, me, run, blocked)
	p.JumpEq(0, 1, sleep)
	p.Xchg(me, tso.Value(run))
	p.queued(1)
	p.JumpNe(1, 0, end)
	p.Jump(again)
	p.At(sleep)
	p.AwaitNot(me, blocked)
	p.queued(1)
	p.JumpEq(1, 0, again)
	p.At(end)
	p.leave(m, i)
}

// writer publishes n bytes, EndWrite. With close it is the last writer and goes.
func (p *program) writer(m mutant, n uint8, close bool, threads int) {
	store := p.Xchg
	if m == "write: no fence" {
		store = p.Store
	}
	p.Load(1, tail)
	if m == "write: looks before it publishes" {
		p.take(m, threads)
		store(tail, tso.Value(n))
	} else {
		store(tail, tso.Plus(1, n))
		store(writeLock, tso.Value(0))
		p.take(m, threads)
	}
	if !close {
		return
	}
	if m == "close: wakes first" {
		p.takeAll(m, threads)
	}
	p.RMW(0, writers, func(old uint8) uint8 { return old - 1 })
	if m == "close: wakes one" {
		p.take(m, threads)
	} else if m != "close: wakes first" {
		p.takeAll(m, threads)
	}
}

// writeLock is a word of its own only to be stored.
const writeLock = tso.MaxWords - 1

// scenario is a cast of programs, and what must not be left out of them.
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
	return []scenario{
		{
			name: "one reader sleeps, one byte comes",
			cast: func(m mutant) []*tso.Program {
				return build(
					func(p *program) { p.reader(m, reader{thread: 0, threads: 1}) },
					func(p *program) { p.writer(m, 1, false, 1) })
			},
			mutants: []mutant{"sleep: no second look", "sleep: plain store", "no WOKEN", "wake tries once",
				"join: plain OR", "write: no fence", "write: looks before it publishes"},
		},
		{
			name: "two readers, two bytes in one write",
			cast: func(m mutant) []*tso.Program {
				return build(
					func(p *program) { p.reader(m, reader{thread: 0, threads: 2}) },
					func(p *program) { p.reader(m, reader{thread: 1, threads: 2}) },
					func(p *program) { p.writer(m, 2, false, 2) })
			},
			mutants: []mutant{"read: no passing on"},
		},
		{
			// Processor 0 wakes somebody for a reason of its own, and meets a summary bit without a thread.
			name:  "a stale summary bit",
			start: func(w *tso.World) { w.Mem[sum] = 1 },
			cast: func(m mutant) []*tso.Program {
				return build(
					func(p *program) { p.take(m, 2) },
					func(p *program) { p.reader(m, reader{thread: 1, threads: 2}) },
					func(p *program) { p.writer(m, 1, false, 2) })
			},
			mutants: []mutant{"summary: no second look", "summary: put back, not taken", "join: summary first"},
		},
		{
			// Processor 0 stops waiting, for a signal say.
			name:  "leaving while another joins",
			start: func(w *tso.World) { w.Mem[sum], w.Mem[set] = 1, 1 },
			cast: func(m mutant) []*tso.Program {
				return build(
					func(p *program) {
						end := tso.NewLabel()
						p.leave(m, 0)
						p.JumpNe(0, 0, end)
						p.pass(m, 2)
						p.At(end)
					},
					func(p *program) { p.reader(m, reader{thread: 1, threads: 2}) },
					func(p *program) { p.writer(m, 1, false, 2) })
			},
			mutants: []mutant{"leave clears the summary"},
		},
		{
			// Processor 0 wakes all for a reason of its own.
			name:  "two wake all pollers",
			start: func(w *tso.World) { w.Mem[sum] = 1 },
			cast: func(m mutant) []*tso.Program {
				all := func(p *program) {
					end := tso.NewLabel()
					p.Load(0, sum)
					p.JumpEq(0, 0, end)
					p.takeAll(m, 2)
					p.At(end)
				}
				return build(
					func(p *program) { all(p); all(p) },
					func(p *program) { p.poller(m, 1) },
					func(p *program) { p.Xchg(tail, tso.Value(1)); all(p) })
			},
			mutants: []mutant{"sweep: word before summary", "sleep: no second look"},
		},
		{
			name: "a reader times out, another takes the byte",
			cast: func(m mutant) []*tso.Program {
				return build(
					func(p *program) { p.reader(m, reader{thread: 0, threads: 2, timeout: true}) },
					func(p *program) { p.reader(m, reader{thread: 1, threads: 2}) },
					func(p *program) { p.writer(m, 2, false, 2) })
			},
			mutants: []mutant{"time-out: no leave", "time-out: no passing on"},
		},
		{
			name: "the last writer writes and goes",
			cast: func(m mutant) []*tso.Program {
				return build(
					func(p *program) { p.reader(m, reader{thread: 0, threads: 2, untilEOF: 1}) },
					func(p *program) { p.reader(m, reader{thread: 1, threads: 2, untilEOF: 1}) },
					func(p *program) { p.writer(m, 1, true, 2) })
			},
			mutants: []mutant{"close: wakes first", "close: wakes one", "sleep: no look at Writers",
				"EOF: no second look at Tail"},
		},
		{name: "a slot is closed and used again", cast: reuse, start: func(w *tso.World) { w.Mem[gen], w.Mem[ref], w.Mem[fd] = 1, 1, 1 },
			mutants: []mutant{"reuse: no reference", "reuse: no second look at the descriptor"}},
		{name: "registers are saved before another processor runs the thread", cast: registers,
			start:   func(w *tso.World) { w.Mem[onCPU] = 1 },
			mutants: []mutant{"switch: no look at OnCPU", "switch: OnCPU clear too early", "switch: blocked before saved"}},
	}
}

// reuse: thread 0 reads from descriptor fd, which names the pipe slot. Another thread closes it, which drops the last
// reference, makes the slot a new pipe (gen 2) and writes a byte to it for thread 1.
func reuse(m mutant) []*tso.Program {
	return build(
		func(p *program) {
			sleep, drop, end := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
			p.Load(2, fd)
			p.JumpEq(2, 0, end) // EBADF
			if m != "reuse: no reference" {
				p.RMW(0, ref, func(old uint8) uint8 { // unless it is 0
					if old == 0 {
						return 0
					}
					return old + 1
				})
				p.JumpEq(0, 0, end)
				if m != "reuse: no second look at the descriptor" {
					p.Load(2, fd)
					p.JumpEq(2, 0, drop)
				}
			}
			if m != "reuse: no reference" {
				p.Assert("read another pipe than the descriptor's", func(w *tso.World, t int) bool { return w.Mem[gen] == 1 })
			}
			p.join(m, 0)
			p.Load(1, writers) // 0 in the old pipe once it is closed, or the pipe is another
			p.JumpEq(1, 0, sleep)
			p.Load(1, gen)
			p.JumpNe(1, 1, sleep)
			p.CAS(0, state0, run, blocked)
			p.JumpEq(0, 0, sleep)
			p.AwaitNot(state0, blocked)
			p.At(sleep)
			p.leave(m, 0)
			p.At(drop)
			if m != "reuse: no reference" {
				p.RMW(0, ref, func(old uint8) uint8 { return old - 1 })
			}
			p.At(end)
		},
		func(p *program) {
			p.Xchg(fd, tso.Value(0))
			p.RMW(0, writers, func(uint8) uint8 { return 0 })
			p.takeAll(m, 1)
			p.RMW(0, ref, func(old uint8) uint8 { return old - 1 })
			p.Await(ref, 0) // the slot is free: use it again
			p.Xchg(sum, tso.Value(0))
			p.Xchg(set, tso.Value(0))
			p.Xchg(writers, tso.Value(1))
			p.Xchg(ref, tso.Value(1))
			p.Xchg(gen, tso.Value(2))
			p.writer(m, 1, false, 2)
		},
		func(p *program) {
			p.Await(gen, 2)
			p.reader(m, reader{thread: 1, threads: 2})
		})
}

// registers: processor 0 runs thread 0, which blocks; processor 1 writes, wakes the thread and runs it. The general
// registers are saved before the state says BLOCKED, the FPU's while it is being switched out; OnCPU is cleared last.
func registers(m mutant) []*tso.Program {
	return build(
		func(p *program) {
			woke, out := tso.NewLabel(), tso.NewLabel()
			if m != "switch: blocked before saved" {
				p.Store(gpr, tso.Value(1))
			}
			p.join(m, 0)
			p.Load(1, tail)
			p.JumpNe(1, 0, out)
			p.CAS(0, state0, run, blocked)
			p.JumpEq(0, 0, woke)
			if m == "switch: blocked before saved" {
				p.Xchg(onCPU, tso.Value(0))
				p.Store(gpr, tso.Value(1))
			}
			if m == "switch: OnCPU clear too early" {
				p.Xchg(onCPU, tso.Value(0))
			}
			p.Store(fpu, tso.Value(1))
			p.Xchg(onCPU, tso.Value(0))
			p.Jump(out)
			p.At(woke) // goes on here: nobody else may run it
			p.Xchg(state0, tso.Value(run))
			p.At(out)
		},
		func(p *program) {
			end, busy := tso.NewLabel(), tso.NewLabel()
			p.Xchg(tail, tso.Value(1))
			p.RMW(2, set, func(uint8) uint8 { return 0 })
			p.JumpEq(2, 0, end)
			p.CAS(0, state0, blocked, run)
			p.JumpEq(0, 0, end) // it is not asleep: WOKEN, as in wake
			p.Xchg(ready, tso.Value(1))
			p.At(busy)
			if m != "switch: no look at OnCPU" {
				p.Await(onCPU, 0)
			}
			p.Assert("runs with registers that were not saved", func(w *tso.World, t int) bool {
				return w.Mem[gpr] == 1 && w.Mem[fpu] == 1
			})
			p.At(end)
		})
}

// TestExplore runs every scenario as it is, which must pass, and with each of its mutants, which must not.
func TestExplore(t *testing.T) {
	for _, s := range scenarios() {
		var w tso.World
		w.Mem[writers] = 1
		for i := tso.Word(0); i < 3; i++ {
			w.Mem[state0+i] = run
		}
		if s.start != nil {
			s.start(&w)
		}
		t.Run(s.name, func(t *testing.T) { tso.Check(t, w, s.cast, s.mutants) })
	}
}
