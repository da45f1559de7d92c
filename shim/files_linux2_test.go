package shim

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (s *script) eventfd(count uint64, flags uint64) uint64 {
	return s.fd(fmt.Sprint("e", len(s.fds)), unix.SYS_EVENTFD2, count, flags|unix.EFD_NONBLOCK)
}

func (s *script) add(fd, v uint64) {
	s.do(fmt.Sprint("add ", v), unix.SYS_WRITE, fd, s.put(le.AppendUint64(nil, v)), 8)
}

func TestEventfdAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		e := s.eventfd(3, 0)
		s.poll(e)
		s.read(e, 7)
		s.read(e, 100)
		s.read(e, 8)
		s.poll(e)
		s.add(e, 0)
		s.read(e, 8)
		s.add(e, ^uint64(0))
		s.add(e, ^uint64(0)-1)
		s.poll(e)
		s.add(e, 1)
		s.add(e, 0)
		s.do("short", unix.SYS_WRITE, e, s.alloc(8), 4)
		s.do("long", unix.SYS_WRITE, e, s.alloc(16), 16)
		s.read(e, 8)
		s.poll(e)
		sem := s.eventfd(2, unix.EFD_SEMAPHORE)
		for range 3 {
			s.read(sem, 8)
		}
		s.do("bad flags", unix.SYS_EVENTFD2, 0, 2<<20)
		s.do("bad buffer", unix.SYS_WRITE, e, 8, 8)
		s.do("lseek", unix.SYS_LSEEK, e, 0, 0)
		s.do("pread", unix.SYS_PREAD64, e, s.alloc(8), 8, 0)
		st := s.alloc(statSize)
		s.do("fstat", unix.SYS_FSTAT, e, st)
		s.logf("mode %o", le.Uint32(s.get(st+24, 4)))
		s.do("ioctl", unix.SYS_IOCTL, e, fionread, s.alloc(8))
		s.do("ftruncate", unix.SYS_FTRUNCATE, e, 1)
		s.do("mmap", unix.SYS_MMAP, 0, 4096, 1, unix.MAP_PRIVATE, e, 0)
		s.do("fsync", unix.SYS_FSYNC, e)
		iov := s.put(le.AppendUint64(le.AppendUint64(le.AppendUint64(le.AppendUint64(nil, s.alloc(8)), 4), s.alloc(8)), 4))
		s.do("readv", unix.SYS_READV, e, iov, 2)
		s.do("writev", unix.SYS_WRITEV, e, iov, 2)
		s.do("splice", unix.SYS_SPLICE, e, 0, e, 0, 8, 0)
	})
}

func TestTimerfdAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		f := s.fd("t", unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK)
		spec := func(interval, value time.Duration) uint64 {
			var b []byte
			for _, d := range []time.Duration{interval, value} {
				b = le.AppendUint64(le.AppendUint64(b, uint64(d/time.Second)), uint64(d%time.Second))
			}
			return s.put(b)
		}
		set := func(interval, value time.Duration, flags uint64) {
			s.do("settime", unix.SYS_TIMERFD_SETTIME, f, flags, spec(interval, value), s.alloc(32))
		}
		get := func() {
			a := s.alloc(32)
			s.do("gettime", unix.SYS_TIMERFD_GETTIME, f, a)
			b := s.get(a, 32)
			s.logf("interval %d, armed %v", le.Uint64(b[8:]), le.Uint64(b[16:]) != 0 || le.Uint64(b[24:]) != 0)
		}
		s.read(f, 8)
		s.poll(f)
		get()
		set(0, time.Hour, 0)
		get()
		s.read(f, 8)
		set(0, time.Millisecond, 0)
		time.Sleep(20 * time.Millisecond)
		s.poll(f)
		get()
		s.read(f, 4)
		s.read(f, 100)
		s.read(f, 8)
		set(0, 1, unix.TFD_TIMER_ABSTIME) // long ago
		time.Sleep(10 * time.Millisecond)
		s.read(f, 8)
		get()
		set(time.Hour, time.Millisecond, 0)
		time.Sleep(20 * time.Millisecond)
		s.poll(f)
		set(0, 0, 0)
		s.poll(f)
		s.read(f, 8)
		get()
		set(-1, 0, 0)
		s.do("flags", unix.SYS_TIMERFD_SETTIME, f, 8, spec(0, 1), 0)
		s.do("address", unix.SYS_TIMERFD_SETTIME, f, 0, 8, 0)
		s.do("write", unix.SYS_WRITE, f, s.alloc(8), 8)
		s.do("clock", unix.SYS_TIMERFD_CREATE, 77, 0)
		s.do("flags", unix.SYS_TIMERFD_CREATE, 1, 7)
		e := s.eventfd(0, 0)
		s.do("other", unix.SYS_TIMERFD_GETTIME, e, s.alloc(32))
	})
}

func TestTimerfdPeriods(t *testing.T) {
	vm := newFileVM(t)
	f := uint64(vm.must(unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, 0))
	b := le.AppendUint64(le.AppendUint64(nil, 0), 5e6)
	start := time.Now()
	vm.must(unix.SYS_TIMERFD_SETTIME, f, 0, vm.put(append(b, b...)), 0)
	total := uint64(0)
	for total < 10 {
		total += le.Uint64([]byte(vm.read(f, 8)))
	}
	if took := time.Since(start); took < 5*time.Millisecond*time.Duration(total)-time.Millisecond || took > 5*time.Second {
		t.Errorf("%d periods of 5 ms in %v", total, took)
	}
}

func TestSpliceAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		f := s.open("f", "f", unix.O_RDWR|unix.O_CREAT)
		s.write(f, strings.Repeat("0123456789", 1000))
		r, w := s.pipe(unix.O_NONBLOCK)
		r2, w2 := s.pipe(unix.O_NONBLOCK)
		off := func(v uint64) uint64 { return s.put(le.AppendUint64(nil, v)) }
		splice := func(in, inOff, out, outOff, n, flags uint64) {
			s.do(fmt.Sprint("splice ", n), unix.SYS_SPLICE, in, inOff, out, outOff, n, flags)
		}
		o := off(5)
		splice(f, o, w, 0, 20, 0)
		s.logf("offset %d", le.Uint64(s.get(o, 8)))
		s.do("tee", unix.SYS_TEE, r, w2, 7, 0)
		s.do("tee", unix.SYS_TEE, r, w2, 100, 0)
		s.read(r2, 100)
		splice(r, 0, w2, 0, 10, 0)
		s.read(r, 100)
		s.read(r2, 100)
		splice(r, 0, w2, 0, 10, 0)
		splice(r, 0, w, 0, 10, 0)
		splice(f, 0, f, 0, 10, 0)
		splice(r, o, f, 0, 10, 0)
		splice(r, 0, f, 0, 10, 99)
		splice(r, 0, f, 0, 0, 0)
		splice(w, 0, r, 0, 1, 0)
		splice(f, off(1<<63), w, 0, 1, 0)
		splice(f, 8, w, 0, 1, 0)
		splice(f, off(100000), w, 0, 10, 0)
		s.write(w, "to the file")
		o = off(2)
		splice(r, 0, f, o, 100, 0)
		s.logf("offset %d", le.Uint64(s.get(o, 8)))
		s.do("lseek", unix.SYS_LSEEK, f, 0, unix.SEEK_SET)
		s.read(f, 20)
		// vmsplice, both ways.
		buf := s.put([]byte("user memory"))
		iov := s.put(le.AppendUint64(le.AppendUint64(nil, buf), 11))
		s.do("vmsplice", unix.SYS_VMSPLICE, w, iov, 1, 0)
		s.do("vmsplice", unix.SYS_VMSPLICE, f, iov, 1, 0)
		s.do("vmsplice", unix.SYS_VMSPLICE, r, s.put(le.AppendUint64(le.AppendUint64(nil, s.alloc(20)), 4)), 1, 0)
		s.read(r, 100)
		s.do("vmsplice", unix.SYS_VMSPLICE, r, iov, 1, unix.SPLICE_F_NONBLOCK)
		// sendfile and copy_file_range.
		g := s.open("g", "g", unix.O_RDWR|unix.O_CREAT)
		a := s.open("a", "g", unix.O_WRONLY|unix.O_APPEND)
		o = off(10)
		s.do("sendfile", unix.SYS_SENDFILE, g, f, o, 30)
		s.logf("offset %d", le.Uint64(s.get(o, 8)))
		s.do("sendfile", unix.SYS_SENDFILE, a, f, o, 30)
		s.do("sendfile", unix.SYS_SENDFILE, w, f, 0, 30)
		s.do("sendfile", unix.SYS_SENDFILE, g, r, 0, 30)
		s.do("sendfile", unix.SYS_SENDFILE, g, r, o, 30)
		s.do("sendfile", unix.SYS_SENDFILE, f, g, off(1<<63), 30)
		s.do("sendfile", unix.SYS_SENDFILE, f, g, 8, 30)
		s.read(r, 100)
		copyRange := func(in, inOff, out, outOff, n, flags uint64) {
			s.do(fmt.Sprint("copy_file_range ", n), unix.SYS_COPY_FILE_RANGE, in, inOff, out, outOff, n, flags)
		}
		copyRange(f, off(0), g, off(100), 50, 0)
		copyRange(f, off(0), f, off(10), 50, 0)
		copyRange(f, off(0), a, off(10), 50, 0)
		copyRange(f, off(0), w, 0, 50, 0)
		copyRange(f, off(0), g, 0, 50, 1)
		copyRange(f, off(1<<40), g, 0, 50, 0)
		dir := s.open("dir", "", unix.O_RDONLY)
		copyRange(dir, 0, g, 0, 50, 0)
		splice(dir, 0, w, 0, 10, 0)
		s.do("lseek", unix.SYS_LSEEK, g, 0, unix.SEEK_SET)
		s.read(g, 200)
		// Nobody reads.
		s.do("close", unix.SYS_CLOSE, r2)
		splice(f, off(0), w2, 0, 10, 0)
		s.do("tee", unix.SYS_TEE, r, w2, 10, 0)
		// The last writer is gone.
		s.do("close", unix.SYS_CLOSE, w)
		splice(r, 0, f, 0, 10, 0)
	})
}

func TestFIFOAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		p := s.str(s.dir() + "/fifo")
		s.do("mkfifo", unix.SYS_MKNODAT, atFDCWD, p, unix.S_IFIFO|0o600, 0)
		s.do("mkfifo", unix.SYS_MKNODAT, atFDCWD, p, unix.S_IFIFO|0o600, 0)
		s.open("w", "fifo", unix.O_WRONLY|unix.O_NONBLOCK)
		r := s.open("r", "fifo", unix.O_RDONLY|unix.O_NONBLOCK)
		s.poll(r)
		s.read(r, 10)
		w := s.open("w", "fifo", unix.O_WRONLY|unix.O_NONBLOCK)
		s.poll(r, w)
		s.read(r, 10)
		s.write(w, "through")
		s.read(r, 10)
		st := s.alloc(statSize)
		s.do("fstat", unix.SYS_FSTAT, r, st)
		s.logf("mode %o", le.Uint32(s.get(st+24, 4)))
		s.do("close", unix.SYS_CLOSE, w)
		s.poll(r)
		s.read(r, 10)
		w = s.open("w", "fifo", unix.O_WRONLY|unix.O_NONBLOCK)
		s.poll(r)
		s.do("close", unix.SYS_CLOSE, r)
		s.write(w, "nobody")
		s.poll(w)
		rw := s.open("rw", "fifo", unix.O_RDWR)
		s.write(w, "somebody")
		s.poll(rw, w)
		s.read(rw, 100)
		s.do("lseek", unix.SYS_LSEEK, rw, 0, 0)
		s.do("pipe size", unix.SYS_FCNTL, rw, unix.F_SETPIPE_SZ, 4096)
		s.write(rw, strings.Repeat("x", 4096))
		s.poll(rw)
		s.do("getfl", unix.SYS_FCNTL, rw, unix.F_GETFL)
		s.open("direct", "fifo", unix.O_RDWR|unix.O_DIRECT)
		opath := s.open("opath", "fifo", unix.O_PATH)
		s.do("read", unix.SYS_READ, opath, st, 1)
		s.do("trunc", unix.SYS_OPENAT, atFDCWD, p, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_DIRECTORY, 0)
		s.do("truncate", unix.SYS_TRUNCATE, p, 0)
		s.do("unlink", unix.SYS_UNLINK, p)
		s.read(rw, 10)
	})
}

// TestFIFORendezvous: a blocking open waits for the other end, also if that is gone again by then.
func TestFIFORendezvous(t *testing.T) {
	vm := newFileVM(t)
	p := vm.str("/tmp/fifo")
	vm.must(unix.SYS_MKNODAT, atFDCWD, p, unix.S_IFIFO|0o600, 0)
	child := vm.fork(0)
	c := vm.start(child, unix.SYS_OPENAT, atFDCWD, p, unix.O_RDONLY, 0)
	if !c.blocked() {
		t.Fatal("the reader does not wait")
	}
	w := vm.open("/tmp/fifo", unix.O_WRONLY, 0)
	vm.must(unix.SYS_CLOSE, w)
	if r, e := c.wait(); e != 0 || r != 0 {
		t.Errorf("open = %d, %v", r, e)
	}
	if r, e := vm.start(child, unix.SYS_CLOSE, 0).wait(); r != 0 || e != 0 {
		t.Errorf("close = %d, %v", r, e)
	}
	// A signal ends the wait, and leaves no end open.
	c = vm.start(child, unix.SYS_OPENAT, atFDCWD, p, unix.O_WRONLY, 0)
	if !c.blocked() {
		t.Fatal("the writer does not wait")
	}
	vm.in(func() { vm.k.send(child.p, nil, sigUser(unix.SIGKILL, vm.t)) })
	c.wait()
	vm.end(child)
	vm.fails(unix.ENXIO, unix.SYS_OPENAT, atFDCWD, p, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	vm.checkClosed()
}

// TestBlockedReferences: a call that waits keeps its file, whatever happens to the descriptor.
func TestBlockedReferences(t *testing.T) {
	vm := newFileVM(t)
	r, w := vm.pipe(0)
	thread := vm.fork(0)
	vm.must(unix.SYS_CLOSE, r)
	a := vm.alloc(16)
	c := vm.start(thread, unix.SYS_READ, r, a, 10)
	for _, fd := range []uint64{r, w} {
		if fd == w {
			break
		}
		vm.in(func() { thread.files.close(int(fd)) })
	}
	if !c.blocked() {
		t.Fatal("read does not wait")
	}
	vm.write(w, "still there")
	if n, e := c.wait(); n != 10 || e != 0 {
		t.Errorf("read = %d, %v", n, e)
	}
	vm.in(func() { vm.t.p.actions.put(int(unix.SIGPIPE), sigAction{handler: SIG_IGN}) })
	vm.fails(unix.EPIPE, unix.SYS_WRITE, w, a, 1)
	vm.end(thread)
	vm.checkClosed()
}

// TestPipeFaultsAgainstLinux: what a copy leaves behind that ends at memory which is not there.
func TestPipeFaultsAgainstLinux(t *testing.T) {
	compare(t, func(s *script) {
		// The last page of the mapping goes: what lies before it is there.
		area, e := s.call(unix.SYS_MMAP, 0, 3*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0)
		if e != 0 {
			s.logf("mmap: %v", e)
		}
		edge := uint64(area) + 2*4096
		s.do("munmap", unix.SYS_MUNMAP, edge, 4096)
		for _, flags := range []int{unix.O_NONBLOCK, unix.O_NONBLOCK | unix.O_DIRECT} {
			r, w := s.pipe(flags)
			count := func() {
				a := s.alloc(4)
				s.do("fionread", unix.SYS_IOCTL, r, fionread, a)
				s.logf("  %d", le.Uint32(s.get(a, 4)))
			}
			for _, before := range []uint64{0, 10, 4096, 5000, 8192} {
				for _, n := range []uint64{100, 4096, 6000, 20000} {
					s.do(fmt.Sprint("write ", n, " of which are there ", before), unix.SYS_WRITE, w, edge-before, n)
					count()
				}
			}
			s.do("drain", unix.SYS_READ, r, s.alloc(1<<16), 1<<16)
			s.do("close", unix.SYS_CLOSE, w)
			s.do("close", unix.SYS_CLOSE, r)
			// Linux's page slots begin where ours do in a pipe that is new.
			r, w = s.pipe(flags)
			s.write(w, strings.Repeat("abcd", 3000))
			for _, before := range []uint64{0, 10, 4096, 5000, 8192} {
				s.do(fmt.Sprint("read of which fit ", before), unix.SYS_READ, r, edge-before, 12000)
				count()
			}
			for range 4 {
				s.read(r, 100)
			}
		}
	})
}

// TestBlockedWriteIsWatched: a write that has put in a part and waits for room hears of what ring 0 reads.
func TestBlockedWriteIsWatched(t *testing.T) {
	vm := newFileVM(t)
	r, w := vm.pipe(0)
	e := uint64(vm.must(unix.SYS_EVENTFD2, ^uint64(0)>>33, 0))
	child := vm.fork(0)
	c := vm.start(child, unix.SYS_WRITE, w, vm.alloc(100000), 100000)
	time.Sleep(20 * time.Millisecond)
	if !c.blocked() {
		t.Fatal("write does not wait")
	}
	vm.read(r, 8192)
	time.Sleep(20 * time.Millisecond)
	vm.in(func() {
		f, err := child.files.file(int32(w))
		if err != nil {
			t.Fatal(err)
		}
		if atomic.LoadUint64(&f.impl.(*pipeFile).p.end.Pipe.HostWatch) == 0 {
			t.Error("a writer sleeps, and ring 0 tells of nothing")
		}
	})
	vm.in(func() { vm.k.send(child.p, nil, sigUser(unix.SIGKILL, vm.t)) })
	c.wait()
	vm.end(child)
	// The same of a writev on an eventfd: its last value does not fit.
	one, much := vm.put(le.AppendUint64(nil, 1)), vm.put(le.AppendUint64(nil, ^uint64(0)-1))
	var iov []byte
	for _, a := range []uint64{one, much, much} {
		iov = le.AppendUint64(le.AppendUint64(iov, a), 8)
	}
	array := vm.put(iov)
	child = vm.fork(0)
	c = vm.start(child, unix.SYS_WRITEV, e, array, 3)
	time.Sleep(20 * time.Millisecond)
	if !c.blocked() {
		t.Fatal("writev does not wait")
	}
	vm.read(e, 8)
	time.Sleep(20 * time.Millisecond)
	vm.in(func() {
		f, err := child.files.file(int32(e))
		if err != nil {
			t.Fatal(err)
		}
		if atomic.LoadUint64(&f.impl.(*eventFile).ev.HostWatch) == 0 {
			t.Error("a writer sleeps, and ring 0 tells of nothing")
		}
	})
	vm.in(func() { vm.k.send(child.p, nil, sigUser(unix.SIGKILL, vm.t)) })
	c.wait()
	vm.end(child)
	vm.checkClosed()
}

// TestEpollClosed: an interest goes with the last descriptor, and a closed file leaves nothing behind.
func TestEpollClosed(t *testing.T) {
	vm := newFileVM(t)
	r, w := vm.pipe(unix.O_NONBLOCK)
	ep := uint64(vm.must(unix.SYS_EPOLL_CREATE1, 0))
	ev := vm.put(le.AppendUint64(le.AppendUint32(nil, unix.EPOLLIN), 7))
	vm.must(unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_ADD, r, ev)
	child := vm.fork(0)
	c := vm.start(child, unix.SYS_EPOLL_WAIT, ep, vm.alloc(24), 2, ^uint64(0))
	if !c.blocked() {
		t.Fatal("epoll_wait does not wait")
	}
	vm.write(w, "x")
	if n, e := c.wait(); n != 1 || e != 0 {
		t.Errorf("epoll_wait = %d, %v", n, e)
	}
	vm.end(child)
	vm.must(unix.SYS_CLOSE, r)
	if n := vm.must(unix.SYS_EPOLL_WAIT, ep, vm.alloc(24), 2, 0); n != 0 {
		t.Errorf("%d events of a closed file", n)
	}
	vm.checkClosed()
}

// TestMmapOutlivesFile: a mapping has the contents of a file that has neither name nor description, also if nobody touched
// the mapping before, as glibc's sem_open(3)
// leaves it.
func TestMmapOutlivesFile(t *testing.T) {
	vm := newFileVM(t)
	fd := vm.open("/tmp/m", unix.O_RDWR|unix.O_CREAT, 0o600)
	vm.write(fd, "semaphore")
	m := uint64(vm.must(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, fd, 0))
	vm.must(unix.SYS_UNLINK, vm.str("/tmp/m"))
	vm.must(unix.SYS_CLOSE, fd)
	if got := string(vm.get(m, 9)); got != "semaphore" {
		t.Errorf("mapped %q", got)
	}
	vm.must(unix.SYS_MUNMAP, m, 4096)
	vm.checkClosed()
}

// TestMmapTemporaryFiles: files that were mapped leave no trace when they are removed, before or after.
func TestMmapTemporaryFiles(t *testing.T) {
	vm := newFileVM(t)
	free := func() uint64 {
		a := vm.alloc(120)
		vm.must(unix.SYS_STATFS, vm.str("/tmp"), a)
		return le.Uint64(vm.get(a+24, 8)) // f_bfree
	}
	want := free()
	unlink := func() { vm.must(unix.SYS_UNLINK, vm.str("/tmp/m")) }
	for i := range 4 {
		fd := vm.open("/tmp/m", unix.O_RDWR|unix.O_CREAT, 0o600)
		vm.write(fd, strings.Repeat("x", 20000))
		m := uint64(vm.must(unix.SYS_MMAP, 0, 20480, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, fd, 0))
		vm.put([]byte{vm.get(m, 1)[0]})
		vm.in(func() {
			if err := vm.t.copyOut(m+5000, []byte("stored")); err != nil {
				t.Error(err)
			}
		})
		if i&1 == 0 {
			unlink()
		}
		if i&2 == 0 {
			vm.must(unix.SYS_CLOSE, fd)
		}
		vm.must(unix.SYS_MUNMAP, m, 20480)
		if i&2 != 0 {
			a := vm.alloc(16)
			vm.must(unix.SYS_PREAD64, fd, a, 6, 5000)
			if got := string(vm.get(a, 6)); got != "stored" {
				t.Errorf("%d: the file has %q", i, got)
			}
			vm.must(unix.SYS_CLOSE, fd)
		}
		if i&1 != 0 {
			unlink()
		}
		if got := free(); got != want {
			t.Errorf("%d: %d blocks are free, %d were", i, got, want)
		}
	}
	vm.checkClosed()
}

// TestMmapCoherence: what is written is seen through a mapping and the other way round.
func TestMmapCoherence(t *testing.T) {
	vm := newFileVM(t)
	fd := vm.open("/tmp/m", unix.O_RDWR|unix.O_CREAT, 0o600)
	vm.write(fd, strings.Repeat("a", 10000))
	m := uint64(vm.must(unix.SYS_MMAP, 0, 12288, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, fd, 0))
	if got := string(vm.get(m+9990, 10)); got != "aaaaaaaaaa" {
		t.Errorf("mapped %q", got)
	}
	b := vm.put([]byte("written"))
	vm.must(unix.SYS_PWRITE64, fd, b, 7, 5000)
	if got := string(vm.get(m+5000, 7)); got != "written" {
		t.Errorf("after a write the mapping has %q", got)
	}
	vm.in(func() {
		if err := vm.t.copyOut(m+100, []byte("stored")); err != nil {
			t.Error(err)
		}
	})
	a := vm.alloc(16)
	vm.must(unix.SYS_PREAD64, fd, a, 6, 100)
	if got := string(vm.get(a, 6)); got != "stored" {
		t.Errorf("after a store the file has %q", got)
	}
	vm.must(unix.SYS_FTRUNCATE, fd, 4096)
	vm.in(func() {
		if err := vm.t.copyIn(m+8192, make([]byte, 1)); err == nil {
			t.Error("a page past the end of the file is still mapped")
		}
	})
	vm.must(unix.SYS_MUNMAP, m, 12288)
	vm.must(unix.SYS_PREAD64, fd, a, 6, 100)
	if got := string(vm.get(a, 6)); got != "stored" {
		t.Errorf("after munmap the file has %q", got)
	}
}
