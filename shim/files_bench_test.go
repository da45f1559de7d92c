package shim

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Benchmarks of the shim's own part of a forwarded call: no exit, no guest.

func benchCall(b *testing.B, prepare func(vm *fileVM) (nr uintptr, args []uint64)) {
	vm := newFileVM(b)
	nr, args := prepare(vm)
	var a Args
	copy(a[:], args)
	vm.k.mu.Lock()
	defer vm.k.mu.Unlock()
	for b.Loop() {
		vm.t.vcpu = 0
		vm.t.syscall(uint64(nr), a)
		vm.t.vcpu = -1
	}
}

func BenchmarkCloseUnused(b *testing.B) {
	benchCall(b, func(*fileVM) (uintptr, []uint64) { return unix.SYS_CLOSE, []uint64{1000} })
}

func BenchmarkRead4K(b *testing.B) {
	benchCall(b, func(vm *fileVM) (uintptr, []uint64) {
		fd := vm.open("/tmp/f", unix.O_RDWR|unix.O_CREAT, 0o600)
		vm.must(unix.SYS_FTRUNCATE, fd, 1<<20)
		return unix.SYS_PREAD64, []uint64{fd, vm.alloc(4096), 4096, 0}
	})
}

func BenchmarkStat(b *testing.B) {
	benchCall(b, func(vm *fileVM) (uintptr, []uint64) {
		return unix.SYS_NEWFSTATAT, []uint64{atFDCWD, vm.str("/etc/passwd"), vm.alloc(statSize), 0}
	})
}

func BenchmarkEpollWaitReady(b *testing.B) {
	benchCall(b, func(vm *fileVM) (uintptr, []uint64) {
		ep := uint64(vm.must(unix.SYS_EPOLL_CREATE1, 0))
		e := uint64(vm.must(unix.SYS_EVENTFD2, 1, 0))
		vm.must(unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_ADD, e, vm.put(le.AppendUint64(le.AppendUint32(nil, unix.EPOLLIN), 1)))
		return unix.SYS_EPOLL_WAIT, []uint64{ep, vm.alloc(12), 1, 0}
	})
}

func BenchmarkPipe(b *testing.B) {
	vm := newFileVM(b)
	at := vm.alloc(8)
	for b.Loop() {
		vm.must(unix.SYS_PIPE2, at, 0)
		vm.must(unix.SYS_CLOSE, 0)
		vm.must(unix.SYS_CLOSE, 1)
	}
}
