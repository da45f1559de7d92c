package shim

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"

	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// processCalls are the rows of the calls that make, change and end processes and threads.
func processCalls() []Syscall {
	return slices.Concat(limitCalls(), pidfdCalls(), []Syscall{
		{unix.SYS_FORK, "fork", sysFork, Full, "", "page tables of the process"},
		{unix.SYS_VFORK, "vfork", sysVfork, Full, "", "constant"},
		{unix.SYS_CLONE, "clone", sysClone, Partial, "without namespaces: EINVAL", "page tables of the process"},
		{unix.SYS_CLONE3, "clone3", sysClone3, Partial, "without namespaces and cgroups: EINVAL", "page tables of the process"},
		{unix.SYS_EXECVE, "execve", sysExecve, Full, "", "6 MiB of arguments; threads of the process"},
		{unix.SYS_EXECVEAT, "execveat", sysExecveat, Full, "", "6 MiB of arguments; threads of the process"},
		{unix.SYS_EXIT, "exit", sysExit, Full, "", "2048 robust locks; open files"},
		{unix.SYS_EXIT_GROUP, "exit_group", sysExitGroup, Full, "", "threads of the process"},
		{unix.SYS_WAIT4, "wait4", sysWait4, Full, "", "children"},
		{unix.SYS_WAITID, "waitid", sysWaitid, Full, "", "children"},
		{unix.SYS_SET_TID_ADDRESS, "set_tid_address", sysSetTIDAddress, Full, "", "constant"},
		{unix.SYS_ARCH_PRCTL, "arch_prctl", sysArchPrctl, Partial, "bases only; no CPUID faulting, shadow stacks or AMX", "constant"},
		{unix.SYS_PRCTL, "prctl", sysPrctl, Partial, "see the options in prctl.go; others are EINVAL", "constant"},
		{unix.SYS_PERSONALITY, "personality", sysPersonality, Partial, "ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC act", "constant"},
		{unix.SYS_UNAME, "uname", sysUname, Full, "", "constant"},
		{unix.SYS_SETHOSTNAME, "sethostname", sysSethostname, Full, "", "64 bytes"},
		{unix.SYS_SETDOMAINNAME, "setdomainname", sysSetdomainname, Full, "", "64 bytes"},
		{unix.SYS_SYSINFO, "sysinfo", sysSysinfo, Full, "", "constant"},
		{unix.SYS_GETRANDOM, "getrandom", sysGetrandom, Full, "the host's source", "32 MiB"},
		{unix.SYS_UNSHARE, "unshare", sysUnshare, Partial, "CLONE_FS and CLONE_FILES", "open files"},
		{unix.SYS_KCMP, "kcmp", sysKcmp, Partial, "VM, FILES, FS and SIGHAND", "constant"},
		{unix.SYS_PTRACE, "ptrace", sysPtrace, Stub, "EPERM: nothing can be traced", "constant"},
		{unix.SYS_SECCOMP, "seccomp", sysSeccomp, Stub, "EINVAL, as a kernel without filters", "constant"},
	})
}

func sysExit(t *Thread, a Args) (uint64, error) {
	t.kill(int(a[0]&0xff) << 8)
	return 0, errNoReturn
}

func sysExitGroup(t *Thread, a Args) (uint64, error) {
	t.p.exitGroup(int(a[0]&0xff) << 8)
	return 0, errNoReturn
}

func sysSetTIDAddress(t *Thread, a Args) (uint64, error) {
	atomicStore(&t.slot.ClearTID, a[0])
	return uint64(t.tid), nil
}

// Codes of arch_prctl(2) (arch/x86/include/uapi/asm/prctl.h).
const (
	archSetGS    = 0x1001
	archSetFS    = 0x1002
	archGetFS    = 0x1003
	archGetGS    = 0x1004
	archGetCPUID = 0x1011
)

func sysArchPrctl(t *Thread, a Args) (uint64, error) {
	switch a.int32(0) {
	case archSetFS, archSetGS:
		if a[1] >= uint64(abi.UserEnd) {
			return 0, unix.EPERM
		}
		if a.int32(0) == archSetFS {
			t.slot.FSBase = a[1]
		} else {
			t.slot.GSBase = a[1]
		}
		t.flags |= abi.FlagFPU
		return 0, nil
	case archGetFS:
		return 0, t.writeU64(a[1], t.slot.FSBase)
	case archGetGS:
		return 0, t.writeU64(a[1], t.slot.GSBase)
	case archGetCPUID:
		return 1, nil // CPUID is not faulted
	}
	return 0, unix.EINVAL
}

// Bits of personality(2) (include/uapi/linux/personality.h).
const (
	addrNoRandomize  = 0x0040000
	mmapPageZero     = 0x0100000
	addrCompatLayout = 0x0200000
	readImpliesExec  = 0x0400000
)

func sysPersonality(t *Thread, a Args) (uint64, error) {
	old := t.p.persona
	if p := uint32(a[0]); p != 0xffffffff {
		t.p.persona = p
	}
	return uint64(old), nil
}

// utsLen is __NEW_UTS_LEN.
const utsLen = 64

// utsName is what uname(2) says beside the names that can be set. The release decides which features programs expect.
type utsName struct{ sysname, release, version, machine string }

// uts returns the kernel's name.
func uts() utsName {
	return utsName{"Linux", "6.6.0-culvert", "#1 SMP PREEMPT_DYNAMIC culvert", "x86_64"}
}

func sysUname(t *Thread, a Args) (uint64, error) {
	u := uts()
	b := make([]byte, 6*(utsLen+1))
	for i, s := range []string{u.sysname, t.k.hostname, u.release, u.version, u.machine, t.k.domainname} {
		copy(b[i*(utsLen+1):(i+1)*(utsLen+1)-1], s)
	}
	return 0, t.copyOut(a[0], b)
}

// readUTS reads a name to be set.
func (t *Thread) readUTS(a Args) (string, error) {
	if !t.has(unix.CAP_SYS_ADMIN) {
		return "", unix.EPERM
	}
	n := a.int32(1)
	if n < 0 || n > utsLen {
		return "", unix.EINVAL
	}
	b := make([]byte, n)
	err := t.copyIn(a[0], b)
	return string(b), err
}

func sysSethostname(t *Thread, a Args) (uint64, error) {
	s, err := t.readUTS(a)
	if err == nil {
		t.k.hostname = s
	}
	return 0, err
}

func sysSetdomainname(t *Thread, a Args) (uint64, error) {
	s, err := t.readUTS(a)
	if err == nil {
		t.k.domainname = s
	}
	return 0, err
}

func sysSysinfo(t *Thread, a Args) (uint64, error) {
	u := t.k.memory.Usage()
	total := min(u.Total, u.Limit)
	b := make([]byte, 112)
	le := binary.LittleEndian
	le.PutUint64(b[0:], uint64(time.Since(t.k.boot)/time.Second))
	load := uint64(t.k.runnable()) << 16 // SI_LOAD_SHIFT
	for i := range 3 {
		le.PutUint64(b[8+8*i:], load)
	}
	le.PutUint64(b[32:], total)
	le.PutUint64(b[40:], total-min(total, u.InUse-min(u.InUse, u.Cache)))
	le.PutUint64(b[56:], min(u.Cache, total)) // bufferram
	le.PutUint16(b[80:], uint16(min(len(t.k.threads), 0xffff)))
	le.PutUint32(b[104:], 1) // mem_unit
	return 0, t.copyOut(a[0], b)
}

// runnable counts the threads that no goroutine serves: running, ready, or waiting in ring 0.
func (k *Kernel) runnable() int {
	n := 0
	for _, t := range k.threads {
		if t.waiter == nil {
			n++
		}
	}
	return n
}

// Flags of getrandom(2), and the most that one call gives.
const (
	grndNonblock = 1
	grndRandom   = 2
	grndInsecure = 4
	maxRandom    = 32<<20 - 1
)

func sysGetrandom(t *Thread, a Args) (uint64, error) {
	flags := uint32(a[2])
	if flags&^(grndNonblock|grndRandom|grndInsecure) != 0 || flags&(grndRandom|grndInsecure) == grndRandom|grndInsecure {
		return 0, unix.EINVAL
	}
	size := min(a[1], maxRandom)
	if !accessOK(a[0], size) {
		return 0, unix.EFAULT
	}
	var b [abi.PageSize]byte
	done := uint64(0)
	for done < size {
		chunk := b[:min(size-done, abi.PageSize)]
		_, _ = rand.Read(chunk) // never fails
		n, err := t.mm.Space.CopyOut(a[0]+done, chunk)
		done += uint64(n)
		if err != nil {
			if done > 0 {
				break
			}
			return 0, t.k.memError(err)
		}
	}
	return done, nil
}

func sysUnshare(t *Thread, a Args) (uint64, error) {
	flags := a[0]
	const known = unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SYSVSEM
	if flags&^known != 0 {
		return 0, unix.EINVAL
	}
	if flags&unix.CLONE_FILES != 0 && t.files.shared() {
		files, err := t.files.clone(t.k)
		if err != nil {
			return 0, err
		}
		t.setFiles(files)
	}
	if flags&unix.CLONE_FS != 0 {
		t.fs = t.fs.clone()
	}
	return 0, nil
}

// mayTrace is ptrace_may_access in what a VM of one tenant needs of it.
func (t *Thread) mayTrace(p *Process) bool {
	if p == t.p || t.has(unix.CAP_SYS_PTRACE) {
		return true
	}
	c, o := t.cred, p.leader.cred
	return c.UID == o.EUID && c.UID == o.suid && c.UID == o.UID && c.GID == o.EGID && c.GID == o.sgid && c.GID == o.GID &&
		o.permitted&^c.permitted == 0 && !p.noDump
}

// Kinds of kcmp(2) (include/uapi/linux/kcmp.h).
const (
	kcmpFile    = 0
	kcmpVM      = 1
	kcmpFiles   = 2
	kcmpFS      = 3
	kcmpSighand = 4
)

func sysKcmp(t *Thread, a Args) (uint64, error) {
	x, y := t.k.threads[int(a.int32(0))], t.k.threads[int(a.int32(1))]
	if x == nil || y == nil {
		return 0, unix.ESRCH
	}
	if !t.mayTrace(x.p) || !t.mayTrace(y.p) {
		return 0, unix.EPERM
	}
	same := false
	switch a.int32(2) {
	case kcmpFile:
		f, err := x.files.get(a.int32(3))
		if err != nil {
			return 0, err
		}
		g, err := y.files.get(a.int32(4))
		if err != nil {
			return 0, err
		}
		same = f == g
	case kcmpVM:
		same = x.mm == y.mm
	case kcmpFiles:
		same = x.files == y.files
	case kcmpFS:
		same = x.fs == y.fs
	case kcmpSighand:
		same = x.p.actions == y.p.actions
	default:
		return 0, unix.EINVAL
	}
	switch {
	case same:
		return 0, nil
	case x.index < y.index:
		return 1, nil
	}
	return 2, nil
}

func sysPtrace(*Thread, Args) (uint64, error) { return 0, unix.EPERM }

func sysSeccomp(*Thread, Args) (uint64, error) { return 0, unix.EINVAL }
