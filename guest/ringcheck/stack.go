package ringcheck

import (
	"slices"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// maxDepth is more than any kernel stack; a depth that reaches it has no bound.
const maxDepth = 1 << 20

// walkStack finds the deepest stack of a function and of each call out of it, by
// following every path with the number of bytes pushed. Where paths meet the larger
// number goes on, and a loop that pushes grows until maxDepth.
func (c *checker) walkStack(n *node) {
	depth := make([]int64, len(n.insts))
	seen := make([]bool, len(n.insts))
	work := []int{0}
	seen[0] = true
	flow := func(pc uint64, d int64) {
		i, ok := n.index[pc]
		if !ok || seen[i] && depth[i] >= d {
			return // outside: an edge, or reported already
		}
		seen[i], depth[i] = true, d
		work = append(work, i)
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		in := &n.insts[i]
		d, ok := stackAfter(in, depth[i])
		if !ok && n.fn.isAsm {
			d = 0 // assembly switches to another stack
		} else if !ok {
			c.bad(n.fn, in.pc, "changes the stack pointer in a way not known here: %v", in.Inst)
			return
		}
		if d > maxDepth {
			c.bad(n.fn, in.pc, "pushes in a loop: its stack has no bound")
			return
		}
		n.local = max(n.local, d)
		if to, ok := in.target(); ok && in.Op != x86asm.CALL {
			flow(to, d)
		}
		if _, more := n.index[in.next()]; more && !c.endsPath(in) {
			flow(in.next(), d)
		} else if !more && !c.endsPath(in) && in.Op != x86asm.HLT {
			c.bad(n.fn, in.pc, "runs off the function's end: %v", in.Inst)
		}
	}
	for i := range n.insts {
		if seen[i] {
			c.addEdges(n, &n.insts[i], depth[i])
		}
	}
}

// endsPath reports whether control never goes on to the next instruction.
func (c *checker) endsPath(in *inst) bool {
	switch in.Op {
	case x86asm.JMP, x86asm.RET, x86asm.UD2, x86asm.IRETQ, x86asm.SYSRET:
		return true
	}
	if to, ok := in.target(); ok && in.Op == x86asm.CALL {
		f := c.at(to)
		return f != nil && c.cfg.isTerminal(f.name)
	}
	return false
}

// addEdges records where an instruction leaves the function, with d bytes pushed.
func (c *checker) addEdges(n *node, in *inst, d int64) {
	isCall := in.Op == x86asm.CALL
	if isCall {
		d += 8
		n.local = max(n.local, d)
	}
	to, direct := in.target()
	switch {
	case direct:
		if f := c.at(to); f != nil && (isCall || f != n.fn) && c.cfg.owns(f.name) {
			n.edges = append(n.edges, edge{f, d})
		}
	case isCall || in.Op == x86asm.JMP:
		names, _ := c.cfg.mayCall(n.fn.name)
		for _, name := range names {
			found := c.named(name)
			if len(found) == 0 {
				c.bad(n.fn, in.pc, "may call %s, which is not in the binary", name)
			}
			for _, f := range found {
				n.edges = append(n.edges, edge{f, d})
				c.queue = append(c.queue, f)
			}
		}
	}
}

// stackAfter is the depth behind an instruction, or false if it sets the stack pointer
// to something else.
func stackAfter(in *inst, d int64) (int64, bool) {
	switch in.Op {
	case x86asm.PUSH, x86asm.PUSHFQ:
		return d + 8, true
	case x86asm.POP, x86asm.POPFQ:
		return d - 8, in.Args[0] != x86asm.RSP
	case x86asm.CMP, x86asm.TEST:
		return d, true
	case x86asm.SUB, x86asm.ADD:
		if in.Args[0] != x86asm.RSP {
			return d, true
		}
		imm, ok := in.Args[1].(x86asm.Imm)
		if in.Op == x86asm.ADD {
			imm = -imm
		}
		return d + int64(imm), ok
	case x86asm.LEA:
		m, ok := in.Args[1].(x86asm.Mem)
		if in.Args[0] != x86asm.RSP {
			return d, true
		}
		return d - m.Disp, ok && m.Base == x86asm.RSP && m.Index == 0
	case x86asm.LEAVE, x86asm.ENTER:
		return d, false
	case x86asm.XCHG:
		return d, in.Args[0] != x86asm.RSP && in.Args[1] != x86asm.RSP
	}
	return d, in.Args[0] != x86asm.RSP && in.Args[0] != x86asm.ESP && in.Args[0] != x86asm.SP
}

// measure adds up the deepest path from each root, and refuses recursion.
func (c *checker) measure() {
	total := map[*function]int64{}
	var path []*function
	var deepest func(f *function) int64
	deepest = func(f *function) int64 {
		if t, ok := total[f]; ok {
			return t
		}
		if at := slices.Index(path, f); at >= 0 {
			c.bad(f, f.lo, "recursion: %s", chain(path[at:], f))
			return 0
		}
		path = append(path, f)
		n := c.nodes[f]
		t := n.local
		for _, e := range n.edges {
			if c.nodes[e.to] != nil {
				t = max(t, e.depth+deepest(e.to))
			}
		}
		path = path[:len(path)-1]
		total[f] = t
		return t
	}
	for _, name := range c.cfg.Roots {
		for _, f := range c.named(name) {
			t := deepest(f) + 8
			c.rep.Stack[name] = max(c.rep.Stack[name], t)
			if c.cfg.MaxStack > 0 && t > c.cfg.MaxStack {
				c.bad(f, f.lo, "needs %d bytes of stack, more than %d", t, c.cfg.MaxStack)
			}
		}
	}
}

func chain(path []*function, last *function) string {
	var names []string
	for _, f := range path {
		names = append(names, f.name)
	}
	return strings.Join(append(names, last.name), " -> ")
}
