package guest

import (
	"math/bits"

	"culvert/shim/abi"
)

// PickIdle wins an idle vCPU of the mask allowed, to run what was just made ready. It returns the vCPU if its host
// thread sleeps and must be kicked, else -1: none is idle, or the one that was won still spins and sees its idle bit go.
//
//go:nosplit
func PickIdle(vm *VM, allowed uint64) int {
	for {
		idle := load(&vm.Idle) & allowed
		if idle == 0 {
			return -1
		}
		bit := idle & -idle
		if and(&vm.Idle, ^bit)&bit == 0 {
			continue
		}
		if load(&vm.Sleep)&bit == 0 {
			return -1
		}
		return log2(bit)
	}
}

// log2 returns the number of the lowest bit that is set.
//
//go:nosplit
func log2(bit uint64) int { return bits.TrailingZeros64(bit) }

// kickIdle lets an idle vCPU run a ready thread.
//
//go:nosplit
func kickIdle(p *PerCPU) {
	if load(&p.VM.Idle) == 0 {
		return
	}
	if v := PickIdle(p.VM, wanted(p)); v >= 0 {
		p.Out(abi.PortKick + uint64(v))
	}
}

// wanted is the mask of vCPUs on which some ready thread may run.
//
//go:nosplit
func wanted(p *PerCPU) uint64 {
	vm, mask := p.VM, uint64(0)
	for w := uint64(0); w < load(&vm.ReadyWords); w++ {
		for ready := load(&vm.Ready[w&(abi.MaxThreads/64-1)]); ready != 0; ready &= ready - 1 {
			mask |= load(&thread(vm, w<<6+uint64(log2(ready))).Affinity)
		}
	}
	return mask
}

// idle waits for a ready thread. The bit first, then another look, then the exit: a waker that set a ready bit before
// the bit was visible is found by the look, one after it sees the bit. A ready thread that may not run here is the reason
// for a late kick that nobody else sends. On return the host has seen the idle bit go.
//
//go:nosplit
func idle(p *PerCPU) {
	vm := p.VM
	me := uint64(1) << (p.ID & 63)
	p.LateKick = 0
	or(&vm.Idle, me)
	allowed := wanted(p)
	if allowed&me == 0 {
		if v := PickIdle(vm, allowed); v >= 0 {
			p.Out(abi.PortKick + uint64(v))
		}
		start := p.RDTSC()
		spin(p, me, start)
		if load(&vm.Idle)&me != 0 {
			hypercall(p, nil, abi.KindIdle, 0)
		}
		p.TSC = p.RDTSC()
		adapt(p, p.TSC-start)
	}
	and(&vm.Idle, ^me)
}

// Bounds of PerCPU.Spin, in ticks of the TSC: some 10 and 200 us.
const (
	spinMin = 20_000
	spinMax = 400_000
)

// spin waits for somebody to take this vCPU's idle bit, for at most p.Spin ticks. It does not look at the ready bits: a
// thread that is woken is left to its waker, which may be about to wait itself. Only a vCPU that runs can take the bit soon.
//
//go:nosplit
func spin(p *PerCPU, me, start uint64) {
	for p.RDTSC()-start < p.Spin {
		idle := load(&p.VM.Idle)
		if idle&me == 0 || idle == p.VM.CPUs {
			return
		}
		flush(p)
		p.Pause()
	}
}

// adapt sets for how long the next wait spins, after one of that many ticks, as kvm_vcpu_halt of virt/kvm/kvm_main.c
// does: longer if a longer spin would have seen the end, not at all if none would have.
//
//go:nosplit
func adapt(p *PerCPU, waited uint64) {
	if waited > spinMax {
		p.Spin = 0
	} else if waited > p.Spin {
		p.Spin = min(max(2*p.Spin, spinMin), spinMax)
	}
}
