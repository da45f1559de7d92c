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

func newProgress(f *os.File) *progress {
	p := &progress{w: io.Discard}
	raw, err := f.SyscallConn() // Fd would make it block
	if err != nil {
		return p
	}
	// A file that is closed is no terminal.
	_ = raw.Control(func(fd uintptr) {
		if _, err := unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			p.w = f
		}
	})
	return p
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
