package shim

import (
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// schedAttr is struct sched_attr without what only SCHED_DEADLINE needs.
type schedAttr struct {
	policy   int32 // keepPolicy: the one that the thread has
	flags    uint64
	nice     int32
	priority uint32
}

// keepPolicy is SETPARAM_POLICY.
const keepPolicy = -1

// Sizes of struct sched_attr, and its flags (include/uapi/linux/sched/types.h).
const (
	schedAttrSize0 = 48 // SCHED_ATTR_SIZE_VER0
	schedAttrSize  = 56

	schedFlagResetOnFork = 0x01
	schedFlagKeepPolicy  = 0x08
	schedFlagKeepParams  = 0x10
	schedFlagUtilClamp   = 0x60
	schedFlagAll         = 0x7f
)

// setSchedAttr is __sched_setscheduler, in what can be told from outside.
func (t *Thread) setSchedAttr(o *Thread, attr *schedAttr) error {
	s := o.sched
	if attr.policy == keepPolicy {
		attr.policy = int32(s.policy)
	} else {
		s.policy, s.resetOnFork = uint32(attr.policy), attr.flags&schedFlagResetOnFork != 0
	}
	realtime := attr.policy == schedFIFO || attr.policy == schedRR
	switch attr.policy {
	case schedOther, schedBatch:
		s.nice = attr.nice
	case schedFIFO, schedRR, schedIdle:
	default:
		return unix.EINVAL
	}
	switch {
	case attr.flags&^schedFlagAll != 0, attr.priority > 99, realtime != (attr.priority != 0):
		return unix.EINVAL
	case realtime && !t.cred.Has(unix.CAP_SYS_NICE) && uint64(attr.priority) > o.p.limits[rlimitRtprio].cur,
		!t.mayNice(o, s.nice),
		!t.maySched(o),
		o.sched.resetOnFork && !s.resetOnFork && !t.cred.Has(unix.CAP_SYS_NICE):
		return unix.EPERM
	case attr.flags&schedFlagUtilClamp != 0:
		return unix.EOPNOTSUPP // as a kernel without CONFIG_UCLAMP_TASK
	}
	s.priority = int32(attr.priority)
	o.sched = s
	return nil
}

// sysSchedSetattr is sched_setattr(2).
func sysSchedSetattr(t *Thread, a Args) (uint64, error) {
	pid, at := a.int32(0), a[1]
	if at == 0 || pid < 0 || uint32(a[2]) != 0 {
		return 0, unix.EINVAL
	}
	attr, err := t.readSchedAttr(at)
	if err != nil {
		return 0, err
	}
	if attr.policy < 0 {
		return 0, unix.EINVAL
	}
	o, err := t.schedTarget(pid)
	if err != nil {
		return 0, err
	}
	if attr.flags&schedFlagKeepPolicy != 0 {
		attr.policy = keepPolicy
	}
	if attr.flags&schedFlagKeepParams != 0 {
		attr.nice, attr.priority = o.sched.nice, uint32(o.sched.priority)
	}
	return 0, t.setSchedAttr(o, &attr)
}

// readSchedAttr is sched_copy_attr: a structure of a later kernel is taken if what this one does not know is zero. Of any
// other the program is told the size.
func (t *Thread) readSchedAttr(at uint64) (schedAttr, error) {
	size, err := t.readU32(at)
	if err != nil {
		return schedAttr{}, err
	}
	if size == 0 {
		size = schedAttrSize0
	}
	wrong := func() (schedAttr, error) {
		if err := t.writeU32(at, schedAttrSize); err != nil {
			return schedAttr{}, err
		}
		return schedAttr{}, unix.E2BIG
	}
	if size < schedAttrSize0 || size > abi.PageSize {
		return wrong()
	}
	b := make([]byte, max(size, schedAttrSize))
	if err := t.copyIn(at, b[:size]); err != nil {
		return schedAttr{}, err
	}
	for _, c := range b[schedAttrSize:] {
		if c != 0 {
			return wrong()
		}
	}
	attr := schedAttr{
		policy: int32(le.Uint32(b[4:])), flags: le.Uint64(b[8:]),
		nice: min(max(int32(le.Uint32(b[16:])), -20), 19), priority: le.Uint32(b[20:]),
	}
	if attr.flags&schedFlagUtilClamp != 0 && size < schedAttrSize {
		return attr, unix.EINVAL
	}
	return attr, nil
}

// sysSchedGetattr is sched_getattr(2).
func sysSchedGetattr(t *Thread, a Args) (uint64, error) {
	pid, at, size := a.int32(0), a[1], uint32(a[2])
	if at == 0 || pid < 0 || size > abi.PageSize || size < schedAttrSize0 || uint32(a[3]) != 0 {
		return 0, unix.EINVAL
	}
	o, err := t.schedTarget(pid)
	if err != nil {
		return 0, err
	}
	if !accessOK(at, uint64(size)) {
		return 0, unix.EFAULT
	}
	var b [schedAttrSize]byte
	n := min(size, schedAttrSize)
	le.PutUint32(b[0:], n)
	le.PutUint32(b[4:], o.sched.policy)
	if o.sched.resetOnFork {
		le.PutUint64(b[8:], schedFlagResetOnFork)
	}
	if o.sched.policy == schedFIFO || o.sched.policy == schedRR {
		le.PutUint32(b[20:], uint32(o.sched.priority))
	} else {
		le.PutUint32(b[16:], uint32(o.sched.nice))
	}
	return 0, t.copyOut(at, b[:n])
}
