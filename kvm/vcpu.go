package kvm

import (
	"errors"
	"fmt"
	"sync/atomic"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// Register sets, in the kernel's layout.
type (
	Regs    = gokvm.Regs       // struct kvm_regs: general registers, RIP, RFLAGS
	Sregs   = gokvm.Sregs      // struct kvm_sregs: segments, tables, CRs, EFER
	Segment = gokvm.Segment    // struct kvm_segment
	DTable  = gokvm.Descriptor // struct kvm_dtable: base and limit of GDT or IDT
	MSR     = gokvm.MSREntry   // struct kvm_msr_entry: index and value
)

// maxMSRs bounds one call of GetMSRs or SetMSRs.
const maxMSRs = 64

// msrs is struct kvm_msrs with room for maxMSRs.
type msrs struct {
	n       uint32
	_       uint32
	entries [maxMSRs]MSR
}

// signalMask is struct kvm_signal_mask with the kernel's 8-byte set.
type signalMask struct {
	len uint32
	set [8]byte // not a uint64: the set follows the length without padding
}

// Bits of kvm_run's control word, whose bytes are request_interrupt_window and
// immediate_exit. Both are changed by locked operations on the word, since they
// belong to different threads.
const (
	controlWindow uint32 = 1 << 0
	controlExit   uint32 = 1 << 8
)

// VCPU is one virtual processor. See the package's comment for who may call what.
type VCPU struct {
	fd      int
	mem     []byte  // struct kvm_run and the pages behind it
	control *uint32 // its first word
}

// Close unmaps kvm_run and closes the vCPU. No other method may be running or be
// called afterwards, SetImmediateExit included.
func (c *VCPU) Close() error {
	var unmap error
	if c.mem != nil {
		unmap = unix.Munmap(c.mem)
		c.mem, c.control = nil, nil
	}
	return fail(errors.Join(unmap, closeFD(&c.fd)), "close vCPU")
}

// Run is KVM_RUN: it lets the guest run until something needs the caller. A pending
// signal or immediate_exit is an ExitInterrupted, not an error. It does not allocate
// unless it fails. Go's scheduler takes it for code that runs: after 10 ms of it, or when
// all goroutines are to stop, it interrupts the call with a signal.
func (c *VCPU) Run() (Exit, error) {
	return c.ran(runOnce(c.fd))
}

// RunLong is Run of a vCPU that is likely to stay in the guest for long. It tells Go's scheduler so, which
// gives the thread's P to others. That has a price when the call returns: the scheduler's monitor thread wakes up, and looks
// every 20 us at first whether a goroutine has to be interrupted.
func (c *VCPU) RunLong() (Exit, error) { return c.ran(runLong(c.fd)) }

func (c *VCPU) ran(errno unix.Errno) (Exit, error) {
	switch errno {
	case 0:
		return decode(c.mem), nil
	case unix.EINTR:
		return Exit{Reason: ExitInterrupted}, nil
	case unix.EAGAIN:
		return Exit{Reason: ExitAgain}, nil
	default:
		return Exit{}, fail(errno, "KVM_RUN")
	}
}

// SetImmediateExit makes the next KVM_RUN, or one that has not yet entered the guest,
// return ExitInterrupted at once. Any thread may call it.
func (c *VCPU) SetImmediateExit(on bool) { c.setControl(controlExit, on) }

// RequestInterruptWindow asks for an ExitIRQWindow as soon as the guest can take an
// interrupt.
func (c *VCPU) RequestInterruptWindow(on bool) { c.setControl(controlWindow, on) }

func (c *VCPU) setControl(bit uint32, on bool) {
	if on {
		atomic.OrUint32(c.control, bit)
	} else {
		atomic.AndUint32(c.control, ^bit)
	}
}

// ReadyForInterruptInjection says whether KVM could take an interrupt when Run last
// returned. Without an in-kernel interrupt controller KVM_INTERRUPT does not check
// the guest's IF, so IfFlag must be asked too.
func (c *VCPU) ReadyForInterruptInjection() bool { return c.mem[offReady] != 0 }

// IfFlag is the guest's RFLAGS.IF when Run last returned.
func (c *VCPU) IfFlag() bool { return c.mem[offIfFlag] != 0 }

// Interrupt is KVM_INTERRUPT: it queues an external interrupt, delivered at the next
// Run even if the guest has interrupts off.
func (c *VCPU) Interrupt(vector uint8) error {
	irq := uint32(vector)
	if _, err := ioctl(c.fd, reqInterrupt, &irq); err != nil {
		return fail(err, "KVM_INTERRUPT %d", vector)
	}
	return nil // by hand, since fail's arguments would be allocated on every tick
}

// SetSignalMask is KVM_SET_SIGNAL_MASK: the signals blocked while the guest runs, in
// place of the thread's own mask. Signal n is bit n-1.
func (c *VCPU) SetSignalMask(blocked uint64) error {
	m := signalMask{len: 8}
	for i := range m.set {
		m.set[i] = byte(blocked >> (8 * i))
	}
	_, err := ioctl(c.fd, reqSetSignalMask, &m)
	return fail(err, "KVM_SET_SIGNAL_MASK %#x", blocked)
}

// SetCPUID2 is KVM_SET_CPUID2: what the guest's CPUID answers, and so which features
// KVM lets it use. Call it before SetSregs, SetMSRs and SetXCR0.
func (c *VCPU) SetCPUID2(entries []CPUIDEntry) error {
	if len(entries) > maxCPUID {
		return fail(unix.E2BIG, "KVM_SET_CPUID2 with %d entries", len(entries))
	}
	t := &cpuid2{n: uint32(len(entries))}
	copy(t.entries[:], entries)
	_, err := ioctl(c.fd, reqSetCPUID2, t)
	return fail(err, "KVM_SET_CPUID2 with %d entries", len(entries))
}

// GetRegs is KVM_GET_REGS.
func (c *VCPU) GetRegs() (Regs, error) {
	var r Regs
	_, err := ioctl(c.fd, reqGetRegs, &r)
	return r, fail(err, "KVM_GET_REGS")
}

// SetRegs is KVM_SET_REGS. It also drops a pending exception.
func (c *VCPU) SetRegs(r *Regs) error {
	_, err := ioctl(c.fd, reqSetRegs, r)
	return fail(err, "KVM_SET_REGS rip %#x", r.RIP)
}

// GetSregs is KVM_GET_SREGS.
func (c *VCPU) GetSregs() (Sregs, error) {
	var s Sregs
	_, err := ioctl(c.fd, reqGetSregs, &s)
	return s, fail(err, "KVM_GET_SREGS")
}

// SetSregs is KVM_SET_SREGS. KVM refuses a state that no processor can be in; it does
// not flush the guest's TLB when CR3 stays the same.
func (c *VCPU) SetSregs(s *Sregs) error {
	_, err := ioctl(c.fd, reqSetSregs, s)
	return fail(err, "KVM_SET_SREGS cr0 %#x cr3 %#x cr4 %#x efer %#x", s.CR0, s.CR3, s.CR4, s.EFER)
}

// GetMSRs fills in the value of each register that m names by index.
func (c *VCPU) GetMSRs(m []MSR) error {
	t, err := c.msrs("KVM_GET_MSRS", reqGetMSRs, m)
	if err != nil {
		return err
	}
	copy(m, t.entries[:])
	return nil
}

// SetMSRs writes each register of m. On an error those before the named one are set.
func (c *VCPU) SetMSRs(m []MSR) error {
	_, err := c.msrs("KVM_SET_MSRS", reqSetMSRs, m)
	return err
}

// msrs makes one of the two MSR requests. The kernel stops at the first register it
// refuses and returns the number done, which alone tells of it.
func (c *VCPU) msrs(op string, req uintptr, m []MSR) (*msrs, error) {
	if len(m) > maxMSRs {
		return nil, fail(unix.E2BIG, "%s of %d registers (at most %d)", op, len(m), maxMSRs)
	}
	t := &msrs{n: uint32(len(m))}
	copy(t.entries[:], m)
	done, err := ioctl(c.fd, req, t)
	if err != nil {
		return nil, fail(err, "%s of %d registers", op, len(m))
	}
	if n := int(done); n < len(m) {
		return nil, fail(fmt.Errorf("register %#x refused: the processor or its CPUID lacks it, or the value is invalid", m[n].Index),
			"%s of %d registers", op, len(m))
	}
	return t, nil
}

// GetXCR0 is KVM_GET_XCRS for the one extended control register there is.
func (c *VCPU) GetXCR0() (uint64, error) {
	x := &gokvm.XCRS{}
	if _, err := ioctl(c.fd, reqGetXCRS, x); err != nil {
		return 0, fail(err, "KVM_GET_XCRS")
	}
	for _, r := range x.Registers[:min(x.NrXRCS, uint32(len(x.Registers)))] {
		if r.XRC == 0 {
			return r.Value, nil
		}
	}
	return 0, fail(errors.New("the kernel did not report XCR0"), "KVM_GET_XCRS")
}

// SetXCR0 is KVM_SET_XCRS. CPUID must have been set before: it bounds the value.
func (c *VCPU) SetXCR0(value uint64) error {
	x := &gokvm.XCRS{NrXRCS: 1}
	x.Registers[0].Value = value
	_, err := ioctl(c.fd, reqSetXCRS, x)
	return fail(err, "KVM_SET_XCRS %#x", value)
}

// GetTSCKHz is KVM_GET_TSC_KHZ: the rate of the guest's time-stamp counter.
func (c *VCPU) GetTSCKHz() (uint64, error) {
	r, err := retry(func() (uintptr, error) {
		khz, err := gokvm.GetTSCKHz(uintptr(c.fd))
		return uintptr(khz), err
	})
	return uint64(r), fail(err, "KVM_GET_TSC_KHZ")
}

// tscCtrl and tscOffset are KVM_VCPU_TSC_CTRL and KVM_VCPU_TSC_OFFSET of arch/x86/include/uapi/asm/kvm.h.
const tscCtrl, tscOffset = 0, 0

// GetTSCOffset is KVM_GET_DEVICE_ATTR of KVM_VCPU_TSC_OFFSET: what the processor adds to its own time-stamp counter for the
// guest. Linux has it since 5.16.
func (c *VCPU) GetTSCOffset() (uint64, error) {
	offset, err := getDeviceAttr(c.fd, tscCtrl, tscOffset)
	return offset, fail(err, "KVM_GET_DEVICE_ATTR of KVM_VCPU_TSC_OFFSET")
}
