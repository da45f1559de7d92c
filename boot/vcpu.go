package boot

import (
	"encoding/binary"

	"culvert/shim/abi"
)

// Segment is a segment register with its hidden part.
type Segment struct {
	Base     uint64
	Limit    uint32
	Selector uint16
	Type     uint8
	DPL      uint8
	DB, L    bool
	System   bool // a TSS, not code or data
}

// Table is a descriptor-table register.
type Table struct {
	Base  uint64
	Limit uint16
}

// MSR is a model-specific register and its value.
type MSR struct {
	Index uint32
	Value uint64
}

// VCPU is the first state of one vCPU.
type VCPU struct {
	RIP, RSP, RFLAGS   uint64
	CR0, CR3, CR4      uint64
	EFER, XCR0         uint64
	CS, DS, SS, GS, TR Segment // DS stands for ES and FS too
	GDT, IDT           Table
	MSRs               []MSR
	// PanicRIP is where the self-test starts instead, to see a bounds panic end in abi.KindDie.
	PanicRIP uint64
}

// Control register bits (Intel SDM vol. 3, 2.5) and MSRs (vol. 4).
const (
	cr0 = 1<<31 | 1<<18 | 1<<16 | 1<<5 | 1<<4 | 1<<1 | 1 // PG AM WP NE ET MP PE

	cr4PAE, cr4PGE, cr4OSFXSR, cr4OSXMMEXCPT = 1 << 5, 1 << 7, 1 << 9, 1 << 10
	cr4UMIP, cr4FSGSBASE, cr4OSXSAVE         = 1 << 11, 1 << 16, 1 << 18
	cr4SMEP, cr4SMAP                         = 1 << 20, 1 << 21

	efer = 1 | 1<<8 | 1<<10 | 1<<11 // SCE LME LMA NXE

	msrSTAR, msrLSTAR, msrCSTAR, msrFMASK = 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084
	msrKernelGSBase                       = 0xc0000102
	msrSysenterCS                         = 0x174
)

// stackPad keeps the top of a kernel stack 16-byte aligned with room for a return address.
const stackPad = 64

// registers is the first state of vCPU v.
func (b *build) registers(v int) VCPU {
	f := b.cfg.Features
	base := vcpuBase(v)
	code, span := &b.cfg.Code, b.m.TextSpan
	cr4 := uint64(cr4PAE | cr4PGE | cr4OSFXSR | cr4OSXMMEXCPT | cr4FSGSBASE)
	for _, c := range []struct {
		on  bool
		bit uint64
	}{{f.UMIP, cr4UMIP}, {f.XCR0 != 0, cr4OSXSAVE}, {f.SMEP, cr4SMEP}, {f.SMAP, cr4SMAP}} {
		if c.on {
			cr4 |= c.bit
		}
	}
	data := Segment{Limit: 0xffffffff, Type: 3, DB: true}
	ss, gs := data, data
	ss.Selector = abi.KernelDS
	gs.Base = base + abi.VCPUPage
	return VCPU{
		RIP: span.GVA(code.StartCPU), RSP: base + abi.VCPUPage - stackPad, RFLAGS: 2,
		CR0: cr0, CR3: uint64(b.m.Layout.KernelCR3), CR4: cr4, EFER: efer, XCR0: f.XCR0,
		CS: Segment{Selector: abi.KernelCS, Limit: 0xffffffff, Type: 0xb, L: true},
		DS: data, SS: ss, GS: gs,
		TR: Segment{Selector: abi.TSSSel, Base: base + abi.VCPUTables + tssOffset, Limit: tssLimit, Type: 0xb,
			System: true},
		GDT: Table{Base: base + abi.VCPUTables, Limit: gdtLimit},
		IDT: Table{Base: base + abi.VCPUIDT, Limit: idtLimit},
		MSRs: []MSR{
			{msrSTAR, abi.KernelCS<<32 | (abi.UserCS32&^3)<<48},
			{msrLSTAR, span.GVA(code.SysEntry)},
			{msrFMASK, abi.SyscallMask},
			{msrKernelGSBase, 0},
			{msrSysenterCS, 0}, // SYSENTER is a general protection fault
		},
		PanicRIP: span.GVA(code.PanicCPU),
	}
}

// InitFPU writes the FPU area of a new program: all in its initial state, as fpstate_init_user of
// arch/x86/kernel/fpu/core.c leaves it. The same bytes serve FXRSTOR and XRSTOR.
func InitFPU(area []byte) {
	clear(area)
	binary.LittleEndian.PutUint16(area[0:], 0x37f)
	binary.LittleEndian.PutUint32(area[24:], 0x1f80)
}
