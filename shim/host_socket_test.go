package shim

import (
	"bytes"
	"io"
	"os"
	"sync/atomic"
	"testing"

	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// hostSockets makes a pair of stream sockets.
func hostSockets(t testing.TB) (mine, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs = os.NewFile(uintptr(fds[0]), "mine"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { mine.Close(); theirs.Close() })
	return mine, theirs
}

func (vm *fileVM) ringKind(fd int32) (kind uint64) {
	vm.Helper()
	vm.in(func() {
		f, err := vm.t.files.file(fd)
		if err != nil {
			vm.Fatal(err)
		}
		kind = atomic.LoadUint64(&vm.k.guestFile(f.index).Kind)
	})
	return kind
}

// Stream sockets, one for each standard file, are rings, and sockets to who looks.
func TestHostSocket(t *testing.T) {
	in, inPeer := hostSockets(t)
	out, outPeer := hostSockets(t)
	vm := newFileVM(t, in, out, out)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	p := vm.start(vm.t, unix.SYS_WRITE, 1, vm.put(want), uint64(len(want)))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(outPeer, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the host got other bytes, %v", err)
	}
	if n, e := p.wait(); n != int64(len(want)) || e != 0 {
		t.Errorf("write = %d, %v", n, e)
	}
	if vm.ringKind(1) != abi.FilePipe || vm.ringKind(0) != abi.FileHost {
		t.Error("the sockets are not what they should be to ring 0")
	}
	vm.fails(unix.EBADF, unix.SYS_FCNTL, 1, unix.F_GETPIPE_SZ, 0)
	vm.fails(unix.ESPIPE, unix.SYS_LSEEK, 1, 0, 0)
	a := vm.alloc(1 << 16)
	vm.must(unix.SYS_FSTAT, 1, a)
	if mode := le.Uint32(vm.get(a, statSize)[24:]); mode&unix.S_IFMT != unix.S_IFSOCK {
		t.Errorf("mode %#o", mode)
	}
	// The other direction of each is there, too.
	if _, err := outPeer.Write([]byte("back")); err != nil {
		t.Fatal(err)
	}
	if n := vm.must(unix.SYS_READ, 1, a, 100); n != 4 || string(vm.get(a, 4)) != "back" {
		t.Errorf("read of standard output = %d", n)
	}
	vm.write(0, "forth")
	buf := make([]byte, 100)
	if n, err := inPeer.Read(buf); string(buf[:n]) != "forth" {
		t.Errorf("the host got %q, %v", buf[:n], err)
	}
	// Input: a reader of blocks is read ahead for.
	if _, err := inPeer.Write(want[:60000]); err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for range readAheadBlocks {
		n += vm.must(unix.SYS_READ, 0, a, 4096)
	}
	if vm.ringKind(0) != abi.FilePipe {
		t.Error("a reader of blocks is not read ahead for")
	}
	inPeer.Close()
	for m := int64(1); m > 0; n += m {
		m = vm.must(unix.SYS_READ, 0, a, 1<<16)
	}
	if n != 60000 {
		t.Errorf("the guest read %d bytes", n)
	}
	vm.must(unix.SYS_CLOSE, 1)
	vm.write(2, "still open")
	vm.must(unix.SYS_CLOSE, 2)
	if rest, err := io.ReadAll(outPeer); err != nil || string(rest) != "still open" {
		t.Errorf("after the last close the host read %q, %v", rest, err)
	}
}

// One socket for input and output is forwarded, and a reader that goes is EPIPE.
func TestHostSocketBoth(t *testing.T) {
	s, peer := hostSockets(t)
	vm := newFileVM(t, s, s)
	if vm.ringKind(0) != abi.FileHost || vm.ringKind(1) != abi.FileHost {
		t.Error("a socket of both directions has a ring")
	}
	vm.write(1, "x")
	out, outPeer := hostSockets(t)
	vm = newFileVM(t, nil, out)
	outPeer.Close()
	peer.Close()
	a := vm.str("x")
	vm.must(unix.SYS_RT_SIGPROCMASK, 0, vm.put([]byte{0, 0x10, 0, 0, 0, 0, 0, 0}), 0, 8) // SIGPIPE
	vm.await("no EPIPE", func() bool {
		_, e := vm.call(unix.SYS_WRITE, 1, a, 1)
		return e == unix.EPIPE
	})
}
