package run

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"culvert/shim"
	"culvert/shim/strace"
	"culvert/vmm"
)

// Stats is what --stats writes, as JSON.
type Stats struct {
	Cause    string `json:"cause"` // exited, signalled, timeout, oom, killed, vmm
	ExitCode int    `json:"exit_code"`
	Signal   int    `json:"signal,omitempty"`
	Error    string `json:"error,omitempty"`

	Exits      map[string]uint64 `json:"exits"`       // KVM_RUN returns, by reason
	ExitsTotal uint64            `json:"exits_total"` // of which "interrupted" are the host's own
	Injected   uint64            `json:"interrupts_injected"`

	SyscallsForwarded map[string]uint64 `json:"syscalls_forwarded"`
	SyscallsRing0     map[string]uint64 `json:"syscalls_ring0"`
	SyscallsUnknown   map[string]uint64 `json:"syscalls_unknown,omitempty"`

	PageFaults      map[string]uint64 `json:"page_faults"` // by kind; the first four without an exit
	ContextSwitches uint64            `json:"context_switches"`
	Ticks           uint64            `json:"ticks"`

	Jail []string `json:"jail"` // what confines culvert's process; see package jail

	StartupUS  map[string]int64 `json:"startup_us"` // since the start of culvert run's work
	PeakMemory uint64           `json:"peak_guest_memory_bytes"`
}

// collect gathers the statistics of a VM that has ended.
func collect(vm *vmm.VM, k *shim.Kernel, status shim.ExitStatus) Stats {
	m := vm.Metrics()
	names := syscallNames()
	us := func(d time.Duration) int64 { return d.Microseconds() }
	s := Stats{
		Cause: string(status.Kind), ExitCode: status.Code, Signal: status.Signal,
		Exits: m.Exits, Injected: m.Injected,
		SyscallsForwarded: map[string]uint64{}, SyscallsRing0: map[string]uint64{}, SyscallsUnknown: map[string]uint64{},
		PageFaults: map[string]uint64{
			"demand_zero": m.Guest.DemandZero, "cow_copy": m.Guest.COWCopy, "cow_reuse": m.Guest.COWReuse,
			"spurious": m.Guest.Spurious, "host": m.Exits["fault"],
		},
		ContextSwitches: m.Guest.Switches, Ticks: m.Guest.Ticks,
		StartupUS: map[string]int64{"open": us(m.Phases.Open), "create": us(m.Phases.Create), "load": us(m.Phases.Load),
			"first_instruction": us(m.Phases.FirstInstruction)},
		PeakMemory: k.PeakMemory(),
	}
	if status.Err != nil {
		s.Error = status.Err.Error()
	}
	for _, n := range m.Exits {
		s.ExitsTotal += n
	}
	for nr, n := range k.Forwarded() {
		s.SyscallsForwarded[names(uint64(nr))] = n
	}
	for nr, n := range m.Ring0Calls() {
		if n != 0 {
			s.SyscallsRing0[names(uint64(nr))] = n
		}
	}
	for nr, n := range k.Unknown() {
		s.SyscallsUnknown[names(nr)] = n
	}
	return s
}

// syscallNames returns a function that names a system call.
func syscallNames() func(nr uint64) string {
	byNr := map[uint64]string{}
	for _, s := range shim.Table() {
		byNr[uint64(s.Nr)] = s.Name
	}
	return func(nr uint64) string {
		if name, ok := byNr[nr]; ok {
			return name
		}
		if nr == ^uint64(0) {
			return "others"
		}
		if name := strace.Name(nr); name != "" {
			return name
		}
		return fmt.Sprintf("call_%d", nr)
	}
}

func writeStats(w io.Writer, s Stats) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return fmt.Errorf("--stats: %w", err)
	}
	return nil
}

// reportUnknown says once which calls the program made that do not exist here.
func reportUnknown(k *shim.Kernel, w io.Writer) {
	unknown := k.Unknown()
	if len(unknown) == 0 {
		return
	}
	names := syscallNames()
	var parts []string
	for nr, n := range unknown {
		parts = append(parts, fmt.Sprintf("%s (%d)", names(nr), n))
	}
	sort.Strings(parts)
	fmt.Fprintf(w, "culvert run: calls answered with ENOSYS: %s\n", strings.Join(parts, ", "))
}
