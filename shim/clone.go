package shim

import (
	"encoding/binary"
	"time"

	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// cloneArgs is struct kernel_clone_args.
type cloneArgs struct {
	flags      uint64
	pidfd      uint64
	childTID   uint64
	parentTID  uint64
	exitSignal int
	stack      uint64 // the child's stack pointer; 0 is the parent's
	tls        uint64
	tid        int // wanted by clone3's set_tid; 0 is any
}

// Flags that only clone3 has, and those of namespaces, which a VM of one tenant does without.
const (
	cloneNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	cloneNewTime = 0x80
	csignal      = 0xff
)

// check is the checks of copy_process.
func (a *cloneArgs) check(p *Process) error {
	f := a.flags
	has := func(bits uint64) bool { return f&bits == bits }
	switch {
	case f&(cloneNamespaces|cloneNewTime) != 0,
		has(unix.CLONE_THREAD) && !has(unix.CLONE_SIGHAND),
		has(unix.CLONE_SIGHAND) && !has(unix.CLONE_VM),
		has(unix.CLONE_PARENT) && p == p.k.init,
		has(unix.CLONE_PIDFD) && f&(unix.CLONE_DETACHED) != 0,
		has(unix.CLONE_SIGHAND) && f&unix.CLONE_CLEAR_SIGHAND != 0:
		return unix.EINVAL
	}
	return nil
}

// clone is kernel_clone: it makes a thread or a process, and waits for a vfork child.
func (t *Thread) clone(a cloneArgs) (uint64, error) {
	if err := a.check(t.p); err != nil {
		return 0, err
	}
	if t.signalPending() {
		// A signal or stop for the whole process has to reach parent and child alike.
		return 0, ERESTARTNOINTR
	}
	k := t.k
	tid := a.tid
	if tid == 0 {
		tid = k.newTID()
	}
	if tid == 0 {
		return 0, unix.EAGAIN
	}
	if !k.nprocRoom(t) {
		return 0, unix.EAGAIN
	}
	p := t.p
	if a.flags&unix.CLONE_THREAD == 0 {
		p = t.newChild(tid, &a)
		actions, err := t.p.copyActions(&a)
		if err != nil {
			return 0, err
		}
		p.actions = actions
	}
	c, err := k.newThread(p, tid, t)
	if err != nil {
		if p != t.p {
			p.actions.release()
		}
		return 0, err
	}
	if err := t.copyTo(c, &a); err != nil {
		c.discard()
		return 0, err
	}
	if a.flags&unix.CLONE_PIDFD != 0 {
		fd, err := t.openPidfd(c.p, false)
		if err == nil {
			if err = t.writeU32(a.pidfd, uint32(fd)); err != nil {
				t.files.close(fd)
			}
		}
		if err != nil {
			c.discard()
			return 0, err
		}
	}
	// From here on nothing fails.
	if p != t.p {
		t.adopt(c, &a)
	}
	if a.flags&unix.CLONE_PARENT_SETTID != 0 {
		_ = t.writeU32(a.parentTID, uint32(tid)) // as in Linux, a bad address is no error
	}
	if a.flags&unix.CLONE_CHILD_SETTID != 0 {
		// In the child's memory, which is this one's or a copy of it.
		_ = c.writeU32(a.childTID, uint32(tid))
	}
	if a.flags&unix.CLONE_VFORK != 0 && p != t.p {
		return t.startVfork(c)
	}
	c.endsUnseen(a.flags)
	c.run()
	return uint64(tid), nil
}

// nprocRoom checks RLIMIT_NPROC for all threads of the user; privilege lifts it.
func (k *Kernel) nprocRoom(t *Thread) bool {
	limit := t.p.limits[unix.RLIMIT_NPROC].cur
	if limit == rlimInfinity || uint64(len(k.threads)) < limit {
		return true
	}
	if t.cred.UID == 0 || t.cred.Has(unix.CAP_SYS_RESOURCE) || t.cred.Has(unix.CAP_SYS_ADMIN) {
		return true
	}
	n := uint64(0)
	for _, o := range k.threads {
		if o.cred.UID == t.cred.UID {
			n++
		}
	}
	return n < limit
}

// newChild prepares a process for a child of t; it is not in any table yet.
func (t *Thread) newChild(pid int, a *cloneArgs) *Process {
	parent := t.p
	if a.flags&unix.CLONE_PARENT != 0 {
		parent = t.p.parent
	}
	c := &Process{
		k: t.k, pid: pid, parent: parent, threads: map[int]*Thread{}, start: time.Now(),
		exe: t.p.exe, argv: t.p.argv, limits: t.p.limits, oomScoreAdj: t.p.oomScoreAdj, persona: t.p.persona, exitSig: a.exitSignal,
		hasSubreaper: t.p.hasSubreaper || t.p.subreaper, noDump: t.p.noDump,
	}
	if a.flags&unix.CLONE_PARENT != 0 {
		c.exitSig = t.p.exitSig
	}
	c.timers.init(c)
	return c
}

// copyActions is copy_sighand.
func (p *Process) copyActions(a *cloneArgs) (*sigActions, error) {
	if a.flags&unix.CLONE_SIGHAND != 0 {
		return p.actions.share(), nil
	}
	acts, err := p.actions.clone()
	if err == nil && a.flags&unix.CLONE_CLEAR_SIGHAND != 0 {
		acts.reset()
	}
	return acts, err
}

// copyTo gives the new thread c copies of, or shares in, what t has (the copy_* calls of copy_process). After an error
// c is discarded.
func (t *Thread) copyTo(c *Thread, a *cloneArgs) error {
	s := t.slot
	var regs sig.Regs
	s.CopyRegs(&regs)
	c.slot.SetRegs(&regs)
	c.slot.RAX = 0
	c.slot.FSBase, c.slot.GSBase = s.FSBase, s.GSBase
	c.slot.Iret = 0
	copy(c.fpu(), t.fpu())
	if a.stack != 0 {
		c.slot.RSP = a.stack
	}
	if a.flags&unix.CLONE_SETTLS != 0 {
		if a.tls >= uint64(abi.UserEnd) {
			return unix.EPERM
		}
		c.slot.FSBase = a.tls
	}
	c.cred, c.sched, c.comm = t.cred, t.sched.forChild(), t.comm
	c.storeMask(t.mask())
	atomicStore(&c.slot.Affinity, c.sched.affinity)
	if a.flags&unix.CLONE_CHILD_CLEARTID != 0 {
		atomicStore(&c.slot.ClearTID, a.childTID)
	}
	if a.flags&unix.CLONE_VM == 0 || a.flags&unix.CLONE_VFORK != 0 {
		c.storeAltstack(t.altstack)
	} else {
		c.storeAltstack(sig.Stack{Flags: sig.SS_DISABLE})
	}
	c.publishIDs()
	if err := t.shareMemory(c, a); err != nil {
		return err
	}
	return t.shareFiles(c, a)
}

// shareMemory is copy_mm.
func (t *Thread) shareMemory(c *Thread, a *cloneArgs) error {
	space := t.mm
	if a.flags&unix.CLONE_VM != 0 {
		space.Acquire()
	} else {
		s, err := t.mm.Fork()
		if err != nil {
			return unix.ENOMEM
		}
		space = &addressSpace{Space: s, k: t.k}
	}
	c.useSpace(space)
	if c.p != t.p {
		c.p.mm = space
	}
	return nil
}

// shareFiles is copy_fs and copy_files.
func (t *Thread) shareFiles(c *Thread, a *cloneArgs) error {
	c.fs = t.fs
	if a.flags&unix.CLONE_FS == 0 {
		c.fs = t.fs.clone()
	}
	if a.flags&unix.CLONE_FILES != 0 {
		c.files = t.files.share()
	} else {
		files, err := t.files.clone(t.k)
		if err != nil {
			return err
		}
		c.files = files
	}
	setSlotFiles(c.slot, c.files.gva())
	return nil
}

// adopt enters a new process into the tables.
func (t *Thread) adopt(c *Thread, a *cloneArgs) {
	p := c.p
	p.leader = c
	isSeen(t.slot)
	t.k.processes[p.pid] = p
	p.parent.children = append(p.parent.children, p)
	p.parentThread = t
	if a.flags&unix.CLONE_PARENT != 0 {
		p.parentThread = t.p.parentThread
	}
	p.joinGroup(t.p.group)
}

// startVfork lets the child run and has the parent wait until the child has executed a program or ended.
func (t *Thread) startVfork(c *Thread) (uint64, error) {
	var done Queue
	c.p.vfork = &done
	c.run()
	return t.Await(&done, false, func() (uint64, error) {
		if c.p.vfork == &done {
			return 0, errWait
		}
		return uint64(c.tid), nil
	})
}

func sysFork(t *Thread, _ Args) (uint64, error) {
	return t.clone(cloneArgs{exitSignal: sig.SIGCHLD})
}

func sysVfork(t *Thread, _ Args) (uint64, error) {
	return t.clone(cloneArgs{flags: unix.CLONE_VFORK | unix.CLONE_VM, exitSignal: sig.SIGCHLD})
}

func sysClone(t *Thread, a Args) (uint64, error) {
	c := cloneArgs{
		flags: uint64(uint32(a[0])) &^ csignal, exitSignal: int(a[0] & csignal), stack: a[1],
		parentTID: a[2], pidfd: a[2], childTID: a[3], tls: a[4],
	}
	// CLONE_PIDFD and CLONE_PARENT_SETTID of the old call share an argument.
	if c.flags&unix.CLONE_PIDFD != 0 && c.flags&unix.CLONE_PARENT_SETTID != 0 {
		return 0, unix.EINVAL
	}
	c.flags &^= unix.CLONE_CLEAR_SIGHAND // clone3 only: bits above 32
	return t.clone(c)
}

// Sizes of struct clone_args (include/uapi/linux/sched.h).
const (
	cloneArgsVer0 = 64
	cloneArgsSize = 88
)

func sysClone3(t *Thread, a Args) (uint64, error) {
	size := a[1]
	if size > abi.PageSize {
		return 0, unix.E2BIG
	}
	if size < cloneArgsVer0 {
		return 0, unix.EINVAL
	}
	b := make([]byte, max(size, cloneArgsSize))
	if err := t.copyIn(a[0], b[:size]); err != nil {
		return 0, err
	}
	for _, c := range b[cloneArgsSize:] {
		if c != 0 {
			return 0, unix.E2BIG
		}
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	c := cloneArgs{flags: word(0), pidfd: word(1), childTID: word(2), parentTID: word(3), tls: word(7)}
	stack, stackSize := word(5), word(6)
	const known = 0xffffffff&^csignal | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_INTO_CGROUP
	switch {
	case word(4) > csignal || word(4) > sig.NSIG,
		c.flags&^known != 0 || c.flags&(unix.CLONE_DETACHED|csignal&^cloneNewTime) != 0,
		c.flags&unix.CLONE_INTO_CGROUP != 0,
		c.flags&(unix.CLONE_THREAD|unix.CLONE_PARENT) != 0 && word(4) != 0,
		stack == 0 && stackSize != 0,
		stack != 0 && (stackSize == 0 || stack+stackSize > uint64(abi.UserEnd) || stack+stackSize < stack):
		return 0, unix.EINVAL
	}
	c.exitSignal = int(word(4))
	if stack != 0 {
		c.stack = stack + stackSize
	}
	if err := t.wantedTID(&c, word(8), word(9)); err != nil {
		return 0, err
	}
	return t.clone(c)
}

// wantedTID reads clone3's set_tid: there is one pid namespace, so at most one number.
func (t *Thread) wantedTID(c *cloneArgs, at, n uint64) error {
	switch {
	case n > 32 || at == 0 && n != 0 || at != 0 && n == 0, n > 1:
		return unix.EINVAL
	case n == 0:
		return nil
	}
	v, err := t.readU32(at)
	if err != nil {
		return err
	}
	id := int(int32(v))
	k := t.k
	switch {
	case id < 1 || id >= maxTID:
		return unix.EINVAL
	case !t.cred.Has(unix.CAP_SYS_ADMIN) && !t.cred.Has(unix.CAP_CHECKPOINT_RESTORE):
		return unix.EPERM
	case k.threads[id] != nil || k.processes[id] != nil || k.groups[id] != nil || k.sessions[id] != nil:
		return unix.EEXIST
	}
	c.tid = id
	return nil
}
