package link

import (
	"testing"

	"culvert/pipes/tso"
)

// The model: a writing VM that publishes bytes, and a reading VM with threads that read one byte each. Who takes the
// Wait word rings the bell, and hears it himself in the reading VM's name: a bell that is rung is always heard.

// The words of the model. A thread i that waits is bit i of set; it is woken by clearing its sleep word.
const (
	told  tso.Word = iota // Words.Tail
	want                  // Words.ReaderWait
	tail                  // the reading VM's Tail
	head                  // its Head
	lock                  // its ReadLock
	set                   // its RWait
	sleep                 // one word a thread: 1 = it sleeps, or is about to
)

// mutant names what is left out; "" is the protocol.
type mutant string

// pull is Pull.
func pull(p *tso.Program) {
	p.Load(0, told)
	p.Lock(func(w *tso.World, t int) bool {
		w.Mem[tail] = max(w.Mem[tail], w.Reg[t][0])
		return true
	})
}

// queued loads how many bytes the reading VM knows of.
func queued(p *tso.Program, r int) {
	p.Load(r, head)
	p.Load(3, tail)
	p.Set(r, func(rs []uint8) uint8 { return rs[3] - rs[r] })
}

// wakeOne takes a thread out of the set.
func wakeOne(p *tso.Program, threads int) {
	p.Lock(func(w *tso.World, t int) bool {
		bit := w.Mem[set] & -w.Mem[set]
		w.Mem[set] &^= bit
		for i := range threads {
			if bit>>i&1 != 0 {
				w.Mem[sleep+tso.Word(i)] = 0
			}
		}
		return true
	})
}

// heard is what the reading VM's host does at the bell.
func heard(p *tso.Program, m mutant, threads int) {
	again, none, end := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	pull(p)
	p.At(again)
	queued(p, 1)
	p.JumpEq(1, 0, none)
	wakeOne(p, threads)
	p.At(none)
	if m == "heard: asks no more" {
		return
	}
	p.Load(1, set)
	p.JumpEq(1, 0, end)
	p.Load(2, tail)
	p.Xchg(want, tso.Value(1))
	if m != "heard: no second pull" {
		pull(p)
		p.Load(1, tail)
		p.JumpIf(func(rs []uint8) bool { return rs[1] != rs[2] }, again)
	}
	p.At(end)
}

// publish writes a byte and rings.
func publish(p *tso.Program, m mutant, threads int) {
	end := tso.NewLabel()
	if m == "publish: looks first" {
		p.Load(1, want)
	}
	if m == "publish: plain store" {
		p.Load(0, told)
		p.Store(told, tso.Plus(0, 1))
	} else {
		p.RMW(0, told, func(old uint8) uint8 { return old + 1 })
	}
	if m != "publish: looks first" {
		p.Load(1, want)
	}
	p.JumpEq(1, 0, end)
	p.RMW(1, want, func(uint8) uint8 { return 0 })
	p.JumpEq(1, 0, end)
	heard(p, m, threads)
	p.At(end)
}

// reader is thread i: it reads one byte. asleep says that it starts where it waits, with its bit and the Wait word set.
func reader(p *tso.Program, m mutant, i, threads int, asleep bool) {
	me, bit := sleep+tso.Word(i), uint8(1)<<i
	retry, take, last := tso.NewLabel(), tso.NewLabel(), tso.NewLabel()
	if asleep {
		p.Await(me, 0)
	}
	p.At(retry)
	p.RMW(0, set, func(old uint8) uint8 { return old &^ bit })
	pull(p)
	p.Acquire(lock)
	queued(p, 1)
	p.JumpNe(1, 0, take)
	p.Xchg(lock, tso.Value(0))
	p.Xchg(me, tso.Value(1))
	p.RMW(0, set, func(old uint8) uint8 { return old | bit })
	switch m {
	case "want: plain store":
		p.Store(want, tso.Value(1))
	case "want: not at all":
	case "want: after the pull":
	default:
		p.Xchg(want, tso.Value(1))
	}
	if m != "want: no second pull" {
		pullPlain(p, m)
		queued(p, 1)
		p.JumpNe(1, 0, retry)
	}
	if m == "want: after the pull" {
		p.Xchg(want, tso.Value(1))
	}
	p.Await(me, 0)
	p.Jump(retry)
	p.At(take) // one byte; what is left is the next reader's
	p.RMW(0, head, func(old uint8) uint8 { return old + 1 })
	p.Xchg(lock, tso.Value(0))
	queued(p, 1)
	p.JumpEq(1, 0, last)
	if m != "read: no passing on" {
		wakeOne(p, threads)
	}
	p.At(last)
}

// pullPlain is pull, but for the mutant whose Want is no barrier: its pull must not be one either, or the compare-and-
// swap of Pull would hide it. Pull does none when it finds nothing new.
func pullPlain(p *tso.Program, m mutant) {
	if m != "want: plain store" {
		pull(p)
		return
	}
	nothing := tso.NewLabel()
	p.Load(0, told)
	p.Load(1, tail)
	p.JumpIf(func(rs []uint8) bool { return rs[0] == rs[1] }, nothing)
	pull(p)
	p.At(nothing)
}

func TestExplore(t *testing.T) {
	for _, s := range []struct {
		name             string
		writers, readers int
		asleep           bool // the readers, at the start
		mutants          []mutant
	}{
		{"one reader", 1, 1, false, []mutant{"want: plain store", "want: not at all", "want: after the pull", "want: no second pull",
			"publish: looks first", "publish: plain store"}},
		{"two readers sleep, two vCPUs write", 2, 2, true,
			[]mutant{"heard: asks no more", "heard: no second pull", "read: no passing on"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			cast := func(m mutant) (ps []*tso.Program) {
				for range s.writers {
					p := new(tso.Program)
					publish(p, m, s.readers)
					ps = append(ps, p)
				}
				for i := range s.readers {
					p := new(tso.Program)
					reader(p, m, i, s.readers, s.asleep)
					ps = append(ps, p)
				}
				return ps
			}
			var w tso.World
			if s.asleep {
				w.Mem[want], w.Mem[set] = 1, 1<<s.readers-1
				for i := range s.readers {
					w.Mem[sleep+tso.Word(i)] = 1
				}
			}
			tso.Check(t, w, cast, s.mutants)
		})
	}
}
