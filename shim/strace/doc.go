// Package strace shows the system calls of a guest as strace(1) shows those of a process: names, arguments decoded from
// the guest's memory, results, signals and ends. The text is that of strace 6.1 with its default options (strings and
// arrays cut at 32, structures abbreviated), so that people and their tools read it without learning anything.
//
// What the kernel fills in is shown after the call returns, everything else before it starts. A line that another
// process interrupts is broken as strace breaks it:
//
//	[pid  7] read(3,  <unfinished ...>
//	[pid  8] close(4)                        = 0
//	[pid  7] <... read resumed>"x", 100)     = 1
//
// The decoder is data: syscalls lists each call's name, classes and the kinds of its arguments, flagtables.go the names
// of flags, layouts.go the structures. Every call of x86-64 up to 462 has its name; calls that ordinary programs do not
// make (bpf, keyctl, io_uring, NUMA, modules, ...) show their arguments in hexadecimal.
//
// Guests choose every value that is decoded here, and change their memory while it is read. So each value is read once,
// a call reads at most maxRead bytes before it starts and again after it returns, text grows by at most maxText bytes in
// each half, and every loop is bounded by one of the two. Guest bytes reach the output only escaped.
//
// Differences from strace: rt_sigreturn shows no mask, since the signal frame is not at hand; restart_syscall shows an
// empty argument list.
package strace

// Memory is a guest's memory. CopyIn reads up to len(p) bytes at addr and returns how many it got; it returns an error
// if and only if that is less than asked.
type Memory interface {
	CopyIn(addr uint64, p []byte) (int, error)
}

// Name returns the name of system call nr, or the empty string if it has none.
func Name(nr uint64) string {
	if nr >= uint64(len(syscalls)) {
		return ""
	}
	return syscalls[nr].name
}

// Number returns the number of the named system call.
func Number(name string) (nr uint64, ok bool) {
	if name == "" {
		return 0, false
	}
	for i := range syscalls {
		if syscalls[i].name == name {
			return uint64(i), true
		}
	}
	return 0, false
}
