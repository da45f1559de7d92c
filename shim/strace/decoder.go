package strace

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxRead bounds what one half of a call reads, in bytes. It holds a getdents64 buffer of the usual size.
	maxRead = 40 << 10
	// maxText bounds the text of one half of a call, in bytes; more is cut with "...". PATH_MAX bytes that are all
	// shown in octal fit twice.
	maxText = 36 << 10
	// maxString is how many bytes of a string and how many elements of an array are shown: strace's default.
	maxString = 32
	// maxErrno is MAX_ERRNO of include/linux/err.h.
	maxErrno = 4095
)

// call is one system call between its entry and its return.
type call struct {
	nr   uint64
	args [6]uint64
	// saved is what a decoder read at entry and shows with what it reads at return: a socket address's length.
	saved uint64
}

// arg says how one argument is shown.
type arg struct {
	// show appends the text. v is the argument's value.
	show func(d *decoder, a arg, v uint64)
	set  *flagSet
	lay  *layout
	// n is the index of the argument that holds a length or count.
	n int
	// out, if it holds, says that the argument is shown after the call.
	out func(args *[6]uint64) bool
	// when, if it is set and does not hold, ends the list of arguments.
	when func(args *[6]uint64) bool
	// own: show writes the separator before this argument itself.
	own bool
}

// always is for arg.out.
func always(*[6]uint64) bool { return true }

// row is one system call in the table.
type row struct {
	name  string
	class class
	args  []arg
	// ret appends the result of a call that did not fail; nil: a signed decimal number.
	ret func(d *decoder)
}

// decoder appends one half of a call to b.
type decoder struct {
	b     []byte
	start int // b's length at the beginning
	mem   Memory
	c     *call
	left  int // bytes that may still be read

	exiting bool
	failed  bool
	ret     uint64

	// name is Name; a field, because the decoders that need it are themselves in the table that it looks into.
	name func(nr uint64) string
}

func newDecoder(b []byte, c *call, mem Memory) *decoder {
	return &decoder{b: b, start: len(b), mem: mem, c: c, left: maxRead, name: Name}
}

// unknown decodes calls that have no name.
var unknown = row{args: []arg{hex, hex, hex, hex, hex, hex}}

func lookup(nr uint64) *row {
	if nr < uint64(len(syscalls)) && syscalls[nr].name != "" {
		return &syscalls[nr]
	}
	return &unknown
}

// callName is the name that is printed: syscall_0x1ff for a call that has none.
func callName(nr uint64) string {
	if s := Name(nr); s != "" {
		return s
	}
	return "syscall_0x" + strconv.FormatUint(nr, 16)
}

// enter appends name, parenthesis and the arguments that are known before the call.
func enter(b []byte, c *call, mem Memory) []byte {
	d := newDecoder(b, c, mem)
	sc := lookup(c.nr)
	d.str(callName(c.nr)).str("(")
	first := sc.firstOut(&c.args)
	d.showArgs(sc, 0, first)
	if first > 0 && first < sc.count(&c.args) && !sc.args[first].own {
		d.str(", ")
	}
	d.cut()
	return d.b
}

// resultColumn is where results stand in a line, as far as there is room.
const resultColumn = 40

// exit appends the remaining arguments and the result to a line of which col columns are already printed.
func exit(b []byte, col int, c *call, ret uint64, mem Memory) []byte {
	d := newDecoder(b, c, mem)
	d.exiting, d.ret, d.failed = true, ret, ret > ^uint64(maxErrno)
	sc := lookup(c.nr)
	first, n := sc.firstOut(&c.args), sc.count(&c.args)
	d.showArgs(sc, first, n)
	d.cut()
	d.str(") ")
	for len(d.b)-d.start+col < resultColumn {
		d.str(" ")
	}
	d.str("= ")
	d.start = len(d.b)
	d.result(sc)
	d.cut()
	return d.b
}

// firstOut is the index of the first argument that waits for the call's return.
func (sc *row) firstOut(args *[6]uint64) int {
	n := sc.count(args)
	for i := range n {
		if out := sc.args[i].out; out != nil && out(args) {
			return i
		}
	}
	return n
}

// count is the number of arguments that are shown.
func (sc *row) count(args *[6]uint64) int {
	for i, a := range sc.args {
		if a.when != nil && !a.when(args) {
			return i
		}
	}
	return len(sc.args)
}

func (d *decoder) showArgs(sc *row, from, to int) {
	for i := from; i < to; i++ {
		if i > from && !sc.args[i].own {
			d.str(", ")
		}
		sc.args[i].show(d, sc.args[i], d.c.args[i])
	}
}

// restarts are the kernel's own errors that strace shows with a question mark (include/linux/errno.h).
var restarts = [...]struct{ name, text string }{
	{"ERESTARTSYS", "To be restarted if SA_RESTART is set"},
	{"ERESTARTNOINTR", "To be restarted"},
	{"ERESTARTNOHAND", "To be restarted if no handler"},
	{"", ""},
	{"ERESTART_RESTARTBLOCK", "Interrupted by signal"},
}

// firstRestart is ERESTARTSYS.
const firstRestart = 512

func (d *decoder) result(sc *row) {
	if !d.failed {
		if sc.ret != nil {
			sc.ret(d)
			return
		}
		d.int(int64(d.ret))
		return
	}
	errno := -d.ret
	if i := errno - firstRestart; i < uint64(len(restarts)) && restarts[i].name != "" {
		d.str("? ").str(restarts[i].name).str(" (").str(restarts[i].text).str(")")
		return
	}
	name := unix.ErrnoName(unix.Errno(errno))
	if name == "" {
		d.str("-1 ").uint(errno).str(" (errno ").uint(errno).str(")")
		return
	}
	// Go's texts are glibc's with a small first letter.
	text := unix.Errno(errno).Error()
	d.str("-1 ").str(name).str(" (").str(strings.ToUpper(text[:1])).str(text[1:]).str(")")
}

// cut bounds the text of this half.
func (d *decoder) cut() {
	if len(d.b)-d.start > maxText {
		d.b = append(d.b[:d.start+maxText], "..."...)
	}
}

// full says that more text would be cut, so that loops can end.
func (d *decoder) full() bool { return len(d.b)-d.start > maxText }

func (d *decoder) str(s string) *decoder {
	d.b = append(d.b, s...)
	return d
}

func (d *decoder) int(v int64) *decoder {
	d.b = strconv.AppendInt(d.b, v, 10)
	return d
}

func (d *decoder) uint(v uint64) *decoder {
	d.b = strconv.AppendUint(d.b, v, 10)
	return d
}

// hex is C's %#x: 0 has no prefix.
func (d *decoder) hex(v uint64) *decoder {
	if v != 0 {
		d.str("0x")
	}
	d.b = strconv.AppendUint(d.b, v, 16)
	return d
}

// octal is C's %#0*o.
func (d *decoder) octal(v uint64, width int) *decoder {
	s := strconv.FormatUint(v, 8)
	if v != 0 {
		s = "0" + s
	}
	for len(s) < width {
		s = "0" + s
	}
	return d.str(s)
}

// addr shows a pointer that is not followed.
func (d *decoder) addr(v uint64) *decoder {
	if v == 0 {
		return d.str("NULL")
	}
	return d.hex(v)
}

// load reads n bytes, all or nothing.
func (d *decoder) load(addr uint64, n int) ([]byte, bool) {
	p := d.loadSome(addr, n)
	return p, len(p) == n
}

// loadSome reads up to n bytes.
func (d *decoder) loadSome(addr uint64, n int) []byte {
	if n > d.left || addr+uint64(n) < addr {
		return nil
	}
	d.left -= n
	p := make([]byte, n)
	got, err := d.mem.CopyIn(addr, p)
	if err != nil {
		p = p[:min(got, n)]
	}
	return p
}

func (d *decoder) load32(addr uint64) (uint32, bool) {
	p, ok := d.load(addr, 4)
	if !ok {
		return 0, false
	}
	return le.Uint32(p), true
}

func (d *decoder) load64(addr uint64) (uint64, bool) {
	p, ok := d.load(addr, 8)
	if !ok {
		return 0, false
	}
	return le.Uint64(p), true
}

// loadString reads up to n bytes, in pieces that lie within a page, until a piece holds a NUL or memory ends.
func (d *decoder) loadString(addr uint64, n int) []byte {
	const page, piece = 4096, 256
	var b []byte
	for len(b) < n {
		at := addr + uint64(len(b))
		want := min(n-len(b), page-int(at%page), piece)
		p := d.loadSome(at, want)
		b = append(b, p...)
		if len(p) < want || bytes.IndexByte(p, 0) >= 0 {
			break
		}
	}
	return b
}

// pointer tells whether what v points at can be shown; if not it has shown the address.
func (d *decoder) pointer(v uint64) bool {
	if v == 0 || d.exiting && d.failed {
		d.addr(v)
		return false
	}
	return true
}

// le is the guest's byte order.
var le = binary.LittleEndian
