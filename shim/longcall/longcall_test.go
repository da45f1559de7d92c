package longcall

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func eventfd(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// ring writes to an eventfd a while later. With one processor of Go's it can do so only if the call has given that away.
func ring(t *testing.T, fd int) {
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	go func() {
		time.Sleep(20 * time.Millisecond)
		unix.Write(fd, []byte{7, 0, 0, 0, 0, 0, 0, 0}) //nolint:errcheck // the test would hang
	}()
}

func TestPoll(t *testing.T) {
	quiet, loud := eventfd(t), eventfd(t)
	fds := []unix.PollFd{{Fd: int32(quiet), Events: unix.POLLIN}, {Fd: int32(loud), Events: unix.POLLIN}}
	ring(t, loud)
	n, err := Poll(fds)
	if err == unix.EINTR {
		n, err = Poll(fds)
	}
	if n != 1 || err != nil || fds[0].Revents != 0 || fds[1].Revents != unix.POLLIN {
		t.Errorf("got %d, %v, %v", n, err, fds)
	}
	if err := ReadCount(loud); err != nil {
		t.Error(err)
	}
}

func TestReadCount(t *testing.T) {
	fd := eventfd(t)
	ring(t, fd)
	if err := ReadCount(fd); err != nil {
		t.Error(err)
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
		t.Errorf("the count is still there: %d, %v", n, err)
	}
	if err := ReadCount(-1); err != unix.EBADF {
		t.Errorf("of no descriptor: %v", err)
	}
}

func TestRing(t *testing.T) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if Rang(fd) {
		t.Error("it rang before anybody did")
	}
	Ring(fd)
	Ring(fd)
	if !Rang(fd) {
		t.Error("it did not ring")
	}
	if Rang(fd) {
		t.Error("it rings still")
	}
}
