package shim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/mm"
	"culvert/shim/sig"
)

// Vectors of exceptions (arch/x86/include/asm/trapnr.h), those of package abi aside.
const (
	vecDE = 0
	vecBP = 3
	vecOF = 4
	vecBR = 5
	vecUD = 6
	vecNM = 7
	vecTS = 10
	vecNP = 11
	vecSS = 12
	vecMF = 16
	vecAC = 17
	vecXF = 19
)

// errFault is Ret of the reply to a fault in a copy: the copy fails.
const errFault = abi.EFAULT

// fault serves KindFault: an exception of ring 3, or a page fault of ring 0's copies from and to user memory.
func (t *Thread) fault(req *guest.Call) (action int, ret uint64) {
	if req.Copy != 0 {
		if req.Copy != 1 || req.Vector != abi.VecPF {
			t.k.fail(&HostileError{fmt.Sprintf("copy fault %d with vector %d", req.Copy, req.Vector)})
			return abi.ActBlock, 0
		}
		return abi.ActReturn, t.copyFault(req.CR2, req.Err)
	}
	t.call = callState{}
	if req.Vector == abi.VecPF {
		t.pageFault(req.CR2, req.Err)
	} else {
		t.exception(req.Vector, req.Err)
	}
	return t.leave(nil), 0
}

// copyFault resolves a fault of a copy in ring 0: 0 if it may go on.
func (t *Thread) copyFault(addr, code uint64) uint64 {
	err := t.mm.Fault(addr, code)
	switch {
	case err == nil:
		t.countFault(err)
		return 0
	case errors.Is(err, mm.ErrOOM):
		t.k.oomKill()
		if !t.killed {
			return 0 // again, once the victim's memory is free
		}
	}
	return errFault
}

// countFault keeps getrusage's numbers.
func (t *Thread) countFault(error) { t.flt.minor++ }

// pageFault is exc_page_fault for ring 3.
func (t *Thread) pageFault(addr, code uint64) {
	err := t.mm.Fault(addr, code)
	var se *mm.SignalError
	switch {
	case err == nil:
		t.countFault(err)
	case errors.Is(err, mm.ErrOOM):
		t.k.oomKill()
	case errors.As(err, &se):
		code |= abi.PFUser
		if addr >= uint64(abi.UserEnd) {
			// Whether something is mapped there is no program's business (sanitize_error_code).
			code |= abi.PFPresent
		}
		t.slot.Trap.Vector, t.slot.Trap.Err, t.slot.Trap.CR2 = abi.VecPF, code, addr
		t.force(sig.Fault(int(se.Signo), se.Code, addr))
	default:
		// A file that cannot be read, or a table that cannot be allocated.
		t.slot.Trap.Vector, t.slot.Trap.Err, t.slot.Trap.CR2 = abi.VecPF, code|abi.PFUser, addr
		t.force(sig.Fault(sig.SIGBUS, sig.BUS_ADRERR, addr))
	}
}

// trapSignal says what an exception raises: code 0 stands for SI_KERNEL without an address; atIP says that the
// address is that of the instruction (arch/x86/kernel/traps.c).
type trapSignal struct {
	signo int
	code  int32
	atIP  bool
}

// traps has the exceptions whose signal does not depend on anything else.
func traps() map[uint64]trapSignal {
	return map[uint64]trapSignal{
		vecDE:     {sig.SIGFPE, sig.FPE_INTDIV, true},
		vecBP:     {sig.SIGTRAP, 0, false},
		vecOF:     {sig.SIGSEGV, 0, false},
		vecBR:     {sig.SIGSEGV, 0, false},
		vecUD:     {sig.SIGILL, sig.ILL_ILLOPN, true},
		vecNM:     {sig.SIGSEGV, 0, false},
		vecTS:     {sig.SIGSEGV, 0, false},
		vecNP:     {sig.SIGBUS, 0, false},
		vecSS:     {sig.SIGBUS, 0, false},
		abi.VecGP: {sig.SIGSEGV, 0, false},
		vecAC:     {sig.SIGBUS, sig.BUS_ADRALN, false},
	}
}

// exception raises the signal of a fault that is no page fault.
func (t *Thread) exception(vector, code uint64) {
	ts, ok := t.k.traps[vector]
	switch {
	case ok:
	case vector == abi.VecDB:
		ts = trapSignal{sig.SIGTRAP, sig.TRAP_BRKPT, true}
		if t.slot.RFLAGS&(1<<8) != 0 {
			ts.code = sig.TRAP_TRACE
		}
	case vector == vecMF || vector == vecXF:
		ts = trapSignal{sig.SIGFPE, t.fpuCode(vector), true}
		if ts.code == 0 {
			return // spurious: retry
		}
	default:
		t.k.fail(&HostileError{fmt.Sprintf("exception with vector %d", vector)})
		return
	}
	t.slot.Trap.Vector, t.slot.Trap.Err = vector, code
	i := sig.Kernel(ts.signo)
	if ts.code != 0 {
		addr := uint64(0)
		if ts.atIP {
			addr = t.slot.RIP
		}
		i = sig.Fault(ts.signo, ts.code, addr)
	}
	t.force(i)
}

// fpuCode is fpu__exception_code: which floating-point exception is pending and not masked.
func (t *Thread) fpuCode(vector uint64) int32 {
	le := binary.LittleEndian
	var pending uint32
	if vector == vecMF {
		cwd, swd := le.Uint16(t.slot.XSave[0:]), le.Uint16(t.slot.XSave[2:])
		pending = uint32(swd &^ cwd)
	} else {
		mxcsr := le.Uint32(t.slot.XSave[24:])
		pending = ^(mxcsr >> 7) & mxcsr
	}
	for _, c := range []struct {
		mask uint32
		code int32
	}{{1, sig.FPE_FLTINV}, {4, sig.FPE_FLTDIV}, {8, sig.FPE_FLTOVF}, {0x12, sig.FPE_FLTUND}, {0x20, sig.FPE_FLTRES}} {
		if pending&c.mask != 0 {
			return c.code
		}
	}
	return 0
}
