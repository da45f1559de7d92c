package guest

import (
	"testing"

	"culvert/pipes/tso"
)

// The protocol of idle vCPUs, explored over all interleavings: vCPU 0 makes a thread ready, and then goes on in ring 3 or
// falls idle; vCPU 1 has nothing to run, and must come to run the thread.

// mutant names what is left out or done wrongly; "" is the protocol.
type mutant string

const (
	ready    tso.Word = iota // the thread's bit of VM.Ready
	idleBits                 // VM.Idle
	sleepers                 // VM.Sleep
	rung                     // the eventfd of vCPU 1's host thread
)

// Bits of vCPU 0, which wakes, and of vCPU 1, which waits.
const (
	waker   = 1
	waiting = 2
)

func set(bits uint8) func(uint8) uint8     { return func(old uint8) uint8 { return old | bits } }
func without(bits uint8) func(uint8) uint8 { return func(old uint8) uint8 { return old &^ bits } }
func lacks(bit uint8) func([]uint8) bool   { return func(rs []uint8) bool { return rs[0]&bit == 0 } }

// sleeper is schedule, idle and spin of vCPU 1, and idle of its host thread (vmm).
func sleeper(m mutant) *tso.Program {
	p := new(tso.Program)
	again, awake, asleep, out, got := tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	p.At(again)
	p.RMW(0, ready, without(1))
	p.JumpNe(0, 0, got)
	if m == "idle: plain store" {
		p.Store(idleBits, tso.Value(waiting))
	} else {
		p.RMW(0, idleBits, set(waiting))
	}
	if m != "idle: no second look" {
		p.Load(0, ready)
		p.JumpNe(0, 0, awake)
	}
	// The spin, of any length.
	p.Load(0, idleBits)
	p.JumpIf(lacks(waiting), awake)
	if m == "sleep: plain store" {
		p.Store(sleepers, tso.Value(waiting))
	} else {
		p.RMW(0, sleepers, set(waiting))
	}
	p.At(asleep)
	if m != "sleep: no second look" {
		p.Load(0, idleBits)
		p.JumpIf(lacks(waiting), out)
	}
	p.AwaitNot(rung, 0)
	p.Xchg(rung, tso.Value(0))
	if m == "sleep: no second look" {
		p.Jump(out)
	}
	p.Jump(asleep)
	p.At(out)
	p.RMW(0, sleepers, without(waiting))
	p.At(awake)
	p.RMW(0, idleBits, without(waiting))
	p.Jump(again)
	p.At(got)
	return p
}

// pick is PickIdle, and the kick.
func pick(p *tso.Program, m mutant) {
	none := tso.NewLabel()
	if m == "pick: asks who sleeps first" {
		p.Load(1, sleepers)
	}
	p.Load(0, idleBits)
	p.JumpIf(lacks(waiting), none)
	p.RMW(0, idleBits, without(waiting))
	p.JumpIf(lacks(waiting), none)
	if m != "pick: asks who sleeps first" {
		p.Load(1, sleepers)
	}
	p.JumpEq(1, 0, none)
	p.Xchg(rung, tso.Value(1))
	p.At(none)
}

// wakes is vCPU 0: it makes the thread ready, and then goes on in ring 3 or, if the thread is bound to vCPU 1 and it has
// no other, falls idle itself.
func wakes(m mutant, idle bool) *tso.Program {
	p := new(tso.Program)
	end := tso.NewLabel()
	if m == "wake: looks at Idle first" {
		p.Load(0, idleBits)
	}
	if m == "wake: plain store" {
		p.Store(ready, tso.Value(1))
	} else {
		p.RMW(2, ready, set(1))
	}
	if m != "wake: looks at Idle first" {
		p.Load(0, idleBits)
	}
	if idle {
		p.RMW(0, idleBits, set(waker))
		p.Load(0, ready)
	}
	p.JumpEq(0, 0, end) // nobody was idle: no late kick; or the thread is taken
	if m != "falls idle: kicks nobody" {
		pick(p, m)
	}
	p.At(end)
	return p
}

// TestExplore runs every scenario as it is, which must pass, and without each step that it shows to be needed, which must not.
func TestExplore(t *testing.T) {
	for _, s := range []struct {
		name    string
		idle    bool
		mutants []mutant
	}{
		{"the waker goes on", false, []mutant{"idle: no second look", "idle: plain store", "sleep: no second look",
			"sleep: plain store", "pick: asks who sleeps first", "wake: looks at Idle first", "wake: plain store"}},
		{"the waker falls idle", true, []mutant{"idle: no second look", "falls idle: kicks nobody", "sleep: plain store",
			"pick: asks who sleeps first"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			tso.Check(t, tso.World{}, func(m mutant) []*tso.Program {
				return []*tso.Program{wakes(m, s.idle), sleeper(m)}
			}, s.mutants)
		})
	}
}
