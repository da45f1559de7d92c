package signals

import "unsafe"

// The unsafe code here is sound since an area has Size bytes, at least FXSaveSize (the shim refuses another layout before a vCPU
// runs), and what is done behind FXSaveSize is done only where a head says the same size, XSaveHeader or more. User addresses are
// never dereferenced here, only handed to copyIn.

// FPArea is a thread's area for FPU state, as XRSTOR64 or FXRSTOR64 loads it: bytes OffHead to FXSaveSize of it are zeros, and
// so is the header behind XSTATE_BV.
type FPArea struct {
	Area unsafe.Pointer
	Size uint64 // bytes
	XCR0 uint64 // state components; 0 with FXSAVE
}

// Restore makes the area the state at a user address, if that is as the kernel writes it: all components of XCR0 in their
// order. It reports false of any other, and of what cannot be read: then the area holds something that must not be loaded.
// copyIn returns how many bytes a fault left. head and magic are scratch, and what is in the state is judged by what was
// copied there and to the area, once.
//
//go:nosplit
func (a *FPArea) Restore(from uint64, head *FPHead, magic *uint32, copyIn func(dst, src unsafe.Pointer, n uint64) uint64) bool {
	mxcsr, mask := (*uint32)(unsafe.Add(a.Area, OffMXCSR)), (*uint32)(unsafe.Add(a.Area, OffMXCSRMask))
	allowed := MXCSRMask(*mask)
	if a.XCR0 != 0 {
		*magic = 0
		if from&(XSaveAlign-1) != 0 || copyIn(unsafe.Pointer(head), user(from+OffHead), uint64(unsafe.Sizeof(*head))) != 0 ||
			!head.Extended(a.Size) || uint64(head.Size) != a.Size || head.Features&a.XCR0 == 0 || !head.Valid(a.XCR0) ||
			copyIn(unsafe.Pointer(magic), user(from+a.Size), magicLen) != 0 || *magic != FP_XSTATE_MAGIC2 ||
			copyIn(unsafe.Add(a.Area, XSaveHeader), user(from+XSaveHeader), a.Size-XSaveHeader) != 0 {
			return false
		}
	}
	if from&(FXSaveAlign-1) != 0 || copyIn(a.Area, user(from), OffHead) != 0 || *mxcsr&^allowed != 0 {
		return false
	}
	*mask = allowed
	if a.XCR0 != 0 {
		*(*uint64)(unsafe.Add(a.Area, offBV)) = head.BV & head.Features
	}
	return true
}

// FrameSize is how many bytes the state takes in a signal frame.
//
//go:nosplit
func (a *FPArea) FrameSize() uint64 {
	if a.XCR0 == 0 {
		return FXSaveSize
	}
	return a.Size + magicLen
}

// Store writes the area's state to a user address, as a frame has it (copy_fpstate_to_sigframe, save_xstate_epilog). It reports
// false after a fault. copyOut and the scratch are as in Restore.
//
//go:nosplit
func (a *FPArea) Store(to uint64, head *FPHead, magic *uint32, copyOut func(dst, src unsafe.Pointer, n uint64) uint64) bool {
	if a.XCR0 == 0 {
		return copyOut(user(to), a.Area, FXSaveSize) == 0
	}
	zero(unsafe.Pointer(head), uint64(unsafe.Sizeof(*head)))
	head.Magic1, head.ExtendedSize, head.Features, head.Size = FP_XSTATE_MAGIC1, uint32(a.Size)+magicLen, a.XCR0, uint32(a.Size)
	head.BV = *(*uint64)(unsafe.Add(a.Area, offBV))&a.XCR0 | legacy
	*magic = FP_XSTATE_MAGIC2
	return copyOut(user(to), a.Area, OffHead) == 0 &&
		copyOut(user(to+OffHead), unsafe.Pointer(head), uint64(unsafe.Sizeof(*head))) == 0 &&
		copyOut(user(to+XSaveHeader), unsafe.Add(a.Area, XSaveHeader), a.Size-XSaveHeader) == 0 &&
		copyOut(user(to+a.Size), unsafe.Pointer(magic), magicLen) == 0
}

// Reset makes the area the state that a fresh thread and a signal handler start with (init_fpstate). Components beyond the
// legacy region are left out of XSTATE_BV.
//
//go:nosplit
func (a *FPArea) Reset() {
	zero(a.Area, OffHead)
	*(*uint16)(unsafe.Add(a.Area, offFCW)) = InitFCW
	*(*uint32)(unsafe.Add(a.Area, OffMXCSR)) = InitMXCSR
	if a.XCR0 != 0 {
		*(*uint64)(unsafe.Add(a.Area, offBV)) = legacy
	}
}

// zero clears n bytes, a multiple of 8, by stores that the compiler does not make a call of the runtime.
//
//go:nosplit
func zero(p unsafe.Pointer, n uint64) {
	for i := uint64(0); i < n; i += 8 {
		*(*uint64)(unsafe.Add(p, i)) = 0
	}
}

// user makes a pointer of a program's address, which is no Go object: the conversion goes through memory, since vet takes a
// plain one for a mistake.
//
//go:nosplit
func user(addr uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }
