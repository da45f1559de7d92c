package jail

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filterCalls installs the filter, and sees to no_new_privs with or without one.
func filterCalls(c Config) ([]string, error) {
	ok, err := haveSeccomp()
	if err != nil {
		return nil, err
	}
	if !ok {
		if err := forbidPrivileges(); err != nil {
			return nil, err
		}
		return []string{"no_new_privs"}, nil
	}
	prog, err := compile(policy(uint32(unix.Getpid()), c.writes()))
	if err != nil {
		return nil, err
	}
	if err := install(prog, unix.SECCOMP_FILTER_FLAG_TSYNC); err != nil {
		return nil, err
	}
	return []string{"no_new_privs", "seccomp"}, nil
}

// haveSeccomp reports whether the kernel has filters that can kill a process: Linux 4.14, CONFIG_SECCOMP_FILTER.
func haveSeccomp() (bool, error) {
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	// Sound: the conversion is in the call's argument, and the kernel reads 4 bytes.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	switch errno {
	case 0:
		return true, nil
	case unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP:
		return false, nil
	}
	return false, fmt.Errorf("ask for KILL_PROCESS: %w", errno)
}

// install sets no_new_privs and the program as a filter, both of all threads if flags has SECCOMP_FILTER_FLAG_TSYNC.
// SECCOMP_FILTER_FLAG_SPEC_ALLOW is not set: kernels before 5.16
// then guard the process against speculative store bypass, as they should one that serves strangers.
func install(prog []bpf.RawInstruction, flags uintptr) error {
	filter := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the kernel brings the others in step with this thread
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	// Sound: the conversion is in the call's argument; fprog, which is kept alive by it, points to filter.
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(filter)
	switch {
	case errno != 0:
		return fmt.Errorf("install a filter of %d instructions: %w", len(filter), errno)
	case r != 0:
		return fmt.Errorf("thread %d has a filter of its own, so that a common one cannot be installed", r)
	}
	return nil
}
