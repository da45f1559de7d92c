package pipes

import "testing"

// The words of the model. One word of a wait set stands for all of them. Thread i is bit i, and waits in State+i.
const (
	head word = iota
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
	done := newLabel()
	for i := 0; i < threads; i++ {
		next, again := newLabel(), newLabel()
		p.jumpNe(r, uint8(1)<<i, next)
		p.at(again)
		p.cas(3, state0+word(i), blocked, run)
		p.jumpEq(3, 1, done)
		if m != "no WOKEN" {
			p.cas(3, state0+word(i), run, woken)
			p.jumpEq(3, 1, done)
		}
		if m != "no WOKEN" && m != "wake tries once" {
			p.load(3, state0+word(i))
			p.jumpNe(3, woken, again) // it blocked in between
		}
		p.jump(done)
		p.at(next)
	}
	p.at(done)
}

// take is WaitSet.Take and the wake of whom it took.
func (p *program) take(m mutant, threads int) {
	again, found, done := newLabel(), newLabel(), newLabel()
	p.at(again)
	p.load(0, sum)
	p.jumpEq(0, 0, done)
	p.load(1, set)
	p.jumpNe(1, 0, found)
	p.rmw(0, sum, func(uint8) uint8 { return 0 })
	if m == "summary: no second look" {
		p.jump(again)
	}
	p.load(1, set)
	p.jumpEq(1, 0, again)
	p.rmw(0, sum, func(uint8) uint8 { return 1 })
	if m == "summary: put back, not taken" {
		p.jump(done)
	}
	p.at(found)
	p.set(1, func(r []uint8) uint8 { return r[1] & -r[1] })
	p.lock(func(w *world, t int) bool {
		w.reg[t][0] = w.mem[set] & w.reg[t][1]
		w.mem[set] &^= w.reg[t][1]
		return true
	})
	p.jumpEq(0, 0, again)
	p.wake(m, 1, threads)
	p.at(done)
}

// takeAll is TakeWord and the wake of all whom it took.
func (p *program) takeAll(m mutant, threads int) {
	if m != "sweep: word before summary" {
		p.rmw(1, sum, func(uint8) uint8 { return 0 })
	}
	p.rmw(2, set, func(uint8) uint8 { return 0 })
	if m == "sweep: word before summary" {
		p.rmw(1, sum, func(uint8) uint8 { return 0 })
	}
	for i := 0; i < threads; i++ {
		bit := uint8(1) << i
		p.set(1, func(r []uint8) uint8 { return r[2] & bit })
		p.wake(m, 1, threads)
	}
}

// join is WaitSet.Join.
func (p *program) join(m mutant, i int) {
	bit := uint8(1) << i
	if m == "join: summary first" {
		p.rmw(0, sum, func(uint8) uint8 { return 1 })
	}
	if m == "join: plain OR" {
		p.load(0, set)
		p.store(set, func(r []uint8) uint8 { return r[0] | bit })
		p.store(sum, value(1))
		return
	}
	p.rmw(0, set, func(old uint8) uint8 { return old | bit })
	if m != "join: summary first" {
		p.rmw(0, sum, func(uint8) uint8 { return 1 })
	}
}

// leave is WaitSet.Leave; register 0 is 0 if a waker had taken the bit.
func (p *program) leave(m mutant, i int) {
	bit := uint8(1) << i
	p.lock(func(w *world, t int) bool {
		w.reg[t][0] = w.mem[set] & bit
		w.mem[set] &^= bit
		return true
	})
	if m == "leave clears the summary" {
		out := newLabel()
		p.load(1, set)
		p.jumpNe(1, 0, out)
		p.rmw(1, sum, func(uint8) uint8 { return 0 })
		p.load(1, set)
		p.jumpEq(1, 0, out)
		p.rmw(1, sum, func(uint8) uint8 { return 1 })
		p.at(out)
	}
}

// pass is PassRead.
func (p *program) pass(m mutant, threads int) {
	none := newLabel()
	p.queued(1)
	p.jumpEq(1, 0, none)
	p.take(m, threads)
	p.at(none)
}

// queued loads the number of bytes in the pipe.
func (p *program) queued(r int) {
	p.load(r, head)
	p.load(2, tail)
	p.set(r, func(rs []uint8) uint8 { return rs[2] - rs[r] })
}

// reader is thread i of `threads`: it reads one byte, or finds EOF, where it asserts that want bytes were read. A
// reader that may time out gives up at any time while it sleeps.
type reader struct {
	thread, threads int
	timeout         bool
	untilEOF        uint8 // not 0: reads until EOF and asserts that Head is this then
}

func (p *program) reader(m mutant, o reader) {
	me := state0 + word(o.thread)
	retry, empty, take, gone, sleep, out, end := newLabel(), newLabel(), newLabel(), newLabel(), newLabel(), newLabel(), newLabel()
	p.at(retry)
	if m != "restart: no leave" {
		p.leave(m, o.thread)
	}
	p.acquire(readLock)
	p.queued(1)
	p.jumpNe(1, 0, take)
	p.load(1, writers)
	p.jumpNe(1, 0, empty)
	if m != "EOF: no second look at Tail" {
		p.queued(1)
		p.jumpNe(1, 0, take)
	}
	p.xchg(readLock, value(0))
	if o.untilEOF != 0 {
		p.assert("EOF before the last byte", func(w *world, t int) bool { return w.mem[head] == o.untilEOF })
	}
	p.jump(end)

	p.at(take) // one byte, then EndRead
	p.load(1, head)
	p.xchg(head, plus(1, 1))
	p.xchg(readLock, value(0))
	p.load(0, tail)
	p.set(0, func(r []uint8) uint8 { return r[0] - r[1] - 1 })
	p.jumpEq(0, 0, out)
	if m != "read: no passing on" {
		p.take(m, o.threads)
	}
	p.at(out)
	if o.untilEOF != 0 {
		p.jump(retry)
	}
	p.jump(end)

	p.at(empty)
	p.xchg(readLock, value(0))
	p.join(m, o.thread)
	if m != "sleep: no second look" {
		p.queued(1)
		p.jumpNe(1, 0, retry)
		if m != "sleep: no look at Writers" {
			p.load(1, writers)
			p.jumpEq(1, 0, retry)
		}
	}
	if m == "sleep: plain store" {
		p.store(me, value(blocked))
		p.jump(sleep)
	}
	p.cas(0, me, run, blocked)
	p.jumpEq(0, 1, sleep)
	p.xchg(me, value(run)) // WOKEN
	p.jump(retry)
	p.at(sleep)
	if o.timeout {
		p.mayJump(gone)
	}
	p.awaitNot(me, blocked) // ready: RUN, or WOKEN if a slow waker came after the first
	p.jump(retry)

	p.at(gone) // the shim claims the thread; a waker may have been faster
	p.cas(0, me, blocked, run)
	p.jumpEq(0, 0, retry)
	if m != "time-out: no leave" {
		p.leave(m, o.thread)
		p.jumpNe(0, 0, end)
		if m != "time-out: no passing on" {
			p.pass(m, o.threads)
		}
	}
	p.at(end)
}

// poller is a thread that waits until there is a byte, and leaves it.
func (p *program) poller(m mutant, i int) {
	me := state0 + word(i)
	again, sleep, end := newLabel(), newLabel(), newLabel()
	p.at(again)
	p.leave(m, i)
	p.join(m, i)
	if m != "sleep: no second look" {
		p.queued(1)
		p.jumpNe(1, 0, end)
	}
	p.cas(0, me, run, blocked)
	p.jumpEq(0, 1, sleep)
	p.xchg(me, value(run))
	p.queued(1)
	p.jumpNe(1, 0, end)
	p.jump(again)
	p.at(sleep)
	p.awaitNot(me, blocked)
	p.queued(1)
	p.jumpEq(1, 0, again)
	p.at(end)
	p.leave(m, i)
}

// writer publishes n bytes, EndWrite. With close it is the last writer and goes.
func (p *program) writer(m mutant, n uint8, close bool, threads int) {
	store := p.xchg
	if m == "write: no fence" {
		store = p.store
	}
	p.load(1, tail)
	if m == "write: looks before it publishes" {
		p.take(m, threads)
		store(tail, value(n))
	} else {
		store(tail, plus(1, n))
		store(writeLock, value(0))
		p.take(m, threads)
	}
	if !close {
		return
	}
	if m == "close: wakes first" {
		p.takeAll(m, threads)
	}
	p.rmw(0, writers, func(old uint8) uint8 { return old - 1 })
	if m == "close: wakes one" {
		p.take(m, threads)
	} else if m != "close: wakes first" {
		p.takeAll(m, threads)
	}
}

// writeLock is a word of its own only to be stored.
const writeLock = maxWords - 1

// scenario is a cast of programs, and what must not be left out of them.
type scenario struct {
	name    string
	cast    func(m mutant) []*program
	start   func(w *world)
	mutants []mutant
}

func build(fs ...func(p *program)) []*program {
	ps := make([]*program, len(fs))
	for i, f := range fs {
		ps[i] = new(program)
		f(ps[i])
	}
	return ps
}

func scenarios() []scenario {
	return []scenario{
		{
			name: "one reader sleeps, one byte comes",
			cast: func(m mutant) []*program {
				return build(
					func(p *program) { p.reader(m, reader{thread: 0, threads: 1}) },
					func(p *program) { p.writer(m, 1, false, 1) })
			},
			mutants: []mutant{"sleep: no second look", "sleep: plain store", "no WOKEN", "wake tries once",
				"join: plain OR", "write: no fence", "write: looks before it publishes"},
		},
		{
			name: "two readers, two bytes in one write",
			cast: func(m mutant) []*program {
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
			start: func(w *world) { w.mem[sum] = 1 },
			cast: func(m mutant) []*program {
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
			start: func(w *world) { w.mem[sum], w.mem[set] = 1, 1 },
			cast: func(m mutant) []*program {
				return build(
					func(p *program) {
						end := newLabel()
						p.leave(m, 0)
						p.jumpNe(0, 0, end)
						p.pass(m, 2)
						p.at(end)
					},
					func(p *program) { p.reader(m, reader{thread: 1, threads: 2}) },
					func(p *program) { p.writer(m, 1, false, 2) })
			},
			mutants: []mutant{"leave clears the summary"},
		},
		{
			// Processor 0 wakes all for a reason of its own.
			name:  "two wake all pollers",
			start: func(w *world) { w.mem[sum] = 1 },
			cast: func(m mutant) []*program {
				all := func(p *program) {
					end := newLabel()
					p.load(0, sum)
					p.jumpEq(0, 0, end)
					p.takeAll(m, 2)
					p.at(end)
				}
				return build(
					func(p *program) { all(p); all(p) },
					func(p *program) { p.poller(m, 1) },
					func(p *program) { p.xchg(tail, value(1)); all(p) })
			},
			mutants: []mutant{"sweep: word before summary", "sleep: no second look"},
		},
		{
			name: "a reader times out, another takes the byte",
			cast: func(m mutant) []*program {
				return build(
					func(p *program) { p.reader(m, reader{thread: 0, threads: 2, timeout: true}) },
					func(p *program) { p.reader(m, reader{thread: 1, threads: 2}) },
					func(p *program) { p.writer(m, 2, false, 2) })
			},
			mutants: []mutant{"time-out: no leave", "time-out: no passing on"},
		},
		{
			name: "the last writer writes and goes",
			cast: func(m mutant) []*program {
				return build(
					func(p *program) { p.reader(m, reader{thread: 0, threads: 2, untilEOF: 1}) },
					func(p *program) { p.reader(m, reader{thread: 1, threads: 2, untilEOF: 1}) },
					func(p *program) { p.writer(m, 1, true, 2) })
			},
			mutants: []mutant{"close: wakes first", "close: wakes one", "sleep: no look at Writers",
				"EOF: no second look at Tail"},
		},
		{name: "a slot is closed and used again", cast: reuse, start: func(w *world) { w.mem[gen], w.mem[ref], w.mem[fd] = 1, 1, 1 },
			mutants: []mutant{"reuse: no reference", "reuse: no second look at the descriptor"}},
		{name: "registers are saved before another processor runs the thread", cast: registers,
			start:   func(w *world) { w.mem[onCPU] = 1 },
			mutants: []mutant{"switch: no look at OnCPU", "switch: OnCPU clear too early", "switch: blocked before saved"}},
	}
}

// reuse: thread 0 reads from descriptor fd, which names the pipe slot. Another thread closes it, which drops the last
// reference, makes the slot a new pipe (gen 2) and writes a byte to it for thread 1.
func reuse(m mutant) []*program {
	return build(
		func(p *program) {
			sleep, drop, end := newLabel(), newLabel(), newLabel()
			p.load(2, fd)
			p.jumpEq(2, 0, end) // EBADF
			if m != "reuse: no reference" {
				p.rmw(0, ref, func(old uint8) uint8 { // unless it is 0
					if old == 0 {
						return 0
					}
					return old + 1
				})
				p.jumpEq(0, 0, end)
				if m != "reuse: no second look at the descriptor" {
					p.load(2, fd)
					p.jumpEq(2, 0, drop)
				}
			}
			if m != "reuse: no reference" {
				p.assert("read another pipe than the descriptor's", func(w *world, t int) bool { return w.mem[gen] == 1 })
			}
			p.join(m, 0)
			p.load(1, writers) // 0 in the old pipe once it is closed, or the pipe is another
			p.jumpEq(1, 0, sleep)
			p.load(1, gen)
			p.jumpNe(1, 1, sleep)
			p.cas(0, state0, run, blocked)
			p.jumpEq(0, 0, sleep)
			p.awaitNot(state0, blocked)
			p.at(sleep)
			p.leave(m, 0)
			p.at(drop)
			if m != "reuse: no reference" {
				p.rmw(0, ref, func(old uint8) uint8 { return old - 1 })
			}
			p.at(end)
		},
		func(p *program) {
			p.xchg(fd, value(0))
			p.rmw(0, writers, func(uint8) uint8 { return 0 })
			p.takeAll(m, 1)
			p.rmw(0, ref, func(old uint8) uint8 { return old - 1 })
			p.await(ref, 0) // the slot is free: use it again
			p.xchg(sum, value(0))
			p.xchg(set, value(0))
			p.xchg(writers, value(1))
			p.xchg(ref, value(1))
			p.xchg(gen, value(2))
			p.writer(m, 1, false, 2)
		},
		func(p *program) {
			p.await(gen, 2)
			p.reader(m, reader{thread: 1, threads: 2})
		})
}

// registers: processor 0 runs thread 0, which blocks; processor 1 writes, wakes the thread and runs it. The general
// registers are saved before the state says BLOCKED, the FPU's while it is being switched out; OnCPU is cleared last.
func registers(m mutant) []*program {
	return build(
		func(p *program) {
			woke, out := newLabel(), newLabel()
			if m != "switch: blocked before saved" {
				p.store(gpr, value(1))
			}
			p.join(m, 0)
			p.load(1, tail)
			p.jumpNe(1, 0, out)
			p.cas(0, state0, run, blocked)
			p.jumpEq(0, 0, woke)
			if m == "switch: blocked before saved" {
				p.xchg(onCPU, value(0))
				p.store(gpr, value(1))
			}
			if m == "switch: OnCPU clear too early" {
				p.xchg(onCPU, value(0))
			}
			p.store(fpu, value(1))
			p.xchg(onCPU, value(0))
			p.jump(out)
			p.at(woke) // goes on here: nobody else may run it
			p.xchg(state0, value(run))
			p.at(out)
		},
		func(p *program) {
			end, busy := newLabel(), newLabel()
			p.xchg(tail, value(1))
			p.rmw(2, set, func(uint8) uint8 { return 0 })
			p.jumpEq(2, 0, end)
			p.cas(0, state0, blocked, run)
			p.jumpEq(0, 0, end) // it is not asleep: WOKEN, as in wake
			p.xchg(ready, value(1))
			p.at(busy)
			if m != "switch: no look at OnCPU" {
				p.await(onCPU, 0)
			}
			p.assert("runs with registers that were not saved", func(w *world, t int) bool {
				return w.mem[gpr] == 1 && w.mem[fpu] == 1
			})
			p.at(end)
		})
}

// TestExplore runs every scenario as it is, which must pass, and with each of its mutants, which must not.
func TestExplore(t *testing.T) {
	const limit = 4 << 20
	for _, s := range scenarios() {
		var w world
		w.mem[writers] = 1
		for i := word(0); i < 3; i++ {
			w.mem[state0+i] = run
		}
		if s.start != nil {
			s.start(&w)
		}
		t.Run(s.name, func(t *testing.T) {
			n, err := explore(w, s.cast(""), limit)
			if err != nil {
				t.Errorf("after %d states: %v", n, err)
			}
			t.Logf("%d states", n)
			for _, m := range s.mutants {
				n, err := explore(w, s.cast(m), limit)
				if err == nil {
					t.Errorf("%q is not noticed in %d states", m, n)
				} else {
					t.Logf("%q: %v", m, err)
				}
			}
		})
	}
}
