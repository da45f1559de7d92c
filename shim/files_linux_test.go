package shim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sysBackend makes system calls: by the shim or by the kernel of the machine that runs the test. Scripts run on both
// and must leave the same log.
type sysBackend interface {
	call(nr uintptr, args ...uint64) (int64, unix.Errno)
	alloc(n int) uint64
	put(b []byte) uint64
	get(addr uint64, n int) []byte
	dir() string // an empty directory
}

func (vm *fileVM) dir() string { return "/tmp" }

// script is a sequence of calls with a log of their results.
type script struct {
	sysBackend
	log []string
	fds map[string]uint64
}

func (s *script) logf(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// do makes a call and logs its result.
func (s *script) do(what string, nr uintptr, args ...uint64) int64 {
	r, e := s.call(nr, args...)
	if e != 0 {
		s.logf("%s: %v", what, unix.ErrnoName(e))
		return -1
	}
	s.logf("%s: %d", what, r)
	return r
}

// fd makes a call that returns a descriptor, and names it.
func (s *script) fd(name string, nr uintptr, args ...uint64) uint64 {
	r, e := s.call(nr, args...)
	if e != 0 {
		s.logf("open %s: %v", name, unix.ErrnoName(e))
		return 1 << 30
	}
	s.fds[name] = uint64(r)
	return uint64(r)
}

func (s *script) str(v string) uint64 { return s.put(append([]byte(v), 0)) }

func (s *script) open(name, file string, flags int) uint64 {
	return s.fd(name, unix.SYS_OPENAT, atFDCWD, s.str(s.dir()+"/"+file), uint64(flags), 0o600)
}

// pipe makes a pipe.
func (s *script) pipe(flags int) (r, w uint64) {
	a := s.alloc(8)
	if _, e := s.call(unix.SYS_PIPE2, a, uint64(flags)); e != 0 {
		s.logf("pipe2 %o: %v", flags, unix.ErrnoName(e))
	}
	b := s.get(a, 8)
	r, w = uint64(le.Uint32(b)), uint64(le.Uint32(b[4:]))
	s.fds[fmt.Sprint("r", r)], s.fds[fmt.Sprint("w", w)] = r, w
	return r, w
}

func (s *script) write(fd uint64, v string) {
	s.do(fmt.Sprintf("write %d bytes", len(v)), unix.SYS_WRITE, fd, s.put([]byte(v)), uint64(len(v)))
}

func (s *script) read(fd uint64, n int) {
	a := s.alloc(n)
	if r := s.do(fmt.Sprintf("read %d", n), unix.SYS_READ, fd, a, uint64(n)); r > 0 {
		s.logf("%x", s.get(a, int(r)))
	}
}

// poll logs the poll bits of descriptors.
func (s *script) poll(fds ...uint64) {
	var b []byte
	for _, fd := range fds {
		b = le.AppendUint32(b, uint32(fd))
		b = le.AppendUint32(b, 0x3fff)
	}
	a := s.put(b)
	s.do("poll", unix.SYS_POLL, a, uint64(len(fds)), 0)
	for i, c := 0, s.get(a, len(b)); i < len(fds); i++ {
		s.logf("  %#x", le.Uint16(c[8*i+6:]))
	}
}

func (s *script) ctl(ep uint64, op int, fd uint64, events uint32, data uint64) {
	b := le.AppendUint64(le.AppendUint32(nil, events), data)
	s.do(fmt.Sprintf("ctl %d %#x %d", op, events, data), unix.SYS_EPOLL_CTL, ep, uint64(op), fd, s.put(b))
}

func (s *script) wait(ep uint64, n int) {
	a := s.alloc(n * epollEventSize)
	r := s.do("epoll_wait", unix.SYS_EPOLL_WAIT, ep, a, uint64(n), 0)
	for i := range int(r) {
		b := s.get(a+uint64(i*epollEventSize), epollEventSize)
		s.logf("  %#x %d", le.Uint32(b), le.Uint64(b[4:]))
	}
}

// hostSys is the machine's own kernel.
type hostSys struct {
	t    *testing.T
	mem  []byte
	base uint64
	next uint64
	tmp  string
}

func newHostSys(t *testing.T) *hostSys {
	mem, err := unix.Mmap(-1, 0, userArea, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	// A tmpfs where there is one, as the guest's /tmp is.
	dir, err := os.MkdirTemp("/dev/shm", "culvert")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &hostSys{t: t, mem: mem, base: sliceAddr(mem), tmp: dir}
}

func (h *hostSys) dir() string { return h.tmp }

func (h *hostSys) call(nr uintptr, args ...uint64) (int64, unix.Errno) {
	var a [6]uintptr
	for i, v := range args {
		a[i] = uintptr(v)
	}
	r, _, e := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return int64(r), e
}

func (h *hostSys) alloc(n int) uint64 {
	at := h.next
	h.next += uint64(n+15) &^ 15
	if h.next > userArea {
		h.t.Fatal("the area is full")
	}
	return h.base + at
}

func (h *hostSys) put(b []byte) uint64 {
	a := h.alloc(max(len(b), 1))
	copy(h.mem[a-h.base:], b)
	return a
}

func (h *hostSys) get(a uint64, n int) []byte { return h.mem[a-h.base : a-h.base+uint64(n)] }

// compare runs a script on both and compares the logs.
func compare(t *testing.T, run func(s *script)) {
	t.Helper()
	host := &script{sysBackend: newHostSys(t), fds: map[string]uint64{}}
	run(host)
	for _, fd := range host.fds {
		unix.Close(int(fd))
	}
	fvm := newFileVM(t)
	fvm.in(func() { fvm.t.p.actions.put(int(unix.SIGPIPE), sigAction{handler: SIG_IGN}) }) // as the Go runtime does
	vm := &script{sysBackend: fvm, fds: map[string]uint64{}}
	run(vm)
	if d := os.Getenv("CMPLOG"); d != "" {
		os.WriteFile(d+"/host.log", []byte(strings.Join(host.log, "\n")), 0o600)
		os.WriteFile(d+"/vm.log", []byte(strings.Join(vm.log, "\n")), 0o600)
	}
	for i := range max(len(host.log), len(vm.log)) {
		if i >= len(host.log) || i >= len(vm.log) || host.log[i] != vm.log[i] {
			from := max(0, i-12)
			t.Fatalf("step %d differs from Linux.\nLinux:\n  %s\nshim:\n  %s", i,
				strings.Join(host.log[from:min(i+2, len(host.log))], "\n  "),
				strings.Join(vm.log[from:min(i+2, len(vm.log))], "\n  "))
		}
	}
}

func TestPipeAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		r, w := s.pipe(unix.O_NONBLOCK)
		s.poll(r, w)
		s.do("getpipesz", unix.SYS_FCNTL, r, unix.F_GETPIPE_SZ)
		s.write(w, strings.Repeat("a", 4096*15))
		s.write(w, strings.Repeat("b", 4095))
		s.poll(r, w)
		s.write(w, "cc")
		s.write(w, "c")
		s.write(w, "c")
		s.poll(r, w)
		a := s.alloc(4)
		s.do("fionread", unix.SYS_IOCTL, w, fionread, a)
		s.logf("%d", le.Uint32(s.get(a, 4)))
		for _, size := range []uint64{1, 4096, 5000, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 1 << 31, 1<<31 + 1, 1 << 32} {
			s.do(fmt.Sprint("setpipesz ", size), unix.SYS_FCNTL, w, unix.F_SETPIPE_SZ, size)
			s.do("getpipesz", unix.SYS_FCNTL, r, unix.F_GETPIPE_SZ)
		}
		s.read(r, 4096)
		s.poll(r, w)
		s.read(r, 100)
		s.do("lseek", unix.SYS_LSEEK, r, 0, 1)
		s.do("pread", unix.SYS_PREAD64, r, a, 1, 0)
		s.do("pwrite", unix.SYS_PWRITE64, w, a, 1, 0)
		s.do("read 0", unix.SYS_READ, r, a, 0)
		s.do("write 0", unix.SYS_WRITE, w, a, 0)
		s.do("read write end", unix.SYS_READ, w, a, 1)
		s.do("write read end", unix.SYS_WRITE, r, a, 1)
		s.do("bad buffer", unix.SYS_READ, r, 8, 1)
		s.do("bad buffer", unix.SYS_WRITE, w, 8, 1)
		s.do("kernel buffer", unix.SYS_WRITE, w, 1<<63, 1)
		s.do("fsync", unix.SYS_FSYNC, r)
		s.do("ftruncate", unix.SYS_FTRUNCATE, w, 0)
		s.do("fallocate", unix.SYS_FALLOCATE, w, 0, 0, 10)
		s.do("tcgets", unix.SYS_IOCTL, w, unix.TCGETS, s.alloc(64))
		s.do("getdents", unix.SYS_GETDENTS64, r, s.alloc(64), 64)
		s.do("fchdir", unix.SYS_FCHDIR, r)
		s.do("mmap", unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, r, 0)
		s.do("fadvise", unix.SYS_FADVISE64, r, 0, 0, 0)
		s.do("close", unix.SYS_CLOSE, w)
		s.poll(r)
		s.read(r, 1<<17)
		s.poll(r)
		s.read(r, 10)
		r2, w2 := s.pipe(unix.O_NONBLOCK)
		s.do("close", unix.SYS_CLOSE, r2)
		s.poll(w2)
		for _, flags := range []int{unix.O_RDWR, unix.O_APPEND, unix.O_SYNC, unix.O_CREAT, -1} {
			s.do("pipe2", unix.SYS_PIPE2, s.alloc(8), uint64(uint32(flags)))
		}
		s.do("pipe2", unix.SYS_PIPE2, 8, 0)
	})
}

func TestPacketPipeAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		r, w := s.pipe(unix.O_NONBLOCK | unix.O_DIRECT)
		s.write(w, "one")
		s.write(w, "two2")
		s.write(w, strings.Repeat("x", 5000))
		s.read(r, 2)
		s.read(r, 100)
		s.read(r, 10000)
		s.read(r, 10000)
		s.read(r, 10000)
		for range 17 {
			s.write(w, "p")
		}
		s.poll(r, w)
		s.do("setfl", unix.SYS_FCNTL, w, unix.F_SETFL, unix.O_NONBLOCK)
		s.read(r, 10)
		s.write(w, "stream")
		s.do("getfl", unix.SYS_FCNTL, w, unix.F_GETFL)
		s.do("getfl", unix.SYS_FCNTL, r, unix.F_GETFL)
	})
}

func TestFcntlAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		f := s.open("f", "f", unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC)
		s.do("getfl", unix.SYS_FCNTL, f, unix.F_GETFL)
		s.do("setfl", unix.SYS_FCNTL, f, unix.F_SETFL, unix.O_APPEND|unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK)
		s.do("getfl", unix.SYS_FCNTL, f, unix.F_GETFL)
		s.do("getfd", unix.SYS_FCNTL, f, unix.F_GETFD)
		s.do("setfd", unix.SYS_FCNTL, f, unix.F_SETFD, 0xff)
		s.do("getfd", unix.SYS_FCNTL, f, unix.F_GETFD)
		d := s.fd("d", unix.SYS_FCNTL, f, unix.F_DUPFD_CLOEXEC, 500)
		s.logf("%d", d)
		s.do("getfd", unix.SYS_FCNTL, d, unix.F_GETFD)
		s.do("dupfd", unix.SYS_FCNTL, f, unix.F_DUPFD, 1<<31)
		s.do("dup2 same", unix.SYS_DUP2, d, d)
		s.do("dup3 same", unix.SYS_DUP3, d, d, 0)
		s.do("dup3 flags", unix.SYS_DUP3, d, d+1, 1)
		s.do("dup2 far", unix.SYS_DUP2, d, 1<<30)
		s.do("bad cmd", unix.SYS_FCNTL, f, 12345, 0)
		s.do("bad fd", unix.SYS_FCNTL, 1<<30, 12345, 0)
		s.do("getown", unix.SYS_FCNTL, f, unix.F_GETOWN)
		s.do("setsig", unix.SYS_FCNTL, f, fSetSig, 10)
		s.do("getsig", unix.SYS_FCNTL, f, fGetSig)
		s.do("setsig", unix.SYS_FCNTL, f, fSetSig, 100)
		s.do("getpipe", unix.SYS_FCNTL, f, unix.F_GETPIPE_SZ)
		s.do("seals", unix.SYS_FCNTL, f, unix.F_GET_SEALS)
		s.do("getlease", unix.SYS_FCNTL, f, unix.F_GETLEASE)
		o := s.open("o", "f", unix.O_PATH)
		s.do("getfl opath", unix.SYS_FCNTL, o, unix.F_GETFL)
		s.do("setfl opath", unix.SYS_FCNTL, o, unix.F_SETFL, 0)
		s.do("read opath", unix.SYS_READ, o, s.alloc(1), 1)
		s.do("fstat opath", unix.SYS_FSTAT, o, s.alloc(statSize))
		s.do("fchmod opath", unix.SYS_FCHMOD, o, 0o600)
		s.do("ioctl opath", unix.SYS_IOCTL, o, fionread, s.alloc(8))
		s.poll(o, f, 1<<30, ^uint64(0))
		// Append: the offset given does not matter, and goes to the end.
		s.write(f, "abc")
		s.do("pwrite", unix.SYS_PWRITE64, f, s.str("XY"), 2, 0)
		s.do("lseek", unix.SYS_LSEEK, f, 0, unix.SEEK_CUR)
		s.do("lseek", unix.SYS_LSEEK, f, 1, unix.SEEK_SET)
		s.write(f, "d")
		s.do("lseek", unix.SYS_LSEEK, f, 0, unix.SEEK_CUR)
		s.do("lseek", unix.SYS_LSEEK, f, 0, unix.SEEK_SET)
		s.read(f, 100)
		for _, whence := range []uint64{unix.SEEK_DATA, unix.SEEK_HOLE, 5, 1 << 31} {
			for _, off := range []uint64{0, 3, 6, 100, ^uint64(0)} {
				s.do(fmt.Sprint("lseek ", whence, off), unix.SYS_LSEEK, f, off, whence)
			}
		}
		s.do("lseek", unix.SYS_LSEEK, f, 1<<63-1, unix.SEEK_CUR)
		s.do("ftruncate", unix.SYS_FTRUNCATE, f, ^uint64(0))
		s.do("pread", unix.SYS_PREAD64, f, s.alloc(8), 8, ^uint64(0))
		iov := s.alloc(64)
		s.do("readv", unix.SYS_READV, f, iov, 1025)
		s.do("readv", unix.SYS_READV, f, iov, 0)
		s.do("readv", unix.SYS_READV, f, 8, 1)
		neg := s.put(append(make([]byte, 8), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
		s.do("readv", unix.SYS_READV, f, neg, 1)
		s.do("preadv2", unix.SYS_PREADV2, f, iov, 1, 0, 0, 1<<20)
		dir := s.open("dir", "", unix.O_RDONLY|unix.O_DIRECTORY)
		s.do("read dir", unix.SYS_READ, dir, s.alloc(8), 8)
		s.do("write dir", unix.SYS_WRITE, dir, s.alloc(8), 8)
		s.do("mkdir", unix.SYS_MKDIR, s.str(s.dir()+"/f"), 0o700)
		s.do("rmdir", unix.SYS_RMDIR, s.str(s.dir()+"/f"))
		s.do("unlink", unix.SYS_UNLINK, s.str(s.dir()))
		s.do("open", unix.SYS_OPEN, s.str(s.dir()+"/f/x"), 0, 0)
		s.do("open", unix.SYS_OPEN, s.str(s.dir()+"/"+strings.Repeat("n", 300)), 0, 0)
		s.do("open", unix.SYS_OPEN, s.str("/"+strings.Repeat("n/", 3000)), 0, 0)
		s.do("open", unix.SYS_OPEN, s.str(""), 0, 0)
		s.do("open", unix.SYS_OPEN, 8, 0, 0)
		s.do("openat2 size", unix.SYS_OPENAT2, atFDCWD, s.str("/"), s.alloc(24), 8)
		s.do("access", unix.SYS_ACCESS, s.str(s.dir()), 8)
		s.do("close_range", unix.SYS_CLOSE_RANGE, 10, 9, 0)
		s.do("close_range", unix.SYS_CLOSE_RANGE, 1<<20, 1<<21, 8)
	})
}

func TestLocksAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		a := s.open("a", "l", unix.O_RDWR|unix.O_CREAT)
		b := s.open("b", "l", unix.O_RDWR)
		ro := s.open("ro", "l", unix.O_RDONLY)
		s.write(a, strings.Repeat("z", 100))
		flock := func(typ, whence int16, start, n int64) uint64 {
			raw := make([]byte, flockSize)
			le.PutUint16(raw[0:], uint16(typ))
			le.PutUint16(raw[2:], uint16(whence))
			le.PutUint64(raw[8:], uint64(start))
			le.PutUint64(raw[16:], uint64(n))
			return s.put(raw)
		}
		lock := func(fd uint64, typ int16, start, n int64) {
			s.do(fmt.Sprint("lock ", typ, start, n), unix.SYS_FCNTL, fd, fOFDSetLk, flock(typ, 0, start, n))
		}
		query := func(fd uint64, typ int16, start, n int64) {
			p := flock(typ, 0, start, n)
			s.do(fmt.Sprint("query ", typ, start, n), unix.SYS_FCNTL, fd, fOFDGetLk, p)
			r := s.get(p, flockSize)
			s.logf("  %d %d %d %d", le.Uint16(r), int64(le.Uint64(r[8:])), int64(le.Uint64(r[16:])), min(1, int32(le.Uint32(r[24:]))))
		}
		rng := rand.New(rand.NewPCG(1, 2))
		fds := []uint64{a, b}
		for range 400 {
			fd := fds[rng.IntN(2)]
			start, n := rng.Int64N(60), rng.Int64N(20)
			switch rng.IntN(4) {
			case 0:
				lock(fd, unix.F_WRLCK, start, n)
			case 1:
				lock(fd, unix.F_RDLCK, start, n)
			case 2:
				lock(fd, unix.F_UNLCK, start, n)
			case 3:
				query(fd, int16(rng.IntN(2)), start, n)
			}
		}
		lock(ro, unix.F_WRLCK, 0, 1)
		for _, l := range [][2]int64{{-1, 1}, {5, -3}, {5, -6}, {1<<63 - 1, 2}, {1, 1<<63 - 1}} {
			s.do(fmt.Sprint("range ", l), unix.SYS_FCNTL, a, fOFDSetLk, flock(unix.F_UNLCK, 0, l[0], l[1]))
		}
		s.do("end", unix.SYS_FCNTL, a, fOFDSetLk, flock(unix.F_UNLCK, 2, -200, 1))
		s.do("whence", unix.SYS_FCNTL, a, fOFDSetLk, flock(unix.F_UNLCK, 7, 0, 1))
		s.do("type", unix.SYS_FCNTL, a, fOFDSetLk, flock(9, 0, 0, 1))
		s.do("address", unix.SYS_FCNTL, a, fOFDSetLk, 8)
		s.do("posix", unix.SYS_FCNTL, b, unix.F_SETLK, flock(unix.F_WRLCK, 0, 500, 10))
		query(a, unix.F_RDLCK, 400, 200)
		// Any close of the file drops the process's POSIX locks.
		s.do("close", unix.SYS_CLOSE, ro)
		query(a, unix.F_RDLCK, 500, 10)
		s.do("flock", unix.SYS_FLOCK, a, unix.LOCK_EX|unix.LOCK_NB)
		s.do("flock", unix.SYS_FLOCK, b, unix.LOCK_SH|unix.LOCK_NB)
		s.do("flock", unix.SYS_FLOCK, a, unix.LOCK_SH|unix.LOCK_NB)
		s.do("flock", unix.SYS_FLOCK, b, unix.LOCK_SH|unix.LOCK_NB)
		s.do("flock", unix.SYS_FLOCK, b, unix.LOCK_EX|unix.LOCK_NB)
		s.do("flock", unix.SYS_FLOCK, b, 77)
	})
}

// TestEpollRandomAgainstLinux makes random calls on pipes, eventfds and epoll instances.
func TestEpollRandomAgainstLinux(t *testing.T) {
	rounds := uint64(30)
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		compare(t, func(s *script) { randomEpoll(s, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func randomEpoll(s *script, rng *rand.Rand) {
	type object struct {
		fd    uint64
		kind  string // "r", "w", "event", "epoll", ""
		bytes *int   // in the pipe
		id    int    // for the log
	}
	var objs []*object
	var names int
	name := func() string { names++; return fmt.Sprint("n", names) }
	ids := 0
	add := func(fd uint64, kind string, n *int) {
		ids++
		objs = append(objs, &object{fd, kind, n, ids})
	}
	for range 3 {
		r, w := s.pipe(unix.O_NONBLOCK)
		n := new(int)
		add(r, "r", n)
		add(w, "w", n)
	}
	for range 3 {
		add(s.fd(name(), unix.SYS_EPOLL_CREATE1, 0), "epoll", nil)
	}
	for i := range 2 {
		add(s.fd(name(), unix.SYS_EVENTFD2, 0, uint64(unix.EFD_NONBLOCK|i*unix.EFD_SEMAPHORE)), "event", nil)
	}
	pick := func(kinds string) *object {
		for range 50 {
			o := objs[rng.IntN(len(objs))]
			if strings.Contains(kinds, o.kind) {
				s.logf("    %s %d", o.kind, o.id)
				return o
			}
		}
		return objs[0]
	}
	bits := []uint32{unix.EPOLLIN, unix.EPOLLOUT, epollET, unix.EPOLLONESHOT, unix.EPOLLRDHUP, unix.EPOLLPRI, unix.EPOLLERR}
	for range 300 {
		o := objs[rng.IntN(len(objs))]
		events := uint32(0)
		for _, b := range bits {
			if rng.IntN(3) == 0 {
				events |= b
			}
		}
		if rng.IntN(20) == 0 {
			events |= epollExclusive
		}
		data := rng.Uint64N(1000)
		s.logf("-- %s %d", o.kind, o.id)
		switch rng.IntN(12) {
		case 0, 1:
			s.ctl(pick("epoll").fd, unix.EPOLL_CTL_ADD, o.fd, events, data)
		case 2:
			s.ctl(pick("epoll").fd, unix.EPOLL_CTL_MOD, o.fd, events, data)
		case 3:
			s.ctl(pick("epoll").fd, unix.EPOLL_CTL_DEL, o.fd, events, data)
		case 4, 5, 6:
			s.wait(pick("epoll").fd, 1+rng.IntN(4))
		case 7:
			p := pick("w")
			// Few and small, so that slots and bytes mean the same.
			if p.kind == "w" && *p.bytes < 2000 {
				n := 1 + rng.IntN(200)
				*p.bytes += n
				s.write(p.fd, strings.Repeat("q", n))
			}
		case 8:
			p := pick("r")
			if p.kind == "r" {
				n := 1 + rng.IntN(300)
				*p.bytes = max(0, *p.bytes-n)
				s.read(p.fd, n)
			}
		case 9:
			p := pick("event")
			if rng.IntN(2) == 0 {
				s.read(p.fd, 8)
			} else {
				s.do("add", unix.SYS_WRITE, p.fd, s.put(le.AppendUint64(nil, rng.Uint64N(4))), 8)
			}
		case 10:
			s.poll(objs[rng.IntN(len(objs))].fd, o.fd)
		case 11:
			// A second descriptor, or the end of one.
			if rng.IntN(3) > 0 && len(objs) < 30 {
				fd := s.fd(name(), unix.SYS_DUP, o.fd)
				add(fd, o.kind, o.bytes)
			} else if len(objs) > 6 && rng.IntN(3) == 0 {
				i := rng.IntN(len(objs))
				if objs[i].kind != "w" || rng.IntN(2) == 0 {
					s.do("close", unix.SYS_CLOSE, objs[i].fd)
					for n, fd := range s.fds {
						if fd == objs[i].fd {
							delete(s.fds, n)
						}
					}
					objs = append(objs[:i], objs[i+1:]...)
				}
			}
		}
	}
}
