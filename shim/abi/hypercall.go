package abi

// Version is the hypercall page's version. The host writes the version it speaks into the vCPU's page before the
// first instruction; ring 0 copies the one it was built with into each request; a difference ends the VM.
const Version = 1

// Doorbell ports. One OUT to PortCall is a hypercall; PortKick+v wakes the idle vCPU v.
const (
	PortCall = 0x500
	PortKick = 0x540
)

// Kinds of request.
const (
	// KindSyscall: thread Thread made system call NR with Args.
	KindSyscall = 1 + iota
	// KindFault: an exception in ring 3, or a page fault of a copy from or to user memory when Copy is 1.
	// Vector, Err, CR2 and RIP describe it.
	KindFault
	// KindIdle: this vCPU has no ready thread and has set its idle bit.
	KindIdle
	// KindDie: ring 0 met what must not happen. RIP, Vector, Err and CR2 say where.
	KindDie
	// KindNote: NR is one of the Note numbers.
	KindNote
)

// Note numbers.
const (
	// NoteAttention: the thread saw its Attn word set: a signal, a stop or its end waits for it.
	NoteAttention = 1 + iota
	// NoteRelease: the last reference to open file Args[0] was dropped in ring 0.
	NoteRelease
	// NotePipe: pipe Args[0] changed its readiness and the host watches it.
	NotePipe
	// NoteYield: the only ready thread spins on a lock whose holder does not run.
	NoteYield
	// NoteStarted: the self-test passed; ring 0 is about to run the first thread.
	NoteStarted
	// NoteSIGPIPE: a write that is done (RAX has its result) found no reader; the shim raises SIGPIPE.
	NoteSIGPIPE
	// NoteCollect: the thread's record is an epoll_wait, and an item with events is of a file that only the shim knows.
	// The shim collects: it completes the record (RAX, WaitNone, the file's reference) if there are events, or leaves it.
	NoteCollect
	// NoteDeadline: a thread blocks until CLOCK_MONOTONIC is Args[0] ns, which is earlier than VM.Timer.
	NoteDeadline
	// NoteFutex: a wake took a thread out of the table of futexes whose call is blocked in the shim.
	NoteFutex
	// NoteLink: the other VM of the link that open file Args[0] is waits for what was just done: ring its bell.
	NoteLink
	// NoteSignals: the thread, whose call is done, changed its mask or an action, and a signal that may wait is concerned.
	NoteSignals
)

// Actions of a reply.
const (
	// ActReturn: continue the thread with the registers in its slot.
	ActReturn = iota
	// ActBlock: the shim completes this call later; run another thread.
	ActBlock
	// ActExit: the thread is gone; its slot becomes free once ring 0 has left it.
	ActExit
)

// Flags of a reply.
const (
	// FlagFPU: the FPU area or the FS or GS base in the slot changed; load them.
	FlagFPU = 1 << iota
	// FlagSpace: the slot's Space and CR3 changed; switch to them.
	FlagSpace
	// FlagIret: RCX and R11 in the slot are live, or RIP is not known to be canonical: return by IRETQ.
	FlagIret
	// FlagFlush: page-table entries lost rights; flush this vCPU's TLB.
	FlagFlush
)

// Values of Thread.State. The state word is the truth; ready bits are hints.
//
//	StateFree     the slot has no thread
//	StateRun      the thread runs, or is ready with its ready bit set
//	StateBlocked  the thread waits; all its registers are in the slot
//	StateWoken    a waker came while the thread was on its way to StateBlocked
//	StateDead     the thread has ended in ring 0, and the shim has not seen it yet
const (
	StateFree = iota
	StateRun
	StateBlocked
	StateWoken
	StateDead
)

// Kinds of blocking record (Thread.Wait.Kind).
const (
	WaitNone = iota
	// WaitShim: the shim completes the call, writes the slot and stores WaitNone before it wakes.
	WaitShim
	// WaitSignal: a sigsuspend or pause, where Aux is the mask to restore. The shim makes it WaitShim to complete it; the thread
	// itself may take the record back before it sleeps. Both by compare-and-swap.
	WaitSignal
	// The kinds from here on are retried in ring 0 when the thread is woken.

	// WaitRead, WaitWrite: a pipe operation is retried in ring 0 from the record.
	WaitRead
	WaitWrite
	// WaitFutex: on the word at Addr, while it is Len; see package futex.
	WaitFutex
	// WaitEventRead, WaitEventWrite: the same as WaitRead and WaitWrite, of an eventfd. Aux is what is written.
	WaitEventRead
	WaitEventWrite
	// WaitEpoll: epoll_wait on File, for Len events at Addr.
	WaitEpoll
	// WaitPoll: poll on the files of Wait.Poll, for the array of Len entries at Addr.
	WaitPoll
	// WaitLinkRead, WaitLinkWrite: the same as WaitRead and WaitWrite, of a link to another VM.
	WaitLinkRead
	WaitLinkWrite
	// WaitSelect: select on the files of Wait.Poll; what was asked is in Thread.Vec, see package guest.
	WaitSelect
)

// Kinds of open file that ring 0 knows (File.Kind).
const (
	FileHost = iota // only the shim can serve it
	FilePipe
	FileEventFD
	FileEpoll
	FileLink   // one end of a pipe whose other end is another VM's
	FileOutput // a file of the host with a pipe for what is to be written to it, as long as that has room
)
