package vmm

import (
	"runtime"
	"sync/atomic"
	"time"

	"culvert/guest"
	"culvert/shim/longcall"

	"golang.org/x/sys/unix"
)

// slice is the length of a time slice: a thread that ran a whole one while another is ready is preempted.
const slice = 4 * time.Millisecond

// longSlice is for how long the monitor does not look at a VM of one vCPU whose threads take turns by themselves: each look takes
// the vCPU's processor, where the host has no other. In a VM with more a thread could wait for so long while a vCPU idles.
const longSlice = 6 * slice

// calmSlices is after how many looks in a row at a busy VM that found nothing to do slices become long.
const calmSlices = 4

// flapSlices is after how many looks that found that a vCPU has slept, or something to do, a VM flaps: it falls asleep and wakes
// up, or the monitor does, all the time. It does not flap any more after idleSlices without.
const flapSlices = 4

// idleSlices is for how many slices in a row all vCPUs have to idle before the monitor stops looking: a VM that waits for
// the host again and again is not to wake it each time.
const idleSlices = 16

// monitor gives time slices and is the backstop of late kicks: a ready thread never waits longer than a slice for an
// idle vCPU. It sleeps while every vCPU does, and returns when the VM stops.
//
// While nothing is to be done it stays in watch, so that a VM that runs without exits has the host do next to nothing.
func (vm *VM) monitor() {
	for !vm.stopping.Load() {
		limit := clockPeriod
		if vm.flapped = vm.flapping(); vm.flapped {
			limit = slice
		}
		rang := vm.watch(limit, vm.flapped)
		if vm.idle >= idleSlices {
			vm.idle = 0
			vm.trim()
			vm.dozing.Store(true)
			if !rang && vm.busy.Load() == 0 { // else resume may not have seen dozing
				vm.await()
				rang = true
			}
			vm.dozing.Store(false)
		}
		if rang {
			longcall.Rang(vm.resumed)
		}
		if vm.busy.Load() > 0 {
			vm.tick()
		}
	}
}

// await sleeps until wakeMonitor.
func (vm *VM) await() {
	fds := [1]unix.PollFd{{Fd: int32(vm.resumed), Events: unix.POLLIN}}
	_, _ = longcall.Poll(fds[:]) // EINTR: the monitor looks again
}

// resume tells the monitor that a vCPU is busy again.
func (vm *VM) resume() {
	if vm.dozing.Load() {
		vm.wakeMonitor()
	}
}

// wakeMonitor ends the monitor's sleep.
func (vm *VM) wakeMonitor() { longcall.Ring(vm.resumed) }

// rest is a look at the end of a slice that finds nothing for tick to do, and says for how long the monitor need not look
// again. It is called by watch.
//
// The next slice is a long one if there is one vCPU, the last few looks found nothing either, and nobody waits at this
// moment. A thread that then has to wait for one that does not stop waits for a long slice and two of the others at most.
// Nobody whom the host wakes waits for the monitor: a Handler kicks.
//
// It is 0, too, if the monitor has to watch in another way from now on: see flapping.
//
//go:nosplit
func (vm *VM) rest() (next time.Duration) {
	next, dozes := vm.look(), vm.dozes.Load()
	if dozes == vm.dozed && next != 0 {
		vm.flaps = max(vm.flaps-1, 0)
	} else if vm.flaps++; vm.flaps >= flapSlices {
		vm.flaps = idleSlices
	}
	vm.dozed = dozes
	if vm.flapping() != vm.flapped {
		return 0
	}
	return next
}

// look is rest but for how the monitor watches.
//
//go:nosplit
func (vm *VM) look() (next time.Duration) {
	if vm.busy.Load() == 0 {
		if vm.idle++; vm.idle == idleSlices {
			return 0
		}
		return slice
	}
	vm.idle = 0
	calm := vm.calm + 1
	vm.calm = 0
	waiting := vm.anyReady()
	if waiting && atomic.LoadUint64(&vm.page.Idle) != 0 || vm.idler != nil && vm.idler.Restless() {
		return 0
	}
	for _, c := range vm.cpus {
		if waiting && c.hogged() {
			return 0
		}
	}
	for _, c := range vm.cpus {
		c.lastSwitches = atomic.LoadUint64(&c.page.Stats.Switches)
	}
	if vm.calm = calm; calm > calmSlices && !waiting && len(vm.cpus) == 1 {
		return longSlice
	}
	return slice
}

// flapping says that vCPUs or the monitor fall asleep and wake up all the time: then watch keeps its P.
//
//go:nosplit
func (vm *VM) flapping() bool {
	return vm.flaps >= flapSlices || vm.flapped && vm.flaps > 0
}

// tick does what is due at the end of a slice. What it reads of guest memory decides only whether somebody is woken or
// kicked.
func (vm *VM) tick() {
	if vm.clock != nil {
		vm.clock.update(time.Now())
	}
	if vm.idler != nil && vm.idler.Restless() {
		vm.idler.Tick()
	}
	waiting := vm.anyReady()
	if waiting {
		// One idle vCPU after the other gets a look: which threads may run where is ring 0's to know.
		vm.lookAt = vm.lookAt%len(vm.cpus) + 1
		if v := guest.PickIdle(vm.page, 1<<(vm.lookAt-1)); v >= 0 {
			vm.WakeIdle(v)
		}
	}
	for _, c := range vm.cpus {
		if waiting && c.hogged() {
			c.requestExit()
		}
		c.lastSwitches = atomic.LoadUint64(&c.page.Stats.Switches)
	}
}

// hogged says that the vCPU is in the guest and has not gone over to another thread since the monitor's last look.
//
//go:nosplit
func (c *vcpu) hogged() bool {
	return c.entered.Load() && atomic.LoadUint64(&c.page.Stats.Switches) == c.lastSwitches
}

// anyReady reports whether a ready bit is set.
//
//go:nosplit
func (vm *VM) anyReady() bool {
	for i := range vm.page.Ready {
		if atomic.LoadUint64(&vm.page.Ready[i]) != 0 {
			return true
		}
	}
	return false
}

// Shootdown returns when no vCPU can use a translation of the space that was taken away before the call. self is the
// vCPU whose hypercall this is, or -1.
//
//	caller   change PTEs; read Active; FlushReq++ of each vCPU in it
//	         for each but self: done if FlushAck == FlushReq, or the vCPU is in a hypercall; else kick, look again
//	vCPU     before a return to ring 3, and after each hypercall: req = FlushReq; if req != FlushAck:
//	         load CR3; FlushAck = req
//
// A vCPU in a hypercall has left ring 3 and flushes before it goes back or touches user memory: inCall is cleared
// before KVM_RUN, FlushReq is read after it. One that was merely interrupted (EINTR) goes straight on in ring 3, so
// it counts only when it has answered.
func (vm *VM) Shootdown(space *guest.Space, self int) {
	active := atomic.LoadUint64(spaceVCPUs(space))
	for v, c := range vm.cpus {
		if active>>v&1 != 0 {
			atomic.AddUint64(&c.page.FlushReq, 1)
		}
	}
	for v, c := range vm.cpus {
		if v == self || active>>v&1 == 0 {
			continue
		}
		vm.awaitFlush(c)
	}
}

// flushLimit is how long a vCPU may take to answer a shootdown. Ring 0 always answers; a guest kernel that does not is
// broken, and its VM ends.
const flushLimit = 10 * time.Second

func (vm *VM) awaitFlush(c *vcpu) {
	want := atomic.LoadUint64(&c.page.FlushReq)
	start := time.Now()
	kicked := time.Time{}
	for {
		if atomic.LoadUint64(&c.page.FlushAck) >= want || c.inCall.Load() || vm.stopping.Load() {
			return
		}
		now := time.Now()
		if now.Sub(start) > flushLimit {
			vm.Stop()
			return
		}
		if now.Sub(kicked) > time.Millisecond {
			c.requestExit()
			kicked = now
		}
		runtime.Gosched()
	}
}
