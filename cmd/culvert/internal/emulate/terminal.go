package emulate

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/wire"
)

// terminal is the user's, when stdin and stdout are one. A nil *terminal is
// valid and does nothing.
type terminal struct {
	fd      int // stdin's
	alsoErr bool
	saved   *unix.Termios // set while raw
}

// findTerminal returns the terminal to pass through, or nil. In the background
// there is none: changing its mode would stop this process.
func findTerminal(o *Options) *terminal {
	in, ok1 := o.Stdin.(*os.File)
	out, ok2 := o.Stdout.(*os.File)
	if !ok1 || !ok2 {
		return nil
	}
	fd := int(in.Fd())
	if !isTerminal(fd) || !isTerminal(int(out.Fd())) {
		return nil
	}
	if pgrp, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || pgrp != unix.Getpgrp() {
		return nil
	}
	t := &terminal{fd: fd}
	if e, ok := o.Stderr.(*os.File); ok {
		t.alsoErr = isTerminal(int(e.Fd()))
	}
	return t
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// raw makes the terminal pass every byte: the line discipline is the pty's
// inside. It does what cfmakeraw(3) does.
func (t *terminal) raw() error {
	if t == nil {
		return nil
	}
	old, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	r := *old
	r.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	r.Oflag &^= unix.OPOST
	r.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	r.Cflag &^= unix.CSIZE | unix.PARENB
	r.Cflag |= unix.CS8
	r.Cc[unix.VMIN], r.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, &r); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	t.saved = old
	return nil
}

func (t *terminal) restore() {
	if t != nil && t.saved != nil {
		_ = unix.IoctlSetTermios(t.fd, unix.TCSETSW, t.saved) // fails only if it is gone
		t.saved = nil
	}
}

func (t *terminal) size() wire.Size {
	ws, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	if err != nil {
		return wire.Size{Rows: 24, Cols: 80}
	}
	return wire.Size{Rows: ws.Row, Cols: ws.Col, X: ws.Xpixel, Y: ws.Ypixel}
}
