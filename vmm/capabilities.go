package vmm

import "culvert/kvm"

// Capabilities returns which of KVM's extensions that matter to culvert this machine has, by name in the order of the
// list, and which it lacks.
func Capabilities() (have, lack []string, err error) {
	sys, err := kvm.Open()
	if err != nil {
		return nil, nil, err
	}
	defer sys.Close()
	for _, c := range []struct {
		cap  kvm.Cap
		name string
	}{
		{kvm.CapReadonlyMem, "READONLY_MEM"}, {kvm.CapImmediateExit, "IMMEDIATE_EXIT"}, {kvm.CapXCRS, "XCRS"},
		{kvm.CapGetTSCKHz, "GET_TSC_KHZ"}, {kvm.CapTSCControl, "TSC_CONTROL"}, {kvm.CapIOEventFD, "IOEVENTFD"},
		{kvm.CapSplitIRQChip, "SPLIT_IRQCHIP"}, {kvm.CapSyncRegs, "SYNC_REGS"},
	} {
		n, err := sys.CheckExtension(c.cap)
		if err == nil && n > 0 {
			have = append(have, c.name)
		} else {
			lack = append(lack, c.name)
		}
	}
	return have, lack, nil
}
