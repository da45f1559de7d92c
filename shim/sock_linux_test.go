package shim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pair makes connected non-blocking sockets.
func (s *script) pair(typ int) (a, b uint64) {
	at := s.alloc(8)
	s.do("socketpair", unix.SYS_SOCKETPAIR, unix.AF_UNIX, uint64(typ|unix.SOCK_NONBLOCK), 0, at)
	raw := s.get(at, 8)
	a, b = uint64(le.Uint32(raw)), uint64(le.Uint32(raw[4:]))
	s.fds[fmt.Sprint("s", a)], s.fds[fmt.Sprint("s", b)] = a, b
	return a, b
}

func (s *script) sockaddr(name string) (addr, size uint64) {
	b := append(le.AppendUint16(nil, unix.AF_UNIX), name...)
	return s.put(b), uint64(len(b))
}

// msg builds a struct msghdr with one buffer and a control buffer.
func (s *script) msg(buf, size, control, controllen uint64) uint64 {
	iov := s.put(le.AppendUint64(le.AppendUint64(nil, buf), size))
	h := make([]byte, msghdrSize)
	le.PutUint64(h[16:], iov)
	le.PutUint64(h[24:], 1)
	le.PutUint64(h[32:], control)
	le.PutUint64(h[40:], controllen)
	return s.put(h)
}

// rights builds an SCM_RIGHTS control message.
func (s *script) rights(fds ...uint64) (addr, size uint64) {
	b := le.AppendUint64(nil, uint64(cmsgHead+4*len(fds)))
	b = le.AppendUint32(le.AppendUint32(b, unix.SOL_SOCKET), scmRights)
	for _, fd := range fds {
		b = le.AppendUint32(b, uint32(fd))
	}
	return s.put(b), uint64(len(b))
}

func (s *script) sendmsg(fd uint64, data string, fds ...uint64) {
	c, n := s.rights(fds...)
	if len(fds) == 0 {
		n = 0
	}
	s.do("sendmsg", unix.SYS_SENDMSG, fd, s.msg(s.put([]byte(data)), uint64(len(data)), c, n), unix.MSG_NOSIGNAL)
}

// recvmsg logs what came and the number of descriptors, which it returns.
func (s *script) recvmsg(fd uint64, n int, flags uint64, room uint64) (fds []uint64) {
	buf, control := s.alloc(n), s.alloc(512)
	m := s.msg(buf, uint64(n), control, room)
	r := s.do("recvmsg", unix.SYS_RECVMSG, fd, m, flags)
	if r < 0 {
		return nil
	}
	h := s.get(m, msghdrSize)
	got := le.Uint64(h[40:])
	s.logf("  %q control %d flags %#x", s.get(buf, min(int(r), n)), got, le.Uint32(h[48:]))
	if got >= cmsgHead {
		c := s.get(control, int(got))
		s.logf("  cmsg %d %d %d", le.Uint64(c), le.Uint32(c[8:]), le.Uint32(c[12:]))
		if le.Uint32(c[12:]) == scmRights {
			for b := c[cmsgHead:le.Uint64(c)]; len(b) >= 4; b = b[4:] {
				fds = append(fds, uint64(le.Uint32(b)))
				s.fds[fmt.Sprint("got", fds[len(fds)-1])] = fds[len(fds)-1]
			}
		}
	}
	return fds
}

func (s *script) getsockopt(fd uint64, name int) {
	v, n := s.alloc(16), s.put(le.AppendUint32(nil, 16))
	s.do(fmt.Sprint("getsockopt ", name), unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, uint64(name), v, n)
	if name != unix.SO_PEERCRED {
		s.logf("  %x", s.get(v, int(le.Uint32(s.get(n, 4)))))
	}
}

func TestSocketPairsAgainstLinux(t *testing.T) {
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		compare(t, func(s *script) {
			s.logf("type %d", typ)
			a, b := s.pair(typ)
			s.poll(a, b)
			s.read(b, 10)
			s.write(a, "hello")
			s.write(a, "world")
			s.poll(a, b)
			n := s.alloc(4)
			s.do("fionread", unix.SYS_IOCTL, b, fionread, n)
			s.logf("%d", le.Uint32(s.get(n, 4)))
			s.recvmsg(b, 3, unix.MSG_PEEK, 0)
			s.recvmsg(b, 3, unix.MSG_TRUNC, 0)
			s.recvmsg(b, 100, 0, 0)
			s.recvmsg(b, 100, 0, 0)
			// Descriptors, also more than there is room for.
			r, w := s.pipe(unix.O_NONBLOCK)
			s.write(w, "in the pipe")
			s.sendmsg(a, "one", r)
			s.write(a, "two")
			s.sendmsg(a, "three", r, w)
			s.sendmsg(a, "four", r, w)
			s.sendmsg(a, "bad", 1<<20)
			for _, fd := range s.recvmsg(b, 100, 0, 512) {
				s.read(fd, 100)
			}
			s.recvmsg(b, 100, unix.MSG_PEEK, 512)
			s.recvmsg(b, 100, unix.MSG_CMSG_CLOEXEC, 20)
			s.recvmsg(b, 100, 0, 512)
			s.recvmsg(b, 100, 0, 512)
			for _, o := range []int{unix.SO_TYPE, unix.SO_ERROR, unix.SO_SNDBUF, unix.SO_RCVBUF, unix.SO_PASSCRED,
				unix.SO_ACCEPTCONN, unix.SO_DOMAIN, unix.SO_PROTOCOL, unix.SO_RCVTIMEO, unix.SO_LINGER, unix.SO_RCVLOWAT, 999} {
				s.getsockopt(a, o)
			}
			one := s.put(le.AppendUint32(nil, 1))
			s.do("passcred", unix.SYS_SETSOCKOPT, b, unix.SOL_SOCKET, unix.SO_PASSCRED, one, 4)
			s.sendmsg(a, "who")
			s.recvmsg(b, 10, 0, 512)
			s.do("sndbuf", unix.SYS_SETSOCKOPT, b, unix.SOL_SOCKET, unix.SO_SNDBUF, s.put(le.AppendUint32(nil, 10000)), 4)
			s.getsockopt(b, unix.SO_SNDBUF)
			s.do("level", unix.SYS_SETSOCKOPT, b, 6, 1, one, 4)
			s.do("read only", unix.SYS_SETSOCKOPT, b, unix.SOL_SOCKET, unix.SO_TYPE, one, 4)
			s.do("lseek", unix.SYS_LSEEK, a, 0, 0)
			s.do("pread", unix.SYS_PREAD64, a, n, 1, 0)
			s.do("listen", unix.SYS_LISTEN, a, 1)
			s.do("accept", unix.SYS_ACCEPT, a, 0, 0)
			// Shut down one direction.
			s.write(b, "before")
			s.do("shutdown", unix.SYS_SHUTDOWN, a, unix.SHUT_WR)
			s.poll(a, b)
			s.recvmsg(b, 10, 0, 0)
			s.sendmsg(a, "no")
			s.write(b, "still")
			s.recvmsg(a, 100, 0, 0)
			s.do("shutdown", unix.SYS_SHUTDOWN, a, 7)
			s.write(b, "unread")
			s.do("close", unix.SYS_CLOSE, a)
			s.poll(b)
			s.recvmsg(b, 10, 0, 0)
			s.recvmsg(b, 10, 0, 0)
			s.sendmsg(b, "gone")
			s.poll(b)
			s.getsockopt(b, unix.SO_ERROR)
		})
	}
}

func TestSocketNamesAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		sock := func(name string, typ int) uint64 {
			return s.fd(name, unix.SYS_SOCKET, unix.AF_UNIX, uint64(typ|unix.SOCK_NONBLOCK), 0)
		}
		name := func(fd uint64, nr uintptr) {
			a, n := s.alloc(128), s.put(le.AppendUint32(nil, 128))
			s.do("name", nr, fd, a, n)
			size := le.Uint32(s.get(n, 4))
			raw := s.get(a, int(min(size, 128)))
			if size > 2 && raw[2] == 0 {
				s.logf("  abstract, %d bytes", size)
			} else if size > 2 {
				s.logf("  path %s", strings.TrimPrefix(string(raw[2:]), s.dir()))
			} else {
				s.logf("  %x", raw)
			}
		}
		l := sock("l", unix.SOCK_STREAM)
		s.poll(l)
		s.read(l, 1)
		s.write(l, "x")
		s.do("listen", unix.SYS_LISTEN, l, 2)
		path, size := s.sockaddr(s.dir() + "/sock")
		c := sock("c", unix.SOCK_STREAM)
		s.do("connect", unix.SYS_CONNECT, c, path, size)
		s.do("bind", unix.SYS_BIND, l, path, size)
		s.do("bind", unix.SYS_BIND, l, path, size)
		s.do("bind", unix.SYS_BIND, c, path, size)
		s.do("connect", unix.SYS_CONNECT, c, path, size)
		s.do("listen", unix.SYS_LISTEN, l, 1)
		s.poll(l)
		name(l, unix.SYS_GETSOCKNAME)
		name(c, unix.SYS_GETSOCKNAME)
		name(c, unix.SYS_GETPEERNAME)
		s.do("accept", unix.SYS_ACCEPT, l, 0, 0)
		s.do("connect", unix.SYS_CONNECT, c, path, size)
		s.do("connect", unix.SYS_CONNECT, c, path, size)
		s.poll(l, c)
		s.write(c, "early")
		name(c, unix.SYS_GETPEERNAME)
		for i := range 3 {
			s.do("connect", unix.SYS_CONNECT, sock(fmt.Sprint("c", i), unix.SOCK_STREAM), path, size)
		}
		at, n := s.alloc(128), s.put(le.AppendUint32(nil, 128))
		srv := s.fd("srv", unix.SYS_ACCEPT4, l, at, n, unix.SOCK_NONBLOCK)
		s.logf("peer %d", le.Uint32(s.get(n, 4)))
		name(srv, unix.SYS_GETSOCKNAME)
		s.recvmsg(srv, 100, 0, 0)
		s.getsockopt(l, unix.SO_ACCEPTCONN)
		s.do("accept4", unix.SYS_ACCEPT4, l, 0, 0, 1)
		s.do("open", unix.SYS_OPENAT, atFDCWD, s.str(s.dir()+"/sock"), unix.O_RDWR)
		// A type that does not fit, a path that is no socket, nobody behind it.
		d := sock("d", unix.SOCK_DGRAM)
		s.do("connect", unix.SYS_CONNECT, d, path, size)
		s.open("file", "file", unix.O_CREAT|unix.O_RDWR)
		fp, fs := s.sockaddr(s.dir() + "/file")
		s.do("connect", unix.SYS_CONNECT, d, fp, fs)
		s.do("bind", unix.SYS_BIND, d, fp, fs)
		s.do("close", unix.SYS_CLOSE, l)
		delete(s.fds, "l")
		s.do("connect", unix.SYS_CONNECT, sock("c9", unix.SOCK_STREAM), path, size)
		// Datagrams with abstract names.
		abs, an := s.sockaddr(fmt.Sprintf("\x00culvert-test-%p", s))
		s.do("bind", unix.SYS_BIND, d, abs, an)
		e := sock("e", unix.SOCK_DGRAM)
		s.write(e, "nowhere")
		s.do("sendto", unix.SYS_SENDTO, e, s.str("hello"), 5, 0, abs, an)
		s.do("autobind", unix.SYS_BIND, e, abs, 2)
		name(e, unix.SYS_GETSOCKNAME)
		for range 12 {
			s.do("sendto", unix.SYS_SENDTO, e, s.str("more"), 4, 0, abs, an)
		}
		s.do("connect", unix.SYS_CONNECT, e, abs, an)
		s.poll(e, d)
		from, fn := s.alloc(128), s.put(le.AppendUint32(nil, 128))
		buf := s.alloc(100)
		s.do("recvfrom", unix.SYS_RECVFROM, d, buf, 100, 0, from, fn)
		s.logf("from %d", le.Uint32(s.get(fn, 4)))
		s.poll(e, d)
		s.do("recvfrom", unix.SYS_RECVFROM, d, buf, 2, unix.MSG_TRUNC, from, fn)
		s.do("big", unix.SYS_SENDTO, e, s.alloc(300000), 300000, 0, 0, 0)
		s.do("close", unix.SYS_CLOSE, d)
		delete(s.fds, "d")
		s.write(e, "gone")
		s.write(e, "gone")
		for _, a := range [][3]uint64{{unix.AF_UNIX, 9, 0}, {unix.AF_UNIX, 1 << 20, 0}, {99, 1, 0}, {unix.AF_UNIX, 1, 7}, {unix.AF_UNIX, 4, 0}} {
			s.do(fmt.Sprint("socket ", a), unix.SYS_SOCKET, a[0], a[1], a[2])
		}
		s.do("bind", unix.SYS_BIND, e, 8, 20)
		s.do("bind", unix.SYS_BIND, e, abs, 1)
		s.do("bind", unix.SYS_BIND, e, abs, 200)
		s.do("file", unix.SYS_LISTEN, s.fds["file"], 1)
	})
}

// TestSocketRandomAgainstLinux moves random amounts over stream pairs, with small buffers' worth in flight.
func TestSocketRandomAgainstLinux(t *testing.T) {
	for seed := range uint64(8) {
		compare(t, func(s *script) {
			rng := rand.New(rand.NewPCG(seed, 3))
			a, b := s.pair([]int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET}[rng.IntN(3)])
			ends := []uint64{a, b}
			ep := s.fd("ep", unix.SYS_EPOLL_CREATE1, 0)
			s.ctl(ep, unix.EPOLL_CTL_ADD, a, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|epollET, 1)
			s.ctl(ep, unix.EPOLL_CTL_ADD, b, unix.EPOLLIN|unix.EPOLLRDHUP, 2)
			inFlight := [2]int{}
			for range 150 {
				i := rng.IntN(2)
				switch rng.IntN(5) {
				case 0, 1:
					if inFlight[i] < 8 {
						inFlight[i]++
						s.sendmsg(ends[i], strings.Repeat("d", 1+rng.IntN(900)))
					}
				case 2:
					s.recvmsg(ends[1-i], 1+rng.IntN(1500), uint64(rng.IntN(2)*unix.MSG_PEEK), 0)
					inFlight[i] = max(0, inFlight[i]-1)
				case 3:
					s.poll(a, b)
				case 4:
					s.wait(ep, 1+rng.IntN(2))
				}
			}
			s.do("shutdown", unix.SYS_SHUTDOWN, ends[rng.IntN(2)], uint64(rng.IntN(3)))
			s.wait(ep, 4)
			s.poll(a, b)
		})
	}
}
