package pipes

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"culvert/shim/abi"
)

// These tests do the same to a pipe of the running Linux kernel and to a Pipe, and compare every answer: counts,
// errnos, bytes, poll bits, FIONREAD, F_GETPIPE_SZ. Capacity is counted in bytes here and in page slots there, so the
// sequences are chosen where the two agree: packets, which take a slot in both; whole pages; and any sizes while page
// slots are left. A fourth test has no such limits and checks what the difference must not be: all that Linux accepts
// is accepted, and where Linux says POLLOUT so does Pipe.

// twin is a kernel pipe and ours, in the same state.
type twin struct {
	End
	r, w  int  // descriptors, -1 once closed
	slots int  // page slots that Linux may be using: an upper bound
	bytes bool // the last in the pipe are bytes, to which Linux might add a packet
	seed  byte // of the next bytes
}

func newTwin(t *rapid.T) *twin {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return &twin{End: newEnd(DefaultSize), r: fds[0], w: fds[1]}
}

func (p *twin) GoString() string { return fmt.Sprintf("pipe %d", p.r) } // for rapid's log

func (p *twin) closeAll() {
	if p.r >= 0 {
		unix.Close(p.r)
	}
	if p.w >= 0 {
		unix.Close(p.w)
	}
}

// errno is what Linux returns for a status, without blocking.
func errno(st Status) error {
	switch st {
	case OK, EOF:
		return nil
	case WouldBlock, WouldBlockOut:
		return unix.EAGAIN
	case EPIPE:
		return unix.EPIPE
	case EBUSY:
		return unix.EBUSY
	}
	return errors.New("no errno")
}

// direct makes the kernel's writes packets or not.
func (p *twin) direct(t *rapid.T, on bool) uint64 {
	flags := unix.O_NONBLOCK
	if on {
		flags |= unix.O_DIRECT
	}
	if _, err := unix.FcntlInt(uintptr(p.w), unix.F_SETFL, flags); err != nil {
		t.Fatal(err)
	}
	if on {
		return abi.O_DIRECT
	}
	return 0
}

func (p *twin) write(t *rapid.T, n int, packets bool) {
	if p.w < 0 {
		return
	}
	flags := p.direct(t, packets)
	p.seed++
	b := pattern(n, p.seed)
	want, wantErr := unix.Write(p.w, b)
	got, st := p.End.write(t, b, flags)
	if max(want, 0) != got || wantErr != errno(st) {
		t.Fatalf("write of %d (packets %v): %d, status %d; Linux %d, %v", n, packets, got, st, want, wantErr)
	}
	if got > 0 {
		p.slots += 1 + (got+abi.PageSize-1)/abi.PageSize
		p.bytes = !packets
	}
}

func (p *twin) read(t *rapid.T, n int) {
	if p.r < 0 {
		return
	}
	a, b := make([]byte, n), make([]byte, n)
	want, wantErr := unix.Read(p.r, a)
	got, st := p.End.read(t, b)
	if max(want, 0) != got || wantErr != errno(st) || !bytes.Equal(a, b) {
		t.Fatalf("read of %d: %d, status %d; Linux %d, %v; same bytes %v", n, got, st, want, wantErr, bytes.Equal(a, b))
	}
	p.drained()
}

func (p *twin) drained() {
	if p.Pipe.Head == p.Pipe.Tail {
		p.slots, p.bytes = 0, false
	}
}

func (p *twin) resize(t *rapid.T, arg int) {
	fd := max(p.r, p.w)
	if fd < 0 {
		return
	}
	want, wantErr := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, arg)
	got, e := DefaultLimits().Resize(uint32(arg), uint32(p.Pipe.Size), 16, false)
	st := OK
	if e == 0 {
		st = p.End.resize(t, uint64(got))
	}
	gotErr := errno(st)
	if e != 0 {
		gotErr = unix.Errno(e)
	}
	if gotErr != wantErr || wantErr == nil && int(got) != want {
		t.Fatalf("F_SETPIPE_SZ %d: %d, %v; Linux %d, %v", arg, got, gotErr, want, wantErr)
	}
	if size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err != nil || size != int(p.Pipe.Size) {
		t.Fatalf("size %d; Linux %d, %v", p.Pipe.Size, size, err)
	}
}

func (p *twin) closeEnd(t *rapid.T, fd *int, closed func() Wake) {
	if *fd < 0 {
		return
	}
	unix.Close(*fd)
	*fd = -1
	w := closed()
	if dead := p.r < 0 && p.w < 0; dead != (w.Flags == Dead) || !dead && w.Flags != WakeAll {
		t.Fatalf("close: %+v", w)
	}
}

// poll returns a descriptor's bits.
func pollBits(t *rapid.T, fd int) uint64 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | unix.POLLPRI}}
	for {
		_, err := unix.Poll(fds, 0)
		if err == nil {
			break
		}
		if err != unix.EINTR { // a signal of the Go runtime
			t.Fatal(err)
		}
	}
	return uint64(fds[0].Revents)
}

// check compares what can be seen without changing anything.
func (p *twin) check(t *rapid.T) {
	for _, end := range []struct {
		fd   int
		ends uint64
	}{{p.r, ReadEnd}, {p.w, WriteEnd}} {
		if end.fd < 0 {
			continue
		}
		want, got := pollBits(t, end.fd), p.Pipe.Readiness(end.ends, 0)
		if got != want {
			t.Fatalf("poll of end %d: %#x; Linux %#x", end.ends, got, want)
		}
		n, err := unix.IoctlGetInt(end.fd, unix.TIOCINQ)
		if err != nil || uint64(n) != p.queued(t) {
			t.Fatalf("FIONREAD: %d; Linux %d, %v", p.queued(t), n, err)
		}
	}
	if p.r >= 0 && p.Pipe.Readable() != (pollBits(t, p.r) != 0) {
		t.Fatalf("Readable = %v", p.Pipe.Readable())
	}
	if p.w >= 0 && p.Pipe.Writable() != (pollBits(t, p.w) != 0) {
		t.Fatalf("Writable = %v", p.Pipe.Writable())
	}
}

// common are the actions that agree whatever is in the pipe.
func (p *twin) common(acts map[string]func(*rapid.T)) map[string]func(*rapid.T) {
	seldom := rapid.IntRange(0, 9)
	acts["close reader"] = func(t *rapid.T) {
		if seldom.Draw(t, "seldom") == 0 {
			p.closeEnd(t, &p.r, p.Pipe.CloseReader)
		}
	}
	acts["close writer"] = func(t *rapid.T) {
		if seldom.Draw(t, "seldom") == 0 {
			p.closeEnd(t, &p.w, p.Pipe.CloseWriter)
		}
	}
	acts[""] = p.check
	return acts
}

var pipeSizes = rapid.SampledFrom([]int{0, 1, 4096, 4097, 8192, 20000, 65536, 1 << 17, 1 << 20, 1 << 31, 1<<31 + 1, -1})

// TestLinuxPackets: packets take a slot in both, so everything agrees for any sizes.
func TestLinuxPackets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newTwin(t)
		defer p.closeAll()
		size := rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(4090, 4100), rapid.IntRange(0, 20000))
		t.Repeat(p.common(map[string]func(*rapid.T){
			"write":  func(t *rapid.T) { p.write(t, size.Draw(t, "n"), true) },
			"read":   func(t *rapid.T) { p.read(t, size.Draw(t, "n")) },
			"resize": func(t *rapid.T) { p.resizeUnprivileged(t, pipeSizes.Draw(t, "size")) },
		}))
	})
}

// TestLinuxPages: whole pages fill page slots, so capacities agree to the byte.
func TestLinuxPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newTwin(t)
		defer p.closeAll()
		pages := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 20), rapid.IntRange(250, 260))
		t.Repeat(p.common(map[string]func(*rapid.T){
			"write":  func(t *rapid.T) { p.write(t, pages.Draw(t, "pages")*abi.PageSize, false) },
			"packet": func(t *rapid.T) { p.write(t, rapid.IntRange(1, 4096).Draw(t, "n"), true) },
			"read":   func(t *rapid.T) { p.read(t, pages.Draw(t, "pages")*abi.PageSize) },
			"resize": func(t *rapid.T) { p.resizeUnprivileged(t, pipeSizes.Draw(t, "size")) },
		}))
	})
}

// resizeUnprivileged leaves out what root may do in Linux: more than pipe-max-size.
func (p *twin) resizeUnprivileged(t *rapid.T, arg int) {
	if n := RoundSize(uint32(arg)); n > MaxSize {
		return
	}
	p.resize(t, arg)
}

// TestLinuxMixed: bytes and packets of any size, splice and tee between two pipes, while Linux has slots left.
func TestLinuxMixed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := []*twin{newTwin(t), newTwin(t)}
		defer ps[0].closeAll()
		defer ps[1].closeAll()
		which := rapid.SampledFrom(ps)
		size := rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, 6000), rapid.IntRange(4090, 4100))
		acts := map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p, n := which.Draw(t, "pipe"), size.Draw(t, "n")
				if p.slots+1+(n+4095)/4096 < 16 {
					p.write(t, n, !p.bytes && rapid.Bool().Draw(t, "packet"))
				}
			},
			"read": func(t *rapid.T) { which.Draw(t, "pipe").read(t, size.Draw(t, "n")) },
			"move": func(t *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(t, "from")
				if src, dst := ps[i], ps[1-i]; src.slots+dst.slots+1 < 16 {
					src.moveTo(t, dst, size.Draw(t, "n"), rapid.Bool().Draw(t, "splice"))
				}
			},
			"close": func(t *rapid.T) {
				p := which.Draw(t, "pipe")
				switch rapid.IntRange(0, 29).Draw(t, "seldom") {
				case 0:
					p.closeEnd(t, &p.r, p.Pipe.CloseReader)
				case 1:
					p.closeEnd(t, &p.w, p.Pipe.CloseWriter)
				}
			},
			"": func(t *rapid.T) { ps[0].check(t); ps[1].check(t) },
		}
		t.Repeat(acts)
	})
}

// moveTo is splice or tee.
func (p *twin) moveTo(t *rapid.T, dst *twin, n int, take bool) {
	if p.r < 0 || dst.w < 0 {
		return
	}
	dst.direct(t, false)
	var want int64
	var wantErr error
	if take {
		want, wantErr = unix.Splice(p.r, nil, dst.w, nil, n, unix.SPLICE_F_NONBLOCK)
	} else {
		want, wantErr = unix.Tee(p.r, dst.w, n, unix.SPLICE_F_NONBLOCK)
	}
	got, st := move(t, p.End, dst.End, uint64(n), take)
	if max(want, 0) != int64(got) || wantErr != errno(st) {
		t.Fatalf("move of %d (splice %v): %d, status %d; Linux %d, %v", n, take, got, st, want, wantErr)
	}
	if got > 0 {
		dst.slots += p.slots
		dst.bytes = take // Linux may add to a page that was moved, not to one that is shared
	}
	p.drained()
}

// TestLinuxAcceptsLess: any sizes of writes and reads. What Linux took is written here too, and must fit.
func TestLinuxAcceptsLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newTwin(t)
		defer p.closeAll()
		size := rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, 6000), rapid.IntRange(1, 80000))
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				n := size.Draw(t, "n")
				packet := !p.bytes && rapid.Bool().Draw(t, "packet")
				flags := p.direct(t, packet)
				p.seed++
				b := pattern(n, p.seed)
				want, err := unix.Write(p.w, b)
				if err != nil {
					return
				}
				if got, st := p.End.write(t, b[:want], flags); got != want || st != OK {
					t.Fatalf("Linux took %d of %d; here %d, status %d", want, n, got, st)
				}
				p.bytes = !packet
			},
			"read": func(t *rapid.T) { p.read(t, size.Draw(t, "n")) },
			"": func(t *rapid.T) {
				if n, err := unix.IoctlGetInt(p.r, unix.TIOCINQ); err != nil || uint64(n) != p.queued(t) {
					t.Fatalf("FIONREAD: %d; Linux %d, %v", p.queued(t), n, err)
				}
				if got, want := p.Pipe.Readiness(ReadEnd, 0), pollBits(t, p.r); got != want {
					t.Fatalf("poll of the reader: %#x; Linux %#x", got, want)
				}
				if got, want := p.Pipe.Readiness(WriteEnd, 0), pollBits(t, p.w); got&want != want {
					t.Fatalf("poll of the writer: %#x; Linux %#x", got, want)
				}
			},
		})
	})
}
