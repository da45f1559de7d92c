package shim

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTimerfdHostLate: a timer whose time has come has expired, even if the host's timer has not fired yet.
func TestTimerfdHostLate(t *testing.T) {
	const period = 10 * time.Millisecond
	w, x := newWorld(t)
	fd := x.mustCall(unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK)
	late := func() {
		x.wantCall(0, unix.SYS_TIMERFD_SETTIME, fd, 0, x.poke(0x100, 0, uint64(period), 0, uint64(period)), 0)
		w.k.mu.Lock()
		tf, err := x.w.k.slots[x.i].timerOf(int32(fd))
		if err != nil {
			t.Fatal(err)
		}
		tf.host.Stop()
		w.k.mu.Unlock()
		time.Sleep(3 * period)
	}
	poll := func() int64 { return x.call(unix.SYS_POLL, x.poke(0x200, fd|unix.POLLIN<<32), 1, 0) }

	late()
	if got := poll(); got != 1 {
		t.Errorf("poll of a timer that is due: %d, want 1", got)
	}
	x.wantCall(8, unix.SYS_READ, fd, testBase+0x300, 8)
	if n := x.peek(testBase + 0x300); n < 3 {
		t.Errorf("%d expirations in three periods and more", n)
	}

	late()
	x.wantCall(0, unix.SYS_TIMERFD_GETTIME, fd, testBase+0x300)
	if left := x.peek(testBase + 0x318); left == 0 || left > uint64(period) {
		t.Errorf("%d ns left of a period of %d", left, period)
	}
	x.wantCall(8, unix.SYS_READ, fd, testBase+0x300, 8)
}
