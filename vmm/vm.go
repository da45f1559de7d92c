package vmm

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"culvert/boot"
	"culvert/guest"
	"culvert/kvm"
	"culvert/shim/abi"
	"culvert/shim/longcall"

	"golang.org/x/sys/unix"
)

// Handler serves the hypercalls that are not the VMM's own. Call is made on the vCPU's host thread; it reads the
// request from the page, once, and writes the reply into it.
type Handler interface {
	Call(vcpu int, call *guest.Call)
}

// Config describes a VM.
type Config struct {
	Mem  int // bytes of guest memory, rounded up to 2 MiB
	CPUs int
	// ForwardAll makes ring 0 forward every system call, also those that it can serve by itself.
	ForwardAll bool
	// Links are pipes that this VM shares with others; Run's handler is an Idler then, and watches their bells. The VM closes
	// them.
	Links []*Link
}

// Phases are the times from New's start to the steps of starting up.
type Phases struct {
	Open, Create, Load, FirstInstruction time.Duration
}

// VM is a virtual machine. New makes it, Run runs it once, Close frees it.
type VM struct {
	sys  *kvm.System
	kvm  *kvm.VM
	raw  []*kvm.VCPU
	cpus []*vcpu

	ram, text []byte
	boot      *boot.Machine
	features  boot.Features
	xsaveSize int
	page      *guest.VM
	handler   Handler
	tscKHz    uint64
	hwcap     uint64
	clock     *clock // nil: ring 0 does not tell the time
	links     []*Link
	idler     Idler // the handler, if it is one
	pid       int

	stopping atomic.Bool
	running  atomic.Bool // the self-test passed
	busy     atomic.Int64
	resumed  int           // eventfd that wakes the monitor
	dozing   atomic.Bool   // the monitor waits for it
	idle     int           // the monitor's: for how many looks in a row no vCPU was busy
	calm     int           // the monitor's: how many looks in a row found nothing to do for a busy VM
	watcher  watcher       // the monitor's
	dozes    atomic.Uint64 // how often vCPUs have slept
	dozed    uint64        // the monitor's: dozes at its last look
	flaps    int           // the monitor's: how many looks make the VM flap, or how many without are left until it does not; see rest
	flapped  bool          // the monitor's: flapping as its watch began
	lookAt   int           // the monitor's: whose turn it is to be woken, from 1
	trimmed  time.Time     // the monitor's: when trim last did something
	start    time.Time
	mu       sync.Mutex // guards phases
	phases   Phases
}

// New opens KVM, builds the machine and tries it. Errors are *kvm.Error, or ErrUnusable, or say what the processor, the
// memory or this build lacks.
func New(cfg Config) (*VM, error) {
	vm := &VM{start: time.Now(), pid: os.Getpid(), resumed: -1, links: cfg.Links}
	if err := vm.create(cfg); err != nil {
		vm.Close()
		return nil, err
	}
	return vm, nil
}

func (vm *VM) create(cfg Config) error {
	if err := checkBuild(); err != nil {
		return err
	}
	var err error
	if vm.resumed, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd for the monitor: %w", err)
	}
	if vm.sys, err = kvm.Open(); err != nil {
		return err
	}
	vm.phases.Open = time.Since(vm.start)
	if vm.kvm, err = vm.sys.CreateVM(); err != nil {
		return err
	}
	supported, err := vm.sys.SupportedCPUID()
	if err != nil {
		return err
	}
	entries, feat, err := features(supported)
	if err != nil {
		return err
	}
	vm.features = feat
	for _, e := range entries {
		if e.Function == leafFeatures {
			vm.hwcap = uint64(e.Edx)
		}
	}
	_, ends := xsaveState(supported)
	vm.xsaveSize = xsaveSize(feat.XCR0, ends)
	mem := (cfg.Mem + abi.HugeSize - 1) &^ (abi.HugeSize - 1)
	if vm.ram, err = newRAM(mem); err != nil {
		return err
	}
	text, err := guest.Text()
	if err != nil {
		return err
	}
	vm.boot, err = boot.Build(boot.Config{RAM: vm.ram, VCPUs: cfg.CPUs, Text: text, Code: guest.Addresses(),
		ForwardAll: cfg.ForwardAll, Features: feat, XSaveSize: vm.xsaveSize, Links: len(cfg.Links)})
	if err != nil {
		return err
	}
	if vm.text, err = newText(vm.boot.Text); err != nil {
		return err
	}
	vm.page = view[guest.VM](vm.ram, vm.boot.Layout.VMPage)
	if err := vm.kvm.SetUserMemoryRegion(0, 0, 0, vm.ram); err != nil {
		return err
	}
	if err := vm.kvm.SetUserMemoryRegion(1, kvm.MemReadOnly, uint64(abi.TextGPA), vm.text); err != nil {
		return err
	}
	for i, l := range cfg.Links {
		l.GPA = abi.LinkGPA + abi.GPA(i)*abi.LinkStride
		if err := vm.kvm.SetUserMemoryRegion(uint32(firstLinkSlot+i), 0, uint64(l.GPA), l.Mem); err != nil {
			return err
		}
	}
	for i := range cfg.CPUs {
		if err := vm.addVCPU(i, entries); err != nil {
			return err
		}
	}
	vm.phases.Create = time.Since(vm.start)
	if err := vm.selfTest(); err != nil {
		return err
	}
	if vm.tscKHz, err = vm.raw[0].GetTSCKHz(); err != nil {
		vm.tscKHz = 0 // an old processor under an old KVM: CPU time stays uncounted
	}
	return vm.startClock()
}

// addVCPU makes vCPU i in its first state.
func (vm *VM) addVCPU(i int, entries []kvm.CPUIDEntry) error {
	raw, err := vm.kvm.CreateVCPU(i)
	if err != nil {
		return err
	}
	vm.raw = append(vm.raw, raw)
	if err := loadState(raw, &vm.boot.VCPUs[i], cpuidFor(entries, i)); err != nil {
		return err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("eventfd for vCPU %d: %w", i, err)
	}
	l := &vm.boot.Layout
	vm.cpus = append(vm.cpus, &vcpu{vm: vm, id: i, cpu: raw, wake: wake,
		page: view[guest.PerCPU](vm.ram, l.PerCPU[i]), call: view[guest.Call](vm.ram, l.Calls[i])})
	return nil
}

// RAM is guest memory, indexed by guest-physical address.
func (vm *VM) RAM() []byte { return vm.ram }

// Layout says where the shared structures lie in RAM.
func (vm *VM) Layout() boot.Layout { return vm.boot.Layout }

// XSave returns the state components that the guest may use (0: FXSAVE) and the size of a thread's FPU area.
func (vm *VM) XSave() (xcr0 uint64, size int) { return vm.features.XCR0, vm.xsaveSize }

// HWCap returns the processor's features as the auxiliary vector says them (AT_HWCAP: CPUID leaf 1, EDX).
func (vm *VM) HWCap() uint64 { return vm.hwcap }

// TSCKHz returns the rate of the guest's TSC, 0 if KVM does not say.
func (vm *VM) TSCKHz() uint64 { return vm.tscKHz }

// Run runs the machine until Stop, or until it fails. It may be called once.
func (vm *VM) Run(h Handler) error {
	vm.handler = h
	vm.idler, _ = h.(Idler)
	vm.mu.Lock()
	vm.phases.Load = time.Since(vm.start)
	vm.mu.Unlock()
	errs := make(chan error, len(vm.cpus))
	vm.busy.Store(int64(len(vm.cpus)))
	for _, c := range vm.cpus {
		go func() { errs <- c.run() }()
	}
	var monitor sync.WaitGroup
	monitor.Go(vm.monitor)
	var err error
	for range vm.cpus {
		if e := <-errs; e != nil && err == nil {
			err = e
			vm.Stop()
		}
	}
	vm.stopping.Store(true)
	vm.wakeMonitor()
	monitor.Wait()
	return err
}

// Stop makes Run return soon. It may be called at any time, more than once, and from a Handler.
func (vm *VM) Stop() {
	vm.stopping.Store(true)
	for i, c := range vm.cpus {
		c.requestExit()
		vm.WakeIdle(i)
	}
}

// Kick makes the vCPU visit ring 0's interrupt gate soon.
func (vm *VM) Kick(v int) {
	if v >= 0 && v < len(vm.cpus) {
		vm.cpus[v].requestExit()
	}
}

// WakeIdle lets the vCPU's host thread, asleep for an idle guest, look again.
func (vm *VM) WakeIdle(v int) {
	if v < 0 || v >= len(vm.cpus) {
		return
	}
	longcall.Ring(vm.cpus[v].wake)
}

// started is the note that the self-test in the guest passed.
func (vm *VM) started(call *guest.Call) error {
	if failed := atomic.LoadUint64(&call.Args[0]); failed != 0 {
		return fmt.Errorf("the guest kernel's self-test failed at check %d: this build of culvert cannot run VMs", failed)
	}
	vm.running.Store(true)
	vm.mu.Lock()
	vm.phases.FirstInstruction = time.Since(vm.start)
	vm.mu.Unlock()
	return nil
}

// Close frees everything. Preconditions: Run has returned or was never called.
func (vm *VM) Close() error {
	var errs []error
	if vm.resumed >= 0 {
		errs = append(errs, unix.Close(vm.resumed))
	}
	for _, c := range vm.cpus {
		errs = append(errs, unix.Close(c.wake))
	}
	for _, c := range vm.raw {
		errs = append(errs, c.Close())
	}
	if vm.kvm != nil {
		errs = append(errs, vm.kvm.Close())
	}
	if vm.sys != nil {
		errs = append(errs, vm.sys.Close())
	}
	if vm.ram != nil {
		errs = append(errs, freeRAM(vm.ram))
	}
	if vm.text != nil {
		errs = append(errs, unix.Munmap(vm.text))
	}
	for _, l := range vm.links {
		errs = append(errs, l.Close())
	}
	*vm = VM{resumed: -1}
	return errors.Join(errs...)
}
