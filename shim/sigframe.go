package shim

import (
	"sync/atomic"

	"culvert/guest/signals"
	"culvert/shim/abi"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// Bits of RFLAGS that a handler starts without: trap, direction, resume.
const handlerClears = 1<<8 | 1<<10 | 1<<16

// handle makes the thread run a handler (arch/x86/kernel/signal.c, handle_signal).
func (t *Thread) handle(act *sigAction, i *sig.Info) {
	switch r := t.call.restart; {
	case r == ERESTARTNOINTR, r == ERESTARTSYS && act.flags&SA_RESTART != 0:
		t.again(t.call.nr)
	}
	// Otherwise the result is EINTR, which setResult stored.
	t.call.restart = 0
	saved := t.mask()
	if t.savedMask != nil {
		saved, t.savedMask = *t.savedMask, nil
	}
	if err := t.pushFrame(act, i, saved); err != nil {
		if i.Signo == sig.SIGSEGV {
			t.forceFatal(sig.SIGSEGV)
		} else {
			t.force(sig.Kernel(sig.SIGSEGV))
		}
		return
	}
	m := t.mask() | act.mask
	if act.flags&SA_NODEFER == 0 {
		m |= sig.Of(int(i.Signo))
	}
	t.setMask(m)
}

// pushFrame builds the signal frame on the stack and points the registers at the handler (x64_setup_rt_frame).
func (t *Thread) pushFrame(act *sigAction, i *sig.Info, saved sig.Set) error {
	if act.flags&SA_RESTORER == 0 {
		return unix.EFAULT
	}
	s := t.slot
	frameAt, fpAt, ok := signals.Place(s.RSP, &t.altstack, act.flags&SA_ONSTACK != 0, uint64(t.k.xstate.FrameSize()))
	if !ok {
		return unix.EFAULT
	}
	f := sig.Frame{
		Restorer: act.restorer,
		Flags:    signals.UC_SIGCONTEXT_SS | signals.UC_STRICT_RESTORE_SS,
		Stack:    t.altstack,
		CS:       abi.UserCS, SS: abi.UserDS,
		Err: s.Trap.Err, Trapno: s.Trap.Vector, CR2: s.Trap.CR2,
		FPState: fpAt,
		Mask:    saved,
	}
	s.CopyRegs(&f.Regs)
	if t.k.xstate.XCR0 != 0 {
		f.Flags |= signals.UC_FP_XSTATE
	}
	if act.flags&SA_SIGINFO != 0 {
		f.Info = i
	}
	if err := t.copyOut(fpAt, t.k.xstate.Save(t.fpu())); err != nil {
		return err
	}
	if err := t.copyOut(frameAt, f.Marshal()[:]); err != nil {
		return err
	}
	if t.altstack.Flags&sig.SS_AUTODISARM != 0 {
		t.storeAltstack(sig.Stack{Flags: sig.SS_DISABLE})
	}
	s.RDI, s.RSI, s.RDX = uint64(i.Signo), frameAt+sig.InfoOffset, frameAt+sig.ContextOffset
	s.RAX, s.RSP, s.RIP = 0, frameAt, act.handler
	s.RFLAGS &^= handlerClears
	t.k.xstate.Init(t.fpu()) // fpu__clear_user_states
	t.flags |= abi.FlagFPU
	t.returnByIret()
	return nil
}

// sysRtSigreturn serves rt_sigreturn(2): the registers, mask, alternate stack and FPU state of the frame below the
// stack pointer. Whatever the frame says, the thread can do no more than it could: RFLAGS is masked here and in ring
// 0, which also checks RIP, and the FPU state is one that the processor accepts.
func sysRtSigreturn(t *Thread, _ Args) (uint64, error) {
	t.goOnBy(nil)
	frameAt := t.slot.RSP - 8
	if err := t.popFrame(frameAt); err != nil {
		// signal_fault
		t.force(sig.Kernel(sig.SIGSEGV))
		return 0, errNoReturn
	}
	t.call.active = false
	return 0, errNoReturn
}

func (t *Thread) popFrame(frameAt uint64) error {
	var b [sig.FrameSize]byte
	if err := t.copyIn(frameAt, b[:]); err != nil {
		return err
	}
	var f sig.Frame
	f.Unmarshal(&b)
	s := t.slot
	if f.FPState == 0 {
		t.k.xstate.Init(t.fpu())
	} else {
		state := make([]byte, t.k.xstate.FrameSize())
		if err := t.copyIn(f.FPState, state); err != nil {
			return err
		}
		if err := t.k.xstate.Restore(t.fpu(), state, f.FPState); err != nil {
			return err
		}
	}
	t.setMask(f.Mask)
	s.SetRegs(&f.Regs)
	t.flags |= abi.FlagFPU
	t.returnByIret()
	// Errors of the stack are ignored, as in Linux: the frame is gone already.
	t.setAltstack(f.Stack, f.Regs.RSP)
	return nil
}

// setAltstack is do_sigaltstack for a thread whose stack pointer is sp.
func (t *Thread) setAltstack(n sig.Stack, sp uint64) error {
	if t.altstack.On(sp) {
		return unix.EPERM
	}
	mode := n.Flags &^ sig.SS_AUTODISARM
	if mode != sig.SS_DISABLE && mode != sig.SS_ONSTACK && mode != 0 {
		return unix.EINVAL
	}
	if n.SP == t.altstack.SP && n.Size == t.altstack.Size && n.Flags == t.altstack.Flags {
		return nil
	}
	if mode == sig.SS_DISABLE {
		n.SP, n.Size = 0, 0
	} else if n.Size < t.k.minSigStack() {
		return unix.ENOMEM
	}
	t.storeAltstack(n)
	return nil
}

// storeAltstack sets the alternate stack, of which ring 0 has a copy to compare frames with.
func (t *Thread) storeAltstack(n sig.Stack) {
	t.altstack = n
	t.slot.AltStack = signals.Stack{SP: n.SP, Flags: n.Flags, Size: n.Size}
}

// goOnBy sets what restart_syscall(2) goes on with, nil for nothing. Ring 0 is told, since a return from a handler forgets it.
func (t *Thread) goOnBy(fn Handler) {
	t.restartFn = fn
	set := uint64(0)
	if fn != nil {
		set = 1
	}
	atomic.StoreUint64(&t.slot.Restart, set)
}

// minSigStack is the smallest alternate stack: MINSIGSTKSZ, or what a frame with this machine's FPU state needs
// (get_sigframe_size, AT_MINSIGSTKSZ).
func (k *Kernel) minSigStack() uint64 {
	return max(2048, k.sigFrameSize())
}

// sigFrameSize is AT_MINSIGSTKSZ: the largest frame, with the padding that alignment may need.
func (k *Kernel) sigFrameSize() uint64 {
	// MAX_FRAME_PADDING and MAX_XSAVE_PADDING of arch/x86/kernel/signal.c.
	return (uint64(sig.FrameSize) + 15 + uint64(k.xstate.FrameSize()) + 63 + 15) &^ 15
}
