package ringcheck

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// Config says what the ring-0 code is.
type Config struct {
	// Packages may be part of the closure: symbol prefixes without the dot, which
	// are import paths, or "main".
	Packages []string
	// Roots are where ring 0 is entered: assembly stubs, and Go functions whose
	// addresses are stored in a table. Names are as the linker writes them.
	Roots []string
	// Indirect lists the functions that may call through a register or memory, and
	// what such a call may reach. A key that ends in "*" is a prefix, for functions
	// without a key of their own. An empty list allows calls whose depth is not counted.
	Indirect map[string][]string
	// Terminal functions are outside the closure and may be called all the same: they
	// are not mapped, so the call faults and the host names the caller. The runtime's
	// panics for a bad index, division and shift are always among them.
	Terminal []string
	// HostFiles is how the names of source files start whose functions run on the host
	// only: they are not mapped in ring 0, so none may be in the closure.
	HostFiles string
	// MaxStack bounds the depth of every root in bytes; 0 is no bound.
	MaxStack int64
}

// defaultTerminal are what compiled code calls when a check of its own fails.
var defaultTerminal = []string{"runtime.panicBounds", "runtime.panicBounds64", "runtime.panicdivide", "runtime.panicshift"}

func (c *Config) isTerminal(name string) bool {
	return slices.Contains(defaultTerminal, name) || slices.Contains(c.Terminal, name)
}

// owns reports whether a symbol is of one of the packages.
func (c *Config) owns(name string) bool {
	return slices.ContainsFunc(c.Packages, func(p string) bool { return strings.HasPrefix(name, p+".") })
}

// mayCall returns what an indirect call in the function may reach: the list of its own
// key, else that of the longest prefix.
func (c *Config) mayCall(name string) (targets []string, ok bool) {
	if list, ok := c.Indirect[name]; ok {
		return list, true
	}
	longest := -1
	for key, list := range c.Indirect {
		prefix, isPrefix := strings.CutSuffix(key, "*")
		if isPrefix && strings.HasPrefix(name, prefix) && len(prefix) > longest {
			longest, targets = len(prefix), list
		}
	}
	return targets, longest >= 0
}

// Finding is one breach of the rules.
type Finding struct {
	Func  string // where
	Place string // offset in the code, or file and line
	Why   string
}

func (f Finding) String() string {
	if f.Place == "" {
		return f.Func + ": " + f.Why
	}
	return f.Func + " " + f.Place + ": " + f.Why
}

// Report is what was found in a binary.
type Report struct {
	Findings     []Finding
	Funcs        []string         // the closure, sorted
	Instructions int              // in it
	XMM          []string         // SSE registers that compiled Go code uses
	Indirect     []string         // indirect calls, as "function +offset: instruction"
	Terminals    []string         // calls of terminal functions, as "caller: callee"
	Stack        map[string]int64 // bytes that each root needs, its return address included
	Pages        int              // 4 KiB pages of code that ring 0 must map
}

// Err is nil for a binary that may be run.
func (r *Report) Err() error {
	errs := make([]error, len(r.Findings))
	for i, f := range r.Findings {
		errs[i] = errors.New(f.String())
	}
	return errors.Join(errs...)
}

// checker walks one binary.
type checker struct {
	*image
	cfg     *Config
	rep     *Report
	nodes   map[*function]*node
	queue   []*function
	xmm     map[string]bool
	landing []landing
}

// node is a function of the closure.
type node struct {
	fn    *function
	insts []inst
	index map[uint64]int // pc to position in insts
	edges []edge
	local int64 // deepest stack of its own
}

// edge is a call or a jump out of a function.
type edge struct {
	to    *function
	depth int64 // bytes on the stack when the callee starts
}

// landing is a direct reference to code, to be checked once all code is decoded.
type landing struct {
	from   *function
	pc, to uint64
}

func (c *checker) bad(f *function, pc uint64, format string, args ...any) {
	c.rep.Findings = append(c.rep.Findings, Finding{f.name, fmt.Sprintf("+%#x", pc-f.lo), fmt.Sprintf(format, args...)})
}

// Check examines the ring-0 closure of a linked binary. The error is for a binary that
// could not be examined; breaches of the rules are in the report.
func Check(binary string, cfg Config) (*Report, error) {
	im, err := openImage(binary)
	if err != nil {
		return nil, err
	}
	defer im.file.Close()
	c := &checker{image: im, cfg: &cfg, rep: &Report{Stack: map[string]int64{}},
		nodes: map[*function]*node{}, xmm: map[string]bool{}}
	if err := c.checkBuild(binary); err != nil {
		return nil, err
	}
	for _, name := range cfg.Roots {
		found := im.named(name)
		if len(found) == 0 {
			c.rep.Findings = append(c.rep.Findings, Finding{Func: name, Why: "root is not in the binary"})
		}
		c.queue = append(c.queue, found...)
	}
	for len(c.queue) > 0 {
		f := c.queue[0]
		c.queue = c.queue[1:]
		if c.nodes[f] == nil {
			c.visit(f)
		}
	}
	c.checkLandings()
	c.measure()
	c.finish()
	return c.rep, nil
}

// checkBuild refuses build modes whose code cannot run in ring 0 by what the binary
// says of itself, so that the message names the mode and not its first symptom.
func (c *checker) checkBuild(path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read build settings of %s: %w", path, err)
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "-race" && s.Value == "true",
			s.Key == "-msan" && s.Value == "true",
			s.Key == "-asan" && s.Value == "true",
			s.Key == "-cover" && s.Value == "true",
			s.Key == "GOAMD64" && s.Value != "v1":
			c.rep.Findings = append(c.rep.Findings, Finding{Func: "build setting", Why: s.Key + "=" + s.Value + " cannot run in ring 0"})
		}
	}
	return nil
}

// visit decodes a function, checks its instructions and queues what it refers to.
func (c *checker) visit(f *function) {
	n := &node{fn: f, index: map[uint64]int{}}
	c.nodes[f] = n
	n.insts = decodeAll(c.code(f), f.lo, func(pc uint64, why string) { c.bad(f, pc, "%s", why) })
	if base := filepath.Base(f.file); c.cfg.HostFiles != "" && strings.HasPrefix(base, c.cfg.HostFiles) {
		c.bad(f, f.lo, "lies in %s, whose code is for the host only", base)
	}
	for i := range n.insts {
		n.index[n.insts[i].pc] = i
	}
	for i := range n.insts {
		c.checkInst(n, &n.insts[i])
	}
	c.rep.Instructions += len(n.insts)
	if len(n.insts) > 0 {
		c.walkStack(n)
	}
}

// checkInst checks operands and records references to code.
func (c *checker) checkInst(n *node, in *inst) {
	f := n.fn
	if to, ok := in.target(); ok {
		c.refer(f, in, to)
	} else if in.Op == x86asm.CALL || in.Op == x86asm.JMP {
		c.checkIndirect(f, in)
	}
	for _, arg := range in.Args {
		switch a := arg.(type) {
		case x86asm.Mem:
			if in.Op != x86asm.NOP { // a long NOP has an operand that it does not use
				c.checkMem(f, in, a)
			}
		case x86asm.Reg:
			if a >= x86asm.X0 && a <= x86asm.X15 && !f.isAsm {
				c.xmm[a.String()] = true
			}
		}
	}
}

// checkMem refuses operands that name memory other than through a register.
func (c *checker) checkMem(f *function, in *inst, m x86asm.Mem) {
	switch {
	case m.Segment == x86asm.FS:
		c.bad(f, in.pc, "uses FS, which is the user's (g from thread-local storage): %v", in.Inst)
	case m.Segment == x86asm.GS && !f.isAsm:
		c.bad(f, in.pc, "uses GS in compiled code: %v", in.Inst)
	case m.Segment == x86asm.GS:
		// The vCPU's page, which assembly addresses so.
	case m.Base == x86asm.RIP:
		c.refer(f, in, in.next()+uint64(m.Disp))
	case m.Base == 0 && m.Index == 0:
		c.bad(f, in.pc, "uses an absolute address: %v", in.Inst)
	case m.Base == x86asm.R14 && !f.isAsm && in.Op == x86asm.CMP && m.Disp == 16:
		c.bad(f, in.pc, "checks the stack's limit: the function lacks //go:nosplit")
	case m.Base == x86asm.R14 && !f.isAsm:
		c.bad(f, in.pc, "uses g (R14): %v", in.Inst)
	}
}

// refer handles a direct reference: a call, a jump or a RIP-relative operand.
func (c *checker) refer(f *function, in *inst, to uint64) {
	target := c.at(to)
	switch {
	case target == nil:
		c.bad(f, in.pc, "refers to %s: %v", c.describe(to), in.Op)
	case target != f && c.cfg.isTerminal(target.name):
		c.rep.Terminals = append(c.rep.Terminals, f.name+": "+target.name)
	case target != f && !c.cfg.owns(target.name):
		c.bad(f, in.pc, "%v refers to %s", in.Op, target.name)
	default:
		c.landing = append(c.landing, landing{f, in.pc, to})
		if target != f {
			c.queue = append(c.queue, target)
		}
	}
}

// checkIndirect demands that the call is on the list, and that compiled code makes no
// indirect jump, which is a jump table.
func (c *checker) checkIndirect(f *function, in *inst) {
	if in.Op == x86asm.JMP && !f.isAsm {
		c.bad(f, in.pc, "jumps through a table (a switch of 8 or more cases): %v", in.Inst)
		return
	}
	c.rep.Indirect = append(c.rep.Indirect, fmt.Sprintf("%s +%#x: %v", f.name, in.pc-f.lo, in.Inst))
	if _, ok := c.cfg.mayCall(f.name); !ok {
		c.bad(f, in.pc, "indirect call that is not on the list: %v", in.Inst)
	}
}

// checkLandings demands that every reference to code meets an instruction's start:
// else the code that runs is not the code that was decoded.
func (c *checker) checkLandings() {
	for _, l := range c.landing {
		target := c.at(l.to)
		if _, ok := c.nodes[target].index[l.to]; !ok {
			c.bad(l.from, l.pc, "refers to the middle of an instruction: %s+%#x", target.name, l.to-target.lo)
		}
	}
}

// finish sorts what maps have shuffled and counts pages.
func (c *checker) finish() {
	pages := map[uint64]bool{}
	for f := range c.nodes {
		c.rep.Funcs = append(c.rep.Funcs, f.name)
		for p := f.lo >> 12; p <= (f.hi-1)>>12; p++ {
			pages[p] = true
		}
	}
	c.rep.Pages = len(pages)
	for x := range c.xmm {
		c.rep.XMM = append(c.rep.XMM, x)
	}
	for _, list := range [][]string{c.rep.Funcs, c.rep.XMM, c.rep.Indirect, c.rep.Terminals} {
		sort.Strings(list)
	}
	sort.Slice(c.rep.Findings, func(i, j int) bool { return c.rep.Findings[i].String() < c.rep.Findings[j].String() })
}
