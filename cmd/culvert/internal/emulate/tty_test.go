package emulate

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a terminal for a run, with a person's end.
type pty struct {
	t      *testing.T
	master *os.File
	seen   chan string
	all    strings.Builder
}

func openPTY(t *testing.T, rows, cols uint16) (*pty, *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, master: os.NewFile(uintptr(fd), "ptmx"), seen: make(chan string, 100)}
	p.resize(rows, cols)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := p.master.Read(buf)
			if err != nil {
				close(p.seen)
				return
			}
			p.seen <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { slave.Close(); p.master.Close() })
	return p, slave
}

func (p *pty) resize(rows, cols uint16) {
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for text, and forgets what came up to it.
func (p *pty) expect(text string) {
	p.t.Helper()
	limit := time.After(slowest)
	for {
		if _, rest, ok := strings.Cut(p.all.String(), text); ok {
			p.all.Reset()
			p.all.WriteString(rest)
			return
		}
		select {
		case s, ok := <-p.seen:
			if !ok {
				p.t.Fatalf("the terminal ended without %q: %q", text, p.all.String())
			}
			p.all.WriteString(s)
		case <-limit:
			p.t.Fatalf("no %q came: %q", text, p.all.String())
		}
	}
}

func (p *pty) send(s string) {
	if _, err := p.master.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// TestTerminal: a terminal with its size, a change of the size, Ctrl-C for what
// runs in it, and the old mode afterwards.
func TestTerminal(t *testing.T) {
	machineTest(t)
	p, slave := openPTY(t, 33, 101)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "--keep", "--", "sh", "-c", `trap 'stty size' WINCH; trap 'echo in""t; exit 5' INT
		tty; stty size; test -t 2 && echo e""rr; while :; do sleep 0.1; done`)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.expect("/dev/pts/0\r\n33 101\r\nerr\r\n")
	p.resize(44, 99) // the kernel sends SIGWINCH
	p.expect("44 99\r\n")
	p.send("\x03")
	p.expect("int\r\n")
	if code := exitCode(t, cmd.Wait()); code != 5 {
		t.Errorf("code %d, want 5", code)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *after != *before {
		t.Errorf("the terminal's mode is %+v, was %+v", after, before)
	}
}
