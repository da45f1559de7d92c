//go:build !race

package vmm

import (
	"sync/atomic"
	"testing"
	"time"

	"culvert/guest"
	"culvert/shim/longcall"

	"golang.org/x/sys/unix"
)

// restless is an Idler that has something to do or not.
type restless bool

func (restless) Idle(fds []unix.PollFd) []unix.PollFd { return fds }
func (restless) Tick()                                {}

//go:nosplit
func (r restless) Restless() bool { return bool(r) }

// unkicked is a vCPU that hears of no kick.
type unkicked struct{ runner }

func (unkicked) SetImmediateExit(bool) {}

// testVM is a VM of two vCPUs that does not run: one is in the guest and goes over to another thread before each look, the other
// idles.
func testVM(t *testing.T) *VM {
	vm := &VM{page: &guest.VM{}}
	for i := range 2 {
		vm.cpus = append(vm.cpus, &vcpu{vm: vm, id: i, cpu: unkicked{}, page: &guest.PerCPU{}})
	}
	vm.cpus[0].entered.Store(true)
	vm.busy.Store(1)
	var err error
	if vm.resumed, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(vm.resumed) })
	return vm
}

// quiet says that a look finds nothing to do.
func (vm *VM) quiet() bool { return vm.rest() > 0 }

// switched has the busy vCPU go over to another thread.
func (vm *VM) switched() { atomic.AddUint64(&vm.cpus[0].page.Stats.Switches, 1) }

func TestRest(t *testing.T) {
	for name, x := range map[string]struct {
		quiet bool
		make  func(vm *VM)
	}{
		"nobody waits":                      {true, func(*VM) {}},
		"a thread waits, they take turns":   {true, func(vm *VM) { vm.page.Ready[1] = 2; vm.switched() }},
		"a thread waits for a hog":          {false, func(vm *VM) { vm.page.Ready[1] = 2 }},
		"a thread waits, in a hypercall":    {true, func(vm *VM) { vm.page.Ready[1] = 2; vm.cpus[0].entered.Store(false) }},
		"a thread waits, and a vCPU idles":  {false, func(vm *VM) { vm.page.Ready[1] = 2; vm.page.Idle = 2; vm.switched() }},
		"the handler has nothing to do":     {true, func(vm *VM) { vm.idler = restless(false) }},
		"the handler has something to do":   {false, func(vm *VM) { vm.idler = restless(true) }},
		"every vCPU idles":                  {true, func(vm *VM) { vm.busy.Store(0); vm.idler = restless(true) }},
		"every vCPU has idled for a while":  {false, func(vm *VM) { vm.busy.Store(0); vm.idle = idleSlices - 1 }},
		"every vCPU had idled for a while":  {true, func(vm *VM) { vm.idle = idleSlices - 1 }},
		"nobody waits, and one has its way": {true, func(vm *VM) { vm.cpus[0].lastSwitches = 0 }},
	} {
		vm := testVM(t)
		vm.switched()
		if !vm.quiet() {
			t.Fatal("there is something to do for a VM in which nobody waits")
		}
		x.make(vm)
		if got := vm.quiet(); got != x.quiet {
			t.Errorf("%s: quiet is %v", name, got)
		}
	}
}

// A hog is found at the second look after it began, also if somebody waits for it only then.
func TestRestFindsHog(t *testing.T) {
	vm := testVM(t)
	vm.switched()
	vm.quiet()
	vm.switched() // to the hog
	vm.page.Ready[0] = 1
	if !vm.quiet() {
		t.Error("a thread that took turns is a hog")
	}
	vm.page.Ready[0] = 0
	if !vm.quiet() {
		t.Error("something is to be done about a hog that nobody waits for")
	}
	vm.page.Ready[0] = 1
	if vm.quiet() {
		t.Error("the hog is not found")
	}
	vm.tick()
	if vm.cpus[0].kick.Load() != 1 {
		t.Error("the hog is not kicked")
	}
}

// A slice is long only in a VM of one vCPU whose threads take turns, or have nobody that waits, for some time.
func TestRestLong(t *testing.T) {
	vm := testVM(t)
	two := vm.cpus
	vm.cpus = two[:1]
	calm := func() {
		t.Helper()
		for i := range calmSlices {
			vm.switched()
			if next := vm.rest(); next != slice {
				t.Fatalf("after look %d the slice is %v", i+1, next)
			}
		}
	}
	look := func(want time.Duration, when string) {
		t.Helper()
		vm.switched()
		if next := vm.rest(); next != want {
			t.Errorf("%s: the slice is %v, not %v", when, next, want)
		}
	}
	calm()
	look(longSlice, "nobody waits")
	vm.page.Ready[0] = 1
	look(slice, "somebody waits for one that just began")
	vm.page.Ready[0] = 0
	look(longSlice, "the one that waited runs")
	vm.cpus = two
	look(slice, "another vCPU may idle soon")
	vm.cpus = two[:1]
	look(longSlice, "one vCPU")

	vm.page.Ready[0] = 1
	if next := vm.rest(); next != 0 {
		t.Errorf("there is a hog: the slice is %v", next)
	}
	vm.tick()
	vm.page.Ready[0] = 0
	calm()
	look(longSlice, "the hog is gone")

	vm.busy.Store(0)
	look(slice, "all idle")
	vm.busy.Store(1)
	look(longSlice, "as before")
}

// watch takes the time of its slices, and less if there is something to do.
func TestWatch(t *testing.T) {
	vm := testVM(t)
	keep := false
	took := func(limit time.Duration) (bool, time.Duration) {
		start := time.Now()
		woken := vm.watch(limit, keep)
		return woken, time.Since(start)
	}
	const some, many = 5 * slice, 1000 * slice
	if woken, d := took(some); woken || d < some {
		t.Errorf("%v took %v, woken: %v", some, d, woken)
	}
	vm.wakeMonitor()
	if woken, d := took(many); !woken || d > many {
		t.Errorf("nobody woke it: %v", d)
	}
	longcall.Rang(vm.resumed)
	keep = true
	woken, d := took(slice)
	for range 10 {
		if d >= slice {
			break
		}
		woken, d = took(slice) // Go's scheduler may interrupt who keeps its P
	}
	if woken || d < slice {
		t.Errorf("with its P, %v took %v, woken: %v", slice, d, woken)
	}
	vm.page.Ready[0] = 1
	if woken, d := took(many); woken || d > many {
		t.Errorf("it stays although there is a hog: woken %v, %v", woken, d)
	}
}

// A VM flaps when its vCPUs have slept, or something was to be done for it, at some looks in a row, and until that has not been so
// as often as it takes to count as idle.
func TestFlapping(t *testing.T) {
	for name, make := range map[string]func(vm *VM, on bool){
		"a vCPU sleeps": func(vm *VM, on bool) {
			if on {
				vm.dozes.Add(1)
			}
		},
		"the handler has something to do": func(vm *VM, on bool) { vm.idler = restless(on) },
	} {
		vm := testVM(t)
		look := func(on bool) (next time.Duration) {
			vm.switched()
			make(vm, on)
			next = vm.rest()
			vm.flapped = vm.flapping()
			return next
		}
		for i := range 3 * flapSlices {
			look(true)
			if got := vm.flapping(); got != (i+1 >= flapSlices) {
				t.Errorf("%s at %d looks: flapping is %v", name, i+1, got)
			}
		}
		for i := range idleSlices {
			if next := look(false); (next == 0) != (i+1 == idleSlices) {
				t.Errorf("%s, after %d looks without: the slice is %v", name, i+1, next)
			}
		}
		if vm.flapping() {
			t.Errorf("%s: it flaps though it has not done so for long", name)
		}
	}
}
