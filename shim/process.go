package shim

import (
	"time"

	"culvert/shim/sig"
	"culvert/shim/vfs"
)

// Process is a thread group: what its threads share (struct signal_struct and the tgid of Linux). Kernel.mu guards it.
type Process struct {
	k        *Kernel
	pid      int
	parent   *Process // nil for pid 1
	children map[int]*Process
	threads  map[int]*Thread // by tid
	leader   *Thread         // the thread whose tid is pid; stays set after its exit
	group    *ProcessGroup

	mm      *addressSpace // nil once the last thread is gone
	exe     vfs.Path
	comm    string   // of the leader, as /proc/PID/stat shows it
	argv    []string // as exec was given them; for diagnostics
	start   time.Time
	limits  limits
	didExec bool // setpgid(2) on a child is EACCES afterwards

	// Signals.
	actions   *sigActions // shared under CLONE_SIGHAND
	pending   sig.Queue   // sent to the whole process
	stopped   bool        // by job control
	stopSig   int         // the signal that stopped it
	stopNews  bool        // wait4 has not reported the stop yet
	contNews  bool        // wait4 has not reported the continuation yet
	contQueue Queue       // stopped threads wait here
	exitSig   int         // sent to the parent at the end: SIGCHLD mostly
	timers    processTimers

	// The end.
	exiting    bool // exit_group or a fatal signal: every thread is to die
	exitStatus int  // as wait4 stores it
	zombie     bool // all threads are gone; wait4 may reap
	childQueue Queue
	exitQueue  Queue // woken when the process becomes a zombie
	subreaper  bool
	execing    *Thread // a thread that waits for its siblings' end
	execQueue  Queue
	vforkDone  Queue
	usage      usage // of threads that are gone
	childUsage usage // of children that were reaped
}

// ProcessGroup is a job; Session is the set of groups of one terminal.
type ProcessGroup struct {
	id      int
	session *Session
	members map[int]*Process
}

// Session is what setsid(2) makes.
type Session struct {
	id     int
	leader *Process
	groups map[int]*ProcessGroup
}

// usage is what getrusage(2) reports.
type usage struct {
	user, system     time.Duration
	maxRSS           int64 // bytes
	minflt, majflt   int64
	nvcsw, nivcsw    int64
	inblock, oublock int64
}

// add adds the usage of a child or thread.
func (u *usage) add(v *usage) {
	u.user += v.user
	u.system += v.system
	u.maxRSS = max(u.maxRSS, v.maxRSS)
	u.minflt += v.minflt
	u.majflt += v.majflt
	u.nvcsw += v.nvcsw
	u.nivcsw += v.nivcsw
	u.inblock += v.inblock
	u.oublock += v.oublock
}
