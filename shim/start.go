package shim

import (
	"fmt"
	"path"
	"strconv"
	"time"

	"culvert/shim/abi"
	"culvert/shim/vfs"
)

// Start makes the first process from Config.Program and its thread ready to run. Errors are those of execve(2), with
// the errno at their end: ENOENT and the like where there is no such program, EACCES and ENOEXEC where it cannot be
// executed.
func (k *Kernel) Start() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &Process{
		k: k, pid: 1, threads: map[int]*Thread{}, start: time.Now(), limits: k.initialLimits(),
	}
	var err error
	if p.actions, err = k.newSigActions(); err != nil {
		return fmt.Errorf("make the table of signals: %w", err)
	}
	p.timers.init(p)
	k.lastTID = 1
	t, err := k.newThread(p, 1, nil)
	if err != nil {
		return fmt.Errorf("make the first thread: %w", err)
	}
	p.leader, k.init = t, p
	k.processes[1] = p
	p.newSession()
	t.cred = firstCredentials(k.cfg.Cred)
	t.sched = schedParams{affinity: k.allCPUs(), slack: defaultSlack}
	atomicStore(&t.slot.Affinity, t.sched.affinity)
	t.publishIDs()
	if err := k.startProgram(t); err != nil {
		k.ended = true // the standard files that go with t are not closed on the host: why it failed is still to be said there
		t.discard()
		p.leaveGroup()
		delete(k.processes, 1)
		k.init = nil
		return err
	}
	t.run()
	return nil
}

// startProgram gives the first thread its files and its program.
func (k *Kernel) startProgram(t *Thread) error {
	fs, err := newFSContext(k.cfg.Namespace, &t.cred.Cred, k.cfg.Dir)
	if err != nil {
		return err
	}
	t.fs = fs
	files, err := newFDTable(k)
	if err != nil {
		return fmt.Errorf("make the descriptor table: %w", err)
	}
	t.files = files
	setSlotFiles(t.slot, files.gva())
	if err := files.installStdio(k); err != nil {
		return fmt.Errorf("open the standard files: %w", err)
	}
	r, err := t.prepareExec(vfs.Path{}, k.cfg.Program, k.cfg.Program, 0, false, k.cfg.Args, k.cfg.Env)
	if err != nil {
		return fmt.Errorf("start %s: %w", k.cfg.Program, err)
	}
	defer r.close()
	space, err := t.newSpace()
	if err != nil {
		return fmt.Errorf("start %s: %w", k.cfg.Program, err)
	}
	start, err := t.load(r, space, false)
	if err != nil {
		space.Release()
		return fmt.Errorf("start %s: %w", k.cfg.Program, err)
	}
	space.SetStack(start.SP)
	t.comm = path.Base(k.cfg.Program)
	t.enterProgram(r, space, start)
	// An exec's reply flags have no meaning here: the thread is taken like any other that was blocked.
	t.flags = 0
	return nil
}

// itoa is strconv.Itoa.
func itoa(n int) string { return strconv.Itoa(n) }

// spaces lists the address spaces that programs use.
func (k *Kernel) spaces() []*addressSpace {
	seen := map[*addressSpace]bool{}
	var out []*addressSpace
	for _, t := range k.threads {
		if t.mm != nil && !seen[t.mm] {
			seen[t.mm] = true
			out = append(out, t.mm)
		}
	}
	return out
}

// pathMax is PATH_MAX.
const pathMax = abi.PageSize
