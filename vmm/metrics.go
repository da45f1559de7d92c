package vmm

import (
	"sync/atomic"

	"culvert/guest"
)

// Metrics are counters of a VM's life so far.
type Metrics struct {
	// Exits counts returns of KVM_RUN by reason: syscall, idle, fault, note, kick_idle, interrupted (a host signal,
	// a kick among them), irq_window, other.
	Exits map[string]uint64
	// Injected counts the interrupts that kicks became.
	Injected uint64
	// Guest is the sum of the vCPUs' own counters. It comes from guest memory: a broken guest kernel can make it lie.
	Guest guest.Stats
	// Phases is how long starting took.
	Phases Phases
}

// Metrics returns the counters; it may be called at any time until Close.
func (vm *VM) Metrics() Metrics {
	m := Metrics{Exits: map[string]uint64{}}
	for _, c := range vm.cpus {
		for r, name := range reasonNames {
			m.Exits[name] += c.exits[r].Load()
		}
		m.Injected += c.kicks.Load()
		addStats(&m.Guest, &c.page.Stats)
	}
	vm.mu.Lock()
	m.Phases = vm.phases
	vm.mu.Unlock()
	return m
}

// addStats adds counters that ring 0 may be raising at the same time.
func addStats(sum, s *guest.Stats) {
	for _, f := range []struct{ to, from *uint64 }{
		{&sum.Switches, &s.Switches}, {&sum.Ticks, &s.Ticks}, {&sum.DemandZero, &s.DemandZero},
		{&sum.COWCopy, &s.COWCopy}, {&sum.COWReuse, &s.COWReuse}, {&sum.Spurious, &s.Spurious},
	} {
		*f.to += atomic.LoadUint64(f.from)
	}
	for i := range s.Fast {
		sum.Fast[i] += atomic.LoadUint32(&s.Fast[i])
	}
}

// Ring0Calls returns how many system calls ring 0 served, by number.
func (m *Metrics) Ring0Calls() map[int]uint64 {
	calls := map[int]uint64{}
	for nr, how := range guest.Serve() {
		calls[nr] = uint64(m.Guest.Fast[how])
	}
	return calls
}
