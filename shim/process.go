package shim

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"culvert/shim/loader"
	"culvert/shim/sig"
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// Process is a thread group: what its threads share (Linux's signal_struct). Kernel.mu guards it.
type Process struct {
	k            *Kernel
	pid          int
	parent       *Process // nil for pid 1
	parentThread *Thread  // which made it, or another of the parent's: its end sends pdeathsig
	children     []*Process
	threads      map[int]*Thread // by tid, those whose exit work is not done
	leader       *Thread         // the thread whose tid is pid; stays set after its exit
	group        *ProcessGroup

	mm      *addressSpace // nil once the last thread is gone
	exe     vfs.Path
	argv    []string // as exec was given them; for diagnostics
	start   time.Time
	limits  limits
	didExec bool   // setpgid(2) on a child is EACCES afterwards
	persona uint32 // personality(2)

	// Signals.
	actions  *sigActions // shared under CLONE_SIGHAND
	pending  sig.Queue   // sent to the whole process
	sigQueue Queue       // woken whenever a signal is queued for the process or one of its threads
	exitSig  int         // sent to the parent at the end: SIGCHLD mostly
	timers   processTimers

	// Job control. A stopped process is one whose threads park in Thread.leave; the stop is news once all have.
	stopped   bool // threads park
	stopSig   int
	parked    int   // threads that have parked
	stopDone  bool  // all of them: the parent was told
	stopNews  bool  // wait4 has not reported the stop yet
	contNews  bool  // wait4 has not reported the continuation yet
	contQueue Queue // parked threads wait here

	// The end.
	exiting    bool // exit_group or a fatal signal: every thread is to die
	exitStatus int  // as wait4 stores it
	oomKilled  bool
	// oomScoreAdj is /proc/PID/oom_score_adj, which children inherit.
	oomScoreAdj int
	zombie      bool // all threads are gone; wait4 may reap
	childQueue  Queue
	pidfds      map[*pidfd]struct{}
	execing     *Thread // a thread that waits for its siblings' end
	execQueue   Queue
	vfork       *Queue // the parent waits here for exec or the end of a vfork child
	usage       usage  // of threads that are gone
	childUsage  usage  // of children that were reaped

	subreaper    bool
	hasSubreaper bool // an ancestor is one
	noDump       bool // PR_SET_DUMPABLE 0
	noTHP        bool // PR_SET_THP_DISABLE
	membarrier   uint32
	layout       loader.Start // where the program's parts lie: /proc/PID/stat, auxv, cmdline
}

// ProcessGroup is a job; Session is the set of groups of one terminal. Their ids live as long as their members.
type ProcessGroup struct {
	id      int
	session *Session
	members map[int]*Process
}

// Session is what setsid(2) makes.
type Session struct {
	id     int
	groups map[int]*ProcessGroup
}

// joinGroup puts p into a group of a session, leaving its old one.
func (p *Process) joinGroup(g *ProcessGroup) {
	p.leaveGroup()
	p.group = g
	g.members[p.pid] = p
}

// leaveGroup takes p out of its group, and the group and session out of the tables if it was the last.
func (p *Process) leaveGroup() {
	g := p.group
	if g == nil {
		return
	}
	p.group = nil
	delete(g.members, p.pid)
	if len(g.members) > 0 {
		return
	}
	delete(p.k.groups, g.id)
	delete(g.session.groups, g.id)
	if len(g.session.groups) == 0 {
		delete(p.k.sessions, g.session.id)
	}
}

// newGroup makes a group with p's pid as its id, in session s.
func (p *Process) newGroup(s *Session) *ProcessGroup {
	g := &ProcessGroup{id: p.pid, session: s, members: map[int]*Process{}}
	p.k.groups[g.id] = g
	s.groups[g.id] = g
	return g
}

// newSession makes p the leader of a session and a group.
func (p *Process) newSession() {
	s := &Session{id: p.pid, groups: map[int]*ProcessGroup{}}
	p.k.sessions[s.id] = s
	p.joinGroup(p.newGroup(s))
}

// orphaned reports whether no member of the group, ignored aside, has a parent in another group of the session
// (will_become_orphaned_pgrp): then nobody could continue it. Pid 1 counts as a parent, as that of a pid namespace does.
func (g *ProcessGroup) orphaned(ignored *Process) bool {
	for _, p := range g.members {
		if p == ignored || p.zombie || p.parent == nil {
			continue
		}
		if p.parent.group != g && p.parent.group != nil && p.parent.group.session == g.session {
			return false
		}
	}
	return true
}

// hangUpOrphans sends SIGHUP and SIGCONT to p's group if parent's end (or move) leaves it orphaned with stopped members
// (kill_orphaned_pgrp).
func (p *Process) hangUpOrphans(parent *Process) {
	g := p.group
	ignored := p
	if parent == nil {
		parent = p.parent
	} else {
		ignored = nil
	}
	if g == nil || parent == nil || parent.group == g || parent.group == nil || parent.group.session != g.session {
		return
	}
	if !g.orphaned(ignored) {
		return
	}
	stopped := false
	for _, m := range g.members {
		stopped = stopped || m.stopDone
	}
	if !stopped {
		return
	}
	for _, m := range sortedMembers(g) {
		p.k.send(m, nil, sig.Kernel(sig.SIGHUP))
		p.k.send(m, nil, sig.Kernel(sig.SIGCONT))
	}
}

// sortedMembers lists a group's processes by pid.
func sortedMembers(g *ProcessGroup) []*Process {
	ps := make([]*Process, 0, len(g.members))
	for _, p := range g.members {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b *Process) int { return a.pid - b.pid })
	return ps
}

// setParent makes p a child of parent and tells ring 0, which answers getppid.
func (p *Process) setParent(parent *Process) {
	if old := p.parent; old != nil {
		old.children = slices.DeleteFunc(old.children, func(c *Process) bool { return c == p })
	}
	p.parent = parent
	parent.children = append(parent.children, p)
	p.parentThread = parent.leader
	for _, t := range p.threads {
		atomic.StoreUint64(&t.slot.PPID, uint64(parent.pid))
	}
}

// reaper finds who adopts p's children (find_new_reaper): the nearest subreaper above, or pid 1.
func (p *Process) reaper() *Process {
	for a := p.parent; a != nil; a = a.parent {
		if a.subreaper && !a.zombie && len(a.threads) > 0 {
			return a
		}
	}
	return p.k.init
}

// pdeath sends the parent-death signals of the children that t made, and gives the children to another thread.
func (t *Thread) pdeath() {
	var heir *Thread
	for _, o := range t.p.threads {
		if o != t && !o.killed {
			heir = o
			break
		}
	}
	for _, c := range t.p.children {
		if c.parentThread != t {
			continue
		}
		c.parentThread = heir
		if heir != nil {
			isSeen(heir.slot)
		}
		for _, ct := range c.threads {
			if ct.pdeathsig != 0 {
				t.k.send(c, nil, sig.User(ct.pdeathsig, sig.SI_USER, 0, 0))
			}
		}
	}
}

// end turns p, whose last thread has gone, into a zombie (exit_notify).
func (p *Process) end() {
	k := p.k
	p.zombie = true
	p.mm = nil
	p.timers.stop()
	k.discard(p, &p.pending, ^sig.Set(0))
	p.actions.release()
	if p == k.init {
		k.finish(p.status())
		return
	}
	reaper := p.reaper()
	for len(p.children) > 0 {
		c := p.children[0]
		c.setParent(reaper)
		c.exitSig = sig.SIGCHLD
		c.hangUpOrphans(p)
		if c.zombie {
			c.notifyParent()
		}
	}
	p.hangUpOrphans(nil)
	p.notifyPidfds()
	p.notifyParent()
}

// status is how the VM ended, if p is the first process.
func (p *Process) status() ExitStatus {
	signo := p.exitStatus & 0x7f
	switch {
	case p.oomKilled:
		return ExitStatus{Kind: OOM, Signal: signo}
	case signo != 0:
		return ExitStatus{Kind: Signalled, Signal: signo}
	}
	return ExitStatus{Kind: Exited, Code: p.exitStatus >> 8 & 0xff}
}

// exitInfo is the siginfo about p's end; code and status are also what waitid(2) reports.
func (p *Process) exitInfo(signo int) sig.Info {
	code, status := int32(sig.CLD_EXITED), p.exitStatus>>8&0xff
	if s := p.exitStatus & 0x7f; s != 0 {
		code, status = sig.CLD_KILLED, s
	}
	return sig.Child(signo, code, p.pid, p.uid(), status, ticks(p.usage.user), ticks(p.usage.system))
}

// uid is the real user of the process.
func (p *Process) uid() uint32 { return p.leader.cred.UID }

// notifyParent tells the parent of p's end and reaps p at once if the parent wants no zombies (do_notify_parent).
func (p *Process) notifyParent() {
	parent := p.parent
	signo := p.exitSig
	autoreap := false
	act := parent.actions.get(sig.SIGCHLD)
	if signo == sig.SIGCHLD && (act.handler == SIG_IGN || act.flags&SA_NOCLDWAIT != 0) {
		autoreap = true
		if act.handler == SIG_IGN {
			signo = 0
		}
	}
	if signo >= 1 && signo <= sig.NSIG { // clone(2) takes any number up to 255
		p.k.send(parent, nil, p.exitInfo(signo))
	}
	if autoreap {
		p.reap()
	}
	parent.childQueue.Wake()
}

// notifyStop tells the parent that p stopped or went on (do_notify_parent_cldstop).
func (p *Process) notifyStop(code int32, status int) {
	if p.parent == nil {
		return
	}
	act := p.parent.actions.get(sig.SIGCHLD)
	if act.handler != SIG_IGN && act.flags&SA_NOCLDSTOP == 0 {
		p.k.send(p.parent, nil, sig.Child(sig.SIGCHLD, code, p.pid, p.uid(), status,
			ticks(p.usage.user), ticks(p.usage.system)))
	}
	p.parent.childQueue.Wake()
}

// reap removes a zombie (release_task).
func (p *Process) reap() {
	k := p.k
	if parent := p.parent; parent != nil {
		parent.children = slices.DeleteFunc(parent.children, func(c *Process) bool { return c == p })
	}
	p.leaveGroup()
	delete(k.processes, p.pid)
	p.notifyPidfds()
}

// vforkReleased lets the parent of a vfork child go on.
func (p *Process) vforkReleased() {
	if q := p.vfork; q != nil {
		p.vfork = nil
		q.Wake()
	}
}

// ticks are USER_HZ clock ticks, as siginfo and times(2) count.
func ticks(d time.Duration) uint64 { return uint64(d / (time.Second / 100)) }

// errnoOf is err as a signal-sending call returns it.
func errnoOf(ok bool) error {
	if ok {
		return nil
	}
	return unix.EAGAIN
}

// auxv is the program's auxiliary vector, as on its stack.
func (p *Process) auxv() []byte {
	var b []byte
	for _, a := range p.layout.Auxv {
		b = binary.LittleEndian.AppendUint64(b, a.Type)
		b = binary.LittleEndian.AppendUint64(b, a.Value)
	}
	return b
}
