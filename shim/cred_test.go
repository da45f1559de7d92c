package shim

import (
	"testing"

	"golang.org/x/sys/unix"
)

const noIDArg = uint64(0xffffffff)

func TestUserIDs(t *testing.T) {
	_, x := newWorld(t)
	x.wantCall(0, unix.SYS_SETRESUID, 1000, 1001, 1002)
	x.wantCall(0, unix.SYS_GETRESUID, testBase+0x100, testBase+0x104, testBase+0x108)
	if a, b := x.peek(testBase+0x100), x.peek32(testBase+0x108); a != 1001<<32|1000 || b != 1002 {
		t.Errorf("getresuid: %#x %#x", a, b)
	}
	if x.slot.UID != 1000 || x.slot.EUID != 1001 {
		t.Errorf("ring 0 is told %d, %d", x.slot.UID, x.slot.EUID)
	}
	if c := x.thread().cred; c.Caps != 0 || c.permitted != 0 {
		t.Errorf("capabilities stay: %#x", c.Caps)
	}
	x.wantCall(unix.EPERM, unix.SYS_SETUID, 0)
	x.wantCall(unix.EPERM, unix.SYS_SETRESUID, noIDArg, 5, noIDArg)
	x.wantCall(0, unix.SYS_SETREUID, noIDArg, 1002)
	x.wantCall(1002, unix.SYS_GETEUID)
	x.wantCall(1002, unix.SYS_SETFSUID, 77)
	x.wantCall(1002, unix.SYS_SETFSUID, 1000)
	x.wantCall(1000, unix.SYS_SETFSUID, noIDArg)
	x.wantCall(unix.EPERM, unix.SYS_SETGROUPS, 0, 0)
}

func TestKeepCaps(t *testing.T) {
	_, x := newWorld(t)
	x.wantCall(0, unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1)
	x.wantCall(0, unix.SYS_SETUID, 1000)
	c := x.thread().cred
	if c.permitted != allCaps || c.Caps != 0 {
		t.Errorf("permitted %#x, effective %#x", c.permitted, c.Caps)
	}
	// capset brings one back.
	hdr := x.poke(0x100, linuxCapabilityVer3)
	bit := uint64(1 << unix.CAP_CHOWN)
	x.wantCall(0, unix.SYS_CAPSET, hdr, x.poke(0x200, bit<<32|bit, 0, 0))
	x.wantCall(0, unix.SYS_CAPGET, hdr, testBase+0x300)
	if v := x.peek(testBase + 0x300); v != bit<<32|bit {
		t.Errorf("capget: %#x", v)
	}
	x.wantCall(unix.EPERM, unix.SYS_CAPSET, hdr, x.poke(0x200, ^uint64(0), 0, 0))
}

func TestGroupIDs(t *testing.T) {
	_, x := newWorld(t)
	x.wantCall(0, unix.SYS_SETGROUPS, 3, x.poke(0x100, 20<<32|30, 10))
	x.wantCall(3, unix.SYS_GETGROUPS, 0, 0)
	x.wantCall(unix.EINVAL, unix.SYS_GETGROUPS, 2, testBase+0x200)
	x.wantCall(3, unix.SYS_GETGROUPS, 3, testBase+0x200)
	if v := x.peek(testBase + 0x200); v != 20<<32|10 {
		t.Errorf("groups %#x", v)
	}
	x.wantCall(unix.EINVAL, unix.SYS_SETGROUPS, 1<<20, testBase)
}

func TestLimits(t *testing.T) {
	_, x := newWorld(t)
	x.wantCall(0, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, x.poke(0x100, 50, 60), testBase+0x200)
	if v := x.peek(testBase + 0x200); v != 1024 {
		t.Errorf("the old limit is %d", v)
	}
	x.wantCall(unix.EINVAL, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, x.poke(0x100, 70, 60), 0)
	x.wantCall(unix.EINVAL, unix.SYS_PRLIMIT64, 0, 16, 0, testBase+0x200)
	x.wantCall(unix.EPERM, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, x.poke(0x100, 1, 1<<40), 0)
	x.wantCall(0, unix.SYS_SETUID, 1000)
	x.wantCall(unix.EPERM, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, x.poke(0x100, 50, 61), 0)
	x.wantCall(unix.ESRCH, unix.SYS_PRLIMIT64, 999, unix.RLIMIT_NOFILE, 0, testBase+0x200)
	x.wantCall(0, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, x.poke(0x100, 1, 1), 0)
	x.wantCall(unix.EAGAIN, unix.SYS_FORK)
}

func TestPrctl(t *testing.T) {
	_, x := newWorld(t)
	x.wantCall(0, unix.SYS_PRCTL, unix.PR_SET_NAME, x.pokeString(0x100, "a-name-that-is-too-long"))
	x.wantCall(0, unix.SYS_PRCTL, unix.PR_GET_NAME, testBase+0x200)
	if got := x.thread().comm; got != "a-name-that-is-" {
		t.Errorf("comm %q", got)
	}
	x.wantCall(0, unix.SYS_PRCTL, unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	x.wantCall(unix.EINVAL, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
	x.wantCall(0, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	x.wantCall(1, unix.SYS_PRCTL, unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	x.wantCall(1, unix.SYS_PRCTL, unix.PR_CAPBSET_READ, unix.CAP_KILL)
	x.wantCall(0, unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, unix.CAP_KILL)
	x.wantCall(0, unix.SYS_PRCTL, unix.PR_CAPBSET_READ, unix.CAP_KILL)
	x.wantCall(unix.EINVAL, unix.SYS_PRCTL, unix.PR_CAPBSET_READ, 99)
	x.wantCall(defaultSlack, unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK)
	x.wantCall(unix.EINVAL, unix.SYS_PRCTL, 12345)
}

func TestMisc(t *testing.T) {
	_, x := newWorld(t)
	x.wantCall(0, unix.SYS_ARCH_PRCTL, archSetFS, 0x7000)
	if x.slot.FSBase != 0x7000 {
		t.Errorf("FS base %#x", x.slot.FSBase)
	}
	x.wantCall(unix.EPERM, unix.SYS_ARCH_PRCTL, archSetFS, 1<<63)
	x.wantCall(unix.EINVAL, unix.SYS_ARCH_PRCTL, 0x9999, 0)
	x.wantCall(0, unix.SYS_UNAME, testBase+0x100)
	if v := x.peek(testBase + 0x100); byte(v) != 'L' {
		t.Errorf("uname: %#x", v)
	}
	x.wantCall(0, unix.SYS_SYSINFO, testBase+0x400)
	if total, free := x.peek(testBase+0x420), x.peek(testBase+0x428); total == 0 || free == 0 || free > total {
		t.Errorf("sysinfo: %d of %d free", free, total)
	}
	x.wantCall(100, unix.SYS_GETRANDOM, testBase+0x500, 100, 0)
	x.wantCall(unix.EINVAL, unix.SYS_GETRANDOM, testBase+0x500, 100, 99)
	x.wantCall(0, unix.SYS_PERSONALITY, addrNoRandomize)
	x.wantCall(addrNoRandomize, unix.SYS_PERSONALITY, noIDArg)
	x.wantCall(unix.ENOSYS, unix.SYS_RSEQ, 0, 0, 0, 0)
	x.wantCall(8, unix.SYS_SCHED_GETAFFINITY, 0, 8, testBase+0x600)
	if v := x.peek(testBase + 0x600); v != 3 {
		t.Errorf("affinity %#x", v)
	}
	// The harness runs threads on vCPU 0: it has to give the thread up.
	if r := x.call(unix.SYS_SCHED_SETAFFINITY, 0, 8, x.poke(0x600, 2)); r != blockedResult {
		t.Errorf("sched_setaffinity = %s", resultString(r))
	}
	x.finish(0)
	if x.slot.Affinity != 2 {
		t.Errorf("ring 0 sees affinity %#x", x.slot.Affinity)
	}
	x.wantCall(unix.EINVAL, unix.SYS_SCHED_SETAFFINITY, 0, 8, x.poke(0x600, 0xf0))
	x.wantCall(unix.EPERM, unix.SYS_MEMBARRIER, mbPrivateExpedited, 0, 0)
	x.wantCall(0, unix.SYS_MEMBARRIER, mbRegisterPrivate, 0, 0)
	shoots := x.w.m.shoots.Load()
	x.wantCall(0, unix.SYS_MEMBARRIER, mbPrivateExpedited, 0, 0)
	if x.w.m.shoots.Load() != shoots+1 {
		t.Error("membarrier did not reach the other vCPUs")
	}
}

func TestClone3(t *testing.T) {
	_, x := newWorld(t)
	x.wantCall(unix.EINVAL, unix.SYS_CLONE3, testBase, 63)
	x.wantCall(unix.E2BIG, unix.SYS_CLONE3, testBase, 5000)
	args := func(flags, exitSignal, stack, stackSize uint64) uint64 {
		return x.poke(0x100, flags, testBase+0x300, 0, 0, exitSignal, stack, stackSize, 0, 0, 0, 0, 1)
	}
	x.wantCall(unix.E2BIG, unix.SYS_CLONE3, args(0, 17, 0, 0), 96)
	x.wantCall(unix.EINVAL, unix.SYS_CLONE3, args(0, 65, 0, 0), 88)
	x.wantCall(unix.EINVAL, unix.SYS_CLONE3, args(0, 17, 0, 4096), 88)
	x.wantCall(unix.EINVAL, unix.SYS_CLONE3, args(unix.CLONE_NEWPID, 17, 0, 0), 88)
	x.wantCall(unix.EINVAL, unix.SYS_CLONE3, args(unix.CLONE_THREAD, 0, 0, 0), 88)
	pid := x.mustCall(unix.SYS_CLONE3, args(unix.CLONE_PIDFD, 17, testBase+0x1000, 0x1000), 88)
	fd := uint64(x.peek32(testBase + 0x300))
	c := x.w.task(int(pid))
	c.resume()
	if c.slot.RSP != testBase+0x2000 {
		t.Errorf("the child's stack is at %#x", c.slot.RSP)
	}
	x.wantCall(unix.EINVAL, unix.SYS_PIDFD_SEND_SIGNAL, fd, 99, 0, 0)
	x.wantCall(0, unix.SYS_PIDFD_SEND_SIGNAL, fd, 15, 0, 0)
	c.attend()
	if !c.gone {
		t.Fatal("the child lives on")
	}
	x.wantCall(0, unix.SYS_WAITID, pPIDFD, fd, testBase+0x400, wExited, 0)
	x.wantCall(unix.ESRCH, unix.SYS_PIDFD_SEND_SIGNAL, fd, 15, 0, 0)
	x.wantCall(unix.ECHILD, unix.SYS_WAITID, pPIDFD, fd, 0, wExited, 0)
}
