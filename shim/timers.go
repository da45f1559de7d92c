package shim

import (
	"encoding/binary"
	"time"

	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// timerCalls are the rows of the calls on timers.
func timerCalls() []Syscall {
	return []Syscall{
		{unix.SYS_ALARM, "alarm", sysAlarm, Full, "", "constant"},
		{unix.SYS_SETITIMER, "setitimer", sysSetitimer, Partial, "CPU-time timers are looked at every 10 ms, and at the end of each call that the shim serves", "constant"},
		{unix.SYS_GETITIMER, "getitimer", sysGetitimer, Full, "", "constant"},
		{unix.SYS_TIMER_CREATE, "timer_create", sysTimerCreate, Partial, "CPU-time timers are looked at every 10 ms, and at the end of each call that the shim serves", "1024 timers a process"},
		{unix.SYS_TIMER_SETTIME, "timer_settime", sysTimerSettime, Full, "", "constant"},
		{unix.SYS_TIMER_GETTIME, "timer_gettime", sysTimerGettime, Full, "", "constant"},
		{unix.SYS_TIMER_GETOVERRUN, "timer_getoverrun", sysTimerGetoverrun, Full, "", "constant"},
		{unix.SYS_TIMER_DELETE, "timer_delete", sysTimerDelete, Full, "", "constant"},
	}
}

// maxTimers bounds a process's POSIX timers.
const maxTimers = 1024

// A timer on CPU time is looked at every cpuTimerStep, more often when it is due soon, and never more often than every
// timerTick, which is Linux's tick with CONFIG_HZ=250: its own CPU timers expire at ticks only.
const (
	cpuTimerStep = 10 * time.Millisecond
	timerTick    = 4 * time.Millisecond
)

// timer is a clock that a process asked to be told of. Kernel.mu guards it; the host timer's function takes that lock.
type timer struct {
	k        *Kernel
	now      func() time.Duration // the clock
	cpu      bool                 // it runs only while the program does
	when     time.Duration        // of the next expiry, on the clock; 0 is disarmed
	interval time.Duration
	fire     func(n int64) (again bool) // n expiries, at least one; without again the timer rests until rearm
	host     *time.Timer
	gen      int // of the last arm: a host timer that fires late is told apart
}

// arm starts the timer: it expires at when, and every interval from then on. A when of 0 disarms it; then only a timer on
// CPU time remembers the interval (common_timer_set and posix_cpu_timer_set).
func (m *timer) arm(when, interval time.Duration) {
	if when == 0 && !m.cpu {
		interval = 0
	}
	m.when, m.interval = when, interval
	m.schedule()
}

// left is the time to the next expiry, also of a timer that rests; at least 1 ns while the timer is armed.
func (m *timer) left() time.Duration {
	if m.when == 0 {
		return 0
	}
	left := m.when - m.now()
	if left < 0 && m.interval > 0 {
		left = m.interval + left%m.interval
	}
	return max(left, 1)
}

// schedule sets the host's timer.
func (m *timer) schedule() {
	m.gen++
	if m.host != nil {
		m.host.Stop()
		m.host = nil
	}
	if m.when == 0 || m.k.ended {
		return
	}
	wait := max(m.when-m.now(), 1)
	if m.cpu {
		wait = max(timerTick, min(wait/time.Duration(m.k.cfg.NumCPUs), cpuTimerStep))
	}
	gen := m.gen
	m.host = time.AfterFunc(wait, func() {
		m.k.mu.Lock()
		defer m.k.mu.Unlock()
		defer m.k.guard()
		if m.gen == gen && !m.k.ended {
			m.check()
		}
	})
}

// check fires the timer if it is due. A periodic timer whose expiries nobody takes must not keep the host busy, however short
// its period: it rests until the signal is taken, and one that goes on although its signal is ignored does so at ticks.
func (m *timer) check() {
	now := m.now()
	if now < m.when {
		m.schedule()
		return
	}
	n := int64(1)
	if m.interval <= 0 {
		m.when = 0
	} else {
		n = m.forward(now)
	}
	m.host = nil
	gen := m.gen
	if m.fire(n) && m.gen == gen {
		if m.when != 0 && !m.cpu {
			m.forward(now + timerTick)
		}
		m.schedule()
	}
}

// tick fires a timer on CPU time that is due. The program is in the kernel: the host's timer may be late by far more than a
// tick while the program's own thread keeps the host busy.
func (m *timer) tick() {
	if m.cpu && m.host != nil && m.now() >= m.when {
		m.host.Stop()
		m.gen++
		m.check()
	}
}

// rearm lets a periodic timer that rests go on, and returns the expiries that came meanwhile.
func (m *timer) rearm() int64 {
	if m.host != nil {
		return 0
	}
	n := m.forward(m.now())
	m.schedule()
	return n
}

// forward moves the next expiry of a periodic timer past now and returns how many came until then (hrtimer_forward).
func (m *timer) forward(now time.Duration) int64 {
	if m.when == 0 || m.interval <= 0 || now < m.when {
		return 0
	}
	n := 1 + int64((now-m.when)/m.interval)
	m.when += time.Duration(n) * m.interval
	return n
}

// stop disarms the timer for good.
func (m *timer) stop() { m.arm(0, 0) }

// posixTimer is what timer_create(2) makes.
type posixTimer struct {
	timer
	id       int32
	clock    int32
	signo    int
	value    uint64  // sigev_value
	thread   *Thread // SIGEV_THREAD_ID; nil is the process
	silent   bool    // SIGEV_NONE
	queued   bool    // its signal is pending
	overrun  int64   // expiries since that signal was queued
	reported int32   // the overrun count of the last signal that was delivered
}

// processTimers are the timers of a process.
type processTimers struct {
	p      *Process
	real   timer // ITIMER_REAL, alarm(2)
	virt   timer
	prof   timer
	limit  timer // RLIMIT_CPU
	posix  map[int32]*posixTimer
	nextID int32
}

// init prepares the interval timers.
func (pt *processTimers) init(p *Process) {
	pt.p = p
	signal := func(n int, again bool) func(int64) bool {
		return func(int64) bool {
			p.k.send(p, nil, sig.Kernel(n))
			return again
		}
	}
	// it_real_fn: HRTIMER_NORESTART. dequeue_signal restarts it.
	pt.real = timer{k: p.k, now: p.k.monotonic, fire: signal(sig.SIGALRM, false)}
	pt.virt = timer{k: p.k, now: p.userTime, cpu: true, fire: signal(sig.SIGVTALRM, true)}
	pt.prof = timer{k: p.k, now: p.cpuTime, cpu: true, fire: signal(sig.SIGPROF, true)}
	pt.limit = timer{k: p.k, now: p.cpuTime, cpu: true, fire: func(int64) bool { pt.overLimit(); return false }}
	pt.armLimit()
}

// armLimit has the process told when it reaches RLIMIT_CPU.
func (pt *processTimers) armLimit() {
	when := time.Duration(0)
	if cur := pt.p.limits[unix.RLIMIT_CPU].cur; cur < uint64(maxSeconds) {
		when = max(time.Duration(cur)*time.Second, 1)
	}
	pt.limit.arm(when, 0)
}

// overLimit is check_process_timers of kernel/time/posix-cpu-timers.c: SIGKILL at the hard limit, SIGXCPU at the soft one,
// which moves on by a second.
func (pt *processTimers) overLimit() {
	l := &pt.p.limits[unix.RLIMIT_CPU]
	if hard := l.max; hard < uint64(maxSeconds) && pt.p.cpuTime() >= time.Duration(hard)*time.Second {
		pt.p.k.send(pt.p, nil, sig.Kernel(sig.SIGKILL))
		return
	}
	l.cur++
	pt.armLimit()
	pt.p.k.send(pt.p, nil, sig.Kernel(sig.SIGXCPU))
}

// monotonic is the time since the VM began; never 0.
func (k *Kernel) monotonic() time.Duration { return time.Since(k.boot) + 1 }

// tick is run_posix_cpu_timers of kernel/time/posix-cpu-timers.c, at the end of each call of the process.
func (pt *processTimers) tick() {
	pt.virt.tick()
	pt.prof.tick()
	for _, m := range pt.posix {
		m.tick()
	}
}

// stop ends all timers.
func (pt *processTimers) stop() {
	for _, m := range []*timer{&pt.real, &pt.virt, &pt.prof, &pt.limit} {
		if m.k != nil {
			m.stop()
		}
	}
	pt.exec()
}

// exec deletes the POSIX timers, which a new program does not inherit (exit_itimers).
func (pt *processTimers) exec() {
	for _, m := range pt.posix {
		pt.delete(m)
	}
}

func (pt *processTimers) delete(m *posixTimer) {
	m.stop()
	p := pt.p
	for _, q := range p.queues() {
		p.k.changeQueue(p, q, func() { q.DiscardTimer(m.id) })
	}
	delete(pt.posix, m.id)
}

// queues are the signal queues of the process and its threads.
func (p *Process) queues() []*sig.Queue {
	qs := []*sig.Queue{&p.pending}
	for _, t := range p.threads {
		qs = append(qs, &t.pending)
	}
	return qs
}

// expire sends the timer's signal, or counts an overrun while one from before timer_settime(2) is still pending. The timer
// goes on by itself only where no signal is queued (posix_timer_fn).
func (m *posixTimer) expire(p *Process, n int64) (again bool) {
	switch {
	case m.silent:
		return false // timer_gettime(2) reckons the rest
	case m.queued:
		m.overrun += n
		return false
	case m.thread != nil && m.thread.exited:
		return false
	}
	m.overrun = n - 1
	p.k.send(p, m.thread, sig.Timer(m.signo, m.id, 0, m.value))
	// Ignored signals are not queued.
	for _, q := range p.queues() {
		m.queued = m.queued || q.HasTimer(m.id)
	}
	return !m.queued
}

// taken notes that a timer's signal is being delivered, and completes its siginfo.
func (pt *processTimers) taken(i *sig.Info) {
	m := pt.posix[i.TimerID()]
	if m == nil || !m.queued {
		return
	}
	m.queued = false
	m.overrun += m.rearm()
	m.reported = int32(min(m.overrun, 1<<31-1))
	i.SetOverrun(m.reported)
}

// itimer returns the timer of setitimer's number.
func (pt *processTimers) itimer(which int32) (*timer, error) {
	switch which {
	case 0:
		return &pt.real, nil
	case 1:
		return &pt.virt, nil
	case 2:
		return &pt.prof, nil
	}
	return nil, unix.EINVAL
}

// remaining is what setitimer(2) and its kin tell of the time left: nothing while the timer rests (itimer_get_remtime).
func (m *timer) remaining() time.Duration {
	if m.host == nil {
		return 0
	}
	return m.left()
}

// set arms the timer for a time from now and returns what was left and the old interval.
func (m *timer) set(value, interval time.Duration) (left, old time.Duration) {
	left, old = m.remaining(), m.interval
	when := time.Duration(0)
	if value != 0 {
		if when = m.now() + value; when < 0 {
			when = 1<<63 - 1
		}
	}
	m.arm(when, interval)
	return left, old
}

func sysAlarm(t *Thread, a Args) (uint64, error) {
	left, _ := t.p.timers.real.set(time.Duration(uint32(a[0]))*time.Second, 0)
	// Rounded, but never to 0 while it is armed (alarm_setitimer).
	s := left / time.Second
	if s == 0 && left > 0 || left%time.Second >= time.Second/2 {
		s++
	}
	return uint64(s), nil
}

// readTimeval reads a struct timeval.
func readTimeval(b []byte) (time.Duration, error) {
	sec, usec := int64(binary.LittleEndian.Uint64(b[0:])), binary.LittleEndian.Uint64(b[8:])
	if sec < 0 || usec >= 1e6 {
		return 0, unix.EINVAL
	}
	if sec >= maxSeconds {
		return 1<<63 - 1, nil
	}
	return time.Duration(sec*nsPerSec) + time.Duration(usec)*time.Microsecond, nil
}

func putTimeval(b []byte, d time.Duration) {
	// An armed timer never reads as disarmed.
	if d > 0 {
		d = max(d, time.Microsecond)
	}
	binary.LittleEndian.PutUint64(b[0:], uint64(d/time.Second))
	binary.LittleEndian.PutUint64(b[8:], uint64(d%time.Second/time.Microsecond))
}

func sysSetitimer(t *Thread, a Args) (uint64, error) {
	m, err := t.p.timers.itimer(a.int32(0))
	if err != nil {
		return 0, err
	}
	var b [32]byte
	if a[1] != 0 {
		if err := t.copyIn(a[1], b[:]); err != nil {
			return 0, err
		}
	}
	interval, err := readTimeval(b[0:])
	if err != nil {
		return 0, err
	}
	value, err := readTimeval(b[16:])
	if err != nil {
		return 0, err
	}
	left, old := m.set(value, interval)
	if a[2] == 0 {
		return 0, nil
	}
	putTimeval(b[0:], old)
	putTimeval(b[16:], left)
	return 0, t.copyOut(a[2], b[:])
}

func sysGetitimer(t *Thread, a Args) (uint64, error) {
	m, err := t.p.timers.itimer(a.int32(0))
	if err != nil {
		return 0, err
	}
	var b [32]byte
	putTimeval(b[0:], m.interval)
	putTimeval(b[16:], m.remaining())
	return 0, t.copyOut(a[1], b[:])
}

// Kinds of notification of a sigevent (include/uapi/asm-generic/siginfo.h).
const (
	sigevSignal   = 0
	sigevNone     = 1
	sigevThread   = 2
	sigevThreadID = 4
	sigevSize     = 64
)

// timerClock gives a POSIX timer its clock.
func (t *Thread) timerClock(m *posixTimer) error {
	switch m.clock {
	case unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM, unix.CLOCK_REALTIME, unix.CLOCK_TAI,
		unix.CLOCK_REALTIME_ALARM:
		id := m.clock
		m.now = func() time.Duration { return time.Duration(hostClock(id)) }
		return nil
	case unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_REALTIME_COARSE, unix.CLOCK_MONOTONIC_COARSE:
		return unix.ENOTSUP
	}
	if _, err := t.readClock(m.clock); err != nil {
		return err
	}
	id := m.clock
	m.cpu = true
	m.now = func() time.Duration {
		ns, err := t.readClock(id)
		if err != nil {
			return 0 // the thread or process is gone: the clock stands
		}
		return time.Duration(ns)
	}
	return nil
}

func sysTimerCreate(t *Thread, a Args) (uint64, error) {
	pt := &t.p.timers
	if len(pt.posix) >= maxTimers {
		return 0, unix.EAGAIN
	}
	m := &posixTimer{timer: timer{k: t.k}, clock: a.int32(0), id: pt.nextID, signo: sig.SIGALRM}
	m.value = uint64(uint32(m.id))
	if err := t.timerClock(m); err != nil {
		return 0, err
	}
	if a[1] != 0 {
		if err := t.readSigevent(a[1], m); err != nil {
			return 0, err
		}
	}
	p := t.p
	m.fire = func(n int64) bool { return m.expire(p, n) }
	if err := t.writeU32(a[2], uint32(m.id)); err != nil {
		return 0, err
	}
	if pt.posix == nil {
		pt.posix = map[int32]*posixTimer{}
	}
	for pt.posix[pt.nextID] != nil || pt.nextID == m.id {
		pt.nextID = (pt.nextID + 1) & (1<<31 - 1)
	}
	pt.posix[m.id] = m
	return 0, nil
}

// readSigevent reads a struct sigevent (good_sigevent).
func (t *Thread) readSigevent(addr uint64, m *posixTimer) error {
	var b [sigevSize]byte
	if err := t.copyIn(addr, b[:]); err != nil {
		return err
	}
	le := binary.LittleEndian
	m.value = le.Uint64(b[0:])
	signo, notify, tid := int32(le.Uint32(b[8:])), le.Uint32(b[12:]), int32(le.Uint32(b[16:]))
	switch notify {
	case sigevNone:
		m.silent = true
		return nil
	case sigevThreadID | sigevSignal:
		target := t.k.threads[int(tid)]
		if target == nil || target.p != t.p {
			return unix.EINVAL
		}
		m.thread = target
	case sigevSignal, sigevThread:
	default:
		return unix.EINVAL
	}
	if signo < 1 || signo > sig.NSIG {
		return unix.EINVAL
	}
	m.signo = int(signo)
	return nil
}

// writeItimerspec stores a struct itimerspec.
func (t *Thread) writeItimerspec(addr uint64, interval, value time.Duration) error {
	var b []byte
	for _, d := range []time.Duration{interval, value} {
		b = binary.LittleEndian.AppendUint64(b, uint64(d/time.Second))
		b = binary.LittleEndian.AppendUint64(b, uint64(d%time.Second))
	}
	return t.copyOut(addr, b)
}

func sysTimerSettime(t *Thread, a Args) (uint64, error) {
	if a[2] == 0 {
		return 0, unix.EINVAL
	}
	interval, err := t.readTimespec(a[2])
	if err != nil {
		return 0, err
	}
	value, err := t.readTimespec(a[2] + 16)
	if err != nil {
		return 0, err
	}
	m := t.p.timers.posix[a.int32(0)]
	if m == nil {
		return 0, unix.EINVAL
	}
	left, old := m.left(), m.interval
	m.overrun, m.queued = 0, false
	if a.int32(1)&unix.TIMER_ABSTIME != 0 {
		m.arm(value, interval)
	} else {
		m.set(value, interval)
	}
	if a[3] == 0 {
		return 0, nil
	}
	return 0, t.writeItimerspec(a[3], old, left)
}

func sysTimerGettime(t *Thread, a Args) (uint64, error) {
	m := t.p.timers.posix[a.int32(0)]
	if m == nil {
		return 0, unix.EINVAL
	}
	return 0, t.writeItimerspec(a[1], m.interval, m.left())
}

func sysTimerGetoverrun(t *Thread, a Args) (uint64, error) {
	m := t.p.timers.posix[a.int32(0)]
	if m == nil {
		return 0, unix.EINVAL
	}
	return uint64(m.reported), nil
}

func sysTimerDelete(t *Thread, a Args) (uint64, error) {
	m := t.p.timers.posix[a.int32(0)]
	if m == nil {
		return 0, unix.EINVAL
	}
	t.p.timers.delete(m)
	return 0, nil
}
