package bench

import (
	"time"

	"culvert/vmm"
)

// counts is a state of a VM's counters, or what was added to it.
type counts struct {
	byReason     map[string]uint64 // returns of KVM_RUN
	kvm, kvmHost uint64            // kvm_exit events, and those of them that were the host's interrupts
	hasKVM       bool
}

// ofHost tells the reasons that are the host's: its interrupts and the signals of culvert's time slices, and the exit by
// which KVM says that the guest can take the interrupt that a time slice became.
func ofHost(reason string) bool { return reason == "interrupted" || reason == "irq_window" }

// exits is the sum of the returns that the guest caused.
func (c counts) exits() uint64 {
	var sum uint64
	for reason, n := range c.byReason {
		if !ofHost(reason) {
			sum += n
		}
	}
	return sum
}

// since returns what was counted after c0.
func (c counts) since(c0 counts) counts {
	d := counts{byReason: map[string]uint64{}, kvm: c.kvm - c0.kvm, kvmHost: c.kvmHost - c0.kvmHost, hasKVM: c.hasKVM && c0.hasKVM}
	for reason, n := range c.byReason {
		d.byReason[reason] = n - c0.byReason[reason]
	}
	return d
}

// add raises c by d.
func (c *counts) add(d counts) {
	if c.byReason == nil {
		c.byReason, c.hasKVM = map[string]uint64{}, d.hasKVM
	}
	for reason, n := range d.byReason {
		c.byReason[reason] += n
	}
	c.kvm += d.kvm
	c.kvmHost += d.kvmHost
	c.hasKVM = c.hasKVM && d.hasKVM
}

// least keeps the lower of each counter.
func (c *counts) least(d counts) {
	if c.byReason == nil {
		c.add(d)
		return
	}
	for reason, n := range d.byReason {
		c.byReason[reason] = min(c.byReason[reason], n)
	}
	c.kvm, c.kvmHost = min(c.kvm, d.kvm), min(c.kvmHost, d.kvmHost)
	c.hasKVM = c.hasKVM && d.hasKVM
}

// less subtracts what that many empty batches take; nothing goes below 0.
func (c counts) less(empty counts, batches uint64) counts {
	sub := func(a, b uint64) uint64 { return a - min(a, b*batches) }
	d := counts{byReason: map[string]uint64{}, hasKVM: c.hasKVM && empty.hasKVM,
		kvm: sub(c.kvm, empty.kvm), kvmHost: sub(c.kvmHost, empty.kvmHost)}
	for reason, n := range c.byReason {
		d.byReason[reason] = sub(n, empty.byReason[reason])
	}
	return d
}

// perOp divides by the operations.
func (c counts) perOp(ops uint64) *Exits {
	per := func(n uint64) float64 { return float64(n) / float64(max(ops, 1)) }
	e := &Exits{ExitsPerOp: per(c.exits()), ExitsByReason: map[string]float64{}}
	for reason, n := range c.byReason {
		if ofHost(reason) {
			e.HostInterruptsPerOp += per(n)
		}
		if n != 0 {
			e.ExitsByReason[reason] = per(n)
		}
	}
	if c.hasKVM {
		own, host := per(c.kvm-min(c.kvm, c.kvmHost)), per(c.kvmHost)
		e.KVMExitsPerOp, e.KVMInterruptsPerOp = &own, &host
	}
	return e
}

// readCounts reads a machine's counters and, if there is one, the kernel's.
func readCounts(metrics func() vmm.Metrics, k *kvmCounter) counts {
	c := counts{byReason: metrics().Exits}
	c.kvm, c.kvmHost, c.hasKVM = k.read()
	return c
}

// The counters of a blocked guest stand still. An exit takes 1 to 100 us, so that one in flight shows within rest.
const (
	rest     = 2 * time.Millisecond
	restless = 250 // looks after which a guest that does not come to rest is taken as it is
)

// atRest waits until two looks, rest apart, see the same exits, and returns them.
func atRest(read func() counts) counts {
	last := read()
	for range restless {
		time.Sleep(rest)
		now := read()
		if now.exits() == last.exits() {
			return now
		}
		last = now
	}
	return last
}
