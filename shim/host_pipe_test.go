package shim

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/pipes"
	"culvert/shim/abi"
	"culvert/shim/pump"

	"golang.org/x/sys/unix"
)

// await waits until cond holds, without Kernel.mu.
func (vm *fileVM) await(what string, cond func() bool) {
	vm.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			vm.Fatal(what)
		}
	}
}

// ready is what poll says of a descriptor now.
func (vm *fileVM) ready(fd uint64) uint16 {
	vm.Helper()
	p := make([]byte, pollfdSize)
	le.PutUint32(p, uint32(fd))
	le.PutUint16(p[4:], unix.POLLIN|unix.POLLOUT)
	a := vm.put(p)
	vm.must(unix.SYS_POLL, a, 1, 0)
	vm.next = a
	return le.Uint16(vm.get(a, pollfdSize)[6:])
}

// hostPipeOf is the host's end behind a descriptor of the first process.
func (vm *fileVM) hostPipeOf(fd int32) (e *hostPipe) {
	vm.Helper()
	vm.in(func() {
		f, err := vm.t.files.file(fd)
		if err != nil {
			vm.Fatal(err)
		}
		e = f.impl.(*pipeFile).p.host
	})
	return e
}

func hostPair(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// Much more than ring and pipe hold goes through in order, with the guest waiting for room.
func TestHostPipeOutput(t *testing.T) {
	r, w := hostPair(t)
	vm := newFileVM(t, nil, w)
	const pieces = 3
	piece := bytes.Repeat([]byte("0123456789abcdef"), pump.RingSize/16)
	var iov []byte
	for at := vm.put(piece); len(iov) < 16*pieces; {
		iov = le.AppendUint64(le.AppendUint64(iov, at), uint64(len(piece)))
	}
	want := bytes.Repeat(piece, pieces)
	p := vm.start(vm.t, unix.SYS_WRITEV, 1, vm.put(iov), pieces)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the host got other bytes, %v", err)
	}
	if n, e := p.wait(); n != int64(len(want)) || e != 0 {
		t.Errorf("write = %d, %v", n, e)
	}
	a := vm.alloc(256)
	vm.must(unix.SYS_FSTAT, 1, a)
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if b := vm.get(a, statSize); le.Uint64(b[8:]) != st.Ino || le.Uint32(b[24:])&unix.S_IFMT != unix.S_IFIFO {
		t.Error("fstat does not tell of the host's pipe")
	}
	vm.fails(unix.ESPIPE, unix.SYS_LSEEK, 1, 0, 0)
	if n := vm.must(unix.SYS_FCNTL, 1, unix.F_GETPIPE_SZ, 0); n != 65536 {
		t.Errorf("F_GETPIPE_SZ = %d", n)
	}
	if n := vm.must(unix.SYS_FCNTL, 1, unix.F_SETPIPE_SZ, 100000); n != 131072 {
		t.Errorf("F_SETPIPE_SZ = %d", n)
	}
}

// A write with O_NONBLOCK is EAGAIN once ring and host are full, and poll agrees.
func TestHostPipeNonblock(t *testing.T) {
	r, w := hostPair(t)
	vm := newFileVM(t, nil, w)
	vm.must(unix.SYS_FCNTL, 1, unix.F_SETFL, unix.O_NONBLOCK)
	a, sent := vm.alloc(1<<16), 0
	vm.await("stdout never fills", func() bool {
		n, e := vm.call(unix.SYS_WRITE, 1, a, 1<<16)
		if e == 0 {
			sent += int(n)
		}
		return e == unix.EAGAIN && vm.ready(1)&unix.POLLOUT == 0 && sent >= pump.RingSize
	})
	if got, err := io.ReadFull(r, make([]byte, sent)); err != nil {
		t.Errorf("the host got %d bytes of %d: %v", got, sent, err)
	}
	vm.await("there is room again and poll does not say so", func() bool { return vm.ready(1)&unix.POLLOUT != 0 })
	if n, err := unix.FcntlInt(w.Fd(), unix.F_GETFL, 0); err != nil || n&unix.O_NONBLOCK != 0 {
		t.Errorf("the host's description has flags %#x, %v", n, err)
	}
}

// Standard output and error that are one pipe are one ring: what is written to them stays in order. Two descriptors of
// one description share its flags.
func TestHostPipeShared(t *testing.T) {
	for _, same := range []bool{true, false} {
		r, w := hostPair(t)
		second := w
		if !same {
			fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), unix.O_WRONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			second = os.NewFile(uintptr(fd), "second")
			t.Cleanup(func() { second.Close() })
		}
		vm := newFileVM(t, nil, w, second)
		var want strings.Builder
		for i := range 500 {
			line := strings.Repeat(string(rune('a'+i%26)), i%7+1)
			vm.write(uint64(1+i%2), line)
			want.WriteString(line)
		}
		got := make([]byte, want.Len())
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want.String() {
			t.Errorf("same description %v: the host got other bytes, %v", same, err)
		}
		vm.must(unix.SYS_FCNTL, 1, unix.F_SETFL, unix.O_NONBLOCK)
		if flags := vm.must(unix.SYS_FCNTL, 2, unix.F_GETFL); (flags&unix.O_NONBLOCK != 0) != same {
			t.Errorf("same description %v: flags of stderr are %#x", same, flags)
		}
		vm.must(unix.SYS_CLOSE, 1)
		vm.write(2, "still open")
		vm.must(unix.SYS_CLOSE, 2)
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "still open" {
			t.Errorf("same description %v: after a close the host read %q, %v", same, rest, err)
		}
	}
}

// When the guest has no descriptor left, the host's other end sees that while the VM goes on.
func TestHostPipeGuestCloses(t *testing.T) {
	outR, outW := hostPair(t)
	inR, inW := hostPair(t)
	vm := newFileVM(t, inR, outW)
	vm.write(1, "last")
	copyFD := vm.must(unix.SYS_DUP, 1)
	vm.must(unix.SYS_CLOSE, 1)
	vm.write(uint64(copyFD), " words")
	vm.must(unix.SYS_CLOSE, uint64(copyFD))
	if got, err := io.ReadAll(outR); err != nil || string(got) != "last words" {
		t.Errorf("the host read %q, %v", got, err)
	}
	vm.must(unix.SYS_CLOSE, 0)
	if _, err := unix.Write(int(inW.Fd()), []byte("x")); err != unix.EPIPE {
		t.Errorf("a write to what the guest has closed: %v, want EPIPE", err)
	}
	vm.checkClosed()
}

// Small reads take what they ask for; a program that reads block after block is read ahead for, by ring 0's reads.
func TestHostPipeReadAhead(t *testing.T) {
	r, w := hostPair(t)
	vm := newFileVM(t, r)
	kind := func() (k uint64) {
		vm.in(func() { k = atomic.LoadUint64(&vm.k.guestFile(vm.t.files.entry(0).f.index).Kind) })
		return k
	}
	data := bytes.Repeat([]byte("0123456789"), 6000)
	if _, err := w.Write(data[:40000]); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		n, err := unix.IoctlGetInt(int(w.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a, got := vm.alloc(1<<16), []byte{}
	read := func(n uint64) {
		got = append(got, vm.get(a, int(vm.must(unix.SYS_READ, 0, a, n)))...)
	}
	for _, n := range []uint64{1, 100, 4096, 4096, 4096, 4095, 4096, 4096, 4096} {
		read(n)
	}
	if left() != 40000-len(got) || kind() != abi.FileHost {
		t.Fatalf("%d bytes are left of the host's, after a guest that read %d of 40000", left(), len(got))
	}
	fionread := vm.alloc(4)
	vm.must(unix.SYS_IOCTL, 0, unix.TIOCINQ, fionread)
	if n := int(le.Uint32(vm.get(fionread, 4))); n != left() {
		t.Errorf("FIONREAD says %d, the host %d", n, left())
	}
	read(4096)
	if kind() != abi.FilePipe {
		t.Fatal("a reader of blocks is not read ahead for")
	}
	vm.await("nothing is read ahead", func() bool { return left() == 0 })
	if _, err := w.Write(data[40000:]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for len(got) < len(data) {
		read(1 << 16)
	}
	if !bytes.Equal(got, data) {
		t.Error("the guest read other bytes")
	}
	if n := vm.must(unix.SYS_READ, 0, a, 10); n != 0 {
		t.Errorf("read at the end = %d", n)
	}
	if p := vm.ready(0); p&unix.POLLHUP == 0 {
		t.Errorf("poll at the end says %#x", p)
	}
}

// A poll or epoll of input does not take anything from the host, and is told when there is something.
func TestHostPipeWatchInput(t *testing.T) {
	r, w := hostPair(t)
	vm := newFileVM(t, r)
	ep := uint64(vm.must(unix.SYS_EPOLL_CREATE1, 0))
	ev := make([]byte, 12)
	le.PutUint32(ev, unix.EPOLLIN)
	vm.must(unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_ADD, 0, vm.put(ev))
	out := vm.alloc(1 << 16)
	for round := range 8 { // the later ones with read-ahead
		if n := vm.must(unix.SYS_EPOLL_WAIT, ep, out, 4, 0); n != 0 {
			t.Fatalf("round %d: epoll_wait of an empty pipe = %d", round, n)
		}
		p := vm.start(vm.t, unix.SYS_EPOLL_WAIT, ep, out, 4, ^uint64(0))
		if !p.blocked() {
			t.Fatalf("round %d: epoll_wait does not wait", round)
		}
		if _, err := w.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if n, e := p.wait(); n != 1 || e != 0 {
			t.Fatalf("round %d: epoll_wait = %d, %v", round, n, e)
		}
		if p := vm.ready(0); p != unix.POLLIN {
			t.Errorf("round %d: poll says %#x", round, p)
		}
		if n := vm.must(unix.SYS_READ, 0, out, 1<<16); n != 5 {
			t.Errorf("round %d: read %d bytes", round, n)
		}
	}
	p := vm.start(vm.t, unix.SYS_EPOLL_WAIT, ep, out, 4, ^uint64(0))
	w.Close()
	if n, e := p.wait(); n != 1 || e != 0 || le.Uint32(vm.get(out, 12))&unix.EPOLLHUP == 0 {
		t.Errorf("epoll_wait at the end = %d, %v", n, e)
	}
}

// A splice from and to standard files, which are pipes to it.
func TestHostPipeSplice(t *testing.T) {
	inR, inW := hostPair(t)
	outR, outW := hostPair(t)
	vm := newFileVM(t, inR, outW)
	if _, err := inW.Write([]byte("through and rest")); err != nil {
		t.Fatal(err)
	}
	if n := vm.must(unix.SYS_SPLICE, 0, 0, 1, 0, 7, 0); n != 7 {
		t.Errorf("splice = %d", n)
	}
	buf := make([]byte, 100)
	if n, err := outR.Read(buf); err != nil || string(buf[:n]) != "through" {
		t.Errorf("the host read %q, %v", buf[:n], err)
	}
	if n, err := inR.Read(buf); err != nil || string(buf[:n]) != " and rest" {
		t.Errorf("the host has left %q, %v", buf[:n], err)
	}
}

// At the end the output is written; but who does not read holds up nobody who ended the VM.
func TestHostPipeEnd(t *testing.T) {
	const n = pump.RingSize * 3 / 2 // more than the pipe holds, which grows; less than pipe and ring
	for _, c := range []struct {
		name   string
		end    func(k *Kernel)
		during func(k *Kernel, r io.Reader)
		want   ExitStatus
	}{
		{"drained", func(k *Kernel) { k.finish(ExitStatus{Kind: Exited, Code: 3}) }, func(_ *Kernel, r io.Reader) {
			if got, err := io.Copy(io.Discard, io.LimitReader(r, n)); got != n || err != nil {
				t.Errorf("the host read %d bytes, %v", got, err)
			}
		}, ExitStatus{Kind: Exited, Code: 3}},
		{"timed out", func(k *Kernel) { k.finish(ExitStatus{Kind: Timeout}) }, func(*Kernel, io.Reader) {}, ExitStatus{Kind: Timeout}},
		{"timed out later", func(k *Kernel) { k.finish(ExitStatus{Kind: Exited}) }, func(k *Kernel, _ io.Reader) {
			k.Stop(ExitStatus{Kind: Timeout})
		}, ExitStatus{Kind: Timeout}},
		{"signalled later", func(k *Kernel) { k.finish(ExitStatus{Kind: Exited}) }, func(k *Kernel, _ io.Reader) {
			k.Signal(int(unix.SIGWINCH))
			k.Signal(int(unix.SIGTERM))
		}, ExitStatus{Kind: Signalled, Signal: int(unix.SIGTERM)}},
	} {
		r, w := hostPair(t)
		vm := newFileVM(t, nil, w)
		if got := vm.must(unix.SYS_WRITE, 1, vm.put(make([]byte, n)), n); got != n {
			t.Errorf("%s: write = %d", c.name, got)
		}
		vm.in(func() { c.end(vm.k) })
		closed := make(chan struct{})
		go func() { vm.k.Close(); close(closed) }()
		time.Sleep(20 * time.Millisecond) // so that Close waits
		c.during(vm.k, r)
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: Close waits for ever", c.name)
		}
		if got := vm.k.Status(); got != c.want {
			t.Errorf("%s: status %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Words that lie end the VM or cost the guest its output; they neither hang nor crash the host.
func TestHostPipeHostile(t *testing.T) {
	for name, lie := range map[string]func(*pipes.Pipe){
		"tail ahead":   func(q *pipes.Pipe) { atomic.StoreUint64(&q.Tail, 1<<63) },
		"head ahead":   func(q *pipes.Pipe) { atomic.StoreUint64(&q.Head, 1<<40) },
		"size":         func(q *pipes.Pipe) { atomic.StoreUint64(&q.Size, 1<<40); atomic.StoreUint64(&q.Tail, 1<<30) },
		"no size":      func(q *pipes.Pipe) { atomic.StoreUint64(&q.Size, 0); atomic.StoreUint64(&q.Tail, 100) },
		"locked":       func(q *pipes.Pipe) { atomic.StoreUint64(&q.ReadLock, 1); atomic.StoreUint64(&q.WriteLock, 1) },
		"no ends":      func(q *pipes.Pipe) { atomic.StoreUint64(&q.Ends, 0) },
		"many ends":    func(q *pipes.Pipe) { atomic.StoreUint64(&q.Ends, ^uint64(0)) },
		"skip":         func(q *pipes.Pipe) { q.Skip = 1 << 50; atomic.StoreUint64(&q.Tail, 1<<20) },
		"packets":      func(q *pipes.Pipe) { q.Packet[0] = ^uint32(0); q.Slotted = 1; atomic.StoreUint64(&q.Tail, 1<<20) },
		"data":         func(q *pipes.Pipe) { atomic.StoreUint64(&q.Data, 1) },
		"waiters":      func(q *pipes.Pipe) { q.WWait.Sum, q.WWait.Words[0] = ^uint64(0), ^uint64(0) },
		"wait cursors": func(q *pipes.Pipe) { q.RWait.Cursor, q.RWait.Sum = ^uint64(0), 1<<63 },
	} {
		t.Run(name, func(t *testing.T) {
			inR, inW := hostPair(t)
			outR, outW := hostPair(t)
			vm := newFileVM(t, inR, outW)
			if _, err := inW.Write(make([]byte, 60000)); err != nil {
				t.Fatal(err)
			}
			for range readAheadBlocks {
				vm.read(0, 4096)
			}
			go io.Copy(io.Discard, outR)
			for _, e := range []*hostPipe{vm.hostPipeOf(1), vm.hostPipeOf(0)} {
				lie(e.end.Pipe)
				vm.in(func() { vm.k.pipeChanged(uint64(vm.t.files.entry(1).f.index)); e.rouse() })
			}
			time.Sleep(10 * time.Millisecond)
			closed := make(chan struct{})
			go func() { vm.k.Close(); close(closed) }()
			select {
			case <-closed:
			case <-time.After(10 * time.Second):
				t.Fatal("Close hangs")
			}
		})
	}
}

// The doorbell is off while the pump is busy or waits for the host, and on when it sleeps.
func TestHostPipeDoorbell(t *testing.T) {
	r, w := hostPair(t)
	vm := newFileVM(t, nil, w)
	e := vm.hostPipeOf(1)
	bell := func() bool { return atomic.LoadUint64(&e.end.Pipe.HostWatch) != 0 }
	vm.await("an idle pump does not ask for a doorbell", bell)
	// As ring 0 writes: the words only, and a note because of HostWatch.
	if _, w, st, err := e.end.Write([]byte("x"), pipes.Stream); st != pipes.OK || err != nil || w.Flags&pipes.WakeNote == 0 {
		t.Fatalf("a write while the pump sleeps: %+v, %v, %v", w, st, err)
	}
	vm.in(func() {
		vm.k.pipeChanged(uint64(vm.t.files.entry(1).f.index))
		if bell() {
			t.Error("the doorbell is on after it was rung")
		}
	})
	if n, err := r.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("the host read %d bytes, %v", n, err)
	}
	vm.write(1, strings.Repeat("y", pump.RingSize*3/2)) // more than the host's pipe takes, which grows
	vm.await("the ring is not waiting for the host", func() bool { return !bell() && e.end.Pipe.Readable() })
	time.Sleep(5 * time.Millisecond)
	if bell() {
		t.Error("the doorbell is on while the pump waits for the host's reader")
	}
}
