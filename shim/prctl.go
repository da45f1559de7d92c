package shim

import (
	"strings"

	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// commMax is TASK_COMM_LEN without its NUL.
const commMax = 15

// setComm sets the thread's name as /proc/PID/comm shows it.
func (t *Thread) setComm(name string) {
	if i := strings.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	t.comm = name[:min(len(name), commMax)]
}

func boolResult(b bool) (uint64, error) {
	if b {
		return 1, nil
	}
	return 0, nil
}

// sysPrctl serves the options of prctl(2) that act on one thread or process of the VM.
func sysPrctl(t *Thread, a Args) (uint64, error) {
	switch option := a.int32(0); option {
	case unix.PR_SET_NAME:
		return t.prSetName(a[1])
	case unix.PR_GET_NAME:
		var b [commMax + 1]byte
		copy(b[:], t.comm)
		return 0, t.copyOut(a[1], b[:])
	case unix.PR_SET_PDEATHSIG:
		if a[1] > sig.NSIG {
			return 0, unix.EINVAL
		}
		t.pdeathsig = int(a[1])
		return 0, nil
	case unix.PR_GET_PDEATHSIG:
		return 0, t.writeU32(a[1], uint32(t.pdeathsig))
	case unix.PR_SET_DUMPABLE:
		if a[1] > 1 {
			return 0, unix.EINVAL
		}
		t.p.noDump = a[1] == 0
		return 0, nil
	case unix.PR_GET_DUMPABLE:
		return boolResult(!t.p.noDump)
	case unix.PR_SET_CHILD_SUBREAPER:
		t.p.subreaper = a[1] != 0
		return 0, nil
	case unix.PR_GET_CHILD_SUBREAPER:
		v, _ := boolResult(t.p.subreaper)
		return 0, t.writeU32(a[1], uint32(v))
	case unix.PR_SET_TIMERSLACK:
		if t.sched.slack = a[1]; int64(a[1]) <= 0 {
			t.sched.slack = defaultSlack
		}
		return 0, nil
	case unix.PR_GET_TIMERSLACK:
		return t.sched.slack, nil
	case unix.PR_GET_TID_ADDRESS:
		return 0, t.writeU64(a[1], atomicLoad(&t.slot.ClearTID))
	case unix.PR_SET_THP_DISABLE:
		if a[2]|a[3]|a[4] != 0 {
			return 0, unix.EINVAL
		}
		t.p.noTHP = a[1] != 0
		return 0, nil
	case unix.PR_GET_THP_DISABLE:
		if a[1]|a[2]|a[3]|a[4] != 0 {
			return 0, unix.EINVAL
		}
		return boolResult(t.p.noTHP)
	}
	return t.prctlCred(a)
}

func (t *Thread) prSetName(addr uint64) (uint64, error) {
	// strncpy_from_user: at most 15 bytes count, and no more need be there.
	name, err := t.readString(addr, commMax)
	if err == unix.ENAMETOOLONG {
		b := make([]byte, commMax)
		if err := t.copyIn(addr, b); err != nil {
			return 0, err
		}
		name = string(b)
	} else if err != nil {
		return 0, err
	}
	t.setComm(name)
	return 0, nil
}

// Options that package unix does not name.
const (
	prGetSpeculation = 52
	prGetAuxv        = 0x41555856
)

// prctlCred serves the options about privileges (cap_task_prctl) and the rest.
func (t *Thread) prctlCred(a Args) (uint64, error) {
	c := t.cred
	switch a.int32(0) {
	case unix.PR_SET_NO_NEW_PRIVS:
		if a[1] != 1 || a[2]|a[3]|a[4] != 0 {
			return 0, unix.EINVAL
		}
		n := c.clone()
		n.noNewPrivs = true
		t.setCred(n)
		return 0, nil
	case unix.PR_GET_NO_NEW_PRIVS:
		if a[1]|a[2]|a[3]|a[4] != 0 {
			return 0, unix.EINVAL
		}
		return boolResult(c.noNewPrivs)
	case unix.PR_GET_KEEPCAPS:
		return boolResult(c.securebits&secKeepCaps != 0)
	case unix.PR_SET_KEEPCAPS:
		if a[1] > 1 {
			return 0, unix.EINVAL
		}
		if c.securebits&(secKeepCaps<<1) != 0 {
			return 0, unix.EPERM
		}
		n := c.clone()
		n.securebits &^= secKeepCaps
		if a[1] != 0 {
			n.securebits |= secKeepCaps
		}
		t.setCred(n)
		return 0, nil
	case unix.PR_GET_SECUREBITS:
		return uint64(c.securebits), nil
	case unix.PR_SET_SECUREBITS:
		return t.setSecurebits(uint32(a[1]))
	case unix.PR_CAPBSET_READ:
		if a[1] > unix.CAP_LAST_CAP {
			return 0, unix.EINVAL
		}
		return c.bounding >> a[1] & 1, nil
	case unix.PR_CAPBSET_DROP:
		if !t.has(unix.CAP_SETPCAP) {
			return 0, unix.EPERM
		}
		if a[1] > unix.CAP_LAST_CAP {
			return 0, unix.EINVAL
		}
		n := c.clone()
		n.bounding &^= 1 << a[1]
		t.setCred(n)
		return 0, nil
	case unix.PR_CAP_AMBIENT:
		return t.prAmbient(a)
	case unix.PR_GET_SECCOMP:
		return 0, nil
	case unix.PR_GET_TIMING:
		return 0, nil // PR_TIMING_STATISTICAL
	case unix.PR_MCE_KILL_GET:
		return 2, nil // PR_MCE_KILL_DEFAULT
	case unix.PR_GET_TSC:
		return 0, t.writeU32(a[1], unix.PR_TSC_ENABLE)
	case prGetSpeculation:
		return 0, nil // PR_SPEC_NOT_AFFECTED
	case prGetAuxv:
		return t.prAuxv(a)
	}
	return 0, unix.EINVAL
}

func (t *Thread) setSecurebits(bits uint32) (uint64, error) {
	old := t.cred.securebits
	switch {
	case bits&^(secAllBits|secAllLocks) != 0:
		return 0, unix.EPERM
	case old&secAllLocks>>1&(old^bits) != 0, // a locked bit would change
		old&secAllLocks&^bits != 0, // a lock would go
		!t.has(unix.CAP_SETPCAP):
		return 0, unix.EPERM
	}
	n := t.cred.clone()
	n.securebits = bits
	t.setCred(n)
	return 0, nil
}

func (t *Thread) prAmbient(a Args) (uint64, error) {
	if a[1] == unix.PR_CAP_AMBIENT_CLEAR_ALL {
		if a[2]|a[3]|a[4] != 0 {
			return 0, unix.EINVAL
		}
		n := t.cred.clone()
		n.ambient = 0
		t.setCred(n)
		return 0, nil
	}
	if a[2] > unix.CAP_LAST_CAP || a[3]|a[4] != 0 {
		return 0, unix.EINVAL
	}
	bit := uint64(1) << a[2]
	n := t.cred.clone()
	switch a[1] {
	case unix.PR_CAP_AMBIENT_IS_SET:
		return boolResult(n.ambient&bit != 0)
	case unix.PR_CAP_AMBIENT_RAISE:
		if n.permitted&n.inheritable&bit == 0 || n.securebits&secNoCapAmbientUp != 0 {
			return 0, unix.EPERM
		}
		n.ambient |= bit
	case unix.PR_CAP_AMBIENT_LOWER:
		n.ambient &^= bit
	default:
		return 0, unix.EINVAL
	}
	t.setCred(n)
	return 0, nil
}

// prAuxv copies out the auxiliary vector of the program.
func (t *Thread) prAuxv(a Args) (uint64, error) {
	if a[3]|a[4] != 0 {
		return 0, unix.EINVAL
	}
	b := t.p.auxv()
	return uint64(len(b)), t.copyOut(a[1], b[:min(a[2], uint64(len(b)))])
}
