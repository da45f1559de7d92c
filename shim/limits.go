package shim

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// numLimits is RLIM_NLIMITS.
const numLimits = 16

// Limits that package unix does not name (include/uapi/asm-generic/resource.h).
const (
	rlimitLocks      = 10
	rlimitSigpending = 11
	rlimitMsgqueue   = 12
	rlimitNice       = 13
	rlimitRtprio     = 14
	rlimitRttime     = 15
)

// rlimInfinity is RLIM_INFINITY.
const rlimInfinity = ^uint64(0)

// limits are a process's rlimits, indexed by RLIMIT_*.
type limits [numLimits]struct{ cur, max uint64 }

// initialLimits are those of the first process (INIT_RLIMITS), with the VM's own limits.
func (k *Kernel) initialLimits() limits {
	var l limits
	for i := range l {
		l[i].cur, l[i].max = rlimInfinity, rlimInfinity
	}
	set := func(i int, cur, max uint64) { l[i].cur, l[i].max = cur, max }
	set(unix.RLIMIT_STACK, 8<<20, rlimInfinity)
	set(unix.RLIMIT_CORE, 0, rlimInfinity)
	set(unix.RLIMIT_NPROC, uint64(k.cfg.Limits.Processes), uint64(k.cfg.Limits.Processes))
	set(unix.RLIMIT_NOFILE, min(1024, uint64(k.cfg.Limits.Files)), uint64(k.cfg.Limits.Files))
	set(unix.RLIMIT_MEMLOCK, 8<<20, 8<<20)
	set(rlimitSigpending, maxQueuedSignals, maxQueuedSignals)
	set(rlimitMsgqueue, 819200, 819200)
	set(rlimitNice, 0, 0)
	set(rlimitRtprio, 0, 0)
	return l
}

// limitCalls are the rows of the calls on resources.
func limitCalls() []Syscall {
	return []Syscall{
		{unix.SYS_GETRLIMIT, "getrlimit", sysGetrlimit, Full, "", "constant"},
		{unix.SYS_SETRLIMIT, "setrlimit", sysSetrlimit, Partial, "RTTIME is kept but not enforced", "constant"},
		{unix.SYS_PRLIMIT64, "prlimit64", sysPrlimit64, Partial, "RTTIME is kept but not enforced", "constant"},
		{unix.SYS_GETRUSAGE, "getrusage", sysGetrusage, Full, "time in ring 0 counts as user time", "threads of the process"},
	}
}

// changeLimit is do_prlimit.
func (t *Thread) changeLimit(p *Process, i int, cur, max uint64) error {
	l := &p.limits[i]
	if cur > max {
		return unix.EINVAL
	}
	if max > l.max && !t.cred.Has(unix.CAP_SYS_RESOURCE) {
		return unix.EPERM
	}
	if i == unix.RLIMIT_NOFILE && max > uint64(t.k.cfg.Limits.Files) {
		return unix.EPERM
	}
	l.cur, l.max = cur, max
	switch i {
	case unix.RLIMIT_CPU:
		p.timers.armLimit()
	case unix.RLIMIT_NOFILE:
		for _, t := range p.threads {
			t.publishLimit()
		}
	}
	if p.mm != nil {
		p.mm.SetLimits(p.memoryLimits())
	}
	return nil
}

func sysPrlimit64(t *Thread, a Args) (uint64, error) {
	pid, i, newAt, oldAt := a.int32(0), a.int32(1), a[2], a[3]
	if i < 0 || i >= numLimits {
		return 0, unix.EINVAL
	}
	var b [16]byte
	le := binary.LittleEndian
	if newAt != 0 {
		if err := t.copyIn(newAt, b[:]); err != nil {
			return 0, err
		}
	}
	p := t.p
	if pid != 0 {
		if p = t.k.processOfTID(pid); p == nil || p.zombie {
			return 0, unix.ESRCH
		}
		c, o := t.cred, p.leader.cred
		same := c.UID == o.EUID && c.UID == o.suid && c.UID == o.UID && c.GID == o.EGID && c.GID == o.sgid && c.GID == o.GID
		if p != t.p && !same && !c.Has(unix.CAP_SYS_RESOURCE) {
			return 0, unix.EPERM
		}
	}
	old := p.limits[i]
	if newAt != 0 {
		if err := t.changeLimit(p, int(i), le.Uint64(b[0:]), le.Uint64(b[8:])); err != nil {
			return 0, err
		}
	}
	if oldAt == 0 {
		return 0, nil
	}
	le.PutUint64(b[0:], old.cur)
	le.PutUint64(b[8:], old.max)
	return 0, t.copyOut(oldAt, b[:])
}

func sysGetrlimit(t *Thread, a Args) (uint64, error) {
	if a[1] == 0 && uint64(uint32(a[0])) < numLimits {
		return 0, unix.EFAULT
	}
	return sysPrlimit64(t, Args{0, a[0], 0, a[1]})
}

func sysSetrlimit(t *Thread, a Args) (uint64, error) {
	if a[1] == 0 {
		return 0, unix.EFAULT
	}
	return sysPrlimit64(t, Args{0, a[0], a[1], 0})
}

// marshal returns a struct rusage.
func (u *usage) marshal() []byte {
	b := make([]byte, 144)
	le := binary.LittleEndian
	put := func(i int, v uint64) { le.PutUint64(b[8*i:], v) }
	putTime := func(i int, d time.Duration) {
		put(i, uint64(d/time.Second))
		put(i+1, uint64(d%time.Second/time.Microsecond))
	}
	putTime(0, u.user)
	putTime(2, u.system)
	put(4, u.maxRSS>>10)
	put(8, uint64(u.minflt))
	put(9, uint64(u.majflt))
	put(16, uint64(u.nvcsw))
	put(17, uint64(u.nivcsw))
	return b
}

func sysGetrusage(t *Thread, a Args) (uint64, error) {
	var u usage
	switch a.int32(0) {
	case unix.RUSAGE_SELF:
		u = t.p.usageSelf()
	case unix.RUSAGE_CHILDREN:
		u = t.p.childUsage
	case unix.RUSAGE_THREAD:
		u = t.usage()
		u.maxRSS = t.mm.Usage().PeakRSS
	default:
		return 0, unix.EINVAL
	}
	return 0, t.copyOut(a[1], u.marshal())
}
