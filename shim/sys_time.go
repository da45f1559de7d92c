package shim

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// timeCalls are the rows of the calls that tell the time and sleep.
func timeCalls() []Syscall {
	return []Syscall{
		{unix.SYS_CLOCK_GETTIME, "clock_gettime", sysClockGettime, Full, "the clocks are the host's; programs read them through the vDSO", "constant"},
		{unix.SYS_CLOCK_GETRES, "clock_getres", sysClockGetres, Full, "", "constant"},
		{unix.SYS_CLOCK_SETTIME, "clock_settime", sysClockSettime, Stub, "the clock cannot be set: EPERM", "constant"},
		{unix.SYS_CLOCK_NANOSLEEP, "clock_nanosleep", sysClockNanosleep, Full, "", "constant"},
		{unix.SYS_NANOSLEEP, "nanosleep", sysNanosleep, Full, "", "constant"},
		{unix.SYS_GETTIMEOFDAY, "gettimeofday", sysGettimeofday, Full, "", "constant"},
		{unix.SYS_SETTIMEOFDAY, "settimeofday", sysSettimeofday, Stub, "the clock cannot be set: EPERM", "constant"},
		{unix.SYS_TIME, "time", sysTime, Full, "", "constant"},
		{unix.SYS_TIMES, "times", sysTimes, Full, "", "threads of the process"},
		{unix.SYS_ADJTIMEX, "adjtimex", sysAdjtimex, Stub, "the clock cannot be set: EPERM", "constant"},
		{unix.SYS_CLOCK_ADJTIME, "clock_adjtime", sysAdjtimex, Stub, "the clock cannot be set: EPERM", "constant"},
	}
}

// nsPerSec is nanoseconds in a second.
const nsPerSec = int64(time.Second)

// maxSeconds is KTIME_SEC_MAX: longer times are for ever.
const maxSeconds = (1<<63 - 1) / nsPerSec

// readTimespec reads a struct timespec that says how long; EINVAL if it is none. What exceeds the largest duration
// becomes that.
func (t *Thread) readTimespec(addr uint64) (time.Duration, error) {
	var b [16]byte
	if err := t.copyIn(addr, b[:]); err != nil {
		return 0, err
	}
	sec, nsec := int64(binary.LittleEndian.Uint64(b[0:])), binary.LittleEndian.Uint64(b[8:])
	if sec < 0 || nsec >= uint64(nsPerSec) {
		return 0, unix.EINVAL
	}
	if sec >= maxSeconds {
		return 1<<63 - 1, nil
	}
	return time.Duration(sec*nsPerSec + int64(nsec)), nil
}

// writeTimespec stores nanoseconds as a struct timespec.
func (t *Thread) writeTimespec(addr uint64, ns int64) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(ns/nsPerSec))
	b = binary.LittleEndian.AppendUint64(b, uint64(ns%nsPerSec))
	return t.copyOut(addr, b)
}

// hostClock reads a clock of the host. The alarm clocks, which a host without a clock chip lacks, show the same time as
// those that they wake a suspended machine for.
func hostClock(id int32) int64 {
	switch id {
	case unix.CLOCK_REALTIME_ALARM:
		id = unix.CLOCK_REALTIME
	case unix.CLOCK_BOOTTIME_ALARM:
		id = unix.CLOCK_BOOTTIME
	}
	var ts unix.Timespec
	if unix.ClockGettime(id, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

// CPU-time clocks of a process or thread by number (include/linux/posix-timers.h): 0 (CPUCLOCK_PROF) and 2 (CPUCLOCK_SCHED)
// are all of its time.
const (
	cpuClockVirt      = 1
	cpuClockPerThread = 4
)

// readClock returns a clock's time in nanoseconds, or EINVAL.
func (t *Thread) readClock(id int32) (int64, error) {
	switch id {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_REALTIME_COARSE,
		unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM,
		unix.CLOCK_TAI:
		return hostClock(id), nil
	case unix.CLOCK_PROCESS_CPUTIME_ID:
		return int64(t.p.cpuTime()), nil
	case unix.CLOCK_THREAD_CPUTIME_ID:
		return int64(t.cpuTime()), nil
	}
	if id >= 0 || id&3 == 3 {
		return 0, unix.EINVAL
	}
	pid := ^(id >> 3)
	if id&cpuClockPerThread != 0 {
		target := t
		if pid != 0 {
			target = t.k.threads[int(pid)]
		}
		if target == nil || target.p != t.p {
			return 0, unix.EINVAL
		}
		if id&3 == cpuClockVirt {
			user, _ := target.splitTime()
			return int64(user), nil
		}
		return int64(target.cpuTime()), nil
	}
	p := t.p
	if pid != 0 {
		p = t.k.process(pid)
	}
	if p == nil {
		return 0, unix.EINVAL
	}
	if id&3 == cpuClockVirt {
		return int64(p.userTime()), nil
	}
	return int64(p.cpuTime()), nil
}

func sysClockGettime(t *Thread, a Args) (uint64, error) {
	ns, err := t.readClock(a.int32(0))
	if err != nil {
		return 0, err
	}
	return 0, t.writeTimespec(a[1], ns)
}

func sysClockGetres(t *Thread, a Args) (uint64, error) {
	id := a.int32(0)
	if _, err := t.readClock(id); err != nil {
		return 0, err
	}
	if a[1] == 0 {
		return 0, nil
	}
	res := int64(1)
	if id == unix.CLOCK_REALTIME_COARSE || id == unix.CLOCK_MONOTONIC_COARSE {
		res = 4000000
	}
	return 0, t.writeTimespec(a[1], res)
}

func sysClockSettime(t *Thread, a Args) (uint64, error) {
	if _, err := t.readClock(a.int32(0)); err != nil {
		return 0, err
	}
	if _, err := t.readTimespec(a[1]); err != nil {
		return 0, err
	}
	if a.int32(0) != unix.CLOCK_REALTIME {
		return 0, unix.EINVAL
	}
	return 0, unix.EPERM
}

func sysSettimeofday(*Thread, Args) (uint64, error) { return 0, unix.EPERM }

func sysAdjtimex(*Thread, Args) (uint64, error) { return 0, unix.EPERM }

func sysNanosleep(t *Thread, a Args) (uint64, error) {
	d, err := t.readTimespec(a[0])
	if err != nil {
		return 0, err
	}
	return t.sleepUntil(time.Now().Add(d), a[1])
}

// sleepUntil sleeps to a deadline. Interrupted without a handler, it goes on through restart_syscall; what is left is
// stored at remainAt if that is not 0 (hrtimer_nanosleep).
func (t *Thread) sleepUntil(deadline time.Time, remainAt uint64) (uint64, error) {
	return t.Block(func(w *Waiter) (uint64, error) {
		err := w.Sleep(deadline)
		switch err {
		case errTimeout:
			return 0, nil
		case ERESTARTSYS:
		default:
			return 0, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return 0, nil
		}
		if remainAt != 0 {
			if err := t.writeTimespec(remainAt, int64(left)); err != nil {
				return 0, err
			}
		}
		t.goOnBy(func(t *Thread, _ Args) (uint64, error) { return t.sleepUntil(deadline, remainAt) })
		return 0, ERESTART_RESTARTBLOCK
	})
}

func sysClockNanosleep(t *Thread, a Args) (uint64, error) {
	id, flags, requestAt, remainAt := a.int32(0), a.int32(1), a[2], a[3]
	switch id {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_TAI, unix.CLOCK_REALTIME_ALARM,
		unix.CLOCK_BOOTTIME_ALARM:
	case unix.CLOCK_PROCESS_CPUTIME_ID:
		return t.cpuSleep(flags, requestAt)
	default:
		if _, err := t.readClock(id); err != nil {
			return 0, err
		}
		if id == unix.CLOCK_THREAD_CPUTIME_ID {
			return 0, unix.EINVAL
		}
		return 0, unix.ENOTSUP
	}
	d, err := t.readTimespec(requestAt)
	if err != nil {
		return 0, err
	}
	if flags&unix.TIMER_ABSTIME == 0 {
		return t.sleepUntil(time.Now().Add(d), remainAt)
	}
	return t.Block(func(w *Waiter) (uint64, error) {
		for {
			left := int64(d) - hostClock(id)
			if left <= 0 {
				return 0, nil
			}
			// A long sleep looks at the clock now and then, since the host may set it.
			step := min(time.Duration(left), time.Minute)
			if err := w.Sleep(time.Now().Add(step)); err != errTimeout {
				return 0, noHandler(err)
			}
		}
	})
}

// cpuSleep waits until the process has run for some time, or until its clock shows some time.
func (t *Thread) cpuSleep(flags int32, requestAt uint64) (uint64, error) {
	d, err := t.readTimespec(requestAt)
	if err != nil {
		return 0, err
	}
	if flags&unix.TIMER_ABSTIME == 0 {
		if d += t.p.cpuTime(); d < 0 {
			d = 1<<63 - 1
		}
	}
	return t.Block(func(w *Waiter) (uint64, error) {
		for {
			left := d - t.p.cpuTime()
			if left <= 0 {
				return 0, nil
			}
			// All vCPUs may work for the process.
			step := max(left/time.Duration(t.k.cfg.NumCPUs), time.Millisecond)
			if err := w.Sleep(time.Now().Add(step)); err != errTimeout {
				return 0, noHandler(err)
			}
		}
	})
}

// noHandler turns an interrupted sleep into one that only a handler ends.
func noHandler(err error) error {
	if err == ERESTARTSYS {
		return ERESTARTNOHAND
	}
	return err
}

func sysGettimeofday(t *Thread, a Args) (uint64, error) {
	if a[0] != 0 {
		now := hostClock(unix.CLOCK_REALTIME)
		b := binary.LittleEndian.AppendUint64(nil, uint64(now/nsPerSec))
		b = binary.LittleEndian.AppendUint64(b, uint64(now%nsPerSec/1000))
		if err := t.copyOut(a[0], b); err != nil {
			return 0, err
		}
	}
	if a[1] != 0 {
		// struct timezone: UTC.
		return 0, t.copyOut(a[1], make([]byte, 8))
	}
	return 0, nil
}

func sysTime(t *Thread, a Args) (uint64, error) {
	now := uint64(hostClock(unix.CLOCK_REALTIME) / nsPerSec)
	if a[0] != 0 {
		if err := t.writeU64(a[0], now); err != nil {
			return 0, err
		}
	}
	return now, nil
}

func sysTimes(t *Thread, a Args) (uint64, error) {
	if a[0] != 0 {
		self, kids := t.p.usageSelf(), t.p.childUsage
		var b []byte
		for _, d := range []time.Duration{self.user, self.system, kids.user, kids.system} {
			b = binary.LittleEndian.AppendUint64(b, ticks(d))
		}
		if err := t.copyOut(a[0], b); err != nil {
			return 0, err
		}
	}
	return ticks(time.Duration(hostClock(unix.CLOCK_MONOTONIC))), nil
}
