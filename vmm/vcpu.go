package vmm

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"culvert/guest"
	"culvert/kvm"
	"culvert/shim/abi"
	"culvert/shim/longcall"

	"golang.org/x/sys/unix"
)

// runner is what the exit loop needs of a vCPU.
type runner interface {
	Run() (kvm.Exit, error)
	RunLong() (kvm.Exit, error)
	SetImmediateExit(on bool)
	RequestInterruptWindow(on bool)
	ReadyForInterruptInjection() bool
	IfFlag() bool
	Interrupt(vector uint8) error
}

// vcpu is a vCPU and its host thread.
type vcpu struct {
	vm   *VM
	id   int
	cpu  runner
	page *guest.PerCPU // hostile: only counters and the two flush words are looked at
	call *guest.Call

	tid     atomic.Int64  // of the host thread, 0 before it runs
	kick    atomic.Uint32 // a kick is wanted
	owed    bool          // a kick was taken and its interrupt not injected yet
	stays   bool          // it was idle, and is likely to stay in the guest now
	trusted int           // of so many stays in the guest more it is supposed that they last
	inCall  atomic.Bool   // the vCPU is out of the guest in a hypercall, so ring 0 flushes before it goes on
	entered atomic.Bool   // KVM_RUN may be running
	wake    int           // eventfd on which an idle vCPU sleeps
	fds     []unix.PollFd // what else may wake it

	exits        [numReasons]atomic.Uint64
	kicks        atomic.Uint64 // interrupts injected
	lastSwitches uint64        // the monitor's
}

// Exit reasons that are counted apart, as names in the statistics.
const (
	reasonCall = iota
	reasonIdle
	reasonFault
	reasonNote
	reasonKick
	reasonInterrupted
	reasonWindow
	reasonOther
	numReasons
)

var reasonNames = [numReasons]string{"syscall", "idle", "fault", "note", "kick_idle", "interrupted", "irq_window", "other"}

// run is the exit loop; it returns when the VM stops or cannot go on.
func (c *vcpu) run() error {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	c.tid.Store(int64(unix.Gettid()))
	for {
		done, err := c.step()
		if done || err != nil {
			return err
		}
	}
}

// step enters the guest once and handles the exit.
func (c *vcpu) step() (done bool, err error) {
	c.cpu.SetImmediateExit(false)
	if c.kick.Swap(0) != 0 {
		c.owed = true
	}
	if c.vm.stopping.Load() {
		return true, nil
	}
	if err := c.inject(); err != nil {
		return false, err
	}
	c.inCall.Store(false)
	c.entered.Store(true)
	exit, err := c.enter()
	c.entered.Store(false)
	if err != nil {
		return false, err
	}
	return c.handle(exit)
}

// A stay in the guest of longStay or more lets trustedStays after it count as such from the start: between two of them a
// program often makes a few calls. Go's scheduler interrupts one that was not foreseen after 10 ms.
const (
	longStay     = 8 * time.Millisecond
	trustedStays = 4
)

// enter is KVM_RUN. Go's scheduler is told of a long stay that is foreseen. Of another it is not: the end of each would wake its
// monitor thread, which on a host of one processor takes the vCPU's.
func (c *vcpu) enter() (kvm.Exit, error) {
	run := c.cpu.Run
	if c.foresee() {
		run = c.cpu.RunLong
	}
	start := time.Now()
	exit, err := run()
	c.stayed(time.Since(start))
	return exit, err
}

// foresee says whether the next stay in the guest is likely to be long.
func (c *vcpu) foresee() bool {
	if c.trusted > 0 {
		c.trusted--
		return true
	}
	return c.stays
}

// stayed is told how long a stay was.
func (c *vcpu) stayed(d time.Duration) {
	if d >= longStay {
		c.trusted = trustedStays
	}
}

// inject delivers an owed kick if ring 3 can take it, or asks for an exit as soon as it can.
func (c *vcpu) inject() error {
	ready := c.owed && c.cpu.ReadyForInterruptInjection() && c.cpu.IfFlag()
	c.cpu.RequestInterruptWindow(c.owed && !ready)
	if !ready {
		return nil
	}
	c.owed = false
	c.kicks.Add(1)
	return c.cpu.Interrupt(abi.VecKick)
}

// handle acts on one exit.
func (c *vcpu) handle(exit kvm.Exit) (done bool, err error) {
	c.stays = false
	switch exit.Reason {
	case kvm.ExitIO:
		c.inCall.Store(true)
		if !exit.Write {
			return false, c.dead("port input", exit)
		}
		if exit.Port == abi.PortCall {
			return c.hypercall()
		}
		if v := int(exit.Port) - abi.PortKick; v >= 0 && v < len(c.vm.cpus) {
			c.exits[reasonKick].Add(1)
			c.vm.WakeIdle(v)
			return false, nil
		}
		return false, c.dead("unknown port", exit)
	case kvm.ExitInterrupted, kvm.ExitIntr, kvm.ExitAgain:
		c.exits[reasonInterrupted].Add(1)
		return false, nil
	case kvm.ExitIRQWindow:
		c.exits[reasonWindow].Add(1)
		return false, nil
	}
	c.exits[reasonOther].Add(1)
	return false, c.dead("unexpected exit", exit)
}

// hypercall serves one doorbell.
func (c *vcpu) hypercall() (done bool, err error) {
	switch kind := atomic.LoadUint64(&c.call.Kind); kind {
	case abi.KindIdle:
		c.exits[reasonIdle].Add(1)
		c.idle()
		c.stays = true
		return c.vm.stopping.Load(), nil
	case abi.KindDie:
		return false, c.died()
	case abi.KindNote:
		c.exits[reasonNote].Add(1)
		if atomic.LoadUint64(&c.call.NR) == abi.NoteStarted {
			return false, c.vm.started(c.call)
		}
	case abi.KindFault:
		c.exits[reasonFault].Add(1)
	default:
		c.exits[reasonCall].Add(1)
	}
	c.vm.handler.Call(c.id, c.call)
	return c.vm.stopping.Load(), nil
}

// Idler is a Handler that has work of its own for the thread of a vCPU that has nothing to run. Without one the thread
// sleeps.
type Idler interface {
	// Idle does what can be done without waiting, before the thread sleeps, and again whenever it has woken. fds is empty at
	// first, then what Idle answered last, with the events that came. It answers what is to wake the thread.
	Idle(fds []unix.PollFd) []unix.PollFd
	// Restless says that Tick has something to do. It is called in the midst of a system call, as Go's scheduler sees it
	// (watch): it and all that it calls must be nosplit, and take no lock, allocate nothing and store no pointer.
	Restless() bool
	// Tick is called once in a time slice while a vCPU is busy, if Restless says so.
	Tick()
}

// idle waits until somebody takes this vCPU's bit out of Idle, or the VM stops.
func (c *vcpu) idle() {
	vm := c.vm
	c.fds = c.fds[:0]
	for c.isIdle() {
		if vm.idler != nil {
			c.fds = vm.idler.Idle(c.fds)
		}
		if c.isIdle() && c.doze() != nil {
			return // only a closed descriptor: the VM is ending
		}
	}
}

// isIdle says that the vCPU is to stay out of the guest.
func (c *vcpu) isIdle() bool {
	return atomic.LoadUint64(&c.vm.page.Idle)&(1<<c.id) != 0 && !c.vm.stopping.Load()
}

// doze sleeps until the vCPU is to look whether it is idle still, unless it can see at once that it is not. Sleep is set
// only here: what Idle wakes needs no eventfd.
func (c *vcpu) doze() error {
	vm, bit := c.vm, uint64(1)<<c.id
	atomic.OrUint64(&vm.page.Sleep, bit)
	vm.busy.Add(-1)
	var err error
	if c.isIdle() {
		vm.dozes.Add(1)
		err = c.sleep()
	}
	if vm.busy.Add(1) == 1 {
		vm.resume()
	}
	atomic.AndUint64(&vm.page.Sleep, ^bit)
	return err
}

// sleep returns when the vCPU's eventfd was written to, or one of fds has what it waits for.
func (c *vcpu) sleep() error {
	if len(c.fds) == 0 {
		return ignoreEINTR(longcall.ReadCount(c.wake))
	}
	n := len(c.fds)
	c.fds = append(c.fds, unix.PollFd{Fd: int32(c.wake), Events: unix.POLLIN})
	_, err := longcall.Poll(c.fds)
	if err == nil && c.fds[n].Revents != 0 {
		longcall.Rang(c.wake)
	}
	c.fds = c.fds[:n]
	return ignoreEINTR(err)
}

// ignoreEINTR makes nothing of a signal that ended a sleep.
func ignoreEINTR(err error) error {
	if err == unix.EINTR {
		return nil
	}
	return err
}

// requestExit is the kicker's half of the kick protocol.
func (c *vcpu) requestExit() {
	c.kick.Store(1)
	c.cpu.SetImmediateExit(true)
	if tid := c.tid.Load(); tid != 0 && c.entered.Load() {
		// A thread that has ended meanwhile answers ESRCH: nothing to kick.
		_ = unix.Tgkill(c.vm.pid, int(tid), unix.SIGURG)
	}
}

// DeathError says that the VM itself failed, not its program.
type DeathError struct {
	VCPU int
	What string
}

func (e *DeathError) Error() string { return fmt.Sprintf("vCPU %d: %s", e.VCPU, e.What) }

// ErrUnusable marks a /dev/kvm that cannot run the guest kernel: its ring 0 is emulated in part only, as with PVM.
var ErrUnusable = errors.New("this /dev/kvm cannot run the guest kernel")

// Unusable reports whether err, of New, means that this machine's KVM cannot run VMs for this user: there is none, it
// may not be opened, or it cannot run the guest kernel.
func Unusable(err error) bool {
	return errors.Is(err, kvm.ErrNoDevice) || errors.Is(err, kvm.ErrPermission) || errors.Is(err, ErrUnusable)
}

func (c *vcpu) dead(what string, exit kvm.Exit) error {
	err := &DeathError{VCPU: c.id, What: fmt.Sprintf("%s: %v", what, exit)}
	if exit.Reason == kvm.ExitInternalError && !c.vm.running.Load() {
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	return err
}

// died reports what ring 0 said of its own end. The runtime's functions are not mapped, so a panic or a stack check
// shows as a fetch outside the text, at the distance that the function has in this process.
func (c *vcpu) died() error {
	call := *c.call
	addr, inText := c.vm.boot.TextSpan.Host(call.RIP)
	name := "unknown code"
	if f := runtime.FuncForPC(addr); f != nil {
		name = f.Name()
	}
	if !inText {
		name += ", outside the guest kernel"
	}
	return &DeathError{VCPU: c.id, What: fmt.Sprintf("the guest kernel failed: vector %d, error %#x, address %#x, RIP %#x (%s)",
		call.Vector, call.Err, call.CR2, call.RIP, name)}
}
