package jail

import (
	"golang.org/x/sys/unix"
)

// rule allows a system call, or answers it with errno. A call whose arguments fail a check is not in the list.
type rule struct {
	nr     uint32
	checks []check // all must hold
	errno  unix.Errno
}

// check holds if the argument, masked, is one of the values. The upper half of the register must be zero.
type check struct {
	arg  int
	mask uint32
	want []uint32
}

// oneOf is a check of a whole argument.
func oneOf(arg int, want ...uint32) check { return check{arg, ^uint32(0), want} }

// without checks that an argument has none of the bits.
func without(arg int, bits uint32) check { return check{arg, bits, []uint32{0}} }

// with checks that an argument has all of the bits.
func with(arg int, bits uint32) check { return check{arg, bits, []uint32{bits}} }

// Requests to KVM that a running VM makes (<linux/kvm.h>); all others are of its set-up.
const (
	kvmRun       = 0xae80
	kvmInterrupt = 0x4004ae86
)

// tcgets2 is TCGETS2, which golang.org/x/sys lacks on amd64.
const tcgets2 = 0x802c542a

// Flags with which threads are made: by Go's runtime (runtime/os_linux.go, and sys_linux_amd64.s for CLONE_SETTLS), and
// by the C library in a build with cgo, when it has seen that there is no clone3.
const (
	goThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD |
		unix.CLONE_SETTLS
	cThread = goThread | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID
)

// openWrites are openat flags of those who write. hostfs creates files with openat2, whose flags no filter can see;
// there Landlock and the guest's own tree stand before it.
const openWrites = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND

// openCreates are those that hostfs leaves to openat2.
const openCreates = unix.O_CREAT | unix.O_TRUNC | unix.O_TMPFILE&^unix.O_DIRECTORY

// policy is the list for the process pid: what Go's runtime, the exit loop, the shim and hostfs call once the VM is set
// up, up to and including the process's end. writes says that a tree of the host is written to.
//
// KVM_RUN is the only hot one that the kernel cannot decide without running the filter (since Linux 5.11 it keeps a
// bitmap of calls that are allowed whatever their arguments), so ioctl comes first.
func policy(pid uint32, writes bool) []rule {
	rules := []rule{
		{nr: unix.SYS_IOCTL, checks: []check{oneOf(1, kvmRun, kvmInterrupt,
			// What a guest may ask of a terminal or a pipe that is its standard file.
			unix.TCGETS, tcgets2, unix.TIOCGWINSZ, unix.TIOCINQ, unix.TIOCOUTQ)}},
		// Kicks, and preemption by Go's runtime: never another process.
		{nr: unix.SYS_TGKILL, checks: []check{oneOf(0, pid)}},
		// Go's runtime, when it crashes and is to show all threads.
		{nr: unix.SYS_KILL, checks: []check{oneOf(0, pid)}},
		// Memory is anonymous and never code.
		{nr: unix.SYS_MMAP, checks: []check{without(2, unix.PROT_EXEC), with(3, unix.MAP_ANONYMOUS)}},
		{nr: unix.SYS_MPROTECT, checks: []check{without(2, unix.PROT_EXEC)}},
		// Not MADV_HWPOISON and the like, which are root's tools to break memory.
		{nr: unix.SYS_MADVISE, checks: []check{oneOf(2, unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE,
			unix.MADV_COLLAPSE, unix.MADV_DONTFORK, unix.MADV_DONTDUMP, unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE,
			unix.MADV_GUARD_INSTALL, unix.MADV_GUARD_REMOVE)}}, // a C library's thread stacks
		{nr: unix.SYS_CLONE, checks: []check{oneOf(0, goThread, cThread)}},
		// The C library tries it first and then clone, whose flags a filter can see.
		{nr: unix.SYS_CLONE3, errno: unix.ENOSYS},
		// Go's runtime names its mappings; nothing else of prctl.
		{nr: unix.SYS_PRCTL, checks: []check{oneOf(0, unix.PR_SET_VMA)}},
		// /dev/null in place of a standard file that the guest has closed.
		{nr: unix.SYS_DUP3, checks: []check{oneOf(1, 0, 1, 2)}},
		// Standard files that are stream sockets: to their other end only.
		{nr: unix.SYS_SENDTO, checks: []check{oneOf(3, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL), oneOf(4, 0)}},
		{nr: unix.SYS_RECVFROM, checks: []check{oneOf(3, unix.MSG_DONTWAIT), oneOf(4, 0)}},
		{nr: unix.SYS_FCNTL, checks: []check{oneOf(1, unix.F_GETFL, unix.F_SETFL, unix.F_GETFD, unix.F_SETPIPE_SZ)}},
	}
	open := without(2, openWrites|openCreates)
	if writes {
		open = without(2, openCreates)
	}
	rules = append(rules, rule{nr: unix.SYS_OPENAT, checks: []check{open}})
	rules = allow(rules, always[:])
	if writes {
		rules = allow(rules, writing[:])
		// Names of sockets, and no devices.
		rules = append(rules, rule{nr: unix.SYS_MKNODAT, checks: []check{{2, unix.S_IFMT, []uint32{unix.S_IFSOCK}}}})
	}
	return rules
}

func allow(rules []rule, calls []uint32) []rule {
	for _, nr := range calls {
		rules = append(rules, rule{nr: nr})
	}
	return rules
}

// always are calls that are allowed with any arguments.
var always = [...]uint32{
	// Threads, time and memory: Go's runtime, and the vCPUs' sleep.
	unix.SYS_FUTEX, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_MUNMAP, unix.SYS_BRK,
	unix.SYS_GETRANDOM, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	// After SIGSTOP and SIGCONT the kernel has calls with a time limit go on by this one.
	unix.SYS_RESTART_SYSCALL,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	// A new thread of the C library; both only name memory of its own. Refused, rseq ends the process.
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
	// Go's poller.
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
	// Standard files.
	unix.SYS_PPOLL, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_LSEEK, unix.SYS_FSTAT,
	unix.SYS_FTRUNCATE, // of what is open to be written to
	// hostfs.
	unix.SYS_OPENAT2, unix.SYS_CLOSE, unix.SYS_NEWFSTATAT, unix.SYS_FSTATFS, unix.SYS_GETDENTS64, unix.SYS_READLINKAT,
	// A guest may ask for this of any file; what was not written has nothing to lose by it.
	unix.SYS_FSYNC, unix.SYS_FDATASYNC,
}

// writing are what hostfs does besides in a tree that is written to.
var writing = [...]uint32{
	unix.SYS_FALLOCATE, unix.SYS_MKDIRAT, unix.SYS_SYMLINKAT, unix.SYS_LINKAT, unix.SYS_UNLINKAT,
	unix.SYS_RENAMEAT2, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT,
}
