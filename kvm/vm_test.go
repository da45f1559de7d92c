package kvm

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests below run a few bytes of machine code on real KVM.

const (
	testMem  = 64 << 10
	testCode = 0x1000 // where the code lies and starts
)

// machine is a VM with one vCPU and testMem bytes at guest-physical 0.
type machine struct {
	vm  *VM
	cpu *VCPU
	mem []byte
}

func mapMemory(t testing.TB, size int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	check(t, err)
	t.Cleanup(func() { check(t, unix.Munmap(mem)) })
	return mem
}

// newMachine is in real mode, with interrupts as rflags says and SP at the top.
func newMachine(t testing.TB, rflags uint64, code ...byte) *machine {
	t.Helper()
	s := openKVM(t)
	m := &machine{mem: mapMemory(t, testMem)}
	var err error
	m.vm, err = s.CreateVM()
	check(t, err)
	t.Cleanup(func() { check(t, m.vm.Close()) })
	check(t, m.vm.SetTSSAddr(0xfffb_d000))
	check(t, m.vm.SetIdentityMapAddr(0xfffb_c000))
	check(t, m.vm.SetUserMemoryRegion(0, 0, 0, m.mem))
	m.cpu, err = m.vm.CreateVCPU(0)
	check(t, err)
	t.Cleanup(func() { check(t, m.cpu.Close()) })
	copy(m.mem[testCode:], code)
	sregs, err := m.cpu.GetSregs()
	check(t, err)
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	check(t, m.cpu.SetSregs(&sregs))
	check(t, m.cpu.SetRegs(&Regs{RIP: testCode, RSP: 0x8000, RFLAGS: 2 | rflags}))
	return m
}

// run runs until an exit that is not a stray signal of the Go runtime's.
func (m *machine) run(t testing.TB) Exit {
	t.Helper()
	for range 1000 {
		e, err := m.cpu.Run()
		check(t, err)
		if e.Reason != ExitInterrupted {
			return e
		}
	}
	t.Fatal("interrupted 1000 times in a row")
	return Exit{}
}

func (m *machine) want(t testing.TB, want Exit) {
	t.Helper()
	if got := m.run(t); got != want {
		data := m.cpu.InternalErrorData()
		regs, err := m.cpu.GetRegs()
		t.Fatalf("got %v, want %v (data %x, rip %#x, %v)", got, want, data, regs.RIP, err)
	}
}

func TestOutAndHalt(t *testing.T) {
	m := newMachine(t, 0,
		0xba, 0x00, 0x05, // mov $0x500, %dx
		0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, // mov $0x12345678, %eax
		0x66, 0xef, // out %eax, %dx
		0xee, // out %al, %dx
		0xf4, // hlt
	)
	m.want(t, Exit{Reason: ExitIO, Port: 0x500, Size: 4, Count: 1, Write: true, Value: 0x12345678})
	m.want(t, Exit{Reason: ExitIO, Port: 0x500, Size: 1, Count: 1, Write: true, Value: 0x78})
	m.want(t, Exit{Reason: ExitHLT})
	regs, err := m.cpu.GetRegs()
	check(t, err)
	if regs.RAX != 0x12345678 || regs.RIP != testCode+13 {
		t.Errorf("rax %#x, rip %#x", regs.RAX, regs.RIP)
	}
}

// TestLongMode starts in 64-bit mode with no other code having run, as culvert does.
func TestLongMode(t *testing.T) {
	m := newMachine(t, 0,
		0x48, 0xb9, 1, 2, 3, 4, 5, 6, 7, 8, // mov $0x0807060504030201, %rcx
		0x48, 0x89, 0xc8, // mov %rcx, %rax
		0x48, 0xc1, 0xe8, 0x20, // shr $32, %rax
		0x66, 0xba, 0x01, 0x05, // mov $0x501, %dx
		0xef,                                  // out %eax, %dx
		0x48, 0x8b, 0x04, 0x25, 0, 0, 0x20, 0, // mov 0x200000, %rax: not mapped, no IDT
	)
	le := binary.LittleEndian
	const pml4, pdpt, pd = 0x2000, 0x3000, 0x4000
	le.PutUint64(m.mem[pml4:], pdpt|3)
	le.PutUint64(m.mem[pdpt:], pd|3)
	le.PutUint64(m.mem[pd:], 0x83) // the first 2 MiB
	s, err := m.cpu.GetSregs()
	check(t, err)
	flat := Segment{Limit: 0xffffffff, Selector: 0x10, Typ: 3, Present: 1, S: 1, DB: 1, G: 1}
	s.CS = Segment{Limit: 0xffffffff, Selector: 8, Typ: 0xb, Present: 1, S: 1, L: 1, G: 1}
	s.SS, s.DS, s.ES, s.FS, s.GS = flat, flat, flat, flat, flat
	s.CR0, s.CR3, s.CR4, s.EFER = 0x80050033, pml4, 0x620, 0x500
	s.IDT = DTable{}
	check(t, m.cpu.SetSregs(&s))
	m.want(t, Exit{Reason: ExitIO, Port: 0x501, Size: 4, Count: 1, Write: true, Value: 0x08070605})
	m.want(t, Exit{Reason: ExitShutdown})
}

func TestMMIOAndReadOnly(t *testing.T) {
	m := newMachine(t, 0,
		0xc6, 0x06, 0x10, 0x20, 0x5a, // movb $0x5a, 0x2010: in the read-only slot
		0xa0, 0x11, 0x20, // mov 0x2011, %al: reads are served
		0xe6, 0x40, // out %al, $0x40
		0xf4,
	)
	rom := mapMemory(t, 4096)
	rom[0x11] = 0x77
	check(t, m.vm.SetUserMemoryRegion(0, 0, 0, nil))
	check(t, m.vm.SetUserMemoryRegion(0, 0, 0, m.mem[:0x2000]))
	check(t, m.vm.SetUserMemoryRegion(1, MemReadOnly, 0x2000, rom))
	m.want(t, Exit{Reason: ExitMMIO, Addr: 0x2010, Size: 1, Write: true, Value: 0x5a})
	m.want(t, Exit{Reason: ExitIO, Port: 0x40, Size: 1, Count: 1, Write: true, Value: 0x77})
	m.want(t, Exit{Reason: ExitHLT})
	if rom[0x10] != 0 {
		t.Error("a guest wrote to a read-only slot")
	}
	for _, c := range []struct{ gpa, size uint64 }{{0x800, 4096}, {0x2000, 4096}, {0x3000, 100}} {
		err := m.vm.SetUserMemoryAt(2, 0, c.gpa, addressOf(rom), c.size)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EEXIST) {
			t.Errorf("slot at %#x of %#x bytes: %v", c.gpa, c.size, err)
		}
	}
}

// TestInterrupt delivers a vector only once the guest has interrupts on.
func TestInterrupt(t *testing.T) {
	m := newMachine(t, 0,
		0xe6, 0x40, // out %al, $0x40
		0xfb,       // sti
		0x90,       // nop
		0xeb, 0xfe, // jmp .
	)
	const vector, handler = 0x21, 0x1100
	binary.LittleEndian.PutUint16(m.mem[vector*4:], handler)
	copy(m.mem[handler:], []byte{0xb0, 0x99, 0xe6, 0x41, 0xcf}) // mov $0x99, %al; out %al, $0x41; iret

	m.want(t, Exit{Reason: ExitIO, Port: 0x40, Size: 1, Count: 1, Write: true, Value: 0})
	if m.cpu.IfFlag() {
		t.Error("if_flag is set before sti")
	}
	m.cpu.RequestInterruptWindow(true)
	m.want(t, Exit{Reason: ExitIRQWindow})
	if !m.cpu.IfFlag() || !m.cpu.ReadyForInterruptInjection() {
		t.Fatal("the window is open, but the flags say no")
	}
	m.cpu.RequestInterruptWindow(false)
	check(t, m.cpu.Interrupt(vector))
	m.want(t, Exit{Reason: ExitIO, Port: 0x41, Size: 1, Count: 1, Write: true, Value: 0x99})
}

// TestKick stops a guest that never exits by itself, many times, each time with the
// kick at another moment: before KVM_RUN, during it, after the guest has started.
func TestKick(t *testing.T) {
	m := newMachine(t, 0, 0xeb, 0xfe) // jmp .
	const rounds = 200
	var tid, request, done atomic.Int32
	kicker := make(chan struct{})
	go func() {
		defer close(kicker)
		for tid.Load() == 0 {
			runtime.Gosched()
		}
		for i := range int32(rounds) {
			for done.Load() < i {
				time.Sleep(10 * time.Microsecond)
			}
			time.Sleep(time.Duration(i%20) * 50 * time.Microsecond)
			request.Store(1)
			m.cpu.SetImmediateExit(true)
			if err := unix.Tgkill(unix.Getpid(), int(tid.Load()), unix.SIGURG); err != nil {
				t.Error(err)
			}
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid.Store(int32(unix.Gettid()))
	start := time.Now()
	for done.Load() < rounds {
		m.cpu.SetImmediateExit(false)
		if request.Swap(0) == 1 {
			done.Add(1)
			continue
		}
		if e, err := m.cpu.Run(); err != nil || e.Reason != ExitInterrupted {
			t.Fatalf("got %v, %v", e, err)
		}
	}
	<-kicker
	// A lost kick would only end with one of Go's own signals, if ever.
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("%d kicks took %v", rounds, d)
	}
}

// TestRunLong returns what Run does, and other goroutines run meanwhile, with one processor of Go's.
func TestRunLong(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	m := newMachine(t, 0, 0xeb, 0xfe) // JMP itself
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	var kicked atomic.Bool
	go func() {
		kicked.Store(true)
		m.cpu.SetImmediateExit(true)
		_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG)
	}()
	for !kicked.Load() {
		if e, err := m.cpu.RunLong(); err != nil || e.Reason != ExitInterrupted {
			t.Fatalf("got %v, %v", e, err)
		}
	}
	m.cpu.SetImmediateExit(false) // the goroutine may set it again: then HLT is not reached
	check(t, m.cpu.SetRegs(&Regs{RIP: testCode + 2, RSP: 0x8000, RFLAGS: 2}))
	m.mem[testCode+2] = 0xf4
	if e, err := m.cpu.RunLong(); err != nil || e.Reason != ExitHLT && e.Reason != ExitInterrupted {
		t.Fatalf("got %v, %v", e, err)
	}
}

// TestImmediateExit needs no signal at all.
func TestImmediateExit(t *testing.T) {
	m := newMachine(t, 0, 0xf4)
	m.cpu.SetImmediateExit(true)
	for range 3 {
		if e, err := m.cpu.Run(); err != nil || e.Reason != ExitInterrupted {
			t.Fatalf("got %v, %v", e, err)
		}
	}
	m.cpu.SetImmediateExit(false)
	m.want(t, Exit{Reason: ExitHLT})
}

// TestSignalMask blocks the signal while the guest runs, so that only immediate_exit,
// looked at before the guest is entered, can stop it.
func TestSignalMask(t *testing.T) {
	m := newMachine(t, 0, 0xe6, 0x40, 0xeb, 0xfc) // 1: out %al, $0x40; jmp 1b
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check(t, m.cpu.SetSignalMask(1<<(unix.SIGURG-1)))
	stop := make(chan struct{})
	sent := make(chan int)
	go func(tid int) {
		n := 0
		for {
			select {
			case <-stop:
				sent <- n
				return
			default:
				_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG)
				n++
				time.Sleep(100 * time.Microsecond)
			}
		}
	}(unix.Gettid())
	interrupted := 0
	for range 500 {
		e, err := m.cpu.Run()
		check(t, err)
		if e.Reason == ExitInterrupted {
			interrupted++
		}
	}
	close(stop)
	if n := <-sent; n == 0 || interrupted > 0 {
		t.Errorf("%d signals sent, %d runs interrupted by a blocked one", n, interrupted)
	}
}

func TestIOEventFD(t *testing.T) {
	m := newMachine(t, 0,
		0xb0, 0x01, 0xe6, 0x40, // mov $1, %al; out %al, $0x40
		0xb0, 0x02, 0xe6, 0x40, // mov $2, %al; out %al, $0x40
		0xf4,
	)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	check(t, err)
	defer unix.Close(fd)
	check(t, m.vm.IOEventFD(0x40, 1, 1, fd, IOEventFDDataMatch))
	m.want(t, Exit{Reason: ExitIO, Port: 0x40, Size: 1, Count: 1, Write: true, Value: 2})
	var count [8]byte
	if n, err := unix.Read(fd, count[:]); n != 8 || err != nil || count[0] != 1 {
		t.Errorf("eventfd: %d bytes, %v, count %v", n, err, count)
	}
	check(t, m.vm.IOEventFD(0x40, 1, 1, fd, IOEventFDDataMatch|IOEventFDDeassign))
	check(t, m.cpu.SetRegs(&Regs{RIP: testCode, RSP: 0x8000, RFLAGS: 2}))
	m.want(t, Exit{Reason: ExitIO, Port: 0x40, Size: 1, Count: 1, Write: true, Value: 1})
	if err := m.vm.IOEventFD(0x40, 3, 0, fd, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("size 3: %v", err)
	}
}

func TestMSRs(t *testing.T) {
	m := newMachine(t, 0)
	const star, lstar, sfmask, none = 0xc0000081, 0xc0000082, 0xc0000084, 0x4b1d0000
	check(t, m.cpu.SetCPUID2(supported(t)))
	check(t, m.cpu.SetMSRs([]MSR{{Index: star, Data: 8<<32 | 0x18<<48}, {Index: lstar, Data: 0xffffffff80001000}, {Index: sfmask, Data: 0x47700}}))
	got := []MSR{{Index: lstar}, {Index: sfmask}}
	check(t, m.cpu.GetMSRs(got))
	if got[0].Data != 0xffffffff80001000 || got[1].Data != 0x47700 {
		t.Errorf("read back %#x", got)
	}
	var e *Error
	err := m.cpu.SetMSRs([]MSR{{Index: lstar, Data: 1 << 20}, {Index: none}, {Index: sfmask, Data: 1}})
	if !errors.As(err, &e) {
		t.Errorf("an MSR that does not exist: %v", err)
	}
	check(t, m.cpu.GetMSRs(got))
	if got[0].Data != 1<<20 || got[1].Data != 0x47700 {
		t.Errorf("after a refusal in the middle: %#x", got)
	}
	if err := m.cpu.GetMSRs([]MSR{{Index: none}}); err == nil {
		t.Error("read of an MSR that does not exist succeeded")
	}
	if err := m.cpu.SetMSRs(make([]MSR, maxMSRs+1)); !errors.Is(err, unix.E2BIG) {
		t.Errorf("too many: %v", err)
	}
}

// supported is the host's CPUID.
func supported(t testing.TB) []CPUIDEntry {
	t.Helper()
	e, err := openKVM(t).SupportedCPUID()
	check(t, err)
	return e
}

// TestCPUIDAndXCR0 hides everything but leaf 1 and sees the guest read it.
func TestCPUIDAndXCR0(t *testing.T) {
	m := newMachine(t, 0,
		0x66, 0xb8, 1, 0, 0, 0, // mov $1, %eax
		0x0f, 0xa2, // cpuid
		0x66, 0x89, 0xd8, // mov %ebx, %eax
		0x66, 0xe7, 0x40, // out %eax, $0x40
	)
	host := supported(t)
	check(t, m.cpu.SetCPUID2([]CPUIDEntry{{Function: 0, Eax: 1}, {Function: 1, Ebx: 0xc0ffee}}))
	if e := m.run(t); e.Reason != ExitIO || e.Value&0xffff != 0xffee {
		t.Errorf("the guest's CPUID gave %v", e)
	}
	if err := m.cpu.SetCPUID2(make([]CPUIDEntry, maxCPUID+1)); !errors.Is(err, unix.E2BIG) {
		t.Errorf("too many entries: %v", err)
	}

	m = newMachine(t, 0)
	check(t, m.cpu.SetCPUID2(host))
	x, err := m.cpu.GetXCR0()
	check(t, err)
	if x != 1 {
		t.Errorf("XCR0 starts as %#x, want 1", x)
	}
	if has, err := m.vm.CheckExtension(CapXCRS); err != nil || has == 0 {
		t.Logf("no XSAVE on this machine: %v", err)
		return
	}
	check(t, m.cpu.SetXCR0(3))
	if x, err = m.cpu.GetXCR0(); err != nil || x != 3 {
		t.Errorf("XCR0 is %#x, %v, want 3", x, err)
	}
	if err := m.cpu.SetXCR0(2); !errors.Is(err, unix.EINVAL) {
		t.Errorf("XCR0 without x87: %v", err)
	}
}

func TestCapabilities(t *testing.T) {
	s := openKVM(t)
	vm, err := s.CreateVM()
	check(t, err)
	defer vm.Close()
	for _, c := range []Cap{CapUserMemory, CapReadonlyMem, CapImmediateExit, CapIOEventFD, CapGetTSCKHz, CapMaxVCPUs, CapNrMemSlots} {
		a, err := s.CheckExtension(c)
		check(t, err)
		b, err := vm.CheckExtension(c)
		check(t, err)
		if a < 1 || b < 1 {
			t.Errorf("capability %d: %d of the system, %d of the VM", uint32(c), a, b)
		}
	}
	if n, err := s.CheckExtension(255); n != 0 || err != nil {
		t.Errorf("capability 255: %d, %v", n, err)
	}
	// Once no vCPU exists, HLT, PAUSE and the like may be left to the guest.
	check(t, vm.EnableCap(CapX86DisableExits, 0))
	if err := vm.EnableCap(255); !errors.Is(err, unix.EINVAL) {
		t.Errorf("enable capability 255: %v", err)
	}
	if err := vm.EnableCap(CapX86DisableExits, 0, 1, 2, 3, 4); !errors.Is(err, unix.EINVAL) {
		t.Errorf("five arguments: %v", err)
	}
	c, err := vm.CreateVCPU(3)
	check(t, err)
	defer c.Close()
	if _, err := vm.CreateVCPU(3); !errors.Is(err, unix.EEXIST) {
		t.Errorf("the same vCPU twice: %v", err)
	}
	if _, err := vm.ClockStable(); err != nil { // what it says depends on the machine
		t.Error(err)
	}
	if _, err := c.GetTSCOffset(); err != nil && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENOTTY) {
		t.Errorf("TSC offset: %v", err)
	}
	if khz, err := c.GetTSCKHz(); err != nil || khz < 100_000 || khz > 20_000_000 {
		t.Errorf("TSC at %d kHz, %v", khz, err)
	}
}

// TestManyVMs starts VMs while the collector runs all the time and signals every
// thread, which interrupts KVM_CREATE_VM.
func TestManyVMs(t *testing.T) {
	s := openKVM(t)
	mem := mapMemory(t, testMem)
	copy(mem[testCode:], []byte{0xf4})
	before := openFiles(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	for i := range 200 {
		if e, err := haltOnce(s, mem); err != nil || e.Reason != ExitHLT {
			t.Fatalf("VM %d: %v, %v", i, e, err)
		}
	}
	close(stop)
	<-stopped
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// haltOnce creates a VM, runs its HLT and takes everything down again.
func haltOnce(s *System, mem []byte) (e Exit, err error) {
	vm, err := s.CreateVM()
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, vm.Close()) }()
	if err := vm.SetUserMemoryRegion(0, 0, 0, mem); err != nil {
		return e, err
	}
	c, err := vm.CreateVCPU(0)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	sregs, err := c.GetSregs()
	if err != nil {
		return e, err
	}
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	if err := errors.Join(c.SetSregs(&sregs), c.SetRegs(&Regs{RIP: testCode, RFLAGS: 2})); err != nil {
		return e, err
	}
	for e.Reason = ExitInterrupted; e.Reason == ExitInterrupted && err == nil; {
		e, err = c.Run()
	}
	return e, err
}

// TestStackMoves reads registers from ever deeper stacks. A request whose pointer was
// taken too early loses the kernel's answer when the stack is moved in between.
func TestStackMoves(t *testing.T) {
	m := newMachine(t, 0)
	check(t, m.cpu.SetRegs(&Regs{RAX: 0x1122334455667788, RFLAGS: 2}))
	for depth := 1; depth < 3000; depth += 7 {
		result := make(chan uint64)
		go func() { result <- deep(m.cpu, depth) }()
		if got := <-result; got != 0x1122334455667788 {
			t.Fatalf("depth %d: rax %#x", depth, got)
		}
	}
}

//go:noinline
func deep(c *VCPU, depth int) uint64 {
	if depth > 0 {
		return deep(c, depth-1)
	}
	regs, err := c.GetRegs()
	if err != nil {
		return 0
	}
	return regs.RAX
}

func TestRunDoesNotAllocate(t *testing.T) {
	m := newMachine(t, 0, 0xe6, 0x40, 0xeb, 0xfc) // 1: out %al, $0x40; jmp 1b
	if n := testing.AllocsPerRun(100, func() {
		if _, err := m.cpu.Run(); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("Run allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() { check(t, m.cpu.Interrupt(0x21)) }); n != 0 {
		t.Errorf("Interrupt allocates %v times", n)
	}
}
