package guest

import (
	"unsafe"

	"culvert/guest/signals"
	"culvert/shim/abi"
)

// SetRegs stores a program's registers in the slot, with the flags that it may set. Whoever does so returns by IRETQ. It runs in
// ring 0 and on the host.
//
//go:nosplit
func (t *Thread) SetRegs(r *signals.Regs) {
	t.R8, t.R9, t.R10, t.R11, t.R12, t.R13, t.R14, t.R15 = r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15
	t.RDI, t.RSI, t.RBP, t.RBX, t.RDX, t.RAX, t.RCX, t.RSP = r.RDI, r.RSI, r.RBP, r.RBX, r.RDX, r.RAX, r.RCX, r.RSP
	t.RIP, t.RFLAGS = r.RIP, r.RFLAGS&abi.FlagsUser|abi.FlagsForced
}

// CopyRegs copies the registers out of the slot.
//
//go:nosplit
func (t *Thread) CopyRegs(r *signals.Regs) {
	r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15 = t.R8, t.R9, t.R10, t.R11, t.R12, t.R13, t.R14, t.R15
	r.RDI, r.RSI, r.RBP, r.RBX, r.RDX, r.RAX, r.RCX, r.RSP = t.RDI, t.RSI, t.RBP, t.RBX, t.RDX, t.RAX, t.RCX, t.RSP
	r.RIP, r.RFLAGS = t.RIP, t.RFLAGS
}

// sysRtSigreturn is rt_sigreturn(2) of a frame as the shim builds them, which the program may have changed in what the shim
// needs not see: registers, mask and FPU state. All others are the shim's, and nothing has changed then.
//
//go:nosplit
func sysRtSigreturn(p *PerCPU, t *Thread) bool {
	c, from := &p.Frame.Context, t.RSP // the handler has popped the return address
	if t.Signals == nil || load(&t.Restart) != 0 || from > uint64(abi.UserEnd)-signals.FrameSize ||
		p.Copy(unsafe.Pointer(c), at(from), uint64(unsafe.Sizeof(*c))) != 0 || !c.Stack.Equal(&t.AltStack) || !restoreFPU(p, t) {
		return false
	}
	t.SetRegs(&c.Regs)
	t.Iret = 1
	p.Load = 1
	setMask(p, t, c.Mask)
	return true
}

// restoreFPU makes the FPU area of t that of the frame in p.Frame. If it reports false the registers hold the thread's state as
// before, which the shim is shown.
//
//go:nosplit
func restoreFPU(p *PerCPU, t *Thread) bool {
	from, area := p.Frame.Context.FPState, fpArea(p, t)
	if from == 0 || from > uint64(abi.UserEnd)-MaxXSave || area.Size > MaxXSave {
		return false
	}
	p.Save(t) // the user's bases go to the slot; resume loads them together with the FPU area
	return area.Restore(from, &p.FPHead, &p.FPMagic, p.Copy)
}

// fpArea is the FPU area of t.
//
//go:nosplit
func fpArea(p *PerCPU, t *Thread) signals.FPArea {
	return signals.FPArea{Area: unsafe.Pointer(&t.XSave), Size: p.VM.XSaveSize, XCR0: p.XSaveMask}
}

// setMask stores the signals that the running thread blocks, and has the shim look if that concerns one that may wait.
//
//go:nosplit
func setMask(p *PerCPU, t *Thread, next uint64) {
	mask := load(&t.Mask)
	next &^= signals.Unblockable
	if next == mask {
		return
	}
	store(&t.Mask, next)
	if t.Signals.Concerns(mask ^ next) {
		p.Due = dueSignals
	}
}
