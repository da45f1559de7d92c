package vmm

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"culvert/boot"
	"culvert/guest"
	"culvert/kvm"
	"culvert/shim/abi"
)

// requireKVM skips a test on a machine without a KVM that works, unless REQUIRE_KVM=1 makes that a failure.
func requireKVM(t *testing.T) {
	t.Helper()
	vm, err := New(Config{Mem: 64 << 20, CPUs: 1})
	if err == nil {
		err = vm.Close()
	}
	switch {
	case err == nil:
	case os.Getenv("REQUIRE_KVM") == "1":
		t.Fatalf("KVM does not work here: %v", err)
	default:
		t.Skipf("KVM does not work here: %v", err)
	}
}

// harness is a Handler without Linux: page tables by hand, and system calls from 1000 up.
type harness struct {
	t    *testing.T
	vm   *VM
	next abi.GPA
	elf  *elf.File

	mu      sync.Mutex
	alive   int
	exits   map[uint64]uint64 // slot to status
	reports map[uint64]uint64
	faults  []guest.Call
	blocked map[uint64]bool
	cowGPA  uint64
	cowPTE  abi.GPA
	space   *guest.Space
	onCall  func(h *harness, vcpu int, t *guest.Thread, nr uint64) (uint64, bool)
}

// userELF builds testdata/user.c.
func userELF(t *testing.T) *elf.File {
	t.Helper()
	out := filepath.Join(t.TempDir(), "user.elf")
	cmd := exec.Command("gcc", "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-mavx", "-mfsgsbase",
		"-fno-tree-vectorize", "-mno-avx256-split-unaligned-load", "-o", out, "testdata/user.c")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, msg)
	}
	f, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func newHarness(t *testing.T, cpus int) *harness {
	t.Helper()
	requireKVM(t)
	vm, err := New(Config{Mem: 128 << 20, CPUs: cpus})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	h := &harness{t: t, vm: vm, next: vm.Layout().FirstFree, elf: userELF(t), exits: map[uint64]uint64{},
		reports: map[uint64]uint64{}, blocked: map[uint64]bool{}}
	vm.page.ReadyWords = 1
	vm.page.CPUs = 1<<cpus - 1
	return h
}

func (h *harness) alloc() abi.GPA {
	g := h.next
	h.next += abi.PageSize
	return g
}

func (h *harness) word(g abi.GPA) *uint64 { return (*uint64)(unsafe.Pointer(&h.vm.ram[g])) }

func (h *harness) refs(gpa uint64) *uint32 {
	return (*uint32)(unsafe.Pointer(&h.vm.ram[uint64(h.vm.Layout().Refs)+gpa/abi.PageSize*4]))
}

// mapPage sets a user PTE and returns where it is.
func (h *harness) mapPage(root abi.GPA, va, pte uint64) abi.GPA {
	table := root
	for shift := 39; shift > 12; shift -= 9 {
		e := h.word(table + abi.GPA(va>>shift&511*8))
		if *e == 0 {
			*e = uint64(h.alloc()) | abi.PTEPresent | abi.PTEWrite | abi.PTEUser
		}
		table = abi.GPA(*e & abi.PTEAddr)
	}
	at := table + abi.GPA(va>>12&511*8)
	*h.word(at) = pte
	return at
}

const userRW = abi.PTEPresent | abi.PTEWrite | abi.PTEUser | abi.PTENX

// newSpace makes an address space with the program, the shared page, a demand-zero range and a copy-on-write page.
func (h *harness) newSpace(shared uint64) *guest.Space {
	l := h.vm.Layout()
	root := h.alloc()
	*h.word(root + abi.KernelSlot*8) = *h.word(l.KernelCR3 + abi.KernelSlot*8)
	for _, ph := range h.elf.Progs {
		if ph.Type != elf.PT_LOAD {
			continue
		}
		data := make([]byte, ph.Filesz)
		if _, err := io.ReadFull(ph.Open(), data); err != nil {
			h.t.Fatal(err)
		}
		for va := ph.Vaddr &^ abi.PageMask; va < ph.Vaddr+ph.Memsz; va += abi.PageSize {
			g := h.alloc()
			page := h.vm.ram[g : g+abi.PageSize]
			if va < ph.Vaddr {
				copy(page[ph.Vaddr-va:], data)
			} else if off := va - ph.Vaddr; off < ph.Filesz {
				copy(page, data[off:])
			}
			h.mapPage(root, va, uint64(g)|abi.PTEPresent|abi.PTEWrite|abi.PTEUser)
		}
	}
	h.mapPage(root, 0x10000000, shared|userRW)
	for i := uint64(0); i < 700; i++ {
		h.mapPage(root, 0x20000000+i*abi.PageSize, abi.PTEDemand|abi.PTEWrite|abi.PTEUser|abi.PTENX)
	}
	h.cowGPA = uint64(h.alloc())
	*h.word(abi.GPA(h.cowGPA)) = 7
	*h.word(abi.GPA(h.cowGPA + 8)) = 8
	*h.refs(h.cowGPA) = 2
	h.cowPTE = h.mapPage(root, 0x30000000, h.cowGPA|userRW&^abi.PTEWrite|abi.PTECOW)
	s := view[guest.Space](h.vm.ram, h.alloc())
	s.CR3 = uint64(root)
	h.space = s
	return s
}

// gva is the direct-map address of a pointer into RAM.
func (h *harness) gva(p unsafe.Pointer) uint64 {
	return uint64(abi.DirectBase) + uint64(uintptr(p)-uintptr(unsafe.Pointer(&h.vm.ram[0])))
}

// start makes a ready thread that runs main(role, arg).
func (h *harness) start(slot uint64, s *guest.Space, role, arg uint64) *guest.Thread {
	l := h.vm.Layout()
	th := view[guest.Thread](h.vm.ram, l.Threads+abi.GPA(slot*uint64(l.ThreadSize)))
	th.Index = slot
	stack := uint64(0x7ff000000000 + slot<<20)
	for off := uint64(0); off < 4*abi.PageSize; off += abi.PageSize {
		h.mapPage(abi.GPA(s.CR3), stack+off, uint64(h.alloc())|userRW)
	}
	th.RIP, th.RSP, th.RFLAGS, th.Iret = h.elf.Entry, stack+4*abi.PageSize-64, 2, 1
	th.RDI, th.RSI = role, arg
	th.TID, th.TGID, th.Affinity = slot+100, 100, ^uint64(0)
	boot.InitFPU(th.XSave[:])
	*(*uint64)(unsafe.Pointer(&th.Space)) = h.gva(unsafe.Pointer(s))
	th.State = abi.StateRun
	atomic.OrUint64(&h.vm.page.Ready[slot/64], 1<<(slot%64))
	h.alive++
	return th
}

// run runs until every thread has exited, or the limit.
func (h *harness) run(limit time.Duration) {
	h.t.Helper()
	timer := time.AfterFunc(limit, func() {
		h.t.Errorf("no end after %v", limit)
		for i := range h.vm.cpus {
			h.t.Logf("before the stop: %s", h.describe(i))
		}
		h.vm.Stop()
	})
	defer timer.Stop()
	if err := h.vm.Run(h); err != nil {
		h.t.Fatalf("run: %v", err)
	}
	if h.t.Failed() {
		for i, c := range h.vm.cpus {
			regs, err := c.cpu.(*kvm.VCPU).GetRegs()
			h.t.Logf("at the end: %s, rip %#x, rsp %#x, rflags %#x, %v", h.describe(i), regs.RIP, regs.RSP, regs.RFLAGS, err)
		}
	}
}

// describe says what a vCPU that does not come to an end is doing.
func (h *harness) describe(i int) string {
	c, vm := h.vm.cpus[i], h.vm.page
	s := fmt.Sprintf("vCPU %d: entered %v, in a call %v, kick %d, flush %d of %d, %d switches; ready %#x, idle %#x, sleep %#x; COW PTE %#x;",
		i, c.entered.Load(), c.inCall.Load(), c.kick.Load(), atomic.LoadUint64(&c.page.FlushAck), atomic.LoadUint64(&c.page.FlushReq),
		atomic.LoadUint64(&c.page.Stats.Switches), vm.Ready[0], vm.Idle, vm.Sleep, atomic.LoadUint64(h.word(h.cowPTE)))
	for r := range c.exits {
		s += fmt.Sprintf(" %s %d", reasonNames[r], c.exits[r].Load())
	}
	for t := uint64(0); t < 4; t++ {
		th := h.thread(t)
		s += fmt.Sprintf("; thread %d state %d rip %#x", t, atomic.LoadUint64(&th.State), th.RIP)
	}
	return s
}

func (h *harness) thread(i uint64) *guest.Thread {
	return view[guest.Thread](h.vm.ram, h.vm.Layout().Threads+abi.GPA(i*abi.ThreadSize))
}

func (h *harness) Call(vcpu int, call *guest.Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	th := h.thread(call.Thread)
	call.Action, call.Flags, call.Ret = abi.ActReturn, 0, 0
	pool := view[guest.Pool](h.vm.ram, h.vm.Layout().Pools[vcpu])
	for pool.NumZero < 200 {
		pool.Zero[pool.NumZero] = uint64(h.alloc())
		pool.NumZero++
	}
	pool.NumDirty = 0
	switch {
	case call.Kind == abi.KindFault:
		pte := h.pteOf(th, call.CR2)
		if call.Vector == abi.VecPF && pte != nil && *pte&(abi.PTEDemand|abi.PTECOW) != 0 {
			h.fixCOW(vcpu, th, pte)
			return
		}
		h.faults = append(h.faults, *call)
		h.exit(call, 200+call.Vector)
	case call.Kind == abi.KindSyscall:
		h.syscall(vcpu, call, th)
	}
}

// pteOf finds the PTE of a user address in th's space.
func (h *harness) pteOf(th *guest.Thread, va uint64) *uint64 {
	gpa := abi.GPA(uint64(uintptr(unsafe.Pointer(th.Space))) - uint64(abi.DirectBase))
	table := abi.GPA(view[guest.Space](h.vm.ram, gpa&^abi.PageMask).CR3)
	for shift := 39; shift > 12; shift -= 9 {
		e := *h.word(table + abi.GPA(va>>shift&511*8))
		if e == 0 {
			return nil
		}
		table = abi.GPA(e & abi.PTEAddr)
	}
	return h.word(table + abi.GPA(va>>12&511*8))
}

// fixCOW does what the shim does for a copy that ring 0 leaves to it.
func (h *harness) fixCOW(vcpu int, th *guest.Thread, pte *uint64) {
	e := atomic.LoadUint64(pte)
	if e&abi.PTECOW == 0 {
		return
	}
	if e&abi.PTEBusy == 0 {
		frame := uint64(h.alloc())
		copy(h.vm.ram[frame:frame+abi.PageSize], h.vm.ram[e&abi.PTEAddr:])
		*h.refs(frame) = 1
		if !atomic.CompareAndSwapUint64(pte, e, e&^abi.PTEAddr|frame|abi.PTEBusy) {
			return
		}
	}
	h.vm.Shootdown(h.space, vcpu)
	// Not one compare-and-swap with e: a processor that reads the page sets the accessed bit meanwhile.
	for e = atomic.LoadUint64(pte); e&abi.PTEBusy != 0; e = atomic.LoadUint64(pte) {
		atomic.CompareAndSwapUint64(pte, e, e&^(abi.PTEBusy|abi.PTECOW)|abi.PTEWrite)
	}
}

func (h *harness) exit(call *guest.Call, status uint64) {
	h.exits[call.Thread] = status
	call.Action = abi.ActExit
	h.alive--
	if h.alive == 0 {
		h.vm.Stop()
	}
}

func (h *harness) syscall(vcpu int, call *guest.Call, th *guest.Thread) {
	a := call.Args
	switch call.NR {
	case 1000:
		h.exit(call, a[0])
	case 1001:
		h.reports[a[0]] = a[1]
		th.RAX = 0
	case 1002:
		atomic.StoreUint64(&th.Wait.Kind, abi.WaitShim)
		h.blocked[call.Thread] = true
		call.Action = abi.ActBlock
	case 1003:
		th.RAX = a[0]*100 + a[1]*10 + a[2]
	case 1004:
		th.RAX = h.vm.features.XCR0 >> 2 & 1
	case 1005:
		pte := h.word(h.cowPTE)
		e := atomic.LoadUint64(pte)
		atomic.StoreUint32(h.refs(e&abi.PTEAddr), 2)
		atomic.StoreUint64(pte, e&^abi.PTEWrite|abi.PTECOW)
		h.vm.Shootdown(h.space, vcpu)
		th.RAX = 0
	default:
		if h.onCall != nil {
			if v, ok := h.onCall(h, vcpu, th, call.NR); ok {
				th.RAX = v
				return
			}
		}
		th.RAX = ^uint64(abi.ENOSYS - 1)
	}
}

// wakeBlocked completes the blocked call of slot i.
func (h *harness) wakeBlocked(i uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.blocked[i] {
		return false
	}
	h.blocked[i] = false
	th := h.thread(i)
	th.RAX = 0
	atomic.StoreUint64(&th.Wait.Kind, abi.WaitNone)
	if guest.Wake(h.vm.page, th) {
		if v := guest.PickIdle(h.vm.page, ^uint64(0)); v >= 0 {
			h.vm.WakeIdle(v)
		}
	}
	return true
}

// word64 reads a word of the shared page.
func (h *harness) sharedWord(gpa uint64, i int) uint64 {
	return binary.LittleEndian.Uint64(h.vm.ram[gpa+uint64(i)*8:])
}
