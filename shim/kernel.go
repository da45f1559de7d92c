package shim

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/mm"
	"culvert/shim/sig"
	"culvert/shim/vfs"
)

// Config says what a Kernel runs and where.
type Config struct {
	Machine Machine
	Layout  Layout
	NumCPUs int

	Program   string // path in the guest's tree
	Args, Env []string
	Dir       string // working directory of the first process
	Namespace *vfs.Namespace
	Cred      *vfs.Cred // of the first process; nil is user 0
	Hostname  string
	// Stdio are descriptors 0 to 2 of the first process; nil is closed. A pipe of which the guest has closed all
	// descriptors is replaced by /dev/null.
	Stdio [3]*os.File
	// Links are pipes from and to other VMs, in place of standard input and output; nil is none.
	Links [2]*Link
	// HWCap and HWCap2 are the processor's features as the auxiliary vector says them: CPUID leaf 1 EDX, and bit 1 for
	// FSGSBASE.
	HWCap, HWCap2 uint64
	// TSCKHz is the rate of the guest's TSC, by which CPU time is counted; 0 leaves it uncounted. TSC reads it; nil, where
	// it is not known, counts CPU time up to a thread's last request or switch only, and all of it as user time.
	TSCKHz uint64
	TSC    func() uint64
	Limits Limits
	Trace  Tracer // nil is none. Ring 0 must forward every call then (vmm.Config.ForwardAll)
}

// Limits bound what one VM may use of the host.
type Limits struct {
	Processes int // threads alive, in all; 0 is as many as the thread table has
	Files     int // descriptors per process: the hard RLIMIT_NOFILE; 0 is 1048576
	PipeBytes int // of all pipes
}

// Kernel is the Linux personality of one VM.
type Kernel struct {
	cfg     Config
	machine Machine
	ram     []byte
	vm      *guest.VM
	memory  *mm.Memory
	xstate  sig.XState
	calls   [numSyscalls]*Syscall
	traps   map[uint64]trapSignal
	blocked sync.WaitGroup // goroutines of blocked calls
	pumps   sync.WaitGroup // goroutines of package pump
	// serving is the vCPU whose hypercall is being served, or -1.
	serving atomic.Int32

	// forwarded counts the calls that reached the shim, by number.
	forwarded [numSyscalls]atomic.Uint64

	// mu guards all that follows, and the state of every object of this package. See the package comment.
	mu bigLock

	threads              map[int]*Thread // by tid, until the thread's exit work is done
	processes            map[int]*Process
	groups               map[int]*ProcessGroup
	sessions             map[int]*Session
	slots                []*Thread // by slot index; nil is free as far as the shim knows
	unburied             []*Thread // have ended in ring 0, which may not have left their slots yet
	dead                 uint64    // guest.VM.Dead, as last looked at
	slotHint             int       // where the search for a free slot begins
	readyWords           int       // guest.VM.ReadyWords: words of ready bits that have slots in use
	lastTID              int
	init                 *Process
	links                [2]*linkPipe // standard input and output that are other VMs'
	boot                 time.Time
	futexes              futexTable // futex.go
	vdso                 vdsoPages
	hostname, domainname string
	queuedSignals        int               // siginfos in all queues
	unknown              map[uint64]uint64 // calls that do not exist, by number
	forks                uint64            // processes and threads made since boot
	usage                usage             // of threads that are gone

	fileKernel // open files and what they wait for: openfile.go

	stock []int // by vCPU: to how many frames its pool is filled

	due []*Waiter // woken by the call being served: see Await

	preempted   time.Time // when a wake last interrupted a busy vCPU
	preemptNext int       // the vCPU that was

	ended bool
	exit  ExitStatus
	done  chan struct{}
}

// New prepares a Kernel; Start makes the first process.
func New(cfg Config) (*Kernel, error) {
	if cfg.Machine == nil || cfg.Namespace == nil {
		return nil, errors.New("shim: Config needs a Machine and a Namespace")
	}
	if cfg.NumCPUs < 1 || cfg.NumCPUs > abi.MaxVCPUs {
		return nil, fmt.Errorf("shim: %d vCPUs, not 1 to %d", cfg.NumCPUs, abi.MaxVCPUs)
	}
	ram := cfg.Machine.RAM()
	if err := checkLayout(ram, &cfg.Layout); err != nil {
		return nil, err
	}
	if cfg.Cred == nil {
		cfg.Cred = vfs.NewCred(0, 0)
	}
	cfg.setDefaults()
	k := &Kernel{
		cfg:       cfg,
		machine:   cfg.Machine,
		ram:       ram,
		vm:        structAt[guest.VM](ram, cfg.Layout.VMPage),
		xstate:    sig.XState{Size: cfg.Layout.XSaveSize, XCR0: cfg.Layout.XCR0},
		threads:   map[int]*Thread{},
		processes: map[int]*Process{},
		groups:    map[int]*ProcessGroup{},
		sessions:  map[int]*Session{},
		slots:     make([]*Thread, cfg.Layout.NumThreads),
		boot:      time.Now(),
		unknown:   map[uint64]uint64{},
		futexes:   newFutexTable(ram, &cfg.Layout),
		traps:     traps(),
		hostname:  cfg.Hostname, domainname: "(none)",
		done: make(chan struct{}),
	}
	k.mu.k = k
	atomic.StoreUint64(&k.vm.CPUs, k.allCPUs())
	atomic.StoreUint64(&k.vm.Timer, guest.Forever)
	atomic.StoreUint64(&k.vm.XSaveSize, uint64(k.xstate.Size))
	table := Table()
	for i := range table {
		k.calls[table[i].Nr] = &table[i]
	}
	if err := k.initMemory(); err != nil {
		return nil, err
	}
	if err := k.vdso.init(k.memory, ram); err != nil {
		return nil, err
	}
	return k, nil
}

// setDefaults fills in the limits that were left open.
func (c *Config) setDefaults() {
	if c.Limits.Processes <= 0 || c.Limits.Processes > c.Layout.NumThreads {
		c.Limits.Processes = c.Layout.NumThreads
	}
	if c.Limits.Files <= 0 {
		c.Limits.Files = 1 << 20
	}
	if c.Limits.PipeBytes <= 0 {
		c.Limits.PipeBytes = 64 << 20
	}
	if c.Hostname == "" {
		c.Hostname = "culvert"
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
}

// Done is closed when the first program has ended or the VM cannot go on. Status then says how.
func (k *Kernel) Done() <-chan struct{} { return k.done }

// Status returns how the VM ended; good once Done is closed.
func (k *Kernel) Status() ExitStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.exit
}

// Stop ends the VM from outside: a time-out or a kill. If it has ended already, but its output is not written yet, that
// is given up, and the status is this one.
func (k *Kernel) Stop(status ExitStatus) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		k.hurry(status)
		return
	}
	k.finish(status)
}

// Close ends the VM if need be, waits for the goroutines of blocked calls, closes all files and waits until the output
// is written. The error is that the host refused some of it. No vCPU makes a call during it or after it.
func (k *Kernel) Close() error {
	k.mu.Lock()
	k.finish(ExitStatus{Kind: Killed})
	k.mu.Unlock()
	k.blocked.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.threads {
		t.dropFiles()
	}
	k.closeHostPipes()
	return k.lostOutput()
}

// fail ends the VM because of an error of the guest kernel or of this program.
func (k *Kernel) fail(err error) { k.finish(ExitStatus{Kind: VMMError, Err: err}) }

// finish ends the VM; the first cause counts. Every blocked call is woken and finds errKilled.
func (k *Kernel) finish(status ExitStatus) {
	if k.ended {
		return
	}
	k.ended, k.exit = true, status
	k.hasty = status.Kind == Timeout || status.Kind == Killed || status.Kind == VMMError ||
		status.Kind == Signalled && status.Signal == k.signalled
	for _, t := range k.slots {
		if t == nil {
			continue
		}
		if t.waiter != nil {
			t.interrupt()
		}
	}
	for _, p := range k.processes {
		p.timers.stop()
	}
	k.deadlines.stop()
	close(k.done)
}

// maxUnknown bounds the numbers that countUnknown tells apart.
const maxUnknown = 64

// countUnknown counts a call that does not exist. Only the first numbers are told apart; the rest count under ^0.
func (k *Kernel) countUnknown(nr uint64) {
	if _, ok := k.unknown[nr]; !ok && len(k.unknown) >= maxUnknown {
		nr = ^uint64(0)
	}
	k.unknown[nr]++
}

// Unknown returns the calls that do not exist, by number, and how often each was made; ^0 stands for all numbers
// beyond the first 64.
func (k *Kernel) Unknown() map[uint64]uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := make(map[uint64]uint64, len(k.unknown))
	for nr, n := range k.unknown {
		m[nr] = n
	}
	return m
}

// Forwarded returns how often each call reached the shim, by number; calls never made are not in it.
func (k *Kernel) Forwarded() map[int]uint64 {
	m := map[int]uint64{}
	for nr := range k.forwarded {
		if n := k.forwarded[nr].Load(); n != 0 {
			m[nr] = n
		}
	}
	return m
}

// ExitStatus says how the first program ended.
type ExitStatus struct {
	Kind   ExitKind
	Code   int   // of Exited
	Signal int   // of Signalled, and of OOM
	Err    error // of VMMError
}

// ExitKind is the cause of a VM's end.
type ExitKind string

const (
	Exited    ExitKind = "exited"
	Signalled ExitKind = "signalled"
	OOM       ExitKind = "oom"
	Timeout   ExitKind = "timeout"
	Killed    ExitKind = "killed"
	VMMError  ExitKind = "vmm"
)
