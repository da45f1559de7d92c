package vmm

import (
	"errors"
	"fmt"

	"culvert/boot"
	"culvert/kvm"
	"culvert/shim/abi"
)

// loadState carries a vCPU's first state to KVM. CPUID comes first: KVM checks CR4 and XCR0 against it.
func loadState(c *kvm.VCPU, s *boot.VCPU, cpuid []kvm.CPUIDEntry) error {
	if err := c.SetCPUID2(cpuid); err != nil {
		return err
	}
	sregs, err := c.GetSregs()
	if err != nil {
		return err
	}
	data := segment(s.DS)
	sregs.CS, sregs.SS, sregs.GS, sregs.TR = segment(s.CS), segment(s.SS), segment(s.GS), segment(s.TR)
	sregs.DS, sregs.ES, sregs.FS = data, data, data
	sregs.GDT = kvm.DTable{Base: s.GDT.Base, Limit: s.GDT.Limit}
	sregs.IDT = kvm.DTable{Base: s.IDT.Base, Limit: s.IDT.Limit}
	sregs.CR0, sregs.CR3, sregs.CR4, sregs.EFER = s.CR0, s.CR3, s.CR4, s.EFER
	if err := c.SetSregs(&sregs); err != nil {
		return err
	}
	if s.XCR0 != 0 {
		if err := c.SetXCR0(s.XCR0); err != nil {
			return err
		}
	}
	var msrs []kvm.MSR
	for _, m := range s.MSRs {
		msrs = append(msrs, kvm.MSR{Index: m.Index, Data: m.Value})
	}
	if err := c.SetMSRs(msrs); err != nil {
		return err
	}
	return setEntry(c, s, s.RIP)
}

// setEntry makes the vCPU begin at rip, with an empty stack.
func setEntry(c *kvm.VCPU, s *boot.VCPU, rip uint64) error {
	return c.SetRegs(&kvm.Regs{RIP: rip, RSP: s.RSP, RFLAGS: s.RFLAGS})
}

func segment(s boot.Segment) kvm.Segment {
	b := func(on bool) uint8 {
		if on {
			return 1
		}
		return 0
	}
	return kvm.Segment{Base: s.Base, Limit: s.Limit, Selector: s.Selector, Typ: s.Type, Present: 1, DPL: s.DPL,
		DB: b(s.DB), S: b(!s.System), L: b(s.L), G: b(!s.System)}
}

// selfTest lets vCPU 0 run into a bounds panic first. A build whose guest kernel could reach the runtime would
// go on there; a KVM that emulates ring 0 in part fails here, before anything was promised.
func (vm *VM) selfTest() error {
	c := vm.cpus[0]
	s := &vm.boot.VCPUs[0]
	if err := setEntry(vm.raw[0], s, s.PanicRIP); err != nil {
		return err
	}
	for {
		exit, err := c.cpu.Run()
		if err != nil {
			return err
		}
		if exit.Reason == kvm.ExitInterrupted || exit.Reason == kvm.ExitAgain {
			continue
		}
		if exit.Reason != kvm.ExitIO || exit.Port != abi.PortCall {
			return c.dead("self-test", exit)
		}
		break
	}
	call := *c.call
	if _, inText := vm.boot.TextSpan.Host(call.RIP); call.Kind != abi.KindDie || call.Vector != abi.VecPF || inText {
		return fmt.Errorf("the guest kernel's self-test failed (kind %d, vector %d, RIP %#x): this build of culvert cannot run VMs",
			call.Kind, call.Vector, call.RIP)
	}
	return setEntry(vm.raw[0], s, s.RIP)
}

// errRace and errGOAMD64 refuse builds whose compiled code cannot run in ring 0.
var (
	errRace    = errors.New("this culvert was built with -race, whose code cannot run in the guest: build it without")
	errGOAMD64 = errors.New("this culvert was built with GOAMD64=v3 or higher, whose AVX code cannot run in the guest: build it with GOAMD64=v1")
)

// checkBuild refuses such a build before a VM is made.
func checkBuild() error {
	if raceBuild {
		return errRace
	}
	if vexBuild {
		return errGOAMD64
	}
	return nil
}
