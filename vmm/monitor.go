package vmm

import (
	"runtime"
	"sync/atomic"
	"time"

	"culvert/guest"

	"golang.org/x/sys/unix"
)

// slice is the length of a time slice: a thread that ran a whole one while another is ready is preempted.
const slice = 4 * time.Millisecond

// idleSlices is for how many slices in a row all vCPUs have to idle before the monitor stops looking: a VM that waits for
// the host again and again is not to wake it each time.
const idleSlices = 16

// monitor gives time slices and is the backstop of late kicks: a ready thread never waits longer than a slice for an
// idle vCPU. It sleeps while every vCPU does, and returns when the VM stops.
//
// It counts the slices with poll(2) and no timer of Go's, whose expiry has the scheduler start one thread more to look for
// work.
func (vm *VM) monitor() {
	idle := 0
	for !vm.stopping.Load() {
		wait := int(slice / time.Millisecond)
		if vm.busy.Load() > 0 {
			idle = 0
		} else if idle++; idle >= idleSlices {
			vm.trim()
			vm.dozing.Store(true)
			if vm.busy.Load() == 0 { // else resume may not have seen dozing
				wait = -1
			}
		}
		vm.await(wait)
		vm.dozing.Store(false)
		if vm.busy.Load() > 0 {
			vm.tick()
		}
	}
}

// await sleeps for as many milliseconds, or until wakeMonitor.
func (vm *VM) await(ms int) {
	fds := [1]unix.PollFd{{Fd: int32(vm.resumed), Events: unix.POLLIN}}
	if n, _ := unix.Poll(fds[:], ms); n > 0 {
		var count [8]byte
		unix.Read(vm.resumed, count[:]) //nolint:errcheck // it was written to, so there is a count
	}
}

// resume tells the monitor that a vCPU is busy again.
func (vm *VM) resume() {
	if vm.dozing.Load() {
		vm.wakeMonitor()
	}
}

// wakeMonitor ends the monitor's sleep.
func (vm *VM) wakeMonitor() {
	// The write fails only when the counter is full: then the monitor wakes anyway.
	_, _ = unix.Write(vm.resumed, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// tick looks once. What it reads of guest memory decides only whether somebody is woken or kicked.
func (vm *VM) tick() {
	if vm.clock != nil {
		vm.clock.update(time.Now())
	}
	if vm.idler != nil {
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
		switches := atomic.LoadUint64(&c.page.Stats.Switches)
		same := switches == c.lastSwitches
		c.lastSwitches = switches
		if waiting && same && c.entered.Load() {
			c.requestExit()
		}
	}
}

// anyReady reports whether a ready bit is set.
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
