package pipes

import "fmt"

// A small exhaustive explorer: processors with x86's store buffers (TSO) run programs of a few instructions each on
// shared words, and every interleaving is tried. A plain store goes to the processor's own buffer and from there to
// memory at any later time; a locked operation (and XCHG, which is what Go's atomic.Store is) waits until its buffer
// is empty; a load sees the processor's own buffer first. That is the whole difference from sequential consistency,
// and why a fence may be missing.

const (
	maxProcs = 4
	maxWords = 16
	maxRegs  = 4
	bufLen   = 2
)

// world is one state of the machine; it is the key of the visited set, so it holds values only.
type world struct {
	mem  [maxWords]uint8
	pc   [maxProcs]uint8
	reg  [maxProcs][maxRegs]uint8
	buf  [maxProcs][bufLen][2]uint8 // word, value
	nbuf [maxProcs]uint8
	err  uint8 // 1 + number of the failed assertion
}

type word = uint8

// load returns what processor t sees in word a.
func (w *world) load(t int, a word) uint8 {
	for i := int(w.nbuf[t]) - 1; i >= 0; i-- {
		if w.buf[t][i][0] == a {
			return w.buf[t][i][1]
		}
	}
	return w.mem[a]
}

// drain moves the oldest buffered store of t to memory.
func (w *world) drain(t int) {
	w.mem[w.buf[t][0][0]] = w.buf[t][0][1]
	copy(w.buf[t][:], w.buf[t][1:])
	w.nbuf[t]--
	w.buf[t][w.nbuf[t]] = [2]uint8{}
}

// instr changes the world for processor t, pc already advanced; false if it cannot run now. locked instructions are
// not tried while the store buffer holds something.
type instr struct {
	run    func(w *world, t int) bool
	locked bool
	local  bool     // touches registers only: runs together with what is before it, since nobody can tell
	forks  []*uint8 // other places where the processor may go instead
}

// program is code under construction. Registers are numbers below maxRegs.
type program struct {
	code []instr
	says []string // of the assertions
}

type label struct{ pc *uint8 }

func newLabel() label { return label{new(uint8)} }

type step func(w *world, t int) bool

func (p *program) at(l label)     { *l.pc = uint8(len(p.code)) }
func (p *program) plain(f step)   { p.code = append(p.code, instr{run: f}) }
func (p *program) lock(f step)    { p.code = append(p.code, instr{run: f, locked: true}) }
func (p *program) private(f step) { p.code = append(p.code, instr{run: f, local: true}) }

// Jumps: always, or by what a register holds.
func (p *program) jump(l label) { p.jumpIf(func([]uint8) bool { return true }, l) }
func (p *program) jumpEq(r int, v uint8, l label) {
	p.jumpIf(func(rs []uint8) bool { return rs[r] == v }, l)
}
func (p *program) jumpNe(r int, v uint8, l label) {
	p.jumpIf(func(rs []uint8) bool { return rs[r] != v }, l)
}
func (p *program) jumpIf(c func(rs []uint8) bool, l label) {
	p.private(func(w *world, t int) bool {
		if c(w.reg[t][:]) {
			w.pc[t] = *l.pc
		}
		return true
	})
}

// set computes a register.
func (p *program) set(r int, f func(rs []uint8) uint8) {
	p.private(func(w *world, t int) bool { w.reg[t][r] = f(w.reg[t][:]); return true })
}

// mayJump lets the processor go on or jump: time-outs and signals come at any time.
func (p *program) mayJump(l label) {
	p.code = append(p.code, instr{run: func(*world, int) bool { return true }, forks: []*uint8{l.pc}})
}

func (p *program) load(r int, a word) {
	p.plain(func(w *world, t int) bool { w.reg[t][r] = w.load(t, a); return true })
}

// store is a plain store; xchg the same as a full barrier.
func (p *program) store(a word, v func(r []uint8) uint8) {
	p.plain(func(w *world, t int) bool {
		if w.nbuf[t] == bufLen {
			return false
		}
		w.buf[t][w.nbuf[t]] = [2]uint8{a, v(w.reg[t][:])}
		w.nbuf[t]++
		return true
	})
}

func (p *program) xchg(a word, v func(r []uint8) uint8) {
	p.lock(func(w *world, t int) bool { w.mem[a] = v(w.reg[t][:]); return true })
}

// rmw is a locked read-modify-write that leaves the old value in r.
func (p *program) rmw(r int, a word, f func(old uint8) uint8) {
	p.lock(func(w *world, t int) bool {
		w.reg[t][r] = w.mem[a]
		w.mem[a] = f(w.mem[a])
		return true
	})
}

// cas leaves 1 in r if it swapped.
func (p *program) cas(r int, a word, old, new uint8) {
	p.lock(func(w *world, t int) bool {
		w.reg[t][r] = 0
		if w.mem[a] == old {
			w.mem[a], w.reg[t][r] = new, 1
		}
		return true
	})
}

// acquire waits for a lock word: trying again and again leads to the same states.
func (p *program) acquire(a word) {
	p.lock(func(w *world, _ int) bool {
		if w.mem[a] != 0 {
			return false
		}
		w.mem[a] = 1
		return true
	})
}

// await stops the processor until the word is v.
func (p *program) await(a word, v uint8) {
	p.plain(func(w *world, _ int) bool { return w.mem[a] == v })
}

// awaitNot stops the processor while the word is v.
func (p *program) awaitNot(a word, v uint8) {
	p.plain(func(w *world, _ int) bool { return w.mem[a] != v })
}

// assert ends the exploration with what it says unless the condition holds.
func (p *program) assert(says string, c func(w *world, t int) bool) {
	p.says = append(p.says, says)
	id := uint8(len(p.says))
	p.plain(func(w *world, t int) bool {
		if !c(w, t) {
			w.err = id
		}
		return true
	})
}

func value(v uint8) func([]uint8) uint8 { return func([]uint8) uint8 { return v } }
func plus(r int, d uint8) func([]uint8) uint8 {
	return func(rs []uint8) uint8 { return rs[r] + d }
}

// explore runs the programs from the world w over all interleavings. It returns the number of states and what went
// wrong first: a failed assertion, or a state from which nobody can go on though somebody has not finished, which is
// a lost wake-up.
func explore(w world, progs []*program, limit int) (states int, err error) {
	visited := map[world]bool{w: true}
	stack := []world{w}
	push := func(n world) {
		if !visited[n] {
			visited[n] = true
			stack = append(stack, n)
		}
	}
	for len(stack) > 0 {
		w := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if len(visited) > limit {
			return len(visited), fmt.Errorf("more than %d states", limit)
		}
		moved, waiting := false, ""
		for t, p := range progs {
			if w.nbuf[t] > 0 {
				n := w
				n.drain(t)
				push(n)
				moved = true
			}
			if int(w.pc[t]) == len(p.code) {
				continue
			}
			waiting += fmt.Sprintf(" processor %d at %d", t, w.pc[t])
			in := p.code[w.pc[t]]
			if in.locked && w.nbuf[t] > 0 {
				continue
			}
			n := w
			n.pc[t]++
			if !in.run(&n, t) {
				continue
			}
			for int(n.pc[t]) < len(p.code) && p.code[n.pc[t]].local {
				at := n.pc[t]
				n.pc[t]++
				p.code[at].run(&n, t)
			}
			if n.err != 0 {
				return len(visited), fmt.Errorf("processor %d at %d: %s; words %v", t, w.pc[t], p.says[n.err-1], n.mem)
			}
			push(n)
			moved = true
			for _, f := range in.forks {
				n := w
				n.pc[t] = *f
				push(n)
			}
		}
		if !moved && waiting != "" {
			return len(visited), fmt.Errorf("stuck:%s; words %v", waiting, w.mem)
		}
	}
	return len(visited), nil
}
