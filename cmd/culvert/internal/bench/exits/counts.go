// Package exits counts a VM's exits: the returns of KVM_RUN, which culvert itself counts, and the kernel's kvm_exit
// events, where it lets us.
package exits

import (
	"time"

	"culvert/vmm"
)

// Counts is a state of a VM's counters, or what was added to it.
type Counts struct {
	ByReason     map[string]uint64 // returns of KVM_RUN
	KVM, KVMHost uint64            // kvm_exit events, and those of them that were the host's interrupts
	HasKVM       bool
}

// ofHost tells the reasons that are the host's: its interrupts and the signals of culvert's time slices, and the exit by
// which KVM says that the guest can take the interrupt that a time slice became.
func ofHost(reason string) bool { return reason == "interrupted" || reason == "irq_window" }

// Exits is the sum of the returns that the guest caused.
func (c Counts) Exits() uint64 {
	var sum uint64
	for reason, n := range c.ByReason {
		if !ofHost(reason) {
			sum += n
		}
	}
	return sum
}

// Since returns what was counted after c0.
func (c Counts) Since(c0 Counts) Counts {
	d := Counts{ByReason: map[string]uint64{}, KVM: c.KVM - c0.KVM, KVMHost: c.KVMHost - c0.KVMHost, HasKVM: c.HasKVM && c0.HasKVM}
	for reason, n := range c.ByReason {
		d.ByReason[reason] = n - c0.ByReason[reason]
	}
	return d
}

// Add raises c by d.
func (c *Counts) Add(d Counts) {
	if c.ByReason == nil {
		c.ByReason, c.HasKVM = map[string]uint64{}, d.HasKVM
	}
	for reason, n := range d.ByReason {
		c.ByReason[reason] += n
	}
	c.KVM += d.KVM
	c.KVMHost += d.KVMHost
	c.HasKVM = c.HasKVM && d.HasKVM
}

// Least keeps the lower of each counter.
func (c *Counts) Least(d Counts) {
	if c.ByReason == nil {
		c.Add(d)
		return
	}
	for reason, n := range d.ByReason {
		c.ByReason[reason] = min(c.ByReason[reason], n)
	}
	c.KVM, c.KVMHost = min(c.KVM, d.KVM), min(c.KVMHost, d.KVMHost)
	c.HasKVM = c.HasKVM && d.HasKVM
}

// Less subtracts what that many empty batches take; nothing goes below 0.
func (c Counts) Less(empty Counts, batches uint64) Counts {
	sub := func(a, b uint64) uint64 { return a - min(a, b*batches) }
	d := Counts{ByReason: map[string]uint64{}, HasKVM: c.HasKVM && empty.HasKVM,
		KVM: sub(c.KVM, empty.KVM), KVMHost: sub(c.KVMHost, empty.KVMHost)}
	for reason, n := range c.ByReason {
		d.ByReason[reason] = sub(n, empty.ByReason[reason])
	}
	return d
}

// PerOp are a VM's exits per operation, as reports have them.
type PerOp struct {
	ExitsPerOp          float64            `json:"exits_per_op"`
	HostInterruptsPerOp float64            `json:"host_interrupts_per_op"`
	ExitsByReason       map[string]float64 `json:"exits_by_reason_per_op"`
	KVMExitsPerOp       *float64           `json:"kvm_exits_per_op,omitempty"`
	KVMInterruptsPerOp  *float64           `json:"kvm_host_interrupts_per_op,omitempty"`
}

// PerOp divides by the operations.
func (c Counts) PerOp(ops uint64) *PerOp {
	per := func(n uint64) float64 { return float64(n) / float64(max(ops, 1)) }
	e := &PerOp{ExitsPerOp: per(c.Exits()), ExitsByReason: map[string]float64{}}
	for reason, n := range c.ByReason {
		if ofHost(reason) {
			e.HostInterruptsPerOp += per(n)
		}
		if n != 0 {
			e.ExitsByReason[reason] = per(n)
		}
	}
	if c.HasKVM {
		own, host := per(c.KVM-min(c.KVM, c.KVMHost)), per(c.KVMHost)
		e.KVMExitsPerOp, e.KVMInterruptsPerOp = &own, &host
	}
	return e
}

// Read reads a machine's counters and, if there is one, the kernel's.
func Read(metrics func() vmm.Metrics, k *Counter) Counts {
	c := Counts{ByReason: metrics().Exits}
	c.KVM, c.KVMHost, c.HasKVM = k.read()
	return c
}

// The counters of a blocked guest stand still. An exit takes 1 to 100 us, so that one in flight shows within rest.
const (
	rest     = 2 * time.Millisecond
	restless = 250 // looks after which a guest that does not come to rest is taken as it is
)

// AtRest waits until two looks, rest apart, see the same exits, and returns them.
func AtRest(read func() Counts) Counts {
	last := read()
	for range restless {
		time.Sleep(rest)
		now := read()
		if now.Exits() == last.Exits() {
			return now
		}
		last = now
	}
	return last
}
