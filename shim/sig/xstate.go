package sig

import (
	"encoding/binary"
	"errors"
)

// Magic numbers and offsets of the FPU state in a frame (arch/x86/include/uapi/asm/sigcontext.h; Intel SDM vol. 1,
// 10.5 and 13.4).
const (
	FP_XSTATE_MAGIC1 = 0x46505853
	FP_XSTATE_MAGIC2 = 0x46505845

	fxsaveSize  = 512
	headerSize  = 64
	offFCW      = 0
	offMXCSR    = 24
	offMXCSRMsk = 28
	offSW       = 464 // struct _fpx_sw_bytes, in bytes that FXSAVE leaves to software
	swSize      = 48
	offXSTATEBV = fxsaveSize
	offXCOMPBV  = fxsaveSize + 8

	xfeatureFP  = 1
	xfeatureSSE = 2

	initFCW = 0x37f
	// InitMXCSR masks all exceptions.
	InitMXCSR = 0x1f80
	// mxcsrDefaultMask holds where FXSAVE reports a mask of 0.
	mxcsrDefaultMask = 0xffbf
)

// ErrBadState says that the processor would refuse the FPU state: sigreturn then raises SIGSEGV.
var ErrBadState = errors.New("the FPU state in the signal frame is invalid")

// XState describes the FPU area of a VM's threads.
type XState struct {
	Size int    // bytes of the area: 512 with FXSAVE, more with XSAVE
	XCR0 uint64 // state components in use; 0 with FXSAVE
}

// FrameSize is how many bytes the state takes in a signal frame.
func (x XState) FrameSize() int {
	if x.XCR0 == 0 {
		return fxsaveSize
	}
	return x.Size + 4
}

// Init makes area the state of a fresh thread (Linux's init_fpstate).
func (x XState) Init(area []byte) {
	clear(area[:x.Size])
	binary.LittleEndian.PutUint16(area[offFCW:], initFCW)
	binary.LittleEndian.PutUint32(area[offMXCSR:], InitMXCSR)
	if x.XCR0 != 0 {
		binary.LittleEndian.PutUint64(area[offXSTATEBV:], xfeatureFP|xfeatureSSE)
	}
}

// Save returns the state of area in the form of a signal frame: copy_fpstate_to_sigframe and save_xstate_epilog.
func (x XState) Save(area []byte) []byte {
	out := make([]byte, x.FrameSize())
	copy(out, area[:x.Size])
	if x.XCR0 == 0 {
		return out
	}
	le := binary.LittleEndian
	sw := out[offSW : offSW+swSize]
	clear(sw)
	le.PutUint32(sw[0:], FP_XSTATE_MAGIC1)
	le.PutUint32(sw[4:], uint32(x.Size+4))
	le.PutUint64(sw[8:], x.XCR0)
	le.PutUint32(sw[16:], uint32(x.Size))
	le.PutUint64(out[offXSTATEBV:], le.Uint64(out[offXSTATEBV:])&x.XCR0|xfeatureFP|xfeatureSSE)
	clear(out[offXCOMPBV : fxsaveSize+headerSize])
	le.PutUint32(out[x.Size:], FP_XSTATE_MAGIC2)
	return out
}

// Restore makes area the state that a frame holds (fpu__restore_sig), or answers ErrBadState where XRSTOR would
// fault. state is what lies at the frame's pointer, FrameSize bytes; addr is that pointer. What comes out is safe to
// load in ring 0: MXCSR has no reserved bit, the header names only components of XCR0.
func (x XState) Restore(area, state []byte, addr uint64) error {
	le := binary.LittleEndian
	mask := le.Uint32(area[offMXCSRMsk:])
	if mask == 0 {
		mask = mxcsrDefaultMask
	}
	if le.Uint32(state[offMXCSR:])&^mask != 0 {
		return ErrBadState
	}
	if x.XCR0 == 0 {
		copy(area[:offSW], state[:offSW])
		le.PutUint32(area[offMXCSRMsk:], mask)
		return nil
	}
	features := x.checkSW(state)
	var bv uint64
	if features == 0 {
		// Only the legacy region counts; the other components start afresh.
		bv = xfeatureFP | xfeatureSSE
	} else {
		if addr&63 != 0 {
			return ErrBadState
		}
		bv = le.Uint64(state[offXSTATEBV:])
		if bv&^x.XCR0 != 0 {
			return ErrBadState
		}
		for _, c := range state[offXCOMPBV : fxsaveSize+headerSize] {
			if c != 0 {
				return ErrBadState
			}
		}
		bv &= features
	}
	copy(area[:x.Size], state[:x.Size])
	clear(area[offSW : offSW+swSize])
	le.PutUint32(area[offMXCSRMsk:], mask)
	le.PutUint64(area[offXSTATEBV:], bv)
	clear(area[offXCOMPBV : fxsaveSize+headerSize])
	return nil
}

// checkSW is check_xstate_in_sigframe: the components that the frame says it holds, or 0 if it holds the legacy
// region only.
func (x XState) checkSW(state []byte) uint64 {
	le := binary.LittleEndian
	sw := state[offSW : offSW+swSize]
	size := le.Uint32(sw[16:])
	switch {
	case le.Uint32(sw[0:]) != FP_XSTATE_MAGIC1,
		size < fxsaveSize+headerSize,
		uint64(size) > uint64(x.Size),
		size > le.Uint32(sw[4:]),
		le.Uint32(state[size:]) != FP_XSTATE_MAGIC2:
		return 0
	}
	return le.Uint64(sw[8:]) & x.XCR0
}
