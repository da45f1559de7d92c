package kvm

import (
	"encoding/binary"
	"fmt"
)

// Offsets in struct kvm_run.
const (
	offReason = 8  // exit_reason, u32
	offReady  = 12 // ready_for_interrupt_injection, u8
	offIfFlag = 13 // if_flag, u8
	offUnion  = 32 // what the reason means

	offFailReason = offUnion      // fail_entry.hardware_entry_failure_reason, u64
	offFailCPU    = offUnion + 8  // fail_entry.cpu, u32
	offIODir      = offUnion      // io.direction, u8: 0 in, 1 out
	offIOSize     = offUnion + 1  // io.size, u8: bytes
	offIOPort     = offUnion + 2  // io.port, u16
	offIOCount    = offUnion + 4  // io.count, u32
	offIOData     = offUnion + 8  // io.data_offset, u64: from the start of kvm_run
	offMMIOAddr   = offUnion      // mmio.phys_addr, u64
	offMMIOData   = offUnion + 8  // mmio.data, 8 bytes
	offMMIOLen    = offUnion + 16 // mmio.len, u32
	offMMIOWrite  = offUnion + 20 // mmio.is_write, u8
	offSuberror   = offUnion      // internal.suberror, u32
	offNData      = offUnion + 4  // internal.ndata, u32
	offData       = offUnion + 8  // internal.data, u64 each
	offEventType  = offUnion      // system_event.type, u32
)

// maxInternalData is how many words internal.data has.
const maxInternalData = 16

// Reason is why Run came back: the kernel's KVM_EXIT_* where there is one.
type Reason uint32

// The reasons this package decodes. Others come through with their number.
const (
	ExitUnknown       Reason = 0
	ExitException     Reason = 1
	ExitIO            Reason = 2
	ExitHypercall     Reason = 3
	ExitDebug         Reason = 4
	ExitHLT           Reason = 5
	ExitMMIO          Reason = 6
	ExitIRQWindow     Reason = 7
	ExitShutdown      Reason = 8 // a triple fault
	ExitFailEntry     Reason = 9
	ExitIntr          Reason = 10
	ExitInternalError Reason = 17
	ExitSystemEvent   Reason = 24

	// Not the kernel's. KVM_RUN returned EINTR: a signal is or was pending, or
	// immediate_exit was set.
	ExitInterrupted Reason = 1 << 16
	// KVM_RUN returned EAGAIN: the vCPU waits for a start-up IPI or got one just now.
	// Trying again without end would spin, so that is left to the caller.
	ExitAgain Reason = 1<<16 + 1
)

var reasonNames = map[Reason]string{
	ExitUnknown:       "KVM_EXIT_UNKNOWN",
	ExitException:     "KVM_EXIT_EXCEPTION",
	ExitIO:            "KVM_EXIT_IO",
	ExitHypercall:     "KVM_EXIT_HYPERCALL",
	ExitDebug:         "KVM_EXIT_DEBUG",
	ExitHLT:           "KVM_EXIT_HLT",
	ExitMMIO:          "KVM_EXIT_MMIO",
	ExitIRQWindow:     "KVM_EXIT_IRQ_WINDOW_OPEN",
	ExitShutdown:      "KVM_EXIT_SHUTDOWN",
	ExitFailEntry:     "KVM_EXIT_FAIL_ENTRY",
	ExitIntr:          "KVM_EXIT_INTR",
	ExitInternalError: "KVM_EXIT_INTERNAL_ERROR",
	ExitSystemEvent:   "KVM_EXIT_SYSTEM_EVENT",
	ExitInterrupted:   "interrupted",
	ExitAgain:         "try again",
}

// Exit is why the guest stopped, read from kvm_run once. Which fields mean something
// depends on Reason; the others are zero.
type Exit struct {
	Reason Reason

	// ExitIO: an IN or OUT of Count values of Size bytes. ExitMMIO: Size bytes.
	Port  uint16
	Size  uint8
	Write bool // OUT, or a store
	Count uint32

	// ExitInternalError: KVM_INTERNAL_ERROR_*. ExitFailEntry: the host's CPU.
	// ExitSystemEvent: KVM_SYSTEM_EVENT_*.
	Suberror uint32

	Addr uint64 // ExitMMIO: guest-physical address
	// ExitIO: the first value written. ExitMMIO: the value written. ExitUnknown and
	// ExitFailEntry: the hardware's reason.
	Value uint64
}

// decode reads kvm_run. mem is at least minRunSize long; the offset that the kernel
// gives for port data is checked against it all the same.
func decode(mem []byte) Exit {
	le := binary.LittleEndian
	e := Exit{Reason: Reason(le.Uint32(mem[offReason:]))}
	switch e.Reason {
	case ExitIO:
		e.Write = mem[offIODir] == 1
		e.Size = mem[offIOSize]
		e.Port = le.Uint16(mem[offIOPort:])
		e.Count = le.Uint32(mem[offIOCount:])
		if e.Write {
			e.Value = loadValue(mem, le.Uint64(mem[offIOData:]), uint32(e.Size))
		}
	case ExitMMIO:
		e.Addr = le.Uint64(mem[offMMIOAddr:])
		e.Size = uint8(min(le.Uint32(mem[offMMIOLen:]), 8))
		e.Write = mem[offMMIOWrite] != 0
		if e.Write {
			e.Value = loadValue(mem, offMMIOData, uint32(e.Size))
		}
	case ExitUnknown:
		e.Value = le.Uint64(mem[offFailReason:])
	case ExitFailEntry:
		e.Value = le.Uint64(mem[offFailReason:])
		e.Suberror = le.Uint32(mem[offFailCPU:])
	case ExitInternalError:
		e.Suberror = le.Uint32(mem[offSuberror:])
	case ExitSystemEvent:
		e.Suberror = le.Uint32(mem[offEventType:])
	}
	return e
}

// loadValue reads the little-endian value of size bytes at off, zero when it does not
// lie in mem.
func loadValue(mem []byte, off uint64, size uint32) uint64 {
	if off > uint64(len(mem)) || uint64(len(mem))-off < 8 {
		return 0
	}
	v := binary.LittleEndian.Uint64(mem[off:])
	if size < 8 {
		v &= 1<<(8*size) - 1
	}
	return v
}

// InternalErrorData is what KVM adds to an ExitInternalError, for a message: for an
// instruction it could not emulate, flags and the instruction's bytes. It is nil
// after any other exit.
func (c *VCPU) InternalErrorData() []uint64 { return internalData(c.mem) }

func internalData(mem []byte) []uint64 {
	le := binary.LittleEndian
	if Reason(le.Uint32(mem[offReason:])) != ExitInternalError {
		return nil
	}
	data := make([]uint64, min(le.Uint32(mem[offNData:]), maxInternalData))
	for i := range data {
		data[i] = le.Uint64(mem[offData+8*i:])
	}
	return data
}

// String is the kernel's name of a reason.
func (r Reason) String() string {
	if name, ok := reasonNames[r]; ok {
		return name
	}
	return fmt.Sprintf("KVM_EXIT_%d", uint32(r))
}

// String describes an exit for a message.
func (e Exit) String() string {
	switch e.Reason {
	case ExitIO, ExitMMIO:
		verb, where := "read", fmt.Sprintf("port %#x", e.Port)
		if e.Write {
			verb = "write"
		}
		if e.Reason == ExitMMIO {
			where = fmt.Sprintf("address %#x", e.Addr)
		}
		return fmt.Sprintf("%v: %s of %d bytes at %s, value %#x, count %d", e.Reason, verb, e.Size, where, e.Value, e.Count)
	case ExitUnknown:
		return fmt.Sprintf("%v: hardware reason %#x", e.Reason, e.Value)
	case ExitFailEntry:
		return fmt.Sprintf("%v: hardware reason %#x on host CPU %d", e.Reason, e.Value, e.Suberror)
	case ExitInternalError:
		return fmt.Sprintf("%v: suberror %d (%s)", e.Reason, e.Suberror, suberrorName(e.Suberror))
	case ExitSystemEvent:
		return fmt.Sprintf("%v: type %d", e.Reason, e.Suberror)
	}
	return e.Reason.String()
}

// suberrorNames explains KVM_INTERNAL_ERROR_*.
var suberrorNames = [...]string{
	1: "KVM_INTERNAL_ERROR_EMULATION: an instruction KVM cannot emulate",
	2: "KVM_INTERNAL_ERROR_SIMUL_EX: two exceptions at once",
	3: "KVM_INTERNAL_ERROR_DELIVERY_EV: a fault while delivering an event",
	4: "KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: an exit KVM does not know",
}

func suberrorName(n uint32) string {
	if n < uint32(len(suberrorNames)) && suberrorNames[n] != "" {
		return suberrorNames[n]
	}
	return "not a known suberror"
}
