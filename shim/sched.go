package shim

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// schedParams are what sched_setscheduler(2) and the like set. The guest's scheduler is round robin whatever they
// say; the affinity is real.
type schedParams struct {
	policy      uint32
	priority    int32
	nice        int32
	resetOnFork bool
	affinity    uint64 // a bit per vCPU
	ioprio      int32
	slack       uint64 // PR_SET_TIMERSLACK, in ns
}

// Policies (include/uapi/linux/sched.h).
const (
	schedOther       = 0
	schedFIFO        = 1
	schedRR          = 2
	schedBatch       = 3
	schedIdle        = 5
	schedResetOnFork = 0x40000000
	defaultSlack     = 50000
)

// forChild is what a new thread starts with.
func (s schedParams) forChild() schedParams {
	if s.resetOnFork {
		s.resetOnFork = false
		if s.policy == schedFIFO || s.policy == schedRR {
			s.policy, s.priority = schedOther, 0
		}
		s.nice = max(s.nice, 0)
	}
	return s
}

// atomicStore is a store that ring 0 may race with.
func atomicStore(p *uint64, v uint64) { atomic.StoreUint64(p, v) }

// atomicLoad loads a word that ring 0 stores.
func atomicLoad(p *uint64) uint64 { return atomic.LoadUint64(p) }

// allCPUs has a bit per vCPU.
func (k *Kernel) allCPUs() uint64 { return 1<<k.cfg.NumCPUs - 1 }

// schedCalls are the rows of the calls on scheduling.
func schedCalls() []Syscall {
	const note = "kept and reported; threads are scheduled round robin"
	return []Syscall{
		{unix.SYS_SCHED_YIELD, "sched_yield", sysSchedYield, Full, "", "constant"},
		{unix.SYS_SCHED_SETAFFINITY, "sched_setaffinity", sysSchedSetaffinity, Full, "", "constant"},
		{unix.SYS_SCHED_GETAFFINITY, "sched_getaffinity", sysSchedGetaffinity, Full, "", "constant"},
		{unix.SYS_SCHED_SETSCHEDULER, "sched_setscheduler", sysSchedSetscheduler, Partial, note, "constant"},
		{unix.SYS_SCHED_GETSCHEDULER, "sched_getscheduler", sysSchedGetscheduler, Full, "", "constant"},
		{unix.SYS_SCHED_SETPARAM, "sched_setparam", sysSchedSetparam, Partial, note, "constant"},
		{unix.SYS_SCHED_GETPARAM, "sched_getparam", sysSchedGetparam, Full, "", "constant"},
		{unix.SYS_SCHED_SETATTR, "sched_setattr", sysSchedSetattr, Partial, note + "; no SCHED_DEADLINE", "constant"},
		{unix.SYS_SCHED_GETATTR, "sched_getattr", sysSchedGetattr, Full, "", "constant"},
		{unix.SYS_SCHED_GET_PRIORITY_MAX, "sched_get_priority_max", sysSchedPriorityMax, Full, "", "constant"},
		{unix.SYS_SCHED_GET_PRIORITY_MIN, "sched_get_priority_min", sysSchedPriorityMin, Full, "", "constant"},
		{unix.SYS_SCHED_RR_GET_INTERVAL, "sched_rr_get_interval", sysSchedRRInterval, Full, "", "constant"},
		{unix.SYS_GETPRIORITY, "getpriority", sysGetpriority, Full, "", "threads"},
		{unix.SYS_SETPRIORITY, "setpriority", sysSetpriority, Partial, note, "threads"},
		{unix.SYS_IOPRIO_GET, "ioprio_get", sysIoprioGet, Partial, "of one process only", "constant"},
		{unix.SYS_IOPRIO_SET, "ioprio_set", sysIoprioSet, Partial, "of one process only; kept and reported", "constant"},
		{unix.SYS_GETCPU, "getcpu", sysGetcpu, Full, "one NUMA node", "constant"},
		{unix.SYS_MEMBARRIER, "membarrier", sysMembarrier, Partial, "without rseq commands", "vCPUs"},
		{unix.SYS_RSEQ, "rseq", sysAbsent, None, "ENOSYS, and C libraries do without: a user word to store at every switch of a thread would cost those more than it gives", "constant"},
	}
}

func sysSchedYield(*Thread, Args) (uint64, error) { return 0, nil }

// sysAbsent answers for calls that programs probe for and do without: they are not counted as unknown.
func sysAbsent(*Thread, Args) (uint64, error) { return 0, unix.ENOSYS }

// schedTarget finds the thread that a sched_* call names; 0 is the caller.
func (t *Thread) schedTarget(pid int32) (*Thread, error) {
	if pid < 0 {
		return nil, unix.EINVAL
	}
	if pid == 0 {
		return t, nil
	}
	if o := t.k.threads[int(pid)]; o != nil {
		return o, nil
	}
	return nil, unix.ESRCH
}

// maySched is check_same_owner or CAP_SYS_NICE.
func (t *Thread) maySched(o *Thread) bool {
	return t.cred.EUID == o.cred.EUID || t.cred.EUID == o.cred.UID || t.cred.Has(unix.CAP_SYS_NICE)
}

func sysSchedSetaffinity(t *Thread, a Args) (uint64, error) {
	n := min(a[1]&0xffffffff, abi.MaxVCPUs/8+4)
	var b [8]byte
	if err := t.copyIn(a[2], b[:min(n, 8)]); err != nil {
		return 0, err
	}
	o, err := t.schedTarget(a.int32(0))
	if err != nil {
		return 0, err
	}
	if !t.maySched(o) {
		return 0, unix.EPERM
	}
	mask := binary.LittleEndian.Uint64(b[:]) & t.k.allCPUs()
	if mask == 0 {
		return 0, unix.EINVAL
	}
	o.sched.affinity = mask
	atomicStore(&o.slot.Affinity, mask)
	if o == t && mask>>t.vcpu&1 == 0 {
		// Leave this vCPU: the thread is taken by one that it may run on.
		return t.Block(t.awaitSwitch)
	}
	// Another thread moves at its next switch, at the latest when its time slice ends.
	return 0, nil
}

// switchTries bounds the wait for ring 0 to leave a thread, in units of busyPause: a hostile one never does.
const switchTries = 2000

// awaitSwitch completes a call once ring 0 has left the thread: one that is woken on the way stays on its vCPU.
func (t *Thread) awaitSwitch(w *Waiter) (uint64, error) {
	for try := 0; try < switchTries && atomic.LoadUint64(&t.slot.State) != abi.StateBlocked; try++ {
		w.Unlocked(nil, func() { time.Sleep(busyPause) })
		if err := w.interrupted(false); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func sysSchedGetaffinity(t *Thread, a Args) (uint64, error) {
	n := a[1] & 0xffffffff
	if n*8 < uint64(t.k.cfg.NumCPUs) || n&7 != 0 {
		return 0, unix.EINVAL
	}
	o, err := t.schedTarget(a.int32(0))
	if err != nil {
		return 0, err
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], o.sched.affinity)
	return 8, t.copyOut(a[2], b[:])
}

// setScheduler is sched_setscheduler: the nice value stays.
func (t *Thread) setScheduler(pid, policy, priority int32) error {
	o, err := t.schedTarget(pid)
	if err != nil {
		return err
	}
	attr := schedAttr{policy: policy, nice: o.sched.nice, priority: uint32(priority)}
	if policy >= 0 && policy&schedResetOnFork != 0 {
		attr.policy, attr.flags = policy&^schedResetOnFork, schedFlagResetOnFork
	}
	return t.setSchedAttr(o, &attr)
}

func sysSchedSetscheduler(t *Thread, a Args) (uint64, error) {
	if a.int32(0) < 0 || a.int32(1) < 0 || a[2] == 0 {
		return 0, unix.EINVAL
	}
	prio, err := t.readU32(a[2])
	if err != nil {
		return 0, err
	}
	return 0, t.setScheduler(a.int32(0), a.int32(1), int32(prio))
}

func sysSchedSetparam(t *Thread, a Args) (uint64, error) {
	if a.int32(0) < 0 || a[1] == 0 {
		return 0, unix.EINVAL
	}
	prio, err := t.readU32(a[1])
	if err != nil {
		return 0, err
	}
	return 0, t.setScheduler(a.int32(0), keepPolicy, int32(prio))
}

func sysSchedGetscheduler(t *Thread, a Args) (uint64, error) {
	o, err := t.schedTarget(a.int32(0))
	if err != nil {
		return 0, err
	}
	policy := uint64(o.sched.policy)
	if o.sched.resetOnFork {
		policy |= schedResetOnFork
	}
	return policy, nil
}

func sysSchedGetparam(t *Thread, a Args) (uint64, error) {
	if a[1] == 0 {
		return 0, unix.EINVAL
	}
	o, err := t.schedTarget(a.int32(0))
	if err != nil {
		return 0, err
	}
	return 0, t.writeU32(a[1], uint32(o.sched.priority))
}

func sysSchedPriorityMax(_ *Thread, a Args) (uint64, error) { return priorityBound(a.int32(0), 99) }
func sysSchedPriorityMin(_ *Thread, a Args) (uint64, error) { return priorityBound(a.int32(0), 1) }

func priorityBound(policy int32, realtime uint64) (uint64, error) {
	switch policy {
	case schedFIFO, schedRR:
		return realtime, nil
	case schedOther, schedBatch, schedIdle, 6: // SCHED_DEADLINE
		return 0, nil
	}
	return 0, unix.EINVAL
}

func sysSchedRRInterval(t *Thread, a Args) (uint64, error) {
	o, err := t.schedTarget(a.int32(0))
	if err != nil {
		return 0, err
	}
	slice := int64(4000000)
	switch o.sched.policy {
	case schedRR:
		slice = 100000000
	case schedFIFO:
		slice = 0
	}
	return 0, t.writeTimespec(a[1], slice)
}

// priorityTargets are the threads that getpriority(2) and setpriority(2) mean.
func (t *Thread) priorityTargets(which, who int32) ([]*Thread, error) {
	var match func(o *Thread) bool
	switch which {
	case unix.PRIO_PROCESS:
		tid := int(who)
		if who == 0 {
			tid = t.tid
		}
		match = func(o *Thread) bool { return o.tid == tid }
	case unix.PRIO_PGRP:
		id := int(who)
		if who == 0 {
			id = t.p.group.id
		}
		match = func(o *Thread) bool { return o.p.group != nil && o.p.group.id == id }
	case unix.PRIO_USER:
		uid := uint32(who)
		if who == 0 {
			uid = t.cred.UID
		}
		match = func(o *Thread) bool { return o.cred.UID == uid }
	default:
		return nil, unix.EINVAL
	}
	var out []*Thread
	for _, o := range t.k.threads {
		if match(o) {
			out = append(out, o)
		}
	}
	if len(out) == 0 {
		return nil, unix.ESRCH
	}
	return out, nil
}

func sysGetpriority(t *Thread, a Args) (uint64, error) {
	targets, err := t.priorityTargets(a.int32(0), a.int32(1))
	if err != nil {
		return 0, err
	}
	best := int32(0)
	for _, o := range targets {
		best = max(best, 20-o.sched.nice)
	}
	return uint64(best), nil
}

// mayNice is can_nice: whether the thread may give o that nice value.
func (t *Thread) mayNice(o *Thread, nice int32) bool {
	return nice >= o.sched.nice || t.cred.Has(unix.CAP_SYS_NICE) || uint64(20-nice) <= o.p.limits[rlimitNice].cur
}

func sysSetpriority(t *Thread, a Args) (uint64, error) {
	nice := min(max(a.int32(2), -20), 19)
	targets, err := t.priorityTargets(a.int32(0), a.int32(1))
	if err != nil {
		return 0, err
	}
	for _, o := range targets {
		switch {
		case !t.maySched(o):
			err = unix.EPERM
		case !t.mayNice(o, nice):
			err = unix.EACCES
		default:
			o.sched.nice = nice
		}
	}
	return 0, err
}

// ioprioWhoProcess is IOPRIO_WHO_PROCESS.
const ioprioWhoProcess = 1

func sysIoprioGet(t *Thread, a Args) (uint64, error) {
	if a.int32(0) != ioprioWhoProcess {
		return 0, unix.EINVAL
	}
	o, err := t.schedTarget(a.int32(1))
	if err != nil {
		return 0, err
	}
	return uint64(o.sched.ioprio), nil
}

func sysIoprioSet(t *Thread, a Args) (uint64, error) {
	v := a.int32(2)
	class, data := v>>13, v&0x1fff
	if a.int32(0) != ioprioWhoProcess || class < 0 || class > 3 || class == 0 && data != 0 || data&7 > 7 {
		return 0, unix.EINVAL
	}
	o, err := t.schedTarget(a.int32(1))
	if err != nil {
		return 0, err
	}
	if !t.maySched(o) || class == 1 && !t.cred.Has(unix.CAP_SYS_ADMIN) && !t.cred.Has(unix.CAP_SYS_NICE) {
		return 0, unix.EPERM
	}
	o.sched.ioprio = v
	return 0, nil
}

func sysGetcpu(t *Thread, a Args) (uint64, error) {
	if a[0] != 0 {
		if err := t.writeU32(a[0], uint32(t.cpu())); err != nil {
			return 0, err
		}
	}
	if a[1] != 0 {
		return 0, t.writeU32(a[1], 0)
	}
	return 0, nil
}

// Commands of membarrier(2) (include/uapi/linux/membarrier.h).
const (
	mbQuery               = 0
	mbGlobal              = 1 << 0
	mbGlobalExpedited     = 1 << 1
	mbRegisterGlobal      = 1 << 2
	mbPrivateExpedited    = 1 << 3
	mbRegisterPrivate     = 1 << 4
	mbPrivateSyncCore     = 1 << 5
	mbRegisterPrivateSync = 1 << 6
	mbGetRegistrations    = 1 << 9
	mbSupported           = mbGlobal | mbGlobalExpedited | mbRegisterGlobal | mbPrivateExpedited | mbRegisterPrivate |
		mbPrivateSyncCore | mbRegisterPrivateSync | mbGetRegistrations
)

// sysMembarrier serves membarrier(2). A barrier is a shootdown: every vCPU that runs the address space leaves ring 3
// and reloads CR3, which serialises.
func sysMembarrier(t *Thread, a Args) (uint64, error) {
	cmd, flags := a.int32(0), uint32(a[1])
	if flags != 0 {
		return 0, unix.EINVAL
	}
	switch cmd {
	case mbQuery:
		return mbSupported, nil
	case mbRegisterGlobal, mbRegisterPrivate, mbRegisterPrivateSync:
		t.p.membarrier |= uint32(cmd)
		return 0, nil
	case mbGetRegistrations:
		return uint64(t.p.membarrier), nil
	case mbPrivateExpedited, mbPrivateSyncCore:
		if t.p.membarrier&uint32(cmd<<1) == 0 {
			return 0, unix.EPERM
		}
		flusher{t.k}.Shootdown(t.mm.Guest())
		return 0, nil
	case mbGlobal, mbGlobalExpedited:
		for _, s := range t.k.spaces() {
			flusher{t.k}.Shootdown(s.Guest())
		}
		return 0, nil
	}
	return 0, unix.EINVAL
}
