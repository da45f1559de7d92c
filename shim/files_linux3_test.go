package shim

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// page stores bytes at the start of a page.
func (s *script) page(b []byte) uint64 {
	a := (s.alloc(len(b)+2*4096) + 4095) &^ 4095
	if n := len(b); n > 0 {
		// Both areas are reached by the calls themselves: a pipe carries the bytes there.
		r, w := s.pipe(unix.O_NONBLOCK)
		s.call(unix.SYS_FCNTL, w, unix.F_SETPIPE_SZ, 1<<20)
		s.call(unix.SYS_WRITE, w, s.put(b), uint64(n))
		s.call(unix.SYS_READ, r, a, uint64(n))
		s.call(unix.SYS_CLOSE, r)
		s.call(unix.SYS_CLOSE, w)
	}
	return a
}

func (s *script) iov(a, n uint64) uint64 { return s.put(le.AppendUint64(le.AppendUint64(nil, a), n)) }

// TestPipeCallsAgainstLinux: the rarer calls on pipes, where they move a part or refuse.
func TestPipeCallsAgainstLinux(t *testing.T) {
	const all = ^uint64(0)
	compare(t, func(s *script) {
		r, w := s.pipe(0)
		one := s.iov(s.alloc(8), 1)
		for _, flags := range []uint64{0x1, 0x2, 0x10, 0x20, 1 << 20} { // HIPRI, DSYNC, APPEND, NOAPPEND, none
			s.do(fmt.Sprintf("pwritev2 %#x", flags), unix.SYS_PWRITEV2, w, one, 1, all, all, flags)
			s.do(fmt.Sprintf("pwritev2 at 0 %#x", flags), unix.SYS_PWRITEV2, w, one, 1, 0, 0, flags)
		}
		s.do("preadv2", unix.SYS_PREADV2, r, s.iov(s.alloc(100), 100), 1, all, all, 0)
		s.do("preadv2 at 0", unix.SYS_PREADV2, r, one, 1, 0, 0, 0)
		s.do("preadv", unix.SYS_PREADV, r, one, 1, 0, 0)
		s.do("wrong end", unix.SYS_PREADV2, w, one, 1, all, all, 0)
	})
	compare(t, func(s *script) {
		r, w := s.pipe(unix.O_NONBLOCK)
		full := strings.Repeat("f", 65536)
		s.write(w, full)
		three := s.page(make([]byte, 3*4096))
		vmsplice := func(n uint64) {
			s.do(fmt.Sprint("vmsplice ", n), unix.SYS_VMSPLICE, w, s.iov(three, n), 1, unix.SPLICE_F_NONBLOCK)
		}
		vmsplice(4096)
		s.do("read", unix.SYS_READ, r, s.alloc(65536), 2*4096)
		vmsplice(3 * 4096)
		vmsplice(1)
		s.do("vmsplice flags", unix.SYS_VMSPLICE, w, s.iov(three, 1), 1, 16)
		s.do("vmsplice nothing", unix.SYS_VMSPLICE, w, s.iov(three, 1), 0, 0)
		s.do("vmsplice bad", unix.SYS_VMSPLICE, w, s.iov(8, 1), 1, unix.SPLICE_F_NONBLOCK)
		s.do("busy", unix.SYS_FCNTL, w, unix.F_SETPIPE_SZ, 4096)
		s.do("size", unix.SYS_FCNTL, w, unix.F_GETPIPE_SZ)
		// Into a pipe that has room for less.
		f := s.open("f", "f", unix.O_RDWR|unix.O_CREAT)
		s.write(f, strings.Repeat("0123456789abcdef", 5120)) // 20 pages
		off := func() uint64 { return s.put(le.AppendUint64(nil, 0)) }
		r2, w2 := s.pipe(unix.O_NONBLOCK)
		s.do("sendfile", unix.SYS_SENDFILE, w2, f, off(), 81920)
		s.do("sendfile", unix.SYS_SENDFILE, w2, f, off(), 81920)
		s.do("splice", unix.SYS_SPLICE, f, off(), w2, 0, 81920, unix.SPLICE_F_NONBLOCK)
		s.do("to a full pipe", unix.SYS_SPLICE, r, 0, w2, 0, 100, unix.SPLICE_F_NONBLOCK)
		s.do("tee to a full pipe", unix.SYS_TEE, r, w2, 100, unix.SPLICE_F_NONBLOCK)
		s.do("read", unix.SYS_READ, r2, s.alloc(65536), 4096)
		s.do("splice", unix.SYS_SPLICE, f, off(), w2, 0, 81920, unix.SPLICE_F_NONBLOCK)
		s.do("read", unix.SYS_READ, r2, s.alloc(65536), 2*4096)
		s.do("tee a part", unix.SYS_TEE, r, w2, 5*4096, unix.SPLICE_F_NONBLOCK)
		s.do("drain", unix.SYS_READ, r2, s.alloc(65536), 65536)
		s.do("splice all", unix.SYS_SPLICE, r, 0, w2, 0, 1<<20, unix.SPLICE_F_NONBLOCK)
		s.do("splice empty", unix.SYS_SPLICE, r, 0, w2, 0, 1<<20, unix.SPLICE_F_NONBLOCK)
		s.do("tee empty", unix.SYS_TEE, r, w2, 1<<20, 0)
		// Sockets.
		a, b := s.pair(unix.SOCK_STREAM)
		s.do("pipe to socket", unix.SYS_SPLICE, r2, 0, a, 0, 5000, unix.SPLICE_F_NONBLOCK)
		s.do("drain", unix.SYS_READ, r2, s.alloc(65536), 65536)
		s.do("socket to pipe", unix.SYS_SPLICE, b, 0, w2, 0, 3000, unix.SPLICE_F_NONBLOCK)
		s.do("socket with offset", unix.SYS_SPLICE, b, off(), w2, 0, 3000, unix.SPLICE_F_NONBLOCK)
		s.do("pipe with offset", unix.SYS_SPLICE, b, 0, w2, off(), 3000, unix.SPLICE_F_NONBLOCK)
		s.do("sendfile to socket", unix.SYS_SENDFILE, a, f, off(), 100)
		s.do("sendfile from socket", unix.SYS_SENDFILE, w2, b, 0, 100)
		s.do("copy_file_range to pipe", unix.SYS_COPY_FILE_RANGE, f, 0, w2, 0, 10, 0)
		s.do("copy_file_range from pipe", unix.SYS_COPY_FILE_RANGE, r2, 0, f, 0, 10, 0)
		s.do("copy_file_range to socket", unix.SYS_COPY_FILE_RANGE, f, 0, a, 0, 10, 0)
		s.do("copy_file_range of itself", unix.SYS_COPY_FILE_RANGE, f, off(), f, off(), 10, 0)
		s.do("close", unix.SYS_CLOSE, r2)
		s.do("sendfile, nobody reads", unix.SYS_SENDFILE, w2, f, off(), 100)
		s.do("vmsplice, nobody reads", unix.SYS_VMSPLICE, w2, s.iov(three, 10), 1, 0)
		s.do("splice, nobody reads", unix.SYS_SPLICE, b, 0, w2, 0, 10, unix.SPLICE_F_NONBLOCK)
	})
}

// TestManyPipes: ten thousand pipes have room in a VM, and all their memory comes back.
func TestManyPipes(t *testing.T) {
	const pipes = 10000
	vm := newFileVM(t)
	vm.in(func() { vm.k.cfg.Limits.PipeBytes = 32 << 20 })
	vm.must(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, vm.put(le.AppendUint64(le.AppendUint64(nil, 2*pipes+10), 2*pipes+10)), 0)
	a := vm.alloc(8)
	for round := range 2 {
		for i := range pipes {
			if _, e := vm.call(unix.SYS_PIPE2, a, 0); e != 0 {
				t.Fatalf("round %d, pipe %d: %v", round, i, e)
			}
		}
		w := uint64(le.Uint32(vm.get(a+4, 4)))
		if n := vm.must(unix.SYS_FCNTL, w, unix.F_GETPIPE_SZ); n != 8192 {
			t.Errorf("the last pipe has %d bytes", n)
		}
		vm.fails(unix.EPERM, unix.SYS_FCNTL, w, unix.F_SETPIPE_SZ, 65536)
		vm.must(unix.SYS_CLOSE_RANGE, 3, 1<<32-1, 0)
	}
	vm.checkClosed()
}

// TestNotificationPipe: refused as by a kernel without CONFIG_WATCH_QUEUE, whatever this machine's has.
func TestNotificationPipe(t *testing.T) {
	vm := newFileVM(t)
	vm.fails(unix.ENOPKG, unix.SYS_PIPE2, vm.alloc(8), oNotificationPipe)
	vm.fails(unix.ENOPKG, unix.SYS_PIPE2, vm.alloc(8), oNotificationPipe|unix.O_CLOEXEC)
	vm.checkClosed()
}

// TestNowaitAgainstLinux: RWF_NOWAIT on pipes, where this machine's kernel has it (Linux 6.5).
func TestNowaitAgainstLinux(t *testing.T) {
	const all, nowait = ^uint64(0), 0x8
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	_, err := unix.Preadv2(p[0], [][]byte{make([]byte, 1)}, -1, nowait)
	unix.Close(p[0])
	unix.Close(p[1])
	if err == unix.EOPNOTSUPP {
		t.Skip("this machine's Linux has no RWF_NOWAIT on pipes")
	}
	compare(t, func(s *script) {
		r, w := s.pipe(0)
		ten := s.iov(s.alloc(16), 10)
		s.do("empty", unix.SYS_PREADV2, r, ten, 1, all, all, nowait)
		s.do("write", unix.SYS_PWRITEV2, w, ten, 1, all, all, nowait)
		s.do("read", unix.SYS_PREADV2, r, ten, 1, all, all, nowait)
		s.write(w, strings.Repeat("x", 65536))
		s.do("full", unix.SYS_PWRITEV2, w, ten, 1, all, all, nowait)
		s.do("read", unix.SYS_PREADV2, r, ten, 1, all, all, nowait)
		s.do("close", unix.SYS_CLOSE, r)
		s.do("nobody reads", unix.SYS_PWRITEV2, w, ten, 1, all, all, nowait)
	})
}

// TestReopenAgainstLinux: what /proc/self/fd opens again.
func TestReopenAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		again := func(name string, fd uint64, flags int) uint64 {
			n := s.fd(name, unix.SYS_OPENAT, atFDCWD, s.str(fmt.Sprint("/proc/self/fd/", fd)), uint64(flags), 0o600)
			s.do("flags", unix.SYS_FCNTL, n, unix.F_GETFL)
			return n
		}
		r, w := s.pipe(unix.O_NONBLOCK)
		w2 := again("w2", r, unix.O_WRONLY|unix.O_NONBLOCK)
		r2 := again("r2", w, unix.O_RDONLY|unix.O_NONBLOCK)
		s.write(w2, "one")
		s.poll(r, r2, w, w2)
		s.read(r2, 10)
		s.read(r2, 10)
		s.write(w, "two")
		s.read(r, 10)
		s.do("close", unix.SYS_CLOSE, w)
		s.poll(r)
		s.read(r, 1)
		s.do("close", unix.SYS_CLOSE, w2)
		s.poll(r)
		s.read(r, 1)
		rw := again("rw", r, unix.O_RDWR)
		s.poll(r, rw)
		s.write(rw, "three")
		s.read(r, 10)
		again("trunc", r, unix.O_RDONLY|unix.O_TRUNC|unix.O_CREAT|unix.O_NONBLOCK)
		again("direct", r, unix.O_WRONLY|unix.O_DIRECT)
		again("exclusive", r, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NONBLOCK)
		again("directory", r, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
		path := again("path", r, unix.O_PATH)
		s.read(path, 1)
		for _, kind := range []struct {
			name string
			nr   uintptr
			arg  uint64
		}{{"eventfd", unix.SYS_EVENTFD2, 0}, {"epoll", unix.SYS_EPOLL_CREATE1, 0}, {"timerfd", unix.SYS_TIMERFD_CREATE, 1}} {
			again("again", s.fd(kind.name, kind.nr, kind.arg, 0), unix.O_RDWR)
		}
		a, _ := s.pair(unix.SOCK_STREAM)
		again("socket", a, unix.O_RDWR)
	})
}

// TestEpollRulesAgainstLinux: combinations of flags, and what is refused.
func TestEpollRulesAgainstLinux(t *testing.T) {
	const wakeup, nval = 1 << 29, 0x20
	compare(t, func(s *script) {
		ep := s.fd("ep", unix.SYS_EPOLL_CREATE1, 0)
		r, w := s.pipe(unix.O_NONBLOCK)
		for i, events := range []uint32{0, wakeup, wakeup | unix.EPOLLIN | epollET, epollExclusive, epollExclusive | wakeup,
			epollExclusive | unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP | epollET,
			epollExclusive | unix.EPOLLONESHOT, epollExclusive | unix.EPOLLPRI, epollExclusive | unix.EPOLLRDHUP,
			epollExclusive | 0x40, 0x800, 1 << 27, nval} {
			s.ctl(ep, unix.EPOLL_CTL_ADD, r, events, uint64(i))
			s.wait(ep, 4)
			s.ctl(ep, unix.EPOLL_CTL_MOD, r, unix.EPOLLIN|epollExclusive, 1)
			s.ctl(ep, unix.EPOLL_CTL_MOD, r, unix.EPOLLIN, 2)
			s.ctl(ep, unix.EPOLL_CTL_DEL, r, 0, 0)
		}
		for _, op := range []int{0, 4, -1} {
			s.ctl(ep, op, r, unix.EPOLLIN, 1)
		}
		for _, n := range []uint64{0, ^uint64(0), 1<<31 - 1, 178956970, 178956971, 1 << 32} {
			s.do(fmt.Sprint("maxevents ", n), unix.SYS_EPOLL_WAIT, ep, s.alloc(64), n, 0)
		}
		s.do("not one", unix.SYS_EPOLL_WAIT, r, s.alloc(64), 1, 0)
		s.do("closed", unix.SYS_EPOLL_WAIT, 1<<20, s.alloc(64), 1, 0)
		s.do("size", unix.SYS_EPOLL_CREATE, 0)
		s.do("flags", unix.SYS_EPOLL_CREATE1, 1)
		s.do("mask size", unix.SYS_EPOLL_PWAIT, ep, s.alloc(64), 1, 0, s.alloc(8), 4)
		s.do("pwait2", unix.SYS_EPOLL_PWAIT2, ep, s.alloc(64), 1, s.put(make([]byte, 16)), 0, 0)
		s.do("pwait2", unix.SYS_EPOLL_PWAIT2, ep, s.alloc(64), 1, s.put(le.AppendUint64(make([]byte, 8), 1e9)), 0, 0)
		// Files of no kind to wait for, an instance in itself, in a circle, and too deep.
		f := s.open("f", "f", unix.O_RDWR|unix.O_CREAT)
		s.ctl(ep, unix.EPOLL_CTL_ADD, f, unix.EPOLLIN, 0)
		s.ctl(ep, unix.EPOLL_CTL_ADD, ep, unix.EPOLLIN, 0)
		s.ctl(r, unix.EPOLL_CTL_ADD, w, unix.EPOLLIN, 0)
		s.ctl(ep, unix.EPOLL_CTL_ADD, 1<<20, unix.EPOLLIN, 0)
		s.do("event", unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_ADD, r, 8)
		s.do("event of DEL", unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_DEL, r, 8)
		below := ep
		for i := range 7 {
			above := s.fd(fmt.Sprint("ep", i), unix.SYS_EPOLL_CREATE1, 0)
			s.ctl(above, unix.EPOLL_CTL_ADD, below, unix.EPOLLIN, 0)
			s.ctl(above, unix.EPOLL_CTL_MOD, below, unix.EPOLLIN|epollExclusive, 0)
			s.ctl(ep, unix.EPOLL_CTL_ADD, above, unix.EPOLLIN, 0)
			below = above
		}
		// The file lives on in a second descriptor, and so does the interest.
		s.ctl(ep, unix.EPOLL_CTL_ADD, r, unix.EPOLLIN, 77)
		r2 := s.fd("r2", unix.SYS_DUP, r)
		s.do("close", unix.SYS_CLOSE, r)
		s.write(w, "x")
		s.wait(ep, 4)
		s.ctl(ep, unix.EPOLL_CTL_DEL, r, 0, 0)
		s.ctl(ep, unix.EPOLL_CTL_ADD, r2, unix.EPOLLIN, 78)
		s.wait(ep, 4)
		s.do("close", unix.SYS_CLOSE, r2)
		s.wait(ep, 4)
	})
}

// TestSocketCyclesAgainstLinux: sockets in flight that nobody can receive go, with all they hold.
func TestSocketCyclesAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		gone := func(what string, r uint64) {
			// Linux looks when some other socket is closed, and later.
			c, d := s.pair(unix.SOCK_STREAM)
			s.call(unix.SYS_CLOSE, c)
			s.call(unix.SYS_CLOSE, d)
			b := s.put(le.AppendUint32(le.AppendUint32(nil, uint32(r)), unix.POLLIN))
			s.do(what, unix.SYS_POLL, b, 1, 3000)
			s.logf("  %#x", le.Uint16(s.get(b+6, 2)))
		}
		// A socket in its own queue.
		r, w := s.pipe(unix.O_NONBLOCK)
		a, b := s.pair(unix.SOCK_STREAM)
		s.sendmsg(a, "self", b, w)
		for _, fd := range []uint64{w, a, b} {
			s.do("close", unix.SYS_CLOSE, fd)
		}
		gone("in its own queue", r)
		// Two that hold each other.
		r, w = s.pipe(unix.O_NONBLOCK)
		a, b = s.pair(unix.SOCK_DGRAM)
		c, d := s.pair(unix.SOCK_SEQPACKET)
		s.sendmsg(a, "c", c, w)
		s.sendmsg(d, "b", b)
		for _, fd := range []uint64{w, a, b, c, d} {
			s.do("close", unix.SYS_CLOSE, fd)
		}
		gone("two", r)
		// One that is not accepted yet.
		r, w = s.pipe(unix.O_NONBLOCK)
		l := s.fd("l", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
		name, size := s.sockaddr(fmt.Sprintf("\x00culvert-cycle-%p", s))
		s.do("bind", unix.SYS_BIND, l, name, size)
		s.do("listen", unix.SYS_LISTEN, l, 3)
		x := s.fd("x", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
		s.do("connect", unix.SYS_CONNECT, x, name, size)
		s.sendmsg(x, "listener", l, w)
		for _, fd := range []uint64{w, l, x} {
			s.do("close", unix.SYS_CLOSE, fd)
		}
		gone("not accepted", r)
		// One that can be received is left alone.
		r, w = s.pipe(unix.O_NONBLOCK)
		a, b = s.pair(unix.SOCK_STREAM)
		c, d = s.pair(unix.SOCK_STREAM)
		s.sendmsg(a, "to be had", d, w)
		for _, fd := range []uint64{w, d} {
			s.do("close", unix.SYS_CLOSE, fd)
		}
		s.write(c, "through")
		s.poll(r)
		fds := s.recvmsg(b, 100, 0, 512)
		if len(fds) == 2 {
			s.read(fds[0], 100)
			s.write(fds[1], "alive")
			s.read(r, 100)
		}
	})
}
