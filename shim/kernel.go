package shim

import (
	"os"
	"sync"
	"time"

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
	Stdio     [3]*os.File // descriptors 0 to 2 of the first process; nil is closed
	Limits    Limits
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

	// mu guards all state of this package. See the package comment for the order of locks.
	mu    sync.Mutex
	calls [numSyscalls]*Syscall

	threads   map[int]*Thread
	processes map[int]*Process
	groups    map[int]*ProcessGroup
	sessions  map[int]*Session
	slots     []*Thread // by slot index; nil is free as far as the shim knows
	lastTID   int
	init      *Process
	boot      time.Time

	ended bool
	exit  ExitStatus
	done  chan struct{}
}

// ExitStatus says how the first program ended.
type ExitStatus struct {
	Kind   ExitKind
	Code   int   // of exited
	Signal int   // of signalled
	Err    error // of vmm
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
