package abi

// System call numbers that the guest kernel serves itself (arch/x86/entry/syscalls/syscall_64.tbl).
const (
	SYS_READ            = 0
	SYS_WRITE           = 1
	SYS_CLOSE           = 3
	SYS_POLL            = 7
	SYS_RT_SIGACTION    = 13
	SYS_RT_SIGPROCMASK  = 14
	SYS_RT_SIGRETURN    = 15
	SYS_READV           = 19
	SYS_WRITEV          = 20
	SYS_SELECT          = 23
	SYS_SCHED_YIELD     = 24
	SYS_PAUSE           = 34
	SYS_GETPID          = 39
	SYS_EXIT            = 60
	SYS_KILL            = 62
	SYS_GETUID          = 102
	SYS_GETGID          = 104
	SYS_GETEUID         = 107
	SYS_GETEGID         = 108
	SYS_GETPPID         = 110
	SYS_RT_SIGSUSPEND   = 130
	SYS_GETTID          = 186
	SYS_TKILL           = 200
	SYS_FUTEX           = 202
	SYS_SET_TID_ADDRESS = 218
	SYS_CLOCK_GETTIME   = 228
	SYS_EPOLL_WAIT      = 232
	SYS_TGKILL          = 234
	SYS_PSELECT6        = 270
	SYS_PPOLL           = 271
	SYS_SET_ROBUST_LIST = 273
	SYS_EPOLL_PWAIT     = 281
	SYS_RSEQ            = 334
	SYS_EPOLL_PWAIT2    = 441
	// NumSyscalls bounds the fast-path table; larger numbers are forwarded.
	NumSyscalls = 512
)

// Errors that the guest kernel returns, as values of RAX (include/uapi/asm-generic/errno-base.h).
const (
	EPERM  = 1
	EINTR  = 4
	EBADF  = 9
	EAGAIN = 11
	EFAULT = 14
	EINVAL = 22
	EPIPE  = 32
	ENOSYS = 38

	ETIMEDOUT = 110
)

// MaxErrno is the largest errno: results in [-MaxErrno, -1] are errors (include/linux/err.h).
const MaxErrno = 4095

// PIPE_BUF is the size up to which a write is atomic (include/uapi/linux/limits.h).
const PIPE_BUF = 4096

// MAX_RW_COUNT bounds one transfer (include/linux/fs.h): INT_MAX rounded down to a page.
const MAX_RW_COUNT = 0x7fff_f000

// Open-file status flags that ring 0 reads (include/uapi/asm-generic/fcntl.h).
const (
	O_NONBLOCK = 0o4000
	O_DIRECT   = 0o40000
)

// Selectors of the GDT: Linux's own numbers (arch/x86/include/asm/segment.h), since programs see theirs.
const (
	KernelCS = 0x10
	KernelDS = 0x18
	UserCS32 = 0x23
	UserDS   = 0x2b
	UserCS   = 0x33
	TSSSel   = 0x40
	// CPUNumberSel has the number of the vCPU as its segment's limit, for getcpu of the vDSO. Linux's is 0x7b, which no
	// program knows: the vDSO is the kernel's own.
	CPUNumberSel = 0x3b
)

// Flags register bits (Intel SDM vol. 1, 3.4.3).
const (
	// FlagsUser masks what a program may set in its RFLAGS; FlagsForced is always set there (IF and bit 1).
	FlagsUser   = 0x210dd5
	FlagsForced = 0x202
	// SyscallMask is IA32_FMASK: TF, IF, DF, IOPL, NT and AC are clear in ring 0.
	SyscallMask = 0x47700
)

// Vectors.
const (
	VecDB   = 1
	VecNMI  = 2
	VecDF   = 8
	VecGP   = 13
	VecPF   = 14
	VecMC   = 18
	VecKick = 32
)
