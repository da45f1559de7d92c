package shim

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// timerFile is a timerfd: fs/timerfd.c. An expired periodic timer rests until it is read, and then catches up.
type timerFile struct {
	noopSeek
	k        *Kernel
	clock    int32
	next     int64 // when it expires, in ns of its clock; 0 if disarmed
	interval int64 // ns; 0 is one shot
	expired  bool  // next has passed, and the timer rests
	ticks    uint64
	flags    int32 // of the last settime
	host     *time.Timer
	waiters  readiness
}

// timerfdCalls are the rows of timerfd_create(2) and its siblings.
func timerfdCalls() []Syscall {
	return []Syscall{
		{unix.SYS_TIMERFD_CREATE, "timerfd_create", sysTimerfdCreate, Full, "", ""},
		{unix.SYS_TIMERFD_SETTIME, "timerfd_settime", sysTimerfdSettime, Full, "the clock is never set: no ECANCELED", ""},
		{unix.SYS_TIMERFD_GETTIME, "timerfd_gettime", sysTimerfdGettime, Full, "", ""},
	}
}

func sysTimerfdCreate(t *Thread, a Args) (uint64, error) {
	clock, flags := a.int32(0), a.int32(1)
	if flags&^(unix.TFD_CLOEXEC|unix.TFD_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	switch clock {
	case unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME:
	case unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM:
		if !t.cred.Has(unix.CAP_WAKE_ALARM) {
			return 0, unix.EPERM
		}
		// Nothing here suspends, so an alarm clock is the clock.
		clock = map[int32]int32{unix.CLOCK_REALTIME_ALARM: unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME_ALARM: unix.CLOCK_BOOTTIME}[clock]
	default:
		return 0, unix.EINVAL
	}
	f, err := t.newAnonFile("anon_inode:[timerfd]", &timerFile{k: t.k, clock: clock}, unix.O_RDWR|int(flags)&unix.O_NONBLOCK)
	if err != nil {
		return 0, err
	}
	return t.addFD(f, flags&unix.TFD_CLOEXEC != 0)
}

// timerOf returns the timer that is open at fd.
func (t *Thread) timerOf(fd int32) (*timerFile, error) {
	f, err := t.files.file(fd)
	if err != nil {
		return nil, err
	}
	tf, ok := f.impl.(*timerFile)
	if !ok {
		return nil, unix.EINVAL
	}
	return tf, nil
}

// readTimerTime reads a struct timespec of an itimerspec; times too far away are cut off, as ktime does.
func readTimerTime(b []byte) (int64, error) {
	sec, nsec := int64(le.Uint64(b)), int64(le.Uint64(b[8:]))
	if sec < 0 || nsec < 0 || nsec >= 1e9 {
		return 0, unix.EINVAL
	}
	if sec >= math.MaxInt64/1_000_000_000 {
		return math.MaxInt64, nil
	}
	return sec*1e9 + nsec, nil
}

func sysTimerfdSettime(t *Thread, a Args) (uint64, error) {
	flags := a.int32(1)
	var raw [32]byte
	if err := t.copyIn(a[2], raw[:]); err != nil {
		return 0, err
	}
	interval, err := readTimerTime(raw[0:])
	if err != nil {
		return 0, err
	}
	value, err := readTimerTime(raw[16:])
	if err != nil {
		return 0, err
	}
	const known = unix.TFD_TIMER_ABSTIME | unix.TFD_TIMER_CANCEL_ON_SET
	if flags&^known != 0 {
		return 0, unix.EINVAL
	}
	tf, err := t.timerOf(a.int32(0))
	if err != nil {
		return 0, err
	}
	old := tf.get()
	tf.set(value, interval, flags)
	if a[3] == 0 {
		return 0, nil
	}
	return 0, t.copyOut(a[3], old)
}

func sysTimerfdGettime(t *Thread, a Args) (uint64, error) {
	tf, err := t.timerOf(a.int32(0))
	if err != nil {
		return 0, err
	}
	return 0, t.copyOut(a[1], tf.get())
}

// now is the timer's clock.
func (tf *timerFile) now() int64 { return hostClock(tf.clock) }

// set arms or disarms the timer and forgets what it has counted.
func (tf *timerFile) set(value, interval int64, flags int32) {
	tf.stop()
	tf.ticks, tf.expired, tf.interval, tf.next, tf.flags = 0, false, interval, 0, flags
	if value == 0 {
		return
	}
	tf.next = value
	if flags&unix.TFD_TIMER_ABSTIME == 0 {
		now := tf.now()
		tf.next = now + min(value, math.MaxInt64-now)
	}
	tf.start()
}

// start has the host tell when the timer expires.
func (tf *timerFile) start() {
	var timer *time.Timer
	fire := func() {
		tf.k.mu.Lock()
		defer tf.k.mu.Unlock()
		if tf.host == timer && !tf.k.ended {
			tf.fire()
		}
	}
	// The callback takes the lock that is held here, so it sees timer.
	timer = time.AfterFunc(time.Duration(max(0, tf.next-tf.now())), fire)
	tf.host = timer
}

func (tf *timerFile) stop() {
	if tf.host != nil {
		tf.host.Stop()
		tf.host = nil
	}
}

// fire is what the host's timer does. It may be early with respect to another clock: then it runs again.
func (tf *timerFile) fire() {
	if tf.next > tf.now() {
		tf.start()
		return
	}
	tf.expire()
}

// due says that the timer's time has come and the host's timer is late: a thread that slept until after it is not to find
// it armed.
func (tf *timerFile) due() bool { return tf.host != nil && tf.next <= tf.now() }

// look expires a timer that is due.
func (tf *timerFile) look() {
	if tf.due() {
		tf.stop()
		tf.expire()
	}
}

// expire counts an expiration. The timer rests after it.
func (tf *timerFile) expire() {
	tf.host = nil
	tf.expired = true
	tf.ticks++
	tf.waiters.notify(unix.POLLIN)
}

// catchUp counts the periods that passed while a periodic timer rested, and starts it again (hrtimer_forward).
func (tf *timerFile) catchUp() {
	if !tf.expired || tf.interval == 0 {
		return
	}
	periods := max(0, tf.now()-tf.next)/tf.interval + 1
	tf.ticks += uint64(periods) - 1
	tf.next += min(periods*tf.interval, math.MaxInt64-tf.next)
	tf.expired = false
	tf.start()
}

// get is timerfd_gettime's struct itimerspec: interval and what is left. Asking does not use up what has been counted.
func (tf *timerFile) get() []byte {
	tf.look()
	if tf.expired && tf.interval != 0 {
		tf.catchUp()
	}
	left := int64(0)
	if tf.next != 0 && !tf.expired {
		// 0 would say that the timer is disarmed.
		left = max(1, tf.next-tf.now())
	}
	var b []byte
	for _, ns := range [...]int64{tf.interval, left} {
		b = le.AppendUint64(b, uint64(ns/1e9))
		b = le.AppendUint64(b, uint64(ns%1e9))
	}
	return b
}

func (tf *timerFile) poll() uint32 {
	if tf.ticks > 0 || tf.due() {
		return unix.POLLIN
	}
	return 0
}

func (tf *timerFile) ready() *readiness   { return &tf.waiters }
func (tf *timerFile) release()            { tf.stop() }
func (tf *timerFile) write(*ioCall) error { return unix.EINVAL }

func (tf *timerFile) read(c *ioCall) error {
	if c.left < 8 || c.buf == nil && c.iov[0].len < 8 { // of a readv, the first buffer
		return unix.EINVAL
	}
	tf.look()
	if tf.ticks == 0 {
		return errWait
	}
	tf.catchUp()
	n := tf.ticks
	tf.ticks = 0
	_, err := c.put(le.AppendUint64(nil, n))
	return err
}

func (tf *timerFile) fdinfo() string {
	left := int64(0)
	if tf.next != 0 && !tf.expired {
		left = max(1, tf.next-tf.now())
	}
	return fmt.Sprintf("clockid: %d\nticks: %d\nsettime flags: 0%o\nit_value: (%d, %d)\nit_interval: (%d, %d)\n",
		tf.clock, tf.ticks, tf.flags, left/1e9, left%1e9, tf.interval/1e9, tf.interval%1e9)
}
