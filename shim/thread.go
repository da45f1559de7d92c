package shim

import (
	"sync/atomic"
	"time"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// Thread is a task. Kernel.mu guards it; the slot is shared with ring 0.
type Thread struct {
	k    *Kernel
	p    *Process
	tid  int
	comm string // at most 15 bytes: PR_SET_NAME

	index int           // of the slot
	slot  *guest.Thread // in guest RAM: never trust what it holds
	vcpu  int           // whose hypercall is being served, -1 while none is or a goroutine serves it

	mm    *addressSpace // held until ring 0 has left it, after the thread's exit work too
	fs    *FSContext    // working directory, root, umask
	files *FDTable
	cred  *credentials // what credentials(7) has; replaced, never changed

	// The call being served.
	call    callState
	flags   uint64 // abi.Flag* that the reply carries
	blockFn func(*Waiter) (uint64, error)
	blockOn *pendingCall
	waiter  *Waiter // not nil while the thread waits in the shim
	// onInterrupt makes the slow host work of Waiter.Unlocked return.
	onInterrupt func()
	// restartFn is what restart_syscall(2) goes on with after ERESTART_RESTARTBLOCK; nil is EINTR. See goOnBy.
	restartFn Handler

	// Signals.
	lastMask  sig.Set  // of a thread that has exited; see mask
	savedMask *sig.Set // to restore when the call ends: sigsuspend, ppoll
	pending   sig.Queue
	waitFor   sig.Set // what sigtimedwait wants although it is blocked
	altstack  sig.Stack

	// Set by the program for the thread's end.
	pdeathsig int

	sched  schedParams
	killed bool // it is to die at the next chance
	exited bool // its exit work is done; only the slot is still in ring 0's hands
	code   int  // exit status as wait4 stores it, once killed or exited
	start  time.Time
	flt    struct{ minor, major int64 }

	// CPU time in ticks of the TSC: of requests that were served, when the one that is being served came (0 is none),
	// and the largest that was shown.
	served, servedFrom, shown uint64
}

// findSlot returns a slot that neither shim nor ring 0 uses, or -1. Ring 0 stores abi.StateFree once it has left a
// dead thread. Slots are used in turn, but no word of ready bits is begun while one before it has a free slot: ring 0 looks
// at all words in use before it finds that nothing is ready. A thread gets the slot beside its parent's, where that is free: it may
// be in the same page (guest.Thread).
func (k *Kernel) findSlot(parent *Thread) int {
	if parent != nil {
		if i := parent.index ^ 1; k.isFree(i) {
			return i
		}
	}
	for {
		slots := k.slots[:min(64*k.readyWords, len(k.slots))]
		for n := range slots {
			i := (k.slotHint + n) % len(slots)
			if k.isFree(i) {
				k.slotHint = i + 1
				return i
			}
		}
		if len(slots) == len(k.slots) {
			return -1
		}
		k.readyWords++
		atomic.StoreUint64(&k.vm.ReadyWords, uint64(k.readyWords)) // before a thread of that word is ready
	}
}

// isFree reports whether findSlot may return slot i.
func (k *Kernel) isFree(i int) bool {
	return i < len(k.slots) && k.slots[i] == nil && atomic.LoadUint64(&slotAt(k.ram, &k.cfg.Layout, i).State) == abi.StateFree
}

// maxTID is the default of /proc/sys/kernel/pid_max on machines of this size.
const maxTID = 32768

// newTID returns a number that no thread, process, group or session has, or 0.
func (k *Kernel) newTID() int {
	for range maxTID {
		k.lastTID++
		if k.lastTID >= maxTID {
			k.lastTID = 300 // RESERVED_PIDS
		}
		id := k.lastTID
		if k.threads[id] == nil && k.processes[id] == nil && k.groups[id] == nil && k.sessions[id] == nil {
			return id
		}
	}
	return 0
}

// newThread makes a thread of p that does not run yet. Its slot has the identity words; registers, FPU area, files
// and memory are the caller's to set before start. parent is who asked for it, or nil. EAGAIN if there are too many.
func (k *Kernel) newThread(p *Process, tid int, parent *Thread) (*Thread, error) {
	if len(k.threads) >= k.cfg.Limits.Processes {
		return nil, unix.EAGAIN
	}
	i := k.findSlot(parent)
	if i < 0 {
		return nil, unix.EAGAIN
	}
	t := &Thread{
		k: k, p: p, tid: tid, index: i, slot: slotAt(k.ram, &k.cfg.Layout, i), vcpu: -1, start: time.Now(),
	}
	k.slots[i] = t
	k.threads[tid] = t
	p.threads[tid] = t
	k.forks++
	s := t.slot
	s.Index = uint64(i)
	s.TID, s.TGID = uint64(tid), uint64(p.pid)
	if p.parent != nil {
		atomic.StoreUint64(&s.PPID, uint64(p.parent.pid))
	} else {
		atomic.StoreUint64(&s.PPID, 0)
	}
	s.OrigRAX = ^uint64(0)
	s.TSCIn, s.TSCRun, s.Faults, s.Waits, s.Yields = 0, 0, 0, 0, 0
	s.Wait = guest.Wait{}
	s.Mask, s.RobustList, s.ClearTID = 0, 0, 0
	s.Trap.Vector, s.Trap.Err, s.Trap.CR2 = 0, 0, 0
	t.storeAltstack(sig.Stack{})
	t.goOnBy(nil)
	setSlotSignals(s, p.actions.gva())
	atomic.StoreUint64(&s.OnCPU, 0)
	atomic.StoreUint64(&s.Attn, 0)
	atomic.StoreUint64(&s.Unseen, 0)
	if tr := k.cfg.Trace; tr != nil {
		tr.Start(tid)
	}
	return t, nil
}

// discard takes back a thread that was never started.
func (t *Thread) discard() {
	delete(t.k.threads, t.tid)
	delete(t.p.threads, t.tid)
	t.k.slots[t.index] = nil
	t.dropFiles()
	t.dropSpace()
	if len(t.p.threads) == 0 {
		t.p.actions.release()
	}
}

// publishIDs writes what ring 0 answers getuid and the like from, and the limit that it keeps.
func (t *Thread) publishIDs() {
	t.publishLimit()
	c := t.cred
	t.slot.UID, t.slot.EUID = uint64(c.UID), uint64(c.EUID)
	t.slot.GID, t.slot.EGID = uint64(c.GID), uint64(c.EGID)
}

// publishLimit writes the limit that ring 0 keeps: how many files a poll may ask.
func (t *Thread) publishLimit() { atomic.StoreUint64(&t.slot.MaxPoll, t.fdLimit()) }

// run makes the thread ready for the first time.
func (t *Thread) run() {
	atomic.StoreUint64(&t.slot.State, abi.StateBlocked)
	t.k.wake(t)
}

// cpu returns on which vCPU the thread runs or ran last, for getcpu(2) and /proc.
func (t *Thread) cpu() int {
	if t.vcpu >= 0 {
		return t.vcpu
	}
	if c := atomic.LoadUint64(&t.slot.OnCPU); c != 0 && c <= uint64(t.k.cfg.NumCPUs) {
		return int(c - 1)
	}
	return 0
}

// dropFiles gives back descriptors and directories.
func (t *Thread) dropFiles() {
	if t.files != nil {
		t.files.release(t)
		t.files = nil
		setSlotFiles(t.slot, 0)
	}
}

// kill makes the thread die with the given wait status, at the next chance.
func (t *Thread) kill(code int) {
	if t.killed || t.exited {
		return
	}
	t.killed, t.code = true, code
	t.interrupt()
}

// killOthers makes every other thread of the process die.
func (t *Thread) killOthers(code int) {
	for _, o := range t.p.threads {
		if o != t {
			o.kill(code)
		}
	}
}

// exitGroup ends the process with a wait status; the calling thread (nil if there is none) dies in Thread.leave.
func (p *Process) exitGroup(code int) {
	if p.exiting {
		return
	}
	p.exiting, p.exitStatus = true, code
	p.stopped = false
	for _, t := range p.threads {
		t.kill(code)
	}
	p.contQueue.Wake()
}

// exit does the work of a thread's end (do_exit): all but the slot and the address space, which ring 0 still has
// loaded, are given up. It runs once, on the thread's own way.
func (t *Thread) exit() {
	k, p := t.k, t.p
	if t == p.leader {
		p.areSeen()
	}
	t.lastMask = t.mask()
	t.exited = true
	setSlotSignals(t.slot, 0)
	t.traceEnd()
	t.savedMask, t.restartFn = nil, nil
	t.releaseRobust()
	t.releasePI()
	t.clearChildTID()
	p.vforkReleased()
	t.leaveSpace()
	t.dropFiles()
	p.usage.addThread(t)
	k.usage.addThread(t)
	if len(p.threads) == 1 {
		p.addPeak(&p.usage)
	}
	t.pdeath()
	k.discard(p, &t.pending, ^sig.Set(0))
	delete(p.threads, t.tid)
	delete(k.threads, t.tid)
	if len(p.threads) == 0 && !p.exiting {
		p.exitStatus = t.code // synchronize_group_exit: that of the last thread
	}
	// Signals that this thread would have taken are for the others now.
	p.retarget()
	p.execQueue.Wake()
	p.stopComplete()
	if len(p.threads) == 0 {
		p.end()
	}
}

// bury gives up what a dead thread still has. It is the answer to its last hypercall: its slot is ring 0's until that stores
// abi.StateFree.
func (k *Kernel) bury(t *Thread) int {
	k.slots[t.index] = nil
	t.dropSpace()
	return abi.ActExit
}

// clearChildTID stores 0 at the address of set_tid_address(2) and wakes whoever waits there (mm_release).
func (t *Thread) clearChildTID() {
	addr := atomicLoad(&t.slot.ClearTID)
	atomicStore(&t.slot.ClearTID, 0)
	if addr == 0 || t.mm == nil || t.mm.users < 2 {
		return // nobody else could see it
	}
	if t.writeU32(addr, 0) == nil {
		t.futexWakeOne(addr)
	}
}
