package guest

import (
	"unsafe"

	"culvert/shim/abi"
)

// Wake makes t ready if it is blocked; it runs in ring 0 and on the host. It reports whether a ready bit was set, so
// that the caller looks for an idle vCPU.
//
// States: BLOCKED to RUN with the ready bit set after it; RUN to WOKEN when t is on its way to BLOCKED (or runs: then
// its next block fails once and it looks again); WOKEN and FREE are left alone. A spurious wake is harmless, since every
// blocked operation is retried.
//
//go:nosplit
func Wake(vm *VM, t *Thread) bool {
	for {
		switch load(&t.State) {
		case abi.StateBlocked:
			if cas(&t.State, abi.StateBlocked, abi.StateRun) {
				setReady(vm, t.Index)
				return true
			}
		case abi.StateRun:
			if cas(&t.State, abi.StateRun, abi.StateWoken) {
				return false
			}
		default:
			return false
		}
	}
}

// setReady sets the ready bit of slot i: a locked OR, so a full barrier before the caller looks at Idle.
//
//go:nosplit
func setReady(vm *VM, i uint64) {
	or(&vm.Ready[i>>6&(abi.MaxThreads/64-1)], 1<<(i&63))
}

// wake is Wake for ring 0. The kick of an idle vCPU is late: it is dropped if this vCPU blocks and takes the thread
// itself, as in every synchronous hand-over, and sent at the second return to ring 3 otherwise. A vCPU that becomes idle
// after the look at Idle, which comes behind the ready bit, finds that bit.
//
//go:nosplit
func wake(p *PerCPU, i uint64) {
	if i >= p.VM.NumThreads {
		return
	}
	if Wake(p.VM, thread(p.VM, i)) && load(&p.VM.Idle) != 0 && p.LateKick == 0 {
		p.LateKick = 1
	}
}

// anyReady reports whether a thread waits for a vCPU.
//
//go:nosplit
func anyReady(p *PerCPU) bool {
	vm := p.VM
	for w := uint64(0); w < load(&vm.ReadyWords); w++ {
		if load(&vm.Ready[w&(abi.MaxThreads/64-1)]) != 0 {
			return true
		}
	}
	return false
}

// take wins a ready thread, from this vCPU's cursor on, wrapping back to the first word. A bit is won by a locked AND
// whose old value had it. A thread that may not run here is put back.
//
//go:nosplit
func take(p *PerCPU) *Thread {
	vm := p.VM
	words := load(&vm.ReadyWords)
	me := uint64(1) << (p.ID & 63)
	pos := p.Cursor
	for n := uint64(0); n <= words; n++ {
		if pos>>6 >= words {
			pos = 0
		}
		word := &vm.Ready[pos>>6&(abi.MaxThreads/64-1)]
		ready := load(word) &^ (1<<(pos&63) - 1)
		for ready != 0 {
			bit := ready & -ready
			ready &^= bit
			i := pos&^63 + uint64(log2(bit))
			t := thread(vm, i)
			if load(&t.Affinity)&me == 0 || and(word, ^bit)&bit == 0 {
				continue
			}
			t.TSCIn = p.TSC // before OnCPU: whoever sees that set knows since when
			if !cas(&t.OnCPU, 0, p.ID+1) {
				fatal(p)
			}
			p.Cursor = i + 1
			return t
		}
		pos = pos&^63 + 64
	}
	return nil
}

// block gives up the vCPU for t, whose registers are all in its slot. OnCPU is cleared after the last of them and
// before the state changes, so that whoever takes the thread finds it whole. It reports true if a waker came first:
// then t still owns this vCPU.
//
//go:nosplit
func block(p *PerCPU, t *Thread) bool {
	t.Waits++
	charge(p, t)
	store(&t.OnCPU, 0)
	if cas(&t.State, abi.StateRun, abi.StateBlocked) {
		return false
	}
	// WOKEN: nobody else may take t, since no ready bit is set.
	store(&t.OnCPU, p.ID+1)
	store(&t.State, abi.StateRun)
	return true
}

// schedule takes ready threads until one can return to ring 3, and makes it current.
//
//go:nosplit
func schedule(p *PerCPU) {
	for {
		t := take(p)
		if t == nil {
			idle(p)
			continue
		}
		p.LateKick = 0
		if load(&p.VM.Idle) != 0 && anyReady(p) {
			p.LateKick = 1
		}
		p.Stats.Switches++
		p.Cur = uint64(uintptr(unsafe.Pointer(t)))
		setSpace(p, t.Space)
		p.Load = 1
		if resumeRecord(p, t) {
			return
		}
	}
}

// resumeRecord continues the blocked call of t, which this vCPU owns and whose registers are in its slot. It reports
// false if t blocked again.
//
//go:nosplit
func resumeRecord(p *PerCPU, t *Thread) bool {
	for {
		kind := load(&t.Wait.Kind)
		if kind == abi.WaitNone {
			return true
		}
		// First what the thread was woken for: data that came before a signal is taken before it.
		if kind > abi.WaitSignal {
			done := false
			if kind == abi.WaitRead || kind == abi.WaitWrite {
				done = pipeAgain(p, t)
			} else {
				leaveWaits(p, t)
				done = retry(p, t)
			}
			if done {
				if t.Wait.Aux != sigpipe {
					return true
				}
				t.Wait.Aux = 0
				if !attend(p, t, abi.NoteSIGPIPE) {
					return false
				}
				continue
			}
		}
		if load(&t.Attn) != 0 {
			// A signal, a stop or the end: the shim settles the record, or leaves it for a retry.
			if kind > abi.WaitSignal {
				leaveWaits(p, t)
			}
			if !attend(p, t, abi.NoteAttention) {
				return false
			}
			continue
		}
		if !block(p, t) {
			return false
		}
	}
}

// setSpace loads the address space s (nil: the kernel's). Active has this vCPU's bit from before the load until after
// CR3 has left, so whoever changes a PTE and then reads Active knows every vCPU that may hold the old translation.
//
//go:nosplit
func setSpace(p *PerCPU, s *Space) {
	old := p.Space
	me := uint64(1) << (p.ID & 63)
	cr3 := p.VM.KernelCR3
	if s != nil {
		if s == old && s.CR3 == p.CR3 {
			return
		}
		or(&s.Active, me)
		cr3 = s.CR3
	}
	p.SetCR3(cr3)
	p.CR3 = cr3
	*(*uint64)(unsafe.Pointer(&p.Space)) = uint64(uintptr(unsafe.Pointer(s)))
	if old != nil && old != s {
		and(&old.Active, ^me)
	}
}

// charge adds the time since t was put on this vCPU to its account, as of PerCPU.TSC.
//
//go:nosplit
func charge(p *PerCPU, t *Thread) {
	t.TSCRun += p.TSC - t.TSCIn
	t.TSCIn = p.TSC
}

// fatal ends the VM: an invariant that only this code upholds does not hold. The store faults in ring 0, and the gate
// reports it.
//
//go:nosplit
func fatal(p *PerCPU) {
	*(*uint64)(at(fatalAddr)) = p.ID
}

// fatalAddr is in the kernel half and never mapped.
const fatalAddr = uint64(abi.VCPUBase) - 0x1000
