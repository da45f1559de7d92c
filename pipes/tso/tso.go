// Package tso is a small exhaustive explorer for tests of protocols between processors: processors with x86's store
// buffers (total store order) run programs of a few instructions each on shared words, and every interleaving is tried.
//
// A plain store goes to the processor's own buffer and from there to memory at any later time; a locked operation (and
// XCHG, which is what Go's atomic.Store is) waits until its buffer is empty; a load sees the processor's own buffer first. That is the whole difference from sequential consistency,
// and why a fence may be missing.
package tso

import (
	"errors"
	"fmt"
)

// Sizes of a World.
const (
	MaxProcs = 4
	MaxWords = 16
	MaxRegs  = 4
	bufLen   = 2
)

// World is one state of the machine; it is the key of the visited set, so it holds values only.
type World struct {
	Mem  [MaxWords]uint8
	pc   [MaxProcs]uint8
	Reg  [MaxProcs][MaxRegs]uint8
	buf  [MaxProcs][bufLen][2]uint8 // word, value
	nbuf [MaxProcs]uint8
	err  uint8 // 1 + number of the failed assertion
}

// Word is the number of a shared word.
type Word = uint8

// load returns what processor t sees in word a.
func (w *World) load(t int, a Word) uint8 {
	for i := int(w.nbuf[t]) - 1; i >= 0; i-- {
		if w.buf[t][i][0] == a {
			return w.buf[t][i][1]
		}
	}
	return w.Mem[a]
}

// drain moves the oldest buffered store of t to memory.
func (w *World) drain(t int) {
	w.Mem[w.buf[t][0][0]] = w.buf[t][0][1]
	copy(w.buf[t][:], w.buf[t][1:])
	w.nbuf[t]--
	w.buf[t][w.nbuf[t]] = [2]uint8{}
}

// instr changes the world for processor t, pc already advanced; false if it cannot run now. locked instructions are
// not tried while the store buffer holds something.
type instr struct {
	run    func(w *World, t int) bool
	locked bool
	local  bool     // touches registers only: runs together with what is before it, since nobody can tell
	forks  []*uint8 // other places where the processor may go instead
}

// Program is code under construction. Registers are numbers below MaxRegs.
type Program struct {
	code []instr
	says []string // of the assertions
}

// Label is a place in a program.
type Label struct{ pc *uint8 }

// NewLabel makes a label that At is to put somewhere.
func NewLabel() Label { return Label{new(uint8)} }

// Step changes the world for processor t; false if it has to wait.
type Step func(w *World, t int) bool

// At puts a label here.
func (p *Program) At(l Label) {
	if len(p.code) > 255 {
		panic("tso: the program is too long for its labels")
	}
	*l.pc = uint8(len(p.code))
}

// Plain, Lock and Private add an instruction: of memory, of memory behind an empty store buffer, of registers only.
func (p *Program) Plain(f Step)   { p.code = append(p.code, instr{run: f}) }
func (p *Program) Lock(f Step)    { p.code = append(p.code, instr{run: f, locked: true}) }
func (p *Program) Private(f Step) { p.code = append(p.code, instr{run: f, local: true}) }

// Jump and its like jump always, or by what a register holds.
func (p *Program) Jump(l Label) { p.JumpIf(func([]uint8) bool { return true }, l) }
func (p *Program) JumpEq(r int, v uint8, l Label) {
	p.JumpIf(func(rs []uint8) bool { return rs[r] == v }, l)
}
func (p *Program) JumpNe(r int, v uint8, l Label) {
	p.JumpIf(func(rs []uint8) bool { return rs[r] != v }, l)
}
func (p *Program) JumpIf(c func(rs []uint8) bool, l Label) {
	p.Private(func(w *World, t int) bool {
		if c(w.Reg[t][:]) {
			w.pc[t] = *l.pc
		}
		return true
	})
}

// Set computes a register.
func (p *Program) Set(r int, f func(rs []uint8) uint8) {
	p.Private(func(w *World, t int) bool { w.Reg[t][r] = f(w.Reg[t][:]); return true })
}

// MayJump lets the processor go on or jump: time-outs and signals come at any time.
func (p *Program) MayJump(l Label) {
	p.code = append(p.code, instr{run: func(*World, int) bool { return true }, forks: []*uint8{l.pc}})
}

// Load loads a word into a register.
func (p *Program) Load(r int, a Word) {
	p.Plain(func(w *World, t int) bool { w.Reg[t][r] = w.load(t, a); return true })
}

// Store is a plain store; Xchg the same as a full barrier.
func (p *Program) Store(a Word, v func(r []uint8) uint8) {
	p.Plain(func(w *World, t int) bool {
		if w.nbuf[t] == bufLen {
			return false
		}
		w.buf[t][w.nbuf[t]] = [2]uint8{a, v(w.Reg[t][:])}
		w.nbuf[t]++
		return true
	})
}

func (p *Program) Xchg(a Word, v func(r []uint8) uint8) {
	p.Lock(func(w *World, t int) bool { w.Mem[a] = v(w.Reg[t][:]); return true })
}

// RMW is a locked read-modify-write that leaves the old Value in r.
func (p *Program) RMW(r int, a Word, f func(old uint8) uint8) {
	p.Lock(func(w *World, t int) bool {
		w.Reg[t][r] = w.Mem[a]
		w.Mem[a] = f(w.Mem[a])
		return true
	})
}

// CAS leaves 1 in r if it swapped.
func (p *Program) CAS(r int, a Word, old, new uint8) {
	p.Lock(func(w *World, t int) bool {
		w.Reg[t][r] = 0
		if w.Mem[a] == old {
			w.Mem[a], w.Reg[t][r] = new, 1
		}
		return true
	})
}

// Acquire waits for a lock Word: trying again and again leads to the same states.
func (p *Program) Acquire(a Word) {
	p.Lock(func(w *World, _ int) bool {
		if w.Mem[a] != 0 {
			return false
		}
		w.Mem[a] = 1
		return true
	})
}

// Await stops the processor until the Word is v.
func (p *Program) Await(a Word, v uint8) {
	p.Plain(func(w *World, _ int) bool { return w.Mem[a] == v })
}

// AwaitNot stops the processor while the Word is v.
func (p *Program) AwaitNot(a Word, v uint8) {
	p.Plain(func(w *World, _ int) bool { return w.Mem[a] != v })
}

// Assert ends the exploration with what it says unless the condition holds.
func (p *Program) Assert(says string, c func(w *World, t int) bool) {
	p.says = append(p.says, says)
	id := uint8(len(p.says))
	p.Plain(func(w *World, t int) bool {
		if !c(w, t) {
			w.err = id
		}
		return true
	})
}

// Value and Plus are what Store and Xchg store: a constant, or a register and something.
func Value(v uint8) func([]uint8) uint8 { return func([]uint8) uint8 { return v } }
func Plus(r int, d uint8) func([]uint8) uint8 {
	return func(rs []uint8) uint8 { return rs[r] + d }
}

// ErrLimit says that there are more states than were to be visited.
var ErrLimit = errors.New("more states than the limit")

// Explore runs the programs from the world w over all interleavings. It returns the number of states and what went
// wrong first: a failed assertion, or a state from which nobody can go on though somebody has not finished, which is
// a lost wake-up.
func Explore(w World, progs []*Program, limit int) (states int, err error) {
	visited := map[World]bool{w: true}
	stack := []World{w}
	push := func(n World) {
		if !visited[n] {
			visited[n] = true
			stack = append(stack, n)
		}
	}
	for len(stack) > 0 {
		w := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if len(visited) > limit {
			return len(visited), ErrLimit
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
				return len(visited), fmt.Errorf("processor %d at %d: %s; words %v", t, w.pc[t], p.says[n.err-1], n.Mem)
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
			return len(visited), fmt.Errorf("stuck:%s; words %v", waiting, w.Mem)
		}
	}
	return len(visited), nil
}
