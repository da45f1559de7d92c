package shim

import (
	"os"
	"runtime"
	"testing"
	"time"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/mm"
	"culvert/shim/vfs/memfs"
	"culvert/shim/vfs/rootfs"

	"golang.org/x/sys/unix"
)

// fileMachine is a Machine without vCPUs: handlers are called by the test.
type fileMachine struct{ ram []byte }

func (m *fileMachine) RAM() []byte                 { return m.ram }
func (m *fileMachine) Kick(int)                    {}
func (m *fileMachine) WakeIdle(int)                {}
func (m *fileMachine) Shootdown(*guest.Space, int) {}

// fileVM is a Kernel whose first thread makes calls, with an area of user memory.
type fileVM struct {
	testing.TB
	k    *Kernel
	t    *Thread
	base uint64 // of the user area
	next uint64 // free part of it
}

const userArea = 4 << 20

// newFileVM starts a Kernel on the default root with these standard files.
func newFileVM(t testing.TB, stdio ...*os.File) *fileVM {
	t.Helper()
	ram, err := unix.Mmap(-1, 0, 256<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	root, err := rootfs.New(rootfs.Options{Quota: memfs.NewQuota(256<<20, 1<<16)})
	if err != nil {
		t.Fatal(err)
	}
	const threads, files = 64, 1 << 15
	l := Layout{VMPage: 0x1000, Threads: 0x10000, NumThreads: threads, ThreadSize: abi.ThreadSize, NumFiles: files, XSaveSize: 512}
	l.Files = l.Threads + threads*abi.ThreadSize
	l.Refs = l.Files + files*guestFileSize
	l.KernelCR3 = l.Refs + abi.GPA(len(ram)/abi.PageSize*4)
	l.Futexes = l.KernelCR3 + abi.PageSize
	l.FirstFree = l.Futexes + abi.GPA(guest.FutexBytes)
	cfg := Config{
		Machine: &fileMachine{ram}, Layout: l, NumCPUs: 1, Program: "/bin/true", Args: []string{"true"},
		Env: []string{"PATH=/bin"}, Namespace: root.NS,
	}
	copy(cfg.Stdio[:], stdio)
	k, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	vm := &fileVM{TB: t, k: k, t: k.init.leader}
	k.mu.Lock()
	vm.base, err = vm.t.mm.Mmap(mm.MmapArgs{Len: userArea, Prot: unix.PROT_READ | unix.PROT_WRITE, Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS})
	k.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	vm.next = vm.base
	t.Cleanup(func() {
		k.Stop(ExitStatus{Kind: Killed})
		k.Close()
		root.Close()
		unix.Munmap(ram)
	})
	return vm
}

// in runs fn with the Kernel's lock.
func (vm *fileVM) in(fn func()) {
	vm.k.mu.Lock()
	defer vm.k.mu.Unlock()
	fn()
}

// alloc returns n bytes of user memory, 16-aligned.
func (vm *fileVM) alloc(n int) uint64 {
	a := vm.next
	vm.next += uint64(n+15) &^ 15
	if vm.next > vm.base+userArea {
		vm.Fatal("the user area is full")
	}
	return a
}

// put stores bytes in user memory and returns where.
func (vm *fileVM) put(b []byte) uint64 {
	vm.Helper()
	a := vm.alloc(max(len(b), 1))
	vm.in(func() {
		if err := vm.t.copyOut(a, b); err != nil {
			vm.Fatal(err)
		}
	})
	return a
}

// str stores a C string.
func (vm *fileVM) str(s string) uint64 { return vm.put(append([]byte(s), 0)) }

// get reads user memory.
func (vm *fileVM) get(a uint64, n int) []byte {
	vm.Helper()
	b := make([]byte, n)
	vm.in(func() {
		if err := vm.t.copyIn(a, b); err != nil {
			vm.Fatal(err)
		}
	})
	return b
}

// pending is a call that has not returned yet.
type pending struct {
	vm *fileVM
	t  *Thread
}

// start makes a call by thread t; if it blocks, wait gives its result.
func (vm *fileVM) start(t *Thread, nr uintptr, args ...uint64) *pending {
	var a Args
	copy(a[:], args)
	vm.in(func() {
		t.vcpu = 0
		t.syscall(uint64(nr), a)
		t.vcpu = -1
	})
	return &pending{vm, t}
}

// blocked reports whether the call still waits.
func (p *pending) blocked() bool {
	var b bool
	p.vm.in(func() { b = p.t.waiter != nil })
	return b
}

// wait returns the call's result.
func (p *pending) wait() (int64, unix.Errno) {
	p.vm.Helper()
	for deadline := time.Now().Add(10 * time.Second); p.blocked(); runtime.Gosched() {
		if time.Now().After(deadline) {
			p.vm.Fatal("the call hangs")
		}
	}
	var r int64
	p.vm.in(func() { r = int64(p.t.slot.RAX) })
	if r < 0 && r > -4096 {
		return -1, unix.Errno(-r)
	}
	return r, 0
}

// call makes a call by the first thread and waits for it.
func (vm *fileVM) call(nr uintptr, args ...uint64) (int64, unix.Errno) {
	vm.Helper()
	return vm.start(vm.t, nr, args...).wait()
}

// must is call that has to succeed.
func (vm *fileVM) must(nr uintptr, args ...uint64) int64 {
	vm.Helper()
	r, e := vm.call(nr, args...)
	if e != 0 {
		vm.Fatalf("system call %d%v: %v", nr, args, e)
	}
	return r
}

// fails is call that has to answer an errno.
func (vm *fileVM) fails(want unix.Errno, nr uintptr, args ...uint64) {
	vm.Helper()
	if r, e := vm.call(nr, args...); e != want {
		vm.Errorf("system call %d%v = %d, %v; want %v", nr, args, r, e, want)
	}
}

// fork makes another process with one thread.
func (vm *fileVM) fork(flags uint64) *Thread {
	vm.Helper()
	pid, e := vm.call(unix.SYS_CLONE, flags|uint64(unix.SIGCHLD), 0, 0, 0, 0)
	if e != 0 {
		used := 0
		for _, t := range vm.k.slots {
			if t != nil {
				used++
			}
		}
		vm.Fatalf("clone: %v (%d threads, %d slots)", e, len(vm.k.threads), used)
	}
	var t *Thread
	vm.in(func() { t = vm.k.threads[int(pid)] })
	if t == nil {
		vm.Fatal("no child")
	}
	return t
}

const atFDCWD = ^uint64(99) // AT_FDCWD as a register holds it

// open opens a file.
func (vm *fileVM) open(name string, flags int, mode uint64) uint64 {
	vm.Helper()
	return uint64(vm.must(unix.SYS_OPENAT, atFDCWD, vm.str(name), uint64(flags), mode))
}

// write writes a string; read reads up to n bytes.
func (vm *fileVM) write(fd uint64, s string) int64 {
	vm.Helper()
	return vm.must(unix.SYS_WRITE, fd, vm.put([]byte(s)), uint64(len(s)))
}

func (vm *fileVM) read(fd uint64, n int) string {
	vm.Helper()
	a := vm.alloc(n)
	return string(vm.get(a, int(vm.must(unix.SYS_READ, fd, a, uint64(n)))))
}

// pipe makes a pipe.
func (vm *fileVM) pipe(flags int) (r, w uint64) {
	vm.Helper()
	a := vm.alloc(8)
	vm.must(unix.SYS_PIPE2, a, uint64(flags))
	b := vm.get(a, 8)
	return uint64(le.Uint32(b)), uint64(le.Uint32(b[4:]))
}

// end kills a process of one thread that makes no call, and reaps it.
func (vm *fileVM) end(t *Thread) {
	vm.Helper()
	vm.in(func() {
		if !t.exited {
			vm.k.send(t.p, nil, sigUser(unix.SIGKILL, vm.t))
			t.vcpu = 0
			t.attention()
			t.vcpu = -1
		}
		if !t.exited {
			vm.Fatal("SIGKILL does not end the thread")
		}
		if vm.k.slots[t.index] == t {
			vm.k.bury(t)
		}
		t.slot.State = abi.StateFree // as ring 0 does once it has left the thread
	})
	vm.must(unix.SYS_WAIT4, ^uint64(0), 0, 0, 0)
}

// checkClosed closes everything and looks for what is left.
func (vm *fileVM) checkClosed() {
	vm.Helper()
	vm.must(unix.SYS_CLOSE_RANGE, 0, 1<<32-1, 0)
	vm.in(func() {
		if n := vm.k.files.used(); n != 0 {
			for _, f := range vm.k.files.open {
				if f != nil {
					vm.Logf("still open: %T with %d references", f.impl, f.refs)
				}
			}
			vm.Errorf("%d open files are left", n)
		}
		if n := vm.k.pipePages.total; n != 0 || len(vm.k.pipePages.byUser) != 0 {
			vm.Errorf("%d pages of pipes are left", n)
		}
		if vm.k.socketBytes != 0 || vm.k.fileLocks != 0 || vm.k.pollItems != 0 {
			vm.Errorf("%d bytes in sockets, %d locks, %d polled files are left", vm.k.socketBytes, vm.k.fileLocks, vm.k.pollItems)
		}
		if vm.k.epollItems != 0 || vm.k.inFlight != 0 || len(vm.k.flying) != 0 || len(vm.k.unixNames) != 0 || len(vm.k.lockWaits) != 0 {
			vm.Errorf("%d interests, %d descriptors in flight, %d names, %d lock waits are left",
				vm.k.epollItems, vm.k.inFlight, len(vm.k.unixNames), len(vm.k.lockWaits))
		}
	})
}
