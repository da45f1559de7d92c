package vmm

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watcher is memory for the system call of watch. It is part of the VM, for a stack could move.
type watcher struct {
	bell  unix.PollFd
	sleep unix.Timespec
}

// entersyscallblock and exitsyscall tell Go's scheduler that this thread is in a system call that lasts: it gives its P away
// at once. The runtime keeps them for programs that do so (go.dev/issue/67401).
//
//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// watch counts slices until something is to be done, but for so long, and a slice, at most. It reports whether it was woken
// (wakeMonitor). keep is to keep the P.
//
// To Go's scheduler it is one long system call. Each that begins or ends has the scheduler wake its own monitor thread
// (sysmon), which sleeps for a moment, finds nothing, and goes back to sleep: four more switches and an interrupt, each an exit of a
// VM that makes none itself, and more than all that is done here. Nor are there timers of Go's, whose expiry has the
// scheduler start one thread more to look for work.
//
// But while vCPUs fall asleep and wake up all the time it keeps its P, and watches for one slice: with all Ps idle sysmon sleeps,
// and each vCPU that wakes up wakes it, for 20 us and for as long as the vCPU stays out of the guest; with one in use it looks every
// 10 ms, once it has found nothing for a while.
//
// So what it calls may not grow the stack, allocate, store pointers or wait for a lock.
//
//go:nosplit
func (vm *VM) watch(limit time.Duration, keep bool) (woken bool) {
	w := &vm.watcher
	if !keep {
		entersyscallblock()
	}
	for next := slice; next > 0 && limit > 0; next = vm.rest() {
		limit -= next
		w.bell = unix.PollFd{Fd: int32(vm.resumed), Events: unix.POLLIN}
		w.sleep = unix.Timespec{Nsec: int64(next)} // ppoll stores what is left of it
		// SAFETY: both are in memory of vm that does not move, and outlive the call.
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&w.bell)), 1, uintptr(unsafe.Pointer(&w.sleep)), 0, 0, 0)
		if woken = errno == 0 && n == 1; woken || errno != 0 || vm.stopping.Load() {
			break
		}
	}
	if !keep {
		exitsyscall()
	}
	return woken
}
