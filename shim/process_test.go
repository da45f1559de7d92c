package shim

import (
	"testing"
	"time"

	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

func TestExitCode(t *testing.T) {
	w, x := newWorld(t)
	if r := x.call(unix.SYS_EXIT_GROUP, 42); r != blockedResult {
		t.Fatalf("exit_group returned %s", resultString(r))
	}
	if s := w.status(); s.Kind != Exited || s.Code != 42 {
		t.Fatalf("the VM ended with %+v, want exit code 42", s)
	}
}

func TestSignalledEnd(t *testing.T) {
	w, x := newWorld(t)
	x.call(unix.SYS_KILL, 1, sig.SIGTERM)
	if s := w.status(); s.Kind != Signalled || s.Signal != sig.SIGTERM {
		t.Fatalf("the VM ended with %+v, want SIGTERM", s)
	}
}

func TestForkWait(t *testing.T) {
	w, x := newWorld(t)
	x.wantCall(unix.ECHILD, unix.SYS_WAIT4, ^uint64(0), 0, 0, 0)
	x.poke(0x100, 11)
	c, pid := x.fork()
	c.poke(0x100, 22)
	if v := x.peek(testBase + 0x100); v != 11 {
		t.Errorf("the child's write shows in the parent: %d", v)
	}
	if c.slot.PPID != 1 || c.slot.TGID != uint64(pid) {
		t.Errorf("the child has ppid %d, tgid %d", c.slot.PPID, c.slot.TGID)
	}
	st := x.poke(0x200, 0)
	x.wantCall(0, unix.SYS_WAIT4, ^uint64(0), st, unix.WNOHANG, 0)
	if r := x.call(unix.SYS_WAIT4, uint64(pid), st, 0, 0); r != blockedResult {
		t.Fatalf("wait4 of a living child returned %s", resultString(r))
	}
	c.call(unix.SYS_EXIT_GROUP, 7)
	if !c.gone {
		t.Fatal("the child lives on")
	}
	x.finish(int64(pid))
	if v := x.peek32(st); v != 7<<8 {
		t.Errorf("status %#x, want %#x", v, 7<<8)
	}
	x.wantCall(unix.ECHILD, unix.SYS_WAIT4, ^uint64(0), 0, 0, 0)
	if n := len(w.k.processes); n != 1 {
		t.Errorf("%d processes are left", n)
	}
}

func TestSlotsAreReused(t *testing.T) {
	_, x := newWorld(t)
	for range 4 * testThreads {
		c, pid := x.fork()
		c.call(unix.SYS_EXIT_GROUP, 0)
		x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), 0, 0, 0)
	}
}

func TestThreadLimit(t *testing.T) {
	_, x := newWorld(t)
	n := 0
	for {
		r := x.call(unix.SYS_FORK)
		if r == -int64(unix.EAGAIN) {
			break
		}
		if r < 0 {
			t.Fatalf("fork = %s", resultString(r))
		}
		n++
	}
	if n != testThreads-1 {
		t.Errorf("%d children, want %d", n, testThreads-1)
	}
}

func TestAutoReap(t *testing.T) {
	w, x := newWorld(t)
	x.action(sig.SIGCHLD, SIG_IGN, 0, 0)
	c, _ := x.fork()
	if r := x.call(unix.SYS_WAIT4, ^uint64(0), 0, 0, 0); r != blockedResult {
		t.Fatalf("wait4 = %s", resultString(r))
	}
	c.call(unix.SYS_EXIT_GROUP, 0)
	x.finish(-int64(unix.ECHILD))
	if n := len(w.k.processes); n != 1 {
		t.Errorf("%d processes are left", n)
	}
}

func TestOrphansGoToInit(t *testing.T) {
	_, x := newWorld(t)
	a, apid := x.fork()
	b, bpid := a.fork()
	a.call(unix.SYS_EXIT_GROUP, 0)
	if b.slot.PPID != 1 {
		t.Errorf("the orphan's parent is %d", b.slot.PPID)
	}
	b.call(unix.SYS_EXIT_GROUP, 0)
	x.wantCall(apid, unix.SYS_WAIT4, uint64(apid), 0, 0, 0)
	x.wantCall(bpid, unix.SYS_WAIT4, ^uint64(0), 0, 0, 0)
}

func TestWaitid(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	info := x.poke(0x300, 0, 0, 0, 0, 0, 0)
	c.call(unix.SYS_KILL, uint64(pid), sig.SIGKILL)
	for range 2 {
		x.wantCall(0, unix.SYS_WAITID, pPID, uint64(pid), info, wExited|wNoWait, 0)
		if x.peek32(info) != sig.SIGCHLD || x.peek32(info+8) != sig.CLD_KILLED || x.peek32(info+16) != uint32(pid) ||
			x.peek32(info+24) != sig.SIGKILL {
			t.Errorf("siginfo: %d %d %d %d", x.peek32(info), x.peek32(info+8), x.peek32(info+16), x.peek32(info+24))
		}
	}
	x.wantCall(0, unix.SYS_WAITID, pAll, 0, info, wExited, 0)
	x.wantCall(unix.ECHILD, unix.SYS_WAITID, pAll, 0, info, wExited, 0)
	x.wantCall(unix.EINVAL, unix.SYS_WAITID, pAll, 0, info, 0, 0)
}

func TestVfork(t *testing.T) {
	_, x := newWorld(t)
	if r := x.call(unix.SYS_VFORK); r != blockedResult {
		t.Fatalf("vfork = %s", resultString(r))
	}
	c := x.w.task(2)
	c.resume()
	c.poke(0x100, 77)
	if x.tryResume(10 * time.Millisecond) {
		t.Fatal("the parent runs before the child has ended")
	}
	c.call(unix.SYS_EXIT, 3)
	x.finish(2)
	if x.peek(testBase+0x100) != 77 {
		t.Error("a vfork child does not share its parent's memory")
	}
}

func TestExec(t *testing.T) {
	w, x := newWorld(t)
	x.action(sig.SIGUSR1, 0x400200, 0, 0)
	x.action(sig.SIGUSR2, SIG_IGN, 0, 0)
	name, empty := x.pokeString(0x400, "/prog"), x.poke(0x500, 0)
	x.wantCall(unix.ENOENT, unix.SYS_EXECVE, x.pokeString(0x600, "/nothing"), empty, empty)
	x.wantCall(unix.EACCES, unix.SYS_EXECVE, x.pokeString(0x600, "/tmp"), empty, empty)
	x.wantCall(unix.ENOEXEC, unix.SYS_EXECVE, x.pokeString(0x600, "/text"), empty, empty)
	x.wantCall(unix.EFAULT, unix.SYS_EXECVE, name, 0x10, empty)
	old := x.space()
	argv := x.poke(0x700, name, x.pokeString(0x800, "argument"), 0)
	x.call(unix.SYS_EXECVE, name, argv, empty)
	if x.space() == old || x.slot.RIP != 0x400078 || x.slot.Iret != 1 || x.slot.FSBase != 0 {
		t.Fatalf("after exec: space %#x (old %#x), rip %#x", x.space(), old, x.slot.RIP)
	}
	if argc := x.peek(x.slot.RSP); argc != 2 {
		t.Errorf("argc = %d", argc)
	}
	p := w.k.init
	if p.actions.get(sig.SIGUSR1).handler != SIG_DFL || p.actions.get(sig.SIGUSR2).handler != SIG_IGN {
		t.Errorf("dispositions after exec: %v, %v", p.actions.get(sig.SIGUSR1), p.actions.get(sig.SIGUSR2))
	}
	if n := w.k.memory.Usage(); n.InUse == 0 {
		t.Error("no memory in use")
	}
}

func TestExecScript(t *testing.T) {
	w, x := newWorld(t)
	name := x.pokeString(0x400, "/script")
	argv := x.poke(0x700, name, 0)
	x.call(unix.SYS_EXECVE, name, argv, x.poke(0x500, 0))
	if got := w.k.init.argv; len(got) != 3 || got[0] != "/prog" || got[1] != "one two" || got[2] != "/script" {
		t.Fatalf("argv = %q", got)
	}
}

func TestExecKillsThreads(t *testing.T) {
	w, x := newWorld(t)
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	tid := int(x.mustCall(unix.SYS_CLONE, flags, testBase+0x8000, 0, 0, 0))
	c := w.task(tid)
	c.resume()
	if c.slot.RSP != testBase+0x8000 || c.slot.TGID != 1 {
		t.Fatalf("thread: rsp %#x, tgid %d", c.slot.RSP, c.slot.TGID)
	}
	// The new thread executes: it becomes pid 1, and the old leader dies.
	name := x.pokeString(0x400, "/prog")
	argv := x.poke(0x700, name, 0)
	if r := c.call(unix.SYS_EXECVE, name, argv, x.poke(0x500, 0)); r != blockedResult {
		t.Fatalf("execve beside another thread = %s", resultString(r))
	}
	x.attend()
	if !x.gone {
		t.Fatal("the old leader lives on")
	}
	c.resume()
	if c.slot.TID != 1 || c.slot.RIP != 0x400078 {
		t.Fatalf("after exec: tid %d, rip %#x", c.slot.TID, c.slot.RIP)
	}
	c.call(unix.SYS_EXIT, 5)
	if s := w.status(); s.Kind != Exited || s.Code != 5 {
		t.Fatalf("the VM ended with %+v", s)
	}
}

func TestThreadExitClearsTID(t *testing.T) {
	w, x := newWorld(t)
	word := x.poke(0x100, 99)
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
		unix.CLONE_CHILD_CLEARTID | unix.CLONE_PARENT_SETTID | unix.CLONE_SETTLS
	tid := x.mustCall(unix.SYS_CLONE, flags, testBase+0x8000, testBase+0x110, word, 0x1234000)
	if v := x.peek32(testBase + 0x110); uint64(v) != tid {
		t.Errorf("CLONE_PARENT_SETTID stored %d", v)
	}
	c := w.task(int(tid))
	c.resume()
	if c.slot.FSBase != 0x1234000 {
		t.Errorf("FS base %#x", c.slot.FSBase)
	}
	if r := x.call(unix.SYS_FUTEX, word, futexWait, 99, 0); r != blockedResult {
		t.Fatalf("futex = %s", resultString(r))
	}
	c.call(unix.SYS_EXIT, 0)
	x.finish(0)
	if v := x.peek32(word); v != 0 {
		t.Errorf("the tid word holds %d", v)
	}
	if len(w.k.init.threads) != 1 {
		t.Errorf("%d threads are left", len(w.k.init.threads))
	}
}

func TestExitGroupEndsBlockedThreads(t *testing.T) {
	w, x := newWorld(t)
	c, pid := x.fork()
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	d := w.task(int(c.mustCall(unix.SYS_CLONE, flags, testBase+0x8000, 0, 0, 0)))
	d.resume()
	if r := d.call(unix.SYS_PAUSE); r != blockedResult {
		t.Fatal("pause returned")
	}
	c.call(unix.SYS_EXIT_GROUP, 9)
	d.die()
	st := x.poke(0x200, 0)
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), st, 0, 0)
	if v := x.peek32(st); v != 9<<8 {
		t.Errorf("status %#x", v)
	}
}

func TestKillRing0Blocked(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	// Ring 0 blocks the child in a futex wait of its own.
	c.slot.OrigRAX = unix.SYS_FUTEX
	c.slot.RAX = unix.SYS_FUTEX
	c.slot.Wait.Kind = abi.WaitFutex
	c.slot.OnCPU = 0
	c.slot.State = abi.StateBlocked
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGKILL)
	c.die()
	st := x.poke(0x200, 0)
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), st, 0, 0)
	if v := x.peek32(st); v != sig.SIGKILL {
		t.Errorf("status %#x", v)
	}
}

func TestPdeathsigAndSubreaper(t *testing.T) {
	_, x := newWorld(t)
	x.wantCall(0, unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
	a, apid := x.fork()
	b, bpid := a.fork()
	b.wantCall(0, unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, sig.SIGUSR1)
	a.call(unix.SYS_EXIT_GROUP, 0)
	b.attend()
	if !b.gone {
		t.Fatal("the parent-death signal did not kill")
	}
	st := x.poke(0x200, 0)
	x.wantCall(apid, unix.SYS_WAIT4, uint64(apid), 0, 0, 0)
	x.wantCall(bpid, unix.SYS_WAIT4, uint64(bpid), st, 0, 0)
	if v := x.peek32(st); v != sig.SIGUSR1 {
		t.Errorf("status %#x", v)
	}
}

func TestProcessGroups(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	x.wantCall(1, unix.SYS_GETPGID, uint64(pid))
	x.wantCall(0, unix.SYS_SETPGID, uint64(pid), 0)
	c.wantCall(pid, unix.SYS_GETPGRP)
	x.wantCall(unix.EPERM, unix.SYS_SETPGID, 0, 0) // a session leader
	c.wantCall(unix.EPERM, unix.SYS_SETSID)        // a group leader
	d, dpid := c.fork()
	d.wantCall(dpid, unix.SYS_SETSID)
	d.wantCall(dpid, unix.SYS_GETSID, 0)
	x.wantCall(unix.EPERM, unix.SYS_SETPGID, uint64(pid), uint64(dpid))
	c.action(sig.SIGUSR1, SIG_IGN, 0, 0)
	x.wantCall(0, unix.SYS_KILL, -uint64(pid), sig.SIGTERM)
	c.attend()
	if !c.gone || d.gone {
		t.Errorf("the signal to the group: member gone %v, other gone %v", c.gone, d.gone)
	}
	x.wantCall(unix.ESRCH, unix.SYS_KILL, ^uint64(998), sig.SIGTERM)
}
