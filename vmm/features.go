package vmm

import (
	"fmt"

	"culvert/boot"
	"culvert/guest"
	"culvert/kvm"
)

// CPUID leaves and bits that are taken from or hidden in what KVM supports.
const (
	leafFeatures = 1
	leafExtended = 7
	leafXSave    = 0xd
	leafTopology = 0xb
	leafKVMFirst = 0x40000000
	leafKVMLast  = 0x4000ffff
	leafAMD      = 0x80000001

	ecx1VMX, ecx1PCID, ecx1X2APIC, ecx1Deadline = 1 << 5, 1 << 17, 1 << 21, 1 << 24
	ecx1XSave, ecx1OSXSave, ecx1Hypervisor      = 1 << 26, 1 << 27, 1 << 31
	edx1APIC                                    = 1 << 9

	ebx7FSGSBase, ebx7SMEP, ebx7SMAP           = 1 << 0, 1 << 7, 1 << 20
	ecx7UMIP, ecx7PKU, ecx7OSPKE, ecx7CETSS    = 1 << 2, 1 << 3, 1 << 4, 1 << 7
	edx7CETIBT, edx7AMXBF16, edx7AMX, edx7AMX8 = 1 << 20, 1 << 22, 1 << 24, 1 << 25

	ecxAMDSVM = 1 << 2
	eaxXSAVES = 1 << 3
)

// xcr0Allowed caps the state components: x87, SSE, AVX and AVX-512; no MPX, PKU, CET or AMX.
const xcr0Allowed = 1<<0 | 1<<1 | 1<<2 | 1<<5 | 1<<6 | 1<<7

// xcr0AVX512 must be there together or not at all.
const xcr0AVX512 = 1<<5 | 1<<6 | 1<<7

// errNoFSGSBase is what too old a processor gets.
var errNoFSGSBase = fmt.Errorf("%w: it offers no FSGSBASE (Intel processors have it since Ivy Bridge, AMD's since Excavator)", ErrUnusable)

// features decides what the guest sees: KVM's supported CPUID, filtered, and the boot features that follow from it.
// The entries of the result are the caller's to change per vCPU.
func features(supported []kvm.CPUIDEntry) ([]kvm.CPUIDEntry, boot.Features, error) {
	var f boot.Features
	xcr0, sizes := xsaveState(supported)
	var out []kvm.CPUIDEntry
	for _, e := range supported {
		switch {
		case e.Function >= leafKVMFirst && e.Function <= leafKVMLast:
			continue // paravirtual features are the guest kernel's to use, and it uses none
		case e.Function == leafFeatures:
			e.Ecx &^= ecx1VMX | ecx1PCID | ecx1X2APIC | ecx1Deadline | ecx1OSXSave
			e.Ecx |= ecx1Hypervisor
			if xcr0 == 0 {
				// AVX, F16C and FMA need XSAVE.
				e.Ecx &^= ecx1XSave | 1<<28 | 1<<29 | 1<<12
			}
		case e.Function == leafExtended && e.Index == 0:
			if e.Ebx&ebx7FSGSBase == 0 {
				return nil, f, errNoFSGSBase
			}
			f.SMEP, f.SMAP, f.UMIP = e.Ebx&ebx7SMEP != 0, e.Ebx&ebx7SMAP != 0, e.Ecx&ecx7UMIP != 0
			e.Ecx &^= ecx7PKU | ecx7OSPKE | ecx7CETSS
			e.Edx &^= edx7CETIBT | edx7AMXBF16 | edx7AMX | edx7AMX8
			if xcr0&xcr0AVX512 == 0 {
				// F DQ IFMA PF ER CD BW VL; VBMI VBMI2 VNNI BITALG VPOPCNTDQ; 4VNNIW 4FMAPS VP2INTERSECT FP16
				e.Ebx &^= 1<<16 | 1<<17 | 1<<21 | 1<<26 | 1<<27 | 1<<28 | 1<<30 | 1<<31
				e.Ecx &^= 1<<1 | 1<<6 | 1<<11 | 1<<12 | 1<<14
				e.Edx &^= 1<<2 | 1<<3 | 1<<8 | 1<<23
			}
			if xcr0&(1<<2) == 0 {
				e.Ebx &^= 1 << 5       // AVX2
				e.Ecx &^= 1<<9 | 1<<10 // VAES VPCLMULQDQ
			}
		case e.Function == leafXSave:
			if !xsaveLeaf(&e, xcr0, sizes) {
				continue
			}
		case e.Function == leafAMD:
			e.Ecx &^= ecxAMDSVM
			if xcr0&(1<<2) == 0 {
				e.Ecx &^= 1<<11 | 1<<16 // XOP FMA4
			}
		}
		out = append(out, e)
	}
	f.XCR0 = xcr0
	return out, f, nil
}

// xsaveState returns the state components that the guest may use, 0 if XSAVE is not there, and the end of each in
// the standard-form area.
func xsaveState(entries []kvm.CPUIDEntry) (xcr0 uint64, ends [64]uint32) {
	xsave := false
	for _, e := range entries {
		if e.Function == leafFeatures {
			xsave = e.Ecx&ecx1XSave != 0
		}
		if e.Function == leafXSave && e.Index == 0 {
			xcr0 = (uint64(e.Edx)<<32 | uint64(e.Eax)) & xcr0Allowed
		}
		if e.Function == leafXSave && e.Index > 1 && e.Index < 64 {
			ends[e.Index] = e.Eax + e.Ebx
		}
	}
	if !xsave || xcr0&3 != 3 {
		return 0, ends
	}
	if xcr0&xcr0AVX512 != xcr0AVX512 || xsaveSize(xcr0, ends) > guest.MaxXSave {
		xcr0 &^= xcr0AVX512
	}
	return xcr0, ends
}

// legacyXSave is the size of the legacy region and header, which every area has.
const legacyXSave = 576

// xsaveSize is the size of the standard-form area for the components of xcr0.
func xsaveSize(xcr0 uint64, ends [64]uint32) int {
	if xcr0 == 0 {
		return 512
	}
	size := legacyXSave
	for i := 2; i < 64; i++ {
		if xcr0>>i&1 != 0 {
			size = max(size, int(ends[i]))
		}
	}
	return size
}

// xsaveLeaf makes a sub-leaf of leaf 0xd agree with xcr0; it reports whether the sub-leaf stays.
func xsaveLeaf(e *kvm.CPUIDEntry, xcr0 uint64, ends [64]uint32) bool {
	switch {
	case xcr0 == 0:
		return false
	case e.Index == 0:
		size := uint32(xsaveSize(xcr0, ends))
		e.Eax, e.Edx, e.Ebx, e.Ecx = uint32(xcr0), uint32(xcr0>>32), size, size
	case e.Index == 1:
		e.Eax &^= eaxXSAVES
		e.Ebx, e.Ecx, e.Edx = 0, 0, 0
	default:
		return e.Index < 64 && xcr0>>e.Index&1 != 0
	}
	return true
}

// cpuidFor is what vCPU id sees: entries with its own APIC number.
func cpuidFor(entries []kvm.CPUIDEntry, id int) []kvm.CPUIDEntry {
	out := append([]kvm.CPUIDEntry(nil), entries...)
	for i := range out {
		switch e := &out[i]; e.Function {
		case leafFeatures:
			e.Ebx = e.Ebx&0x00ffffff | uint32(id)<<24
		case leafTopology:
			e.Edx = uint32(id)
		}
	}
	return out
}
