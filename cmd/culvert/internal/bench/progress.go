package bench

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// progress is a line on a terminal; elsewhere it is silent.
type progress struct {
	w       io.Writer
	name    string
	samples int
}

func newProgress(f *os.File, terminal bool) *progress {
	if !terminal {
		return &progress{w: io.Discard}
	}
	return &progress{w: f}
}

// isTerminal reports whether a file is one. A file that is closed is none.
func isTerminal(f *os.File) (is bool) {
	raw, err := f.SyscallConn() // Fd would make it block
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		is = err == nil
	})
	return is && err == nil
}

// clearLine goes to the line's beginning and erases it.
const clearLine = "\r\x1b[K"

func (p *progress) begin(name string, samples int) {
	p.name, p.samples = name, samples
	fmt.Fprintf(p.w, clearLine+"%s: warming up", name)
}

func (p *progress) tell(done int) {
	fmt.Fprintf(p.w, clearLine+"%s: sample %d of %d", p.name, done+1, p.samples)
}

func (p *progress) clear() { fmt.Fprint(p.w, clearLine) }
