package strace

import (
	"fmt"
	"io"
	"sync"
)

// Printer writes the lines of one run. Its methods may be called from several goroutines; calls about one process come
// in the order in which things happened to it. A process is known by the id that the guest sees.
type Printer struct {
	filter Filter

	mu    sync.Mutex
	w     io.Writer     // guarded by mu
	err   error         // the first failed write; guarded by mu
	calls map[int]*call // calls that have not returned, by process; guarded by mu
	alive map[int]bool  // processes seen and not gone; guarded by mu
	open  int           // the process whose line is not ended, 0 for none; guarded by mu
	col   int           // columns of that line so far; guarded by mu
	buf   []byte        // guarded by mu
}

// NewPrinter returns a printer of the calls in f.
func NewPrinter(w io.Writer, f Filter) *Printer {
	return &Printer{w: w, filter: f, calls: map[int]*call{}, alive: map[int]bool{}}
}

// Err returns the first error of the writer. After it nothing more is written.
func (p *Printer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Start says that a process exists. Lines name their process while there are several.
func (p *Printer) Start(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive[pid] = true
}

// Entry shows that pid makes call nr. It reads the arguments that the guest passes in memory now.
func (p *Printer) Entry(pid int, nr uint64, args [6]uint64, mem Memory) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive[pid] = true
	if !p.filter.Has(nr) {
		delete(p.calls, pid)
		return
	}
	c := &call{nr: nr, args: args}
	p.calls[pid] = c
	p.lead(pid)
	start := len(p.buf)
	p.buf = enter(p.buf, c, mem)
	p.col += len(p.buf) - start
	p.open = pid
	p.flush()
}

// Exit shows how the call that pid made has ended. ret is the value of RAX. A call that was not shown at entry is not
// shown here.
func (p *Printer) Exit(pid int, ret uint64, mem Memory) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[pid]
	if c == nil {
		return
	}
	delete(p.calls, pid)
	p.resume(pid, c)
	p.buf = exit(p.buf, p.col, c, ret, mem)
	p.end()
}

// resume continues pid's line, or begins a new one that says so.
func (p *Printer) resume(pid int, c *call) {
	if p.open == pid {
		return
	}
	p.lead(pid)
	start := len(p.buf)
	p.buf = append(append(append(p.buf, "<... "...), callName(c.nr)...), " resumed>"...)
	p.col += len(p.buf) - start
}

// Signal shows that a signal is delivered to pid. info is its siginfo_t; a short one counts as filled up with zeros.
func (p *Printer) Signal(pid int, info []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := make([]byte, siginfoSize)
	copy(b, info)
	p.lead(pid)
	d := newDecoder(p.buf, nil, nil)
	d.str("--- ").signal(uint64(le.Uint32(b))).str(" ")
	showSiginfo(d, b)
	d.str(" ---")
	p.buf = d.b
	p.end()
}

// Stopped shows that pid is stopped by a signal.
func (p *Printer) Stopped(pid, signo int) {
	p.mark(pid, func(d *decoder) { d.str("--- stopped by ").signal(uint64(signo)).str(" ---") })
}

// Exited shows that pid has ended by itself. A call that never returned is shown with a question mark.
func (p *Printer) Exited(pid, code int) {
	p.last(pid, func(d *decoder) { d.str("+++ exited with ").int(int64(code)).str(" +++") })
}

// Killed shows that a signal has ended pid.
func (p *Printer) Killed(pid, signo int, core bool) {
	p.last(pid, func(d *decoder) {
		d.str("+++ killed by ").signal(uint64(signo))
		if core {
			d.str(" (core dumped)")
		}
		d.str(" +++")
	})
}

// Superseded shows that thread by executes a program and takes over pid, the number of its process. What by has begun,
// pid continues.
func (p *Printer) Superseded(pid, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.markLocked(pid, func(d *decoder) { d.str("+++ superseded by execve in pid ").int(int64(by)).str(" +++") })
	delete(p.calls, pid)
	if c := p.calls[by]; c != nil {
		delete(p.calls, by)
		p.calls[pid] = c
	}
	delete(p.alive, by)
}

func (p *Printer) mark(pid int, show func(d *decoder)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.markLocked(pid, show)
}

func (p *Printer) markLocked(pid int, show func(d *decoder)) {
	p.lead(pid)
	d := newDecoder(p.buf, nil, nil)
	show(d)
	p.buf = d.b
	p.end()
}

func (p *Printer) last(pid int, show func(d *decoder)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.calls[pid]; c != nil {
		delete(p.calls, pid)
		p.resume(pid, c)
		start := len(p.buf)
		if sc := lookup(c.nr); sc.firstOut(&c.args) < sc.count(&c.args) {
			p.buf = append(p.buf, " <unfinished ...>"...)
		}
		p.buf = append(p.buf, ") "...)
		for len(p.buf)-start+p.col < resultColumn {
			p.buf = append(p.buf, ' ')
		}
		p.buf = append(p.buf, "= ?"...)
		p.end()
	}
	p.markLocked(pid, show)
	delete(p.alive, pid)
}

// lead ends another line that is open and begins one for pid.
func (p *Printer) lead(pid int) {
	if p.open != 0 {
		p.buf = append(p.buf, " <unfinished ...>\n"...)
		p.open = 0
	}
	p.col = 0
	if len(p.alive) > 1 {
		start := len(p.buf)
		p.buf = fmt.Appendf(p.buf, "[pid %5d] ", pid)
		p.col = len(p.buf) - start
	}
}

// end ends the line.
func (p *Printer) end() {
	p.buf = append(p.buf, '\n')
	p.open, p.col = 0, 0
	p.flush()
}

func (p *Printer) flush() {
	if p.err == nil {
		_, p.err = p.w.Write(p.buf)
	}
	p.buf = p.buf[:0]
}
