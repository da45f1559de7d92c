package kvm

import (
	"reflect"
	"testing"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
)

// size is sizeof in the kernel's sense: what a request for this struct encodes.
func size[T any]() uintptr { return reflect.TypeFor[T]().Size() }

// TestRequests checks that each request's number, copied from <linux/kvm.h>, is the
// one that our struct's size gives: a struct that grew or shrank fails here.
func TestRequests(t *testing.T) {
	const header = 8 // kvm_cpuid2 and kvm_msrs without their arrays
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"KVM_CHECK_EXTENSION", reqCheckExtension, gokvm.IIO(0x03)},
		{"KVM_GET_SUPPORTED_CPUID", reqGetSupportedCPUID, gokvm.IIOWR(0x05, header)},
		{"KVM_SET_USER_MEMORY_REGION", reqSetUserMemoryRegion, gokvm.IIOW(0x46, size[gokvm.UserspaceMemoryRegion]())},
		{"KVM_SET_IDENTITY_MAP_ADDR", reqSetIdentityMapAddr, gokvm.IIOW(0x48, size[uint64]())},
		{"KVM_IOEVENTFD", reqIOEventFD, gokvm.IIOW(0x79, size[ioEventFD]())},
		{"KVM_GET_CLOCK", reqGetClock, gokvm.IIOR(0x7c, size[clockData]())},
		{"KVM_RUN", reqRun, gokvm.IIO(0x80)},
		{"KVM_GET_REGS", reqGetRegs, gokvm.IIOR(0x81, size[Regs]())},
		{"KVM_SET_REGS", reqSetRegs, gokvm.IIOW(0x82, size[Regs]())},
		{"KVM_GET_SREGS", reqGetSregs, gokvm.IIOR(0x83, size[Sregs]())},
		{"KVM_SET_SREGS", reqSetSregs, gokvm.IIOW(0x84, size[Sregs]())},
		{"KVM_INTERRUPT", reqInterrupt, gokvm.IIOW(0x86, size[uint32]())},
		{"KVM_GET_MSRS", reqGetMSRs, gokvm.IIOWR(0x88, header)},
		{"KVM_SET_MSRS", reqSetMSRs, gokvm.IIOW(0x89, header)},
		{"KVM_SET_SIGNAL_MASK", reqSetSignalMask, gokvm.IIOW(0x8b, 4)},
		{"KVM_SET_CPUID2", reqSetCPUID2, gokvm.IIOW(0x90, header)},
		{"KVM_ENABLE_CAP", reqEnableCap, gokvm.IIOW(0xa3, size[enableCap]())},
		{"KVM_GET_XCRS", reqGetXCRS, gokvm.IIOR(0xa6, size[gokvm.XCRS]())},
		{"KVM_SET_XCRS", reqSetXCRS, gokvm.IIOW(0xa7, size[gokvm.XCRS]())},
		{"KVM_GET_DEVICE_ATTR", reqGetDeviceAttr, gokvm.IIOW(0xe2, size[deviceAttr]())},
	} {
		if c.got != c.want {
			t.Errorf("%s is %#x, but the struct's size encodes as %#x", c.name, c.got, c.want)
		}
	}
}

// TestLayout compares sizes and offsets with what a C compiler says of
// <linux/kvm.h> on x86-64.
func TestLayout(t *testing.T) {
	type field struct {
		name   string
		offset uintptr
	}
	for _, c := range []struct {
		kernel string
		typ    reflect.Type
		size   uintptr
		fields []field
	}{
		{"kvm_regs", reflect.TypeFor[Regs](), 0x90, []field{{"RSP", 0x30}, {"R8", 0x40}, {"RIP", 0x80}, {"RFLAGS", 0x88}}},
		{"kvm_sregs", reflect.TypeFor[Sregs](), 0x138, []field{{"GDT", 0xc0}, {"CR0", 0xe0}, {"EFER", 0x108}, {"InterruptBitmap", 0x118}}},
		{"kvm_segment", reflect.TypeFor[Segment](), 0x18, []field{{"Limit", 8}, {"Selector", 0xc}, {"Typ", 0xe}, {"L", 0x13}, {"Unusable", 0x16}}},
		{"kvm_dtable", reflect.TypeFor[DTable](), 0x10, []field{{"Limit", 8}}},
		{"kvm_msr_entry", reflect.TypeFor[MSR](), 0x10, []field{{"Data", 8}}},
		{"kvm_msrs", reflect.TypeFor[msrs](), 8 + maxMSRs*0x10, []field{{"entries", 8}}},
		{"kvm_cpuid_entry2", reflect.TypeFor[CPUIDEntry](), 0x28, []field{{"Index", 4}, {"Flags", 8}, {"Eax", 0xc}, {"Edx", 0x18}}},
		{"kvm_cpuid2", reflect.TypeFor[cpuid2](), 8 + maxCPUID*0x28, []field{{"entries", 8}}},
		{"kvm_ioeventfd", reflect.TypeFor[ioEventFD](), 0x40, []field{{"addr", 8}, {"len", 0x10}, {"fd", 0x14}, {"flags", 0x18}}},
		{"kvm_clock_data", reflect.TypeFor[clockData](), 0x30, []field{{"flags", 8}}},
		{"kvm_enable_cap", reflect.TypeFor[enableCap](), 0x68, []field{{"args", 8}}},
		{"kvm_signal_mask", reflect.TypeFor[signalMask](), 12, []field{{"set", 4}}},
		{"kvm_userspace_memory_region", reflect.TypeFor[gokvm.UserspaceMemoryRegion](), 0x20, []field{{"GuestPhysAddr", 8}, {"UserspaceAddr", 0x18}}},
		{"kvm_xcrs", reflect.TypeFor[gokvm.XCRS](), 0x188, []field{{"Registers", 8}}},
		{"kvm_run", reflect.TypeFor[gokvm.RunData](), 0x120, []field{{"ImmediateExit", 1}, {"ExitReason", offReason},
			{"ReadyForInterruptInjection", offReady}, {"IfFlag", offIfFlag}, {"Data", offUnion}}},
	} {
		if c.typ.Size() != c.size {
			t.Errorf("sizeof(struct %s) is %#x, want %#x", c.kernel, c.typ.Size(), c.size)
		}
		for _, f := range c.fields {
			if s, ok := c.typ.FieldByName(f.name); !ok || s.Offset != f.offset {
				t.Errorf("struct %s: %s is at %#x (found: %v), want %#x", c.kernel, f.name, s.Offset, ok, f.offset)
			}
		}
	}
}
