package guest

import (
	"unsafe"

	"culvert/epoll"
	"culvert/guest/signals"
	"culvert/shim/abi"
)

// The structs of this file live in guest RAM (or in the vCPU's window) and are read and written by ring 0 and by the
// host at the same time. Words that both change are changed by sync/atomic only; the others have one owner, named at
// the field. Addresses in them are guest-virtual: ring 0 dereferences them, the host translates and checks them.

// VM is what every vCPU shares. Its second half is what a switch of threads needs, and the open-file table begins behind it, in
// the same page: a program that has few files has them there.
type VM struct {
	// Walks has a word per vCPU, in a cache line of its own: odd while the vCPU is among what epoll links, see there.
	Walks [abi.MaxVCPUs][8]uint64

	// Ready has a bit per thread slot: a hint that the thread may be taken. Set by wakers, cleared by takers.
	Ready [abi.MaxThreads / 64]uint64
	// ReadyWords is how many words of Ready are in use; it only grows. Host writes.
	ReadyWords uint64
	// Idle has a bit per vCPU that found nothing ready; Sleep one per vCPU whose host thread really waits.
	Idle, Sleep uint64
	// Dead is how many threads have ended unseen: see sysExit.
	Dead uint64

	Threads    uint64 // GVA of the thread table; constant
	NumThreads uint64 // slots in it; constant
	Refs       uint64 // GVA of the frame reference counts, one uint32 a frame; constant
	NumFrames  uint64 // entries in it; constant
	Files      uint64 // GVA of the open-file table; constant
	NumFiles   uint64 // entries in it; constant
	KernelCR3  uint64 // an address space without a user half; constant
	Futexes    uint64 // GVA of the futex.Table; constant

	Clock uint64 // GVA of the Clock, a page that programs read too; 0 = there is none. Constant once a vCPU runs

	// Timer is the earliest deadline that the host's timer is set to, in ns of CLOCK_MONOTONIC; Forever if none. Host
	// writes.
	Timer uint64
	CPUs  uint64 // a bit per vCPU; constant

	XSaveSize   uint64 // bytes of a thread's FPU area; constant once a vCPU runs
	ThreadShift uint64 // log2 of the bytes of a slot of the thread table; constant
	_           [7]uint64
	// Spaces are the blocks that the host uses first: a switch touches its Space after the TLB was emptied, and this page anyway.
	Spaces [VMSpaces]Space
}

// VMSpaces is how many address spaces have their Space in the VM.
const VMSpaces = 20

// VMOffset is where a VM begins in a page, so that its second half begins the next. It has a page's size: this does not compile
// if it grows beyond.
const (
	VMOffset = abi.PageSize - abi.MaxVCPUs*8*8
	_        = uint(abi.PageSize - unsafe.Sizeof(VM{}))
)

// Forever is a deadline that never comes.
const Forever = ^uint64(0)

// Clock converts the TSC to the time of a clock: Base + (TSC-TSCBase)*Mult>>ClockShift ns, while Stable is 1. It has a page
// of its own, which the host writes and programs read through the vDSO.
type Clock struct {
	Seq     uint64 // odd while the host writes
	Stable  uint64
	TSCBase uint64
	Mult    uint64            // ns per tick, fixed point
	Base    [NumClocks]uint64 // time at TSCBase of each clock of ServedClocks
}

// ClockShift is the fixed point of Clock.Mult in bits. 2^32 ns per tick is far beyond any TSC.
const ClockShift = 32

// ServedClocks has a bit for each clock that is the TSC's line and an offset (include/uapi/linux/time.h), below NumClocks,
// a power of two. The coarse ones may be finer than Linux's.
const (
	NumClocks    = 16
	ServedClocks = 1<<clockRealtime | 1<<clockMonotonic | 1<<clockRealtimeCoarse | 1<<clockMonotonicCoarse |
		1<<clockBoottime | 1<<clockTAI

	clockRealtime        = 0
	clockMonotonic       = 1
	clockRealtimeCoarse  = 5
	clockMonotonicCoarse = 6
	clockBoottime        = 7
	clockTAI             = 11
)

// FakeG has the head of runtime.g: compiled code finds its stack guard through R14.
type FakeG struct {
	Lo, Hi, Guard0, Guard1 uint64
	_                      [28]uint64
}

// Call is the hypercall page of one vCPU. Ring 0 writes the request, rings the doorbell (OUT to abi.PortCall) and
// reads the reply after it; only the vCPU's own host thread touches the page between, so no ordering beyond the exit
// itself is needed. The request is hostile: the host copies it once and checks the copy.
type Call struct {
	// Request.
	Version, Kind, NR uint64
	Args              [6]uint64
	Thread            uint64 // slot index
	RIP               uint64
	CR2               uint64
	Vector, Err, Copy uint64
	// Reply.
	Action, Ret, Flags uint64
}

// PerCPU is what GS points to in ring 0. The assembly finds everything here; nothing is reached by symbol.
type PerCPU struct {
	Self     uint64 // GVA of this struct
	KStack   uint64 // top of the kernel stack
	Cur      uint64 // GVA of the running thread's slot
	UserRSP  uint64 // scratch of the SYSCALL entry
	Scratch  uint64 // scratch of the gate entries
	CallPage uint64 // GVA of the hypercall page, for the assembly
	SMAP     uint64 // 1: CR4.SMAP is on, so STAC and CLAC exist
	// Code addresses that the assembly calls.
	OnSyscall, OnTrap, OnStart, OnPanic uint64
	// The last page fault that was fixed up in a copy.
	CopyCR2, CopyErr uint64
	// The exception that is being handled.
	Vector, Err, CR2, RIP uint64
	XSaveMask             uint64 // XCR0 bits to save; 0 = FXSAVE

	G FakeG

	ID    uint64 // vCPU number
	VM    *VM
	Call  *Call
	Pool  *Pool
	CR3   uint64 // what CR3 holds
	Space *Space // the address space of CR3; nil = the kernel's
	// Cursor is the thread slot at which the next search of VM.Ready begins.
	Cursor uint64
	// Due is what is to be done when the code of a system call has returned; 0 = nothing.
	Due uint64
	// TSC is the time-stamp counter as it was last read, not long ago where a thread is taken or charged.
	TSC uint64
	// Load is 1 while the FPU area and the user's bases of thread Cur are in its slot alone: they are loaded on the
	// return to ring 3, whatever the thread has used of them, so no thread ever runs with another's.
	Load uint64
	// FlushReq is raised by whoever takes rights from a PTE; FlushAck is the value last acted on.
	FlushReq, FlushAck uint64
	// Deferred is a frame whose reference is dropped after the next hypercall; 0 = none.
	Deferred uint64
	// LateKick counts returns to ring 3 since this vCPU woke a thread that an idle vCPU could run; 0 = none.
	LateKick uint64
	// Spin is for how many ticks of the TSC an idle vCPU waits before it leaves for the host.
	Spin uint64
	// TimeSpec is scratch for results on their way to user memory.
	TimeSpec [2]uint64
	// Barrier is stored to for the full barrier that a locked instruction is.
	Barrier uint64
	Stats   Stats

	// Serve says of each system call how ring 0 serves it: 0 not at all; below ServeCode by the word of the thread's slot
	// that has this index, which the assembly answers; else by the code at index Serve-ServeCode of Calls.
	Serve [abi.NumSyscalls]uint8
	Calls [maxCalls]uint64

	// Func values of the assembly helpers, each pointing at its word of Code.
	Copy     func(dst, src unsafe.Pointer, n uint64) (left uint64)
	LoadUser func(addr unsafe.Pointer) (v, fault uint64)
	Out      func(port uint64)
	Save     func(t *Thread)
	SetCR3   func(cr3 uint64)
	Invlpg   func(va uint64)
	RDTSC    func() uint64
	Pause    func()
	Code     [NumHelpers]uint64

	// What follows may lie in another page: see abi.VCPUPage.

	// Scratch of calls on epoll instances, which do not fit the stack: nothing else runs on this vCPU meanwhile.
	Pass  epoll.Pass
	Walk  epoll.Walk
	Peek  epoll.Peek
	Event [2]uint64 // a struct epoll_event on its way to user memory
	// PollFDs is an array of struct pollfd from user memory.
	PollFDs [PollFiles]uint64
	// A signal frame on its way to the thread's slot.
	Frame   signals.Frame
	Action  signals.Action
	FPHead  signals.FPHead
	FPMagic uint32
	// Probe is an index that the self-test uses to provoke a bounds panic.
	Probe uint64
}

// A vCPU's window has room for one PerCPU, and a page holds what a switch needs of it: this does not compile if it grows
// beyond.
const (
	_ = uint(abi.VCPUEnd - abi.VCPUPage - unsafe.Sizeof(PerCPU{}))
	_ = uint(abi.PageSize - abi.VCPUPage&abi.PageMask - unsafe.Offsetof(PerCPU{}.Pass))
)

// ServeCode is the first number of PerCPU.Serve that stands for code; maxCalls is how many may be.
const (
	ServeCode = 128
	maxCalls  = 32
)

// NumHelpers is how many func values PerCPU has.
const NumHelpers = 8

// Stats are counters of one vCPU, written by ring 0 only and read by the host at any time.
type Stats struct {
	Switches   uint64
	Ticks      uint64
	DemandZero uint64 // page faults served here
	COWCopy    uint64
	COWReuse   uint64
	Spurious   uint64                       // page faults that found the PTE already good
	Fast       [ServeCode + maxCalls]uint32 // system calls served, by their number in Serve
}

// Pool is a vCPU's stock of frames. Ring 0 owns it while the vCPU is in the guest, the host while it handles this
// vCPU's hypercall; so it needs no lock.
type Pool struct {
	NumZero  uint64 // known-zero frames in Zero
	NumDirty uint64 // frames in Dirty, dropped by COW, for the host to take back
	Zero     [PoolFrames]uint64
	Dirty    [PoolDirty]uint64
}

// Sizes of a Pool, in frames: one page in all.
const (
	PoolFrames = 320
	PoolDirty  = 190
)

// Space is what ring 0 needs of an address space.
type Space struct {
	CR3 uint64
	// Active has a bit per vCPU that may hold translations of this space: set by a locked operation before CR3 is
	// loaded, cleared after CR3 has left.
	Active uint64
	ID     uint64 // unique while the VM lives: the key of private futexes
	_      [5]uint64
}

// Thread is a slot of the thread table. Two are in a page where the FPU area is small enough: threads that wake each other often
// lie together (the shim sees to that), and a switch between their processes, which empties the TLB, has one miss less.
type Thread struct {
	ThreadHead
	_ [XSaveOffset - unsafe.Sizeof(ThreadHead{})]byte
	// XSave is the FXSAVE or standard-form XSAVE area, VM.XSaveSize bytes of it; 64-byte aligned in the slot. It goes on behind
	// the struct if the slots have BigThreadSize bytes.
	XSave [abi.ThreadSize - XSaveOffset]byte
}

// XSaveOffset is the offset of Thread.XSave in a slot, MaxXSave the largest FPU area: with the state of AVX-512.
const (
	XSaveOffset = 1024
	MaxXSave    = abi.BigThreadSize - XSaveOffset
)

// ThreadSize is how many bytes a slot has, in a VM whose threads have FPU areas of that many.
func ThreadSize(area int) int {
	if area <= abi.ThreadSize-XSaveOffset {
		return abi.ThreadSize
	}
	return abi.BigThreadSize
}

// ThreadHead is the part of a slot that is named word by word.
type ThreadHead struct {
	RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFLAGS                            uint64
	FSBase, GSBase                         uint64
	OrigRAX                                uint64   // the call's number as it was entered; ^0 outside calls
	Iret                                   uint64   // 1: return by IRETQ
	X14, X15                               [16]byte // what the entry saved before compiled code used them

	State uint64 // abi.State*; changes by CAS
	OnCPU uint64 // vCPU number + 1 while a vCPU owns the registers; cleared after the last is saved
	Attn  uint64 // set by the host: visit the shim before the next return to ring 3
	Index uint64 // of this slot

	Space *Space // direct-map address
	Files *FileTable

	TID, TGID, PPID      uint64
	UID, EUID, GID, EGID uint64
	// MaxPoll is RLIMIT_NOFILE: a poll of more entries is EINVAL, which the shim answers. Host writes.
	MaxPoll uint64
	// Affinity has a bit per vCPU on which the thread may run.
	Affinity uint64
	// TSCIn is the TSC when the thread was put on its vCPU; TSCRun the ticks it ran before that.
	TSCIn, TSCRun uint64
	// Faults counts page faults that were served here, Waits how often the thread gave up its vCPU to wait, Yields how
	// often it did so for others. Nobody but ring 0 writes them while the thread lives.
	Faults, Waits, Yields uint64

	Wait Wait
	Vec  Vec

	// Mask is the signals that the thread blocks, and Signals what it shares with its process; see package signals.
	Mask    uint64
	Signals *signals.Table
	// RobustList is the list of its robust futexes, and ClearTID where 0 is stored when the thread ends: the program's words,
	// which the shim reads.
	RobustList, ClearTID uint64
	// Unseen is 1 if nobody but the shim would miss the thread: it may end without an exit. Host writes.
	Unseen uint64

	// AltStack is sigaltstack(2)'s, and Restart is 1 while restart_syscall(2) has something to go on with: where a frame differs,
	// or that has to be forgotten, rt_sigreturn is the shim's. Host writes.
	AltStack signals.Stack
	Restart  uint64

	// Trap is the thread's last exception, which signal frames tell. Host writes.
	Trap struct{ Vector, Err, CR2 uint64 }
}

// Vec is the buffer of a blocked read or write that has several parts: the user's iovecs, copied and checked.
type Vec struct {
	N    uint64 // parts; 0 = the buffer is Wait.Addr and Wait.Len
	Part [VecParts]struct{ Addr, Len uint64 }
}

// VecParts is how many iovecs a readv or writev may have that ring 0 serves.
const VecParts = 8

// Wait is a thread's blocking record: what a retry needs, so that nothing is looked up again.
type Wait struct {
	Kind uint64 // abi.Wait*; written by ring 0 while RUN, by the shim (to WaitNone) before it wakes
	File uint64 // index of the open file; the record holds a reference
	Addr uint64 // user buffer or iovec array
	Len  uint64 // bytes, or number of iovecs
	Done uint64 // bytes moved so far
	Aux  uint64
	// Deadline of WaitEpoll, WaitPoll, WaitSelect and WaitFutex, in ns of CLOCK_MONOTONIC; 0 is not to wait at all. The host's timer stores it
	// in Expired when it has passed.
	Deadline, Expired uint64
	// Left is where a WaitPoll or WaitSelect stores what is left of its time, a struct timespec of the user (or a timeval, see
	// selectMicros); 0 is nowhere. Of a WaitFutex it is futex.Shared or 0.
	Left uint64
	_    uint64
	// Poll is what WaitPoll waits for, an entry of the user's array each: index of the open file, or NoFile, in the low
	// half; then 16 bits of events; then 16 of the answer. The record holds references to the files.
	Poll [PollFiles]uint64
}

// PollFiles is how many files a poll may have that ring 0 serves. NoFile is in the place of an index: nothing is asked.
const (
	PollFiles = 8
	NoFile    = 1<<32 - 1
)

// FileTable maps descriptors to open files: a root of pointers to leaves of FilesPerLeaf entries. The host writes,
// ring 0 reads. Leaves never move or shrink while a thread names the table.
type FileTable struct {
	Leaf [FilesPerLeaf]uint64 // GVA of a leaf, or 0
	// First is leaf 0: a process of few descriptors has them in the page that says where they are, one TLB miss less.
	First [FilesPerLeaf]uint64
}

// FilesPerLeaf is how many entries a leaf of a FileTable has. An entry is the open file's index plus one, or 0.
const FilesPerLeaf = abi.PageSize / 16

// File is the shared part of an open file description. Slots are type-stable: an index always names a File, and a
// reference is taken by incrementing Ref unless it is zero, then looking at the descriptor again.
type File struct {
	Ref   uint64 // descriptors, plus references of calls in flight in ring 0
	Kind  uint64 // abi.File*
	Flags uint64 // status flags (O_NONBLOCK, O_DIRECT); the host writes, by atomic store
	Mode  uint64 // bit 0 readable, bit 1 writable
	Obj   uint64 // GVA of the object: *pipes.Pipe, *eventfd.EventFD or *epoll.Instance, by Kind
	Index uint64
	Host  uint64 // 1: the shim watches the object's readiness
	Since uint64 // of a FIFO: see pipes.Pipe.Readiness
}

// Mode bits of a File.
const (
	FileRead  = 1
	FileWrite = 2
)
