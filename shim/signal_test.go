package shim

import (
	"testing"
	"time"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

const handlerAt = 0x400200

// inHandler checks that the thread is about to run the handler of a signal, and returns the frame.
func (x *task) inHandler(n int) *sig.Frame {
	x.w.tb.Helper()
	if x.slot.RIP != handlerAt || x.slot.RDI != uint64(n) {
		x.w.tb.Fatalf("rip %#x, rdi %d: not in the handler of %d", x.slot.RIP, x.slot.RDI, n)
	}
	if x.slot.RSP&15 != 8 || x.slot.RSI != x.slot.RSP+sig.InfoOffset || x.slot.RDX != x.slot.RSP+sig.ContextOffset {
		x.w.tb.Fatalf("rsp %#x, rsi %#x, rdx %#x", x.slot.RSP, x.slot.RSI, x.slot.RDX)
	}
	var b [sig.FrameSize]byte
	t := x.thread()
	x.w.k.mu.Lock()
	defer x.w.k.mu.Unlock()
	if err := t.copyIn(x.slot.RSP, b[:]); err != nil {
		x.w.tb.Fatal(err)
	}
	var f sig.Frame
	f.Unmarshal(&b)
	return &f
}

// sigreturn returns from the handler: the restorer was popped.
func (x *task) sigreturn() {
	x.w.tb.Helper()
	x.slot.RSP += 8
	x.call(unix.SYS_RT_SIGRETURN)
}

func TestHandlerAndReturn(t *testing.T) {
	_, x := newWorld(t)
	x.action(sig.SIGUSR1, handlerAt, SA_SIGINFO, uint64(sig.Of(sig.SIGUSR2)))
	x.slot.RSP = testBase + 0x9000
	x.slot.RBX, x.slot.R15 = 0x1234, 0x5678
	x.slot.XSave[160] = 0xab // XMM0
	x.slot.XSave[512] = 7    // XSTATE_BV
	x.slot.XSave[576] = 0xcd // YMM0's upper half
	rip := x.slot.RIP
	x.call(unix.SYS_KILL, 1, sig.SIGUSR1)
	f := x.inHandler(sig.SIGUSR1)
	if f.Regs.RIP != rip+2 || f.Regs.RSP != testBase+0x9000 || f.Regs.RAX != 0 || f.Regs.RBX != 0x1234 || f.Flags != 7 {
		t.Errorf("frame: %+v", f)
	}
	if f.FPState&63 != 0 || f.FPState <= x.slot.RSP || f.FPState+836 > testBase+0x9000-128 {
		t.Errorf("fpstate at %#x, frame at %#x", f.FPState, x.slot.RSP)
	}
	if x.peek(x.slot.RSI+16) != 1 {
		t.Errorf("si_pid %d", x.peek(x.slot.RSI+16))
	}
	if m := x.thread().mask(); m != sig.Of(sig.SIGUSR1, sig.SIGUSR2) {
		t.Errorf("mask in the handler %#x", m)
	}
	// The handler starts with a fresh FPU, and what it does to it is undone.
	if x.slot.XSave[160] != 0 || le64(x.slot.XSave[512:]) != 3 || x.slot.XSave[25] != 0x1f {
		t.Errorf("in the handler: xmm %#x, components %#x", x.slot.XSave[160], le64(x.slot.XSave[512:]))
	}
	x.slot.XSave[160], x.slot.XSave[576], x.slot.RBX = 1, 1, 0
	x.sigreturn()
	if x.slot.RIP != rip+2 || x.slot.RBX != 0x1234 || x.slot.XSave[160] != 0xab || x.slot.XSave[576] != 0xcd || x.slot.RAX != 0 {
		t.Errorf("after sigreturn: rip %#x rbx %#x xmm %#x ymm %#x", x.slot.RIP, x.slot.RBX, x.slot.XSave[160], x.slot.XSave[576])
	}
	if m := x.thread().mask(); m != 0 {
		t.Errorf("mask after sigreturn %#x", m)
	}
}

func TestSigreturnIsSanitised(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(x *task, f *sig.Frame)
		fault bool
	}{
		"flags":    {func(x *task, f *sig.Frame) { x.poke(x.slot.RSP+8+40+17*8-testBase, ^uint64(0)) }, false},
		"mxcsr":    {func(x *task, f *sig.Frame) { x.poke(f.FPState+24-testBase, 0xffffffff) }, true},
		"xcompbv":  {func(x *task, f *sig.Frame) { x.poke(f.FPState+520-testBase, 1<<63) }, true},
		"xstatebv": {func(x *task, f *sig.Frame) { x.poke(f.FPState+512-testBase, ^uint64(0)) }, true},
		"magic":    {func(x *task, f *sig.Frame) { x.poke(f.FPState+464-testBase, 0) }, false},
		"pointer":  {func(x *task, f *sig.Frame) { x.poke(x.slot.RSP+8+40+184-testBase, 0x10) }, true},
		"kernel":   {func(x *task, f *sig.Frame) { x.poke(x.slot.RSP+8+40+184-testBase, 0xffff800000000000) }, true},
		"none":     {func(x *task, f *sig.Frame) { x.poke(x.slot.RSP+8+40+184-testBase, 0) }, false},
		"size":     {func(x *task, f *sig.Frame) { x.poke(f.FPState+464+16-testBase, 0xffffffff) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, x := newWorld(t)
			x.action(sig.SIGUSR1, handlerAt, 0, 0)
			x.slot.RSP = testBase + 0x9000
			x.call(unix.SYS_KILL, 1, sig.SIGUSR1)
			c.spoil(x, x.inHandler(sig.SIGUSR1))
			x.sigreturn()
			if c.fault {
				if s := w.status(); s.Kind != Signalled || s.Signal != sig.SIGSEGV {
					t.Fatalf("a bad frame ended with %+v", s)
				}
				return
			}
			if x.slot.RFLAGS&^uint64(abi.FlagsUser|abi.FlagsForced) != 0 || x.slot.RFLAGS&abi.FlagsForced != abi.FlagsForced {
				t.Errorf("rflags %#x", x.slot.RFLAGS)
			}
			if bv := le64(x.slot.XSave[512:]); bv&^7 != 0 || le64(x.slot.XSave[520:]) != 0 {
				t.Errorf("xsave header %#x %#x", bv, le64(x.slot.XSave[520:]))
			}
		})
	}
}

func le64(b []byte) (v uint64) {
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

func TestAltstack(t *testing.T) {
	w, x := newWorld(t)
	x.wantCall(unix.ENOMEM, unix.SYS_SIGALTSTACK, x.poke(0x100, testBase+0x20000, 0, 100), 0)
	x.wantCall(0, unix.SYS_SIGALTSTACK, x.poke(0x100, testBase+0x20000, 0, 0x2000), 0)
	x.action(sig.SIGUSR1, handlerAt, SA_ONSTACK|SA_NODEFER, 0)
	x.slot.RSP = testBase + 0x9000
	x.call(unix.SYS_KILL, 1, sig.SIGUSR1)
	f := x.inHandler(sig.SIGUSR1)
	if x.slot.RSP <= testBase+0x20000 || x.slot.RSP > testBase+0x22000 {
		t.Fatalf("the frame is at %#x", x.slot.RSP)
	}
	if f.Stack.SP != testBase+0x20000 || f.Stack.Size != 0x2000 {
		t.Errorf("uc_stack %+v", f.Stack)
	}
	x.wantCall(unix.EPERM, unix.SYS_SIGALTSTACK, x.poke(0x100, 0, 2, 0), 0)
	// Nested until the stack is full: then SIGSEGV, whose default ends the program.
	for range 10 {
		x.call(unix.SYS_KILL, 1, sig.SIGUSR1)
		if w.ended() {
			break
		}
	}
	if s := w.status(); s.Signal != sig.SIGSEGV {
		t.Errorf("overflow of the alternate stack ended with %+v", s)
	}
}

func TestNoRestorerIsSegv(t *testing.T) {
	w, x := newWorld(t)
	x.wantCall(0, unix.SYS_RT_SIGACTION, sig.SIGUSR1, x.poke(0x100, handlerAt, 0, 0, 0), 0, 8)
	x.slot.RSP = testBase + 0x9000
	x.call(unix.SYS_KILL, 1, sig.SIGUSR1)
	if s := w.status(); s.Signal != sig.SIGSEGV {
		t.Errorf("ended with %+v", s)
	}
}

func TestRestart(t *testing.T) {
	for name, c := range map[string]struct {
		flags uint64
		nr    uint64
		args  []uint64
		rax   int64 // in the frame
		back  bool  // RIP was moved back
	}{
		"wait4 with SA_RESTART":     {SA_RESTART, unix.SYS_WAIT4, []uint64{^uint64(0), 0, 0, 0}, unix.SYS_WAIT4, true},
		"wait4 without":             {0, unix.SYS_WAIT4, []uint64{^uint64(0), 0, 0, 0}, -int64(unix.EINTR), false},
		"pause":                     {SA_RESTART, unix.SYS_PAUSE, nil, -int64(unix.EINTR), false},
		"nanosleep":                 {SA_RESTART, unix.SYS_NANOSLEEP, []uint64{testBase + 0x100, 0}, -int64(unix.EINTR), false},
		"futex without time-out":    {SA_RESTART, unix.SYS_FUTEX, []uint64{testBase + 0x200, 0, 0, 0}, unix.SYS_FUTEX, true},
		"futex with a time-out":     {SA_RESTART, unix.SYS_FUTEX, []uint64{testBase + 0x200, 0, 0, testBase + 0x100}, -int64(unix.EINTR), false},
		"sigtimedwait of another":   {SA_RESTART, unix.SYS_RT_SIGTIMEDWAIT, []uint64{testBase + 0x110, 0, 0, 8}, -int64(unix.EINTR), false},
		"clock_nanosleep, absolute": {SA_RESTART, unix.SYS_CLOCK_NANOSLEEP, []uint64{unix.CLOCK_REALTIME, 1, testBase + 0x120, 0}, -int64(unix.EINTR), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, x := newWorld(t)
			y, _ := x.fork()
			x.poke(0x100, 1000, 0, uint64(sig.Of(sig.SIGHUP)), 0)
			x.poke(0x120, 1<<40, 0)
			x.poke(0x200, 0)
			x.action(sig.SIGUSR1, handlerAt, c.flags, 0)
			x.slot.RSP = testBase + 0x9000
			if r := x.call(c.nr, c.args...); r != blockedResult {
				t.Fatalf("the call returned %s", resultString(r))
			}
			rip := x.slot.RIP
			y.wantCall(0, unix.SYS_KILL, 1, sig.SIGUSR1)
			x.resume()
			f := x.inHandler(sig.SIGUSR1)
			want := rip
			if c.back {
				want -= 2
			}
			if int64(f.Regs.RAX) != c.rax || f.Regs.RIP != want {
				t.Errorf("in the frame: rax %s, rip %+d", resultString(int64(f.Regs.RAX)), int64(f.Regs.RIP-rip))
			}
		})
	}
}

// TestRestartWithoutHandler: a stop and SIGCONT interrupt a sleep, which goes on through restart_syscall.
func TestStopAndContinue(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	c.poke(0x100, 0, 50e6)
	if r := c.call(unix.SYS_NANOSLEEP, testBase+0x100, 0); r != blockedResult {
		t.Fatal("nanosleep returned")
	}
	st := x.poke(0x200, 0)
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGSTOP)
	if r := x.call(unix.SYS_WAIT4, uint64(pid), st, unix.WUNTRACED, 0); r == blockedResult {
		x.finish(int64(pid))
	}
	if v := x.peek32(st); v != sig.SIGSTOP<<8|0x7f {
		t.Errorf("status %#x", v)
	}
	x.wantCall(0, unix.SYS_WAIT4, uint64(pid), st, unix.WUNTRACED|unix.WNOHANG, 0)
	if c.tryResume(80 * time.Millisecond) {
		t.Fatal("a stopped thread runs")
	}
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGCONT)
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), st, unix.WCONTINUED, 0)
	if v := x.peek32(st); v != 0xffff {
		t.Errorf("status %#x", v)
	}
	c.resume()
	if c.slot.RAX != unix.SYS_RESTART_SYSCALL {
		t.Fatalf("rax %d", c.slot.RAX)
	}
	if r := c.call(unix.SYS_RESTART_SYSCALL); r == blockedResult {
		c.finish(0)
	}
	// SIGCHLD was pending for each change, but is ignored by default.
	if x.thread().p.pending.Set() != 0 {
		t.Error("a signal is pending")
	}
}

func TestStopRunningThread(t *testing.T) {
	w, x := newWorld(t)
	c, pid := x.fork()
	kicks := w.m.kicks.Load()
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGSTOP)
	if w.m.kicks.Load() == kicks {
		t.Error("a running thread was not kicked")
	}
	if c.attend() {
		t.Fatal("a stopped thread runs on")
	}
	if r := x.call(unix.SYS_WAIT4, uint64(pid), 0, unix.WUNTRACED, 0); r == blockedResult {
		x.finish(int64(pid))
	}
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGKILL)
	c.die()
	x.wantCall(pid, unix.SYS_WAIT4, uint64(pid), 0, 0, 0)
}

func TestOrphanedGroupIgnoresTTYStops(t *testing.T) {
	_, x := newWorld(t)
	c, pid := x.fork()
	c.mustCall(unix.SYS_SETSID)
	x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGTSTP)
	if !c.attend() {
		t.Fatal("SIGTSTP stopped a member of an orphaned group")
	}
}

func TestBlockedSignalsWait(t *testing.T) {
	_, x := newWorld(t)
	x.action(sig.SIGUSR1, handlerAt, 0, 0)
	set := x.poke(0x100, uint64(sig.Of(sig.SIGUSR1, sig.SIGKILL)))
	x.wantCall(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, set, 0, 8)
	x.wantCall(0, unix.SYS_KILL, 1, sig.SIGUSR1)
	x.wantCall(0, unix.SYS_KILL, 1, sig.SIGUSR1)
	x.wantCall(0, unix.SYS_RT_SIGPENDING, testBase+0x110, 8)
	if v := x.peek(testBase + 0x110); v != uint64(sig.Of(sig.SIGUSR1)) {
		t.Errorf("pending %#x", v)
	}
	x.slot.RSP = testBase + 0x9000
	x.call(unix.SYS_RT_SIGPROCMASK, unix.SIG_UNBLOCK, set, 0, 8)
	x.inHandler(sig.SIGUSR1)
	x.sigreturn()
	if x.slot.RIP == handlerAt {
		t.Error("a standard signal was queued twice")
	}
}

func TestRealtimeSignalsQueue(t *testing.T) {
	_, x := newWorld(t)
	const rt = 40
	set := x.poke(0x100, uint64(sig.Of(rt)))
	x.wantCall(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, set, 0, 8)
	for i := range uint64(3) {
		// si_code SI_QUEUE
		info := x.poke(0x200, rt, uint64(uint32(0xffffffff)), 0, 100+i)
		x.wantCall(0, unix.SYS_RT_SIGQUEUEINFO, 1, rt, info)
	}
	for i := range uint64(3) {
		x.wantCall(rt, unix.SYS_RT_SIGTIMEDWAIT, set, testBase+0x300, 0, 8)
		if v := x.peek(testBase + 0x300 + 24); v != 100+i {
			t.Errorf("value %d, want %d", v, 100+i)
		}
	}
	zero := x.poke(0x400, 0, 0)
	x.wantCall(unix.EAGAIN, unix.SYS_RT_SIGTIMEDWAIT, set, 0, zero, 8)
}

func TestSigtimedwaitIsWoken(t *testing.T) {
	_, x := newWorld(t)
	c, _ := x.fork()
	set := x.poke(0x100, uint64(sig.Of(sig.SIGTERM)))
	x.wantCall(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, set, 0, 8)
	if r := x.call(unix.SYS_RT_SIGTIMEDWAIT, set, 0, 0, 8); r != blockedResult {
		t.Fatal("sigtimedwait returned")
	}
	c.wantCall(0, unix.SYS_KILL, 1, sig.SIGTERM)
	x.finish(sig.SIGTERM)
}

func TestSigsuspend(t *testing.T) {
	_, x := newWorld(t)
	c, _ := x.fork()
	x.action(sig.SIGUSR1, handlerAt, 0, 0)
	x.wantCall(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, x.poke(0x100, uint64(sig.Of(sig.SIGUSR1, sig.SIGHUP))), 0, 8)
	x.slot.RSP = testBase + 0x9000
	if r := x.call(unix.SYS_RT_SIGSUSPEND, x.poke(0x108, 0), 8); r != blockedResult {
		t.Fatal("sigsuspend returned")
	}
	c.wantCall(0, unix.SYS_KILL, 1, sig.SIGUSR1)
	x.resume()
	f := x.inHandler(sig.SIGUSR1)
	if f.Mask != sig.Of(sig.SIGUSR1, sig.SIGHUP) || int64(f.Regs.RAX) != -int64(unix.EINTR) {
		t.Errorf("mask %#x, rax %s", f.Mask, resultString(int64(f.Regs.RAX)))
	}
}

func TestFaultsRaiseSignals(t *testing.T) {
	for name, c := range map[string]struct {
		call  guest.Call
		prep  func(x *task)
		signo int
		code  int32
		addr  uint64
	}{
		"unmapped":    {guest.Call{Vector: abi.VecPF, Err: abi.PFUser, CR2: 0x1000}, nil, sig.SIGSEGV, sig.SEGV_MAPERR, 0x1000},
		"kernel half": {guest.Call{Vector: abi.VecPF, Err: abi.PFUser | abi.PFPresent, CR2: 0xffff880000000000}, nil, sig.SIGSEGV, sig.SEGV_MAPERR, 0xffff880000000000},
		"divide":      {guest.Call{Vector: vecDE}, nil, sig.SIGFPE, sig.FPE_INTDIV, 0x400078},
		"int3":        {guest.Call{Vector: vecBP}, nil, sig.SIGTRAP, sig.SI_KERNEL, 0},
		"overflow":    {guest.Call{Vector: vecOF}, nil, sig.SIGSEGV, sig.SI_KERNEL, 0},
		"undefined":   {guest.Call{Vector: vecUD}, nil, sig.SIGILL, sig.ILL_ILLOPN, 0x400078},
		"protection":  {guest.Call{Vector: abi.VecGP}, nil, sig.SIGSEGV, sig.SI_KERNEL, 0},
		"alignment":   {guest.Call{Vector: vecAC}, nil, sig.SIGBUS, sig.BUS_ADRALN, 0},
		"trap":        {guest.Call{Vector: abi.VecDB}, func(x *task) { x.slot.RFLAGS |= 1 << 8 }, sig.SIGTRAP, sig.TRAP_TRACE, 0x400078},
		"sse divide": {guest.Call{Vector: vecXF}, func(x *task) { x.slot.XSave[24], x.slot.XSave[25] = 4, 0 },
			sig.SIGFPE, sig.FPE_FLTDIV, 0x400078},
		"x87 invalid": {guest.Call{Vector: vecMF}, func(x *task) { x.slot.XSave[0], x.slot.XSave[2] = 0, 1 },
			sig.SIGFPE, sig.FPE_FLTINV, 0x400078},
	} {
		t.Run(name, func(t *testing.T) {
			w, x := newWorld(t)
			x.action(c.signo, handlerAt, SA_SIGINFO, 0)
			x.slot.RSP, x.slot.RIP = testBase+0x9000, 0x400078
			if c.prep != nil {
				c.prep(x)
			}
			call := c.call
			call.Kind = abi.KindFault
			x.hypercall(call)
			x.inHandler(c.signo)
			if code, addr := int32(x.peek32(x.slot.RSI+8)), x.peek(x.slot.RSI+16); code != c.code || addr != c.addr {
				t.Errorf("si_code %d, si_addr %#x; want %d, %#x", code, addr, c.code, c.addr)
			}
			if x.slot.RFLAGS&(1<<8) != 0 {
				t.Error("the handler is traced")
			}
			// A fault while its signal is blocked ends the program.
			x.slot.RIP = 0x400078
			if c.prep != nil {
				c.prep(x)
			}
			x.hypercall(call)
			if s := w.status(); s.Kind != Signalled || s.Signal != c.signo {
				t.Errorf("the second fault ended with %+v", s)
			}
		})
	}
}

func TestCopyFault(t *testing.T) {
	_, x := newWorld(t)
	good := guest.Call{Version: abi.Version, Kind: abi.KindFault, Copy: 1, Vector: abi.VecPF, Err: abi.PFWrite, CR2: testBase + 0x50000}
	x.w.k.Call(0, &good)
	if good.Ret != 0 || good.Action != abi.ActReturn {
		t.Errorf("a copy to demand-zero memory: %+v", good)
	}
	bad := good
	bad.CR2, bad.Kind, bad.Copy = 0x1000, abi.KindFault, 1
	x.w.k.Call(0, &bad)
	if bad.Ret != abi.EFAULT || bad.Action != abi.ActReturn {
		t.Errorf("a copy to nowhere: %+v", bad)
	}
}

func TestSIGPIPENote(t *testing.T) {
	_, x := newWorld(t)
	epipe := errnoResult(unix.EPIPE)
	x.action(sig.SIGPIPE, handlerAt, 0, 0)
	x.slot.RAX, x.slot.RSP = epipe, testBase+0x9000
	x.hypercall(guest.Call{Kind: abi.KindNote, NR: abi.NoteSIGPIPE})
	if f := x.inHandler(sig.SIGPIPE); f.Regs.RAX != epipe {
		t.Errorf("rax %s", resultString(int64(f.Regs.RAX)))
	}
}

// TestRing0Interrupt: a signal ends a call that blocks in ring 0, after its partial count.
func TestRing0Interrupt(t *testing.T) {
	for done, want := range map[uint64]int64{0: -int64(unix.EINTR), 5: 5} {
		_, x := newWorld(t)
		c, pid := x.fork()
		c.action(sig.SIGUSR1, handlerAt, 0, 0)
		c.slot.RSP = testBase + 0x9000
		c.slot.RAX, c.slot.OrigRAX = unix.SYS_WRITE, unix.SYS_WRITE
		c.slot.Wait = guest.Wait{Kind: abi.WaitWrite, File: 900, Done: done}
		c.slot.OnCPU, c.slot.State = 0, abi.StateBlocked
		x.wantCall(0, unix.SYS_KILL, uint64(pid), sig.SIGUSR1)
		c.resume()
		if f := c.inHandler(sig.SIGUSR1); int64(f.Regs.RAX) != want {
			t.Errorf("done %d: rax %s, want %s", done, resultString(int64(f.Regs.RAX)), resultString(want))
		}
		if c.slot.Wait.Kind != abi.WaitNone {
			t.Error("the record is still there")
		}
	}
}

func TestTimers(t *testing.T) {
	_, x := newWorld(t)
	x.action(sig.SIGALRM, handlerAt, 0, 0)
	x.slot.RSP = testBase + 0x9000
	x.wantCall(0, unix.SYS_SETITIMER, 0, x.poke(0x100, 0, 0, 0, 5000), 0)
	if r := x.call(unix.SYS_PAUSE); r == blockedResult {
		x.resume()
	}
	x.inHandler(sig.SIGALRM)
	x.sigreturn()
	x.wantCall(0, unix.SYS_GETITIMER, 0, testBase+0x200)
	if x.peek(testBase+0x210)|x.peek(testBase+0x218) != 0 {
		t.Error("a one-shot timer is still armed")
	}
	x.wantCall(0, unix.SYS_ALARM, 100)
	x.wantCall(100, unix.SYS_ALARM, 0)
}

// A periodic timer of a signal that nobody takes rests, however short its period: it must not keep the host busy.
func TestTimerRests(t *testing.T) {
	w, x := newWorld(t)
	set := x.poke(0x100, uint64(sig.Of(sig.SIGALRM)))
	x.wantCall(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, set, 0, 8)
	x.wantCall(0, unix.SYS_SETITIMER, 0, x.poke(0x140, 0, 1, 0, 1), 0)
	th := x.thread()
	rests := func() bool {
		w.k.mu.Lock()
		defer w.k.mu.Unlock()
		return th.p.timers.real.host == nil && th.p.pending.Set().Has(sig.SIGALRM)
	}
	for range 3 {
		for end := time.Now().Add(5 * time.Second); !rests(); {
			if time.Now().After(end) {
				t.Fatal("the timer goes on although its signal is pending")
			}
			time.Sleep(time.Millisecond)
		}
		x.wantCall(0, unix.SYS_GETITIMER, 0, testBase+0x200)
		if x.peek(testBase+0x210)|x.peek(testBase+0x218) != 0 {
			t.Error("a timer that rests has time left")
		}
		// Taking the signal lets it go on.
		x.wantCall(sig.SIGALRM, unix.SYS_RT_SIGTIMEDWAIT, set, 0, 0, 8)
	}
}

func TestPosixTimer(t *testing.T) {
	w, x := newWorld(t)
	const rt = 36
	set := x.poke(0x100, uint64(sig.Of(rt)))
	x.wantCall(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, set, 0, 8)
	ev := x.poke(0x140, 0xfeed, rt, 0, 0, 0, 0, 0, 0)
	x.wantCall(0, unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, ev, testBase+0x130)
	id := uint64(x.peek32(testBase + 0x130))
	x.wantCall(0, unix.SYS_TIMER_SETTIME, id, 0, x.poke(0x180, 0, 2e6, 0, 1e6), 0)
	th := x.thread()
	queued := func() bool {
		w.k.mu.Lock()
		defer w.k.mu.Unlock()
		return th.p.pending.HasTimer(int32(id))
	}
	for end := time.Now().Add(5 * time.Second); !queued() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	// What comes from now on is an overrun, whether the host's timer has counted it or not.
	time.Sleep(10 * time.Millisecond)
	x.wantCall(rt, unix.SYS_RT_SIGTIMEDWAIT, set, testBase+0x200, 0, 8)
	if v := x.peek(testBase + 0x200 + 24); v != 0xfeed {
		t.Errorf("si_value %#x", v)
	}
	if code, over := int32(x.peek32(testBase+0x208)), x.peek32(testBase+0x214); code != sig.SI_TIMER || over < 3 {
		t.Errorf("si_code %d, overrun %d", code, over)
	}
	if r := x.call(unix.SYS_TIMER_GETOVERRUN, id); r < 3 {
		t.Errorf("timer_getoverrun = %d", r)
	}
	x.wantCall(0, unix.SYS_TIMER_DELETE, id)
	x.wantCall(unix.EINVAL, unix.SYS_TIMER_DELETE, id)
}
