package workload

import "golang.org/x/sys/unix"

// What is measured. The code of this file runs in processes without a Go runtime: see the package comment.

//go:nosplit
//go:norace
func getppid(_ *work, n uint64) failure {
	for ; n > 0; n-- {
		if _, f := sys(unix.SYS_GETPPID, 0, 0, 0); f != 0 {
			return f
		}
	}
	return 0
}

//go:nosplit
//go:norace
func clockGettime(w *work, n uint64) failure {
	for ; n > 0; n-- {
		if _, f := sys(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, w.time, 0); f != 0 {
			return f
		}
	}
	return 0
}

// clockLibc calls the vDSO, or the kernel where there is none.
//
//go:nosplit
//go:norace
func clockLibc(w *work, n uint64) failure {
	if w.clock == 0 {
		return clockGettime(w, n)
	}
	for ; n > 0; n-- {
		if int32(callC(w.clock, w.stack, unix.CLOCK_MONOTONIC, w.time)) != 0 {
			return failed(unix.SYS_CLOCK_GETTIME, uintptr(unix.EINVAL))
		}
	}
	return 0
}

//go:nosplit
//go:norace
func forkWait(_ *work, n uint64) failure {
	for ; n > 0; n-- {
		pid, f := sys(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
		if f != 0 {
			return f
		}
		if pid == 0 {
			exit(0)
		}
		if f := reap(pid); f != 0 {
			return f
		}
	}
	return 0
}

// execWait leaves in the status word what became of the child: a program that could not be executed, or that failed,
// must not count.
//
//go:nosplit
//go:norace
func execWait(w *work, n uint64) failure {
	for ; n > 0; n-- {
		pid, f := sys(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
		if f != 0 {
			return f
		}
		if pid == 0 {
			_, f := sys(unix.SYS_EXECVE, w.path, w.argv, w.envp)
			exit(uintptr(f & 0xff)) // its errno
		}
		if _, f := sys(unix.SYS_WAIT4, pid, w.status, 0); f != 0 {
			return f
		}
		if status := load64(w.status) & 0xffff; status != 0 {
			if status&0x7f != 0 { // a signal
				return failed(unix.SYS_EXECVE, uintptr(unix.ECHILD))
			}
			return failed(unix.SYS_EXECVE, uintptr(status>>8))
		}
	}
	return 0
}

// faultPages is the number of pages that are mapped at once: 2 MiB.
const faultPages = 512

// fault touches n fresh pages, n being a multiple of faultPages. Huge pages are refused, where there are any: it is the
// fault that is measured.
//
//go:nosplit
//go:norace
func fault(_ *work, n uint64) failure {
	const page, size = 4096, faultPages * 4096
	for ; n > 0; n -= min(n, faultPages) {
		addr, f := sys5(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0))
		if f != 0 {
			return f
		}
		// A kernel without transparent huge pages refuses: then there is nothing to switch off.
		sys(unix.SYS_MADVISE, addr, size, unix.MADV_NOHUGEPAGE)
		for i := uintptr(0); i < size; i += page {
			store64(addr+i, 1)
		}
		if _, f := sys(unix.SYS_MUNMAP, addr, size, 0); f != 0 {
			return f
		}
	}
	return 0
}

// mmapUnmap maps memory and unmaps it, and touches none.
//
//go:nosplit
//go:norace
func mmapUnmap(_ *work, n uint64) failure {
	const size = 64 << 10
	for ; n > 0; n-- {
		addr, f := sys5(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0))
		if f != 0 {
			return f
		}
		if _, f := sys(unix.SYS_MUNMAP, addr, size, 0); f != 0 {
			return f
		}
	}
	return 0
}
