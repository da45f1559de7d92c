package workload

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"culvert/cmd/culvert/internal/bench/tinyelf"

	"golang.org/x/sys/unix"
)

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
		_, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, pid, w.status, 0, 0, 0, 0)
		if errno != 0 {
			return failed(unix.SYS_WAIT4, uintptr(errno))
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

// tinyProgram writes the program to be executed to a temporary file.
func tinyProgram(w *work) error {
	image, err := tinyelf.Exit()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "culvert-bench-")
	if err != nil {
		return fmt.Errorf("file for the program to execute: %w", err)
	}
	w.cleanup = func() { os.Remove(f.Name()) }
	_, err = f.Write(image)
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return fmt.Errorf("write the program to execute: %w", err)
	}
	return w.program(f.Name())
}

// selfProgram has this program executed, with a word that makes it end at once.
func selfProgram(w *work) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return w.program(self, Word, Nothing)
}

// program lays out execve's arguments in the workload's memory: strings from stringsAt on, then the vectors. The
// environment is empty.
func (w *work) program(args ...string) error {
	at := stringsAt
	w.path = w.base + uintptr(at)
	w.argv = w.base + argvAt
	w.envp = w.argv + 8*uintptr(len(args)) // argv's last word, which is 0: an empty vector
	store64(w.envp, 0)
	for i, s := range args {
		if at+len(s)+1 > lineAt || i >= maxArgs-1 {
			return fmt.Errorf("program %s: its arguments are too long", args[0])
		}
		store64(w.argv+8*uintptr(i), uint64(w.base)+uint64(at))
		at += copy(w.memory[at:], s+"\x00")
	}
	return nil
}

// faultPages is the number of pages that are mapped at once: 2 MiB.
const faultPages = 512

// fault touches n fresh pages. Huge pages are refused, where there are any: it is the fault that is measured.
//
//go:nosplit
//go:norace
func fault(_ *work, n uint64) failure {
	const page = 4096
	for n > 0 {
		pages := min(n, faultPages)
		size := uintptr(pages * page)
		addr, _, errno := syscall.RawSyscall6(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
		if errno != 0 {
			return failed(unix.SYS_MMAP, uintptr(errno))
		}
		// A kernel without transparent huge pages refuses: then there is nothing to switch off.
		syscall.RawSyscall(unix.SYS_MADVISE, addr, size, unix.MADV_NOHUGEPAGE)
		for i := uintptr(0); i < size; i += page {
			store64(addr+i, 1)
		}
		if _, f := sys(unix.SYS_MUNMAP, addr, size, 0); f != 0 {
			return f
		}
		n -= pages
	}
	return 0
}
