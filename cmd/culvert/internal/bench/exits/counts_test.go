package exits

import "testing"

func TestCounts(t *testing.T) {
	before := Counts{ByReason: map[string]uint64{"syscall": 10, "idle": 5, "interrupted": 1, "irq_window": 0}, KVM: 20, KVMHost: 2, HasKVM: true}
	after := Counts{ByReason: map[string]uint64{"syscall": 25, "idle": 6, "interrupted": 4, "irq_window": 2}, KVM: 60, KVMHost: 7, HasKVM: true}
	d := after.Since(before)
	if d.Exits() != 16 || d.KVM != 40 || d.KVMHost != 5 {
		t.Errorf("since: %+v", d)
	}
	var empty Counts
	empty.Least(Counts{ByReason: map[string]uint64{"syscall": 5, "idle": 1}, KVM: 9, HasKVM: true})
	empty.Least(Counts{ByReason: map[string]uint64{"syscall": 3, "idle": 2}, KVM: 10, KVMHost: 1, HasKVM: true})
	e := d.Less(empty, 1).PerOp(4)
	if e.ExitsPerOp != 3 || e.HostInterruptsPerOp != 1.25 || e.ExitsByReason["syscall"] != 3 || e.ExitsByReason["interrupted"] != 0.75 {
		t.Errorf("per operation: %+v", e)
	}
	if _, has := e.ExitsByReason["idle"]; has {
		t.Errorf("idle, which was subtracted, is listed: %+v", e)
	}
	if e.KVMExitsPerOp == nil || *e.KVMExitsPerOp != (31-5)/4.0 || *e.KVMInterruptsPerOp != 5/4.0 {
		t.Errorf("kernel's events: %v, %v", e.KVMExitsPerOp, e.KVMInterruptsPerOp)
	}
	if e := d.Less(empty, 1000).PerOp(1); e.ExitsPerOp != 0 || *e.KVMExitsPerOp != 0 {
		t.Errorf("more subtracted than there was: %+v", e)
	}
	if e := (Counts{}).PerOp(0); e.KVMExitsPerOp != nil || e.ExitsPerOp != 0 {
		t.Errorf("nothing: %+v", e)
	}
}

// Counters that move at first are waited for.
func TestAtRest(t *testing.T) {
	looks := uint64(0)
	c := AtRest(func() Counts {
		looks++
		return Counts{ByReason: map[string]uint64{"syscall": min(looks, 4)}}
	})
	if c.Exits() != 4 || looks != 5 {
		t.Errorf("came to rest at %d after %d looks", c.Exits(), looks)
	}
}
