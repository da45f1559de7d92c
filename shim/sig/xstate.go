package sig

import (
	"encoding/binary"
	"errors"

	"culvert/guest/signals"
)

// Offsets and values of the FPU state beside those of package signals.
const (
	offFCW      = 0
	offSW       = signals.OffHead // struct _fpx_sw_bytes
	offXSTATEBV = signals.FXSaveSize
	offXCOMPBV  = offXSTATEBV + 8

	xfeatureFP  = 1
	xfeatureSSE = 2
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
		return signals.FXSaveSize
	}
	return x.Size + 4
}

// Init makes area the state of a fresh thread (Linux's init_fpstate).
func (x XState) Init(area []byte) {
	clear(area[:x.Size])
	binary.LittleEndian.PutUint16(area[offFCW:], signals.InitFCW)
	binary.LittleEndian.PutUint32(area[signals.OffMXCSR:], signals.InitMXCSR)
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
	sw := out[offSW:offXSTATEBV]
	clear(sw)
	le.PutUint32(sw[0:], signals.FP_XSTATE_MAGIC1)
	le.PutUint32(sw[4:], uint32(x.Size+4))
	le.PutUint64(sw[8:], x.XCR0)
	le.PutUint32(sw[16:], uint32(x.Size))
	le.PutUint64(out[offXSTATEBV:], le.Uint64(out[offXSTATEBV:])&x.XCR0|xfeatureFP|xfeatureSSE)
	clear(out[offXCOMPBV:signals.XSaveHeader])
	le.PutUint32(out[x.Size:], signals.FP_XSTATE_MAGIC2)
	return out
}

// Restore makes area the state that a frame holds (fpu__restore_sig), or answers ErrBadState where XRSTOR would
// fault. state is what lies at the frame's pointer, FrameSize bytes; addr is that pointer. What comes out is safe to
// load in ring 0: MXCSR has no reserved bit, the header names only components of XCR0.
func (x XState) Restore(area, state []byte, addr uint64) error {
	le := binary.LittleEndian
	mask := signals.MXCSRMask(le.Uint32(area[signals.OffMXCSRMask:]))
	if addr&(signals.FXSaveAlign-1) != 0 || le.Uint32(state[signals.OffMXCSR:])&^mask != 0 {
		return ErrBadState
	}
	if x.XCR0 == 0 {
		copy(area[:offSW], state[:offSW])
		le.PutUint32(area[signals.OffMXCSRMask:], mask)
		return nil
	}
	head := headOf(state)
	bv := uint64(xfeatureFP | xfeatureSSE)
	// If only the legacy region counts, the other components start afresh.
	if features := x.features(&head, state); features != 0 {
		if addr&(signals.XSaveAlign-1) != 0 || !head.Valid(x.XCR0) {
			return ErrBadState
		}
		bv = head.BV & features
	}
	copy(area[:x.Size], state[:x.Size])
	clear(area[offSW:offXSTATEBV])
	le.PutUint32(area[signals.OffMXCSRMask:], mask)
	le.PutUint64(area[offXSTATEBV:], bv)
	clear(area[offXCOMPBV:signals.XSaveHeader])
	return nil
}

// headOf reads what a state says of itself.
func headOf(state []byte) (h signals.FPHead) {
	le := binary.LittleEndian
	sw := state[offSW:]
	h.Magic1, h.ExtendedSize, h.Features, h.Size = le.Uint32(sw), le.Uint32(sw[4:]), le.Uint64(sw[8:]), le.Uint32(sw[16:])
	h.BV = le.Uint64(state[offXSTATEBV:])
	for i := range h.Compact {
		h.Compact[i] = le.Uint64(state[offXCOMPBV+8*i:])
	}
	return h
}

// features is check_xstate_in_sigframe: the components that the frame says it holds, or 0 if it holds the legacy region only.
func (x XState) features(h *signals.FPHead, state []byte) uint64 {
	if !h.Extended(uint64(x.Size)) || binary.LittleEndian.Uint32(state[h.Size:]) != signals.FP_XSTATE_MAGIC2 {
		return 0
	}
	return h.Features & x.XCR0
}
