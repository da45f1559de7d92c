package guest

import (
	"unsafe"

	"culvert/guest/signals"
	"culvert/shim/abi"
)

// kill(2), tkill(2) and tgkill(2) of the calling thread, as raise(3) does, where it handles the signal at once: the frame is
// written here, and no queue sees the signal. All else is the shim's: other receivers, signals that are blocked or that a
// program does not handle, and what is special about a handler.

//go:nosplit
func sysKill(p *PerCPU, t *Thread) bool {
	// What a process is sent its leader takes, unless it blocks that.
	return t.RDI&0xffffffff == t.TGID && t.TID == t.TGID && raise(p, t, t.RSI, siUser)
}

//go:nosplit
func sysTkill(p *PerCPU, t *Thread) bool {
	return t.RDI&0xffffffff == t.TID && raise(p, t, t.RSI, siTkill)
}

//go:nosplit
func sysTgkill(p *PerCPU, t *Thread) bool {
	return t.RDI&0xffffffff == t.TGID && t.RSI&0xffffffff == t.TID && raise(p, t, t.RDX, siTkill)
}

// Values of si_code (include/uapi/asm-generic/siginfo.h), as the low half of a word.
const (
	siUser  = 0
	siTkill = 1<<32 - 6
)

// Flags of an action (arch/x86/include/uapi/asm/signal.h).
const (
	saSiginfo   = 0x4
	saRestorer  = 0x04000000
	saOnStack   = 0x08000000
	saNoDefer   = 0x40000000
	saResetHand = 0x80000000
)

// handlerClears are the bits of RFLAGS that a handler starts without: trap, direction, resume.
const handlerClears = 1<<8 | 1<<10 | 1<<16

// raise has t run its handler of signal n.
//
//go:nosplit
func raise(p *PerCPU, t *Thread, n, code uint64) bool {
	i, mask, act := n&0xffffffff-1, load(&t.Mask), &p.Action
	if t.Signals == nil || i >= signals.NSIG || (mask|signals.Job)>>(i&63)&1 != 0 || t.Signals.Concerns(^mask) {
		return false
	}
	t.Signals.Load(i, act)
	act.Sanitize()
	if act.Handler == signals.SIG_DFL || act.Handler == signals.SIG_IGN || act.Flags&(saRestorer|saResetHand) != saRestorer ||
		t.AltStack.Flags&signals.SS_AUTODISARM != 0 || !writeFrame(p, t, i+1, code) {
		return false
	}
	if act.Flags&saNoDefer == 0 {
		act.Mask |= 1 << (i & 63)
	}
	setMask(p, t, mask|act.Mask)
	return true
}

// writeFrame writes the frame of a handler of p.Action, and sets the registers that it starts with (x64_setup_rt_frame). If it
// reports false the thread is as before, but for memory below its stack, where the shim's frame will be.
//
//go:nosplit
func writeFrame(p *PerCPU, t *Thread, n, code uint64) bool {
	act, area := &p.Action, fpArea(p, t)
	size := area.FrameSize()
	to, fp, ok := signals.Place(t.RSP, &t.AltStack, act.Flags&saOnStack != 0, size)
	if !ok || area.Size < signals.FXSaveSize || fp > uint64(abi.UserEnd)-size || to >= fp {
		return false
	}
	p.Save(t)
	if !area.Store(fp, &p.FPHead, &p.FPMagic, p.Copy) {
		return false
	}
	fillFrame(p, t, n, code, fp)
	if p.Copy(at(to), unsafe.Pointer(&p.Frame), signals.FrameSize) != 0 {
		return false
	}
	area.Reset()
	p.Load = 1
	t.RDI, t.RSI, t.RDX = n, to+signals.InfoOffset, to+signals.ContextOffset
	t.RAX, t.RSP, t.RIP = 0, to, act.Handler
	t.RFLAGS &^= handlerClears
	t.Iret = 1
	return true
}

// fillFrame makes p.Frame that of signal n, which the thread sends itself. Every word of it is stored, since it had another
// program's frame.
//
//go:nosplit
func fillFrame(p *PerCPU, t *Thread, n, code, fp uint64) {
	f := &p.Frame
	c := &f.Context
	f.Restorer = p.Action.Restorer
	c.Flags, c.Link = signals.UC_SIGCONTEXT_SS|signals.UC_STRICT_RESTORE_SS, 0
	if p.XSaveMask != 0 {
		c.Flags |= signals.UC_FP_XSTATE
	}
	c.Stack = t.AltStack
	t.CopyRegs(&c.Regs)
	c.Regs.RAX = 0 // what the call returns
	c.Segments = abi.UserCS | abi.UserDS<<48
	c.Err, c.Trapno, c.CR2 = t.Trap.Err, t.Trap.Vector, t.Trap.CR2
	c.Mask = load(&t.Mask)
	c.Oldmask, c.FPState = c.Mask, fp
	for i := 0; i < len(c.Reserved); i++ {
		c.Reserved[i] = 0
	}
	for i := 0; i < len(f.Info); i++ {
		f.Info[i] = 0
	}
	if p.Action.Flags&saSiginfo != 0 {
		f.Info[0], f.Info[1], f.Info[2] = n, code, t.TGID|t.UID<<32
	}
}
