package signals

// The FPU state in a signal frame, and what makes one that a program wrote safe to load in ring 0 (arch/x86/kernel/fpu/signal.c;
// Intel SDM vol. 1, 10.5 and 13.4). Ring 0 and the shim decide by the same functions.

// Magic numbers, offsets and sizes in the state.
const (
	FP_XSTATE_MAGIC1 = 0x46505853
	FP_XSTATE_MAGIC2 = 0x46505845

	// FXSaveSize is the legacy region, XSaveHeader the end of XSAVE's header behind it.
	FXSaveSize  = 512
	XSaveHeader = FXSaveSize + 64

	// FXRSTOR and XRSTOR fault unless the state is aligned to these.
	FXSaveAlign = 16
	XSaveAlign  = 64

	offFCW       = 0
	OffMXCSR     = 24
	OffMXCSRMask = 28
	// OffHead is where FPHead lies.
	OffHead  = 464
	offBV    = FXSaveSize
	magicLen = 4

	// mxcsrDefaultMask holds where FXSAVE reports a mask of 0.
	mxcsrDefaultMask = 0xffbf

	// legacy is the components of the legacy region, x87 and SSE, in XSTATE_BV.
	legacy = 3

	// InitFCW and InitMXCSR mask all exceptions.
	InitFCW   = 0x37f
	InitMXCSR = 0x1f80
)

// FPHead is what the state says of itself: struct _fpx_sw_bytes, which lies where FXSAVE leaves bytes to software, and the
// header of XSAVE.
type FPHead struct {
	Magic1, ExtendedSize uint32
	Features             uint64 // components that the frame holds
	Size                 uint32 // bytes, behind which FP_XSTATE_MAGIC2 lies
	_                    [7]uint32
	BV                   uint64    // XSTATE_BV
	Compact              [7]uint64 // XCOMP_BV and what is reserved: zeros in the standard form
}

// Extended reports whether more than the legacy region may be there, in an area of size bytes: check_xstate_in_sigframe, which
// looks for FP_XSTATE_MAGIC2 then.
//
//go:nosplit
func (h *FPHead) Extended(size uint64) bool {
	return h.Magic1 == FP_XSTATE_MAGIC1 && h.Size >= XSaveHeader && uint64(h.Size) <= size && h.Size <= h.ExtendedSize
}

// Valid reports whether XRSTOR accepts the header, where XCR0 has those components.
//
//go:nosplit
func (h *FPHead) Valid(xcr0 uint64) bool {
	bad := h.BV &^ xcr0
	for _, w := range &h.Compact {
		bad |= w
	}
	return bad == 0
}

// MXCSRMask is which bits of MXCSR may be set, as FXSAVE says it.
//
//go:nosplit
func MXCSRMask(saved uint32) uint32 {
	if saved == 0 {
		return mxcsrDefaultMask
	}
	return saved
}
