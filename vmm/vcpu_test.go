package vmm

import (
	"testing"
	"time"
)

// A long stay is not foreseen, but the few after it are; an idle vCPU's is.
func TestForesee(t *testing.T) {
	c := &vcpu{}
	stay := func(d time.Duration, foreseen bool, when string) {
		t.Helper()
		if got := c.foresee(); got != foreseen {
			t.Errorf("%s: a long stay is foreseen: %v", when, got)
		}
		c.stayed(d)
	}
	const call = longStay - 1
	stay(call, false, "first")
	stay(longStay, false, "a long one")
	for range trustedStays - 1 {
		stay(call, true, "after a long one")
	}
	stay(longStay, true, "another")
	for range trustedStays {
		stay(call, true, "after another")
	}
	stay(call, false, "calls only")
	c.stays = true
	stay(call, true, "was idle")
	c.stays = false
	stay(call, false, "calls again")
}
