package mm

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"culvert/guest"
	"culvert/shim/abi"
)

// machine is a Memory over mmapped RAM with vCPUs in software, which do what processor and ring 0 do.
type machine struct {
	*Memory
	t        testing.TB
	ram      []byte
	vcpus    []*vcpu
	shoots   atomic.Int64
	discards int
	onShoot  func()
}

// Layout of the test machine: the template PML4 at 4 KiB, the reference counts from 64 KiB, the frames from 1 MiB.
const (
	testTemplate = 0x1000
	testRefs     = 0x10000
	testStart    = 0x100000
)

func newMachine(t testing.TB, size, vcpus int) *machine {
	t.Helper()
	ram, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(ram) })
	mc := &machine{t: t, ram: ram}
	tableAt(ram, testTemplate)[abi.KernelSlot] = 0xd1
	mc.Memory, err = New(Config{
		RAM: ram, Start: testStart, End: abi.GPA(size), Refs: testRefs, Template: testTemplate, Flusher: mc,
		Discard: func(b []byte) error { mc.discards++; return unix.Madvise(b, unix.MADV_DONTNEED) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range vcpus {
		mc.vcpus = append(mc.vcpus, &vcpu{mc: mc, id: i, tlb: map[uint64]uint64{}, pool: new(guest.Pool)})
	}
	return mc
}

// Shootdown empties the TLB of each vCPU that has the space loaded.
func (mc *machine) Shootdown(sp *guest.Space) {
	if mc.onShoot != nil {
		mc.onShoot()
	}
	if mc.shoots.Add(1)%2 == 0 {
		runtime.Gosched() // as long as a kick takes, the old translations are there
	}
	active := atomic.LoadUint64(&sp.Active)
	for i, v := range mc.vcpus {
		if active&(1<<i) != 0 {
			v.mu.Lock() // waits until the vCPU is between two accesses
			clear(v.tlb)
			v.mu.Unlock()
		}
	}
}

// space returns a new address space, released at the end of the test.
func (mc *machine) space() *Space {
	mc.t.Helper()
	s, err := mc.NewSpace(Layout{Limits: Unlimited()})
	if err != nil {
		mc.t.Fatal(err)
	}
	return s
}

// noLeak fails the test unless all frames but n are free and the allocator is consistent.
func (mc *machine) noLeak(n int) {
	mc.t.Helper()
	mc.Reap()
	for _, v := range mc.vcpus {
		mc.Drain(v.pool)
	}
	mc.mu.Lock()
	defer mc.unlock()
	if err := mc.frames.check(); err != nil {
		mc.t.Fatal(err)
	}
	if mc.live != 0 {
		mc.t.Fatalf("%d address spaces live", mc.live)
	}
	if got := mc.frames.inUse - len(mc.slabs); got != n {
		mc.t.Fatalf("%d frames are in use, want %d", got, n)
	}
}

// vcpu is a processor with a TLB that forgets nothing by itself, and the part of ring 0 that handles page faults.
type vcpu struct {
	mu    sync.Mutex // held while the vCPU is in the guest
	mc    *machine
	id    int
	space *Space
	tlb   map[uint64]uint64
	pool  *guest.Pool
	// dumb leaves all faults to the host.
	dumb bool
	// abandon leaves copies to the host in the middle.
	abandon               bool
	demands, cows, reuses int
	faults                int
}

// load switches to a space, nil for the kernel's.
func (v *vcpu) load(s *Space) {
	if s != nil {
		atomic.OrUint64(&s.guest.Active, 1<<v.id)
	}
	old := v.space
	v.space = s
	v.mu.Lock()
	clear(v.tlb)
	v.mu.Unlock()
	if old != nil && old != s {
		atomic.AndUint64(&old.guest.Active, ^uint64(1<<v.id))
	}
}

// walk finds the leaf entry of addr as the processor does: from CR3, through the tables in RAM.
func (v *vcpu) walk(addr uint64) *uint64 {
	gpa := atomic.LoadUint64(&v.space.guest.CR3)
	for shift := uint(l4Shift); ; shift -= 9 {
		if gpa+abi.PageSize > uint64(len(v.mc.ram)) {
			return nil // a bus error on hardware
		}
		p := &tableAt(v.mc.ram, abi.GPA(gpa))[addr>>shift&511]
		if shift == abi.PageShift {
			return p
		}
		e := atomic.LoadUint64(p)
		if e&abi.PTEPresent == 0 {
			return nil
		}
		gpa = e & abi.PTEAddr
	}
}

func allows(e, code uint64) bool {
	return e&abi.PTEPresent != 0 && e&abi.PTEUser != 0 && (code&abi.PFWrite == 0 || e&abi.PTEWrite != 0) &&
		(code&abi.PFFetch == 0 || e&abi.PTENX == 0)
}

// access translates addr for the access, faulting as often as needed, and then calls fn with the byte. The vCPU is in
// the guest from its look at the page table until fn returns.
func (v *vcpu) access(addr, code uint64, fn func(b *byte)) error {
	for range 100 {
		e, ok := v.tryAccess(addr, code, fn)
		if ok {
			return nil
		}
		v.mc.Refill(v.pool, guest.PoolFrames)
		present := uint64(0)
		if e&abi.PTEPresent != 0 {
			present = abi.PFPresent
		}
		if err := v.space.Fault(addr, code|abi.PFUser|present); err != nil {
			return err
		}
	}
	return errors.New("the fault does not end")
}

// tryAccess is one stay in the guest: it ends with the access, or with a fault for the host.
func (v *vcpu) tryAccess(addr, code uint64, fn func(b *byte)) (e uint64, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	vpn := addr >> abi.PageShift
	for range 100 {
		e, hit := v.tlb[vpn]
		if !hit || !allows(e, code) {
			delete(v.tlb, vpn) // a fault drops the translation
			e = 0
			if p := v.walk(addr); p != nil {
				e = atomic.LoadUint64(p)
			}
		}
		if allows(e, code) {
			g := e & abi.PTEAddr
			if g+abi.PageSize > uint64(len(v.mc.ram)) {
				return e, false // a hostile entry
			}
			v.tlb[vpn] = e
			fn(&v.mc.ram[g+addr&abi.PageMask])
			return e, true
		}
		if !v.ring0(addr, code) {
			return e, false
		}
	}
	return 0, false
}

// ring0 handles a fault by the rules of the package comment. It reports whether the access is to be tried again.
func (v *vcpu) ring0(addr, code uint64) bool {
	p := v.walk(addr)
	if p == nil || v.dumb {
		return false
	}
	ram := v.mc.ram
	if z := v.pool.NumZero; z > guest.PoolFrames || v.pool.NumDirty > guest.PoolDirty || z > 0 && v.pool.Zero[z-1] > uint64(len(ram))-abi.PageSize {
		return false // corrupted by the test
	}
	e := atomic.LoadUint64(p)
	switch {
	case e&abi.PTEPresent == 0 && e&abi.PTEDemand != 0:
		now := e&(abi.PTEWrite|abi.PTEUser|abi.PTENX) | abi.PTEPresent
		if v.pool.NumZero == 0 || !allows(now, code) {
			return false
		}
		f := v.pool.Zero[v.pool.NumZero-1]
		if atomic.CompareAndSwapUint64(p, e, now|f) {
			v.pool.NumZero--
			v.demands++
		}
		return true
	case e&(abi.PTEPresent|abi.PTECOW|abi.PTEUser) == abi.PTEPresent|abi.PTECOW|abi.PTEUser && code&abi.PFWrite != 0:
		old := e & abi.PTEAddr
		if old+abi.PageSize > uint64(len(ram)) {
			return false
		}
		if e&abi.PTEBusy != 0 {
			return true // another vCPU is copying; the access faults again until it is done
		}
		return v.copyOnWrite(p, e, addr)
	}
	return false
}

// copyOnWrite is copyOnWrite of guest/fault.go.
func (v *vcpu) copyOnWrite(p *uint64, e, addr uint64) bool {
	ram, old := v.mc.ram, e&abi.PTEAddr
	busy := e | abi.PTEBusy
	if !atomic.CompareAndSwapUint64(p, e, busy) {
		return true
	}
	if v.faults++; v.faults%4 == 0 {
		runtime.Gosched() // as long as a copy takes, the host finds the claim
	}
	ref := testRef(ram, old)
	if atomic.LoadUint32(ref) == 1 {
		atomic.StoreUint64(p, e&^abi.PTECOW|abi.PTEWrite)
		delete(v.tlb, addr>>abi.PageShift)
		v.reuses++
		return true
	}
	me := uint64(1) << v.id
	if v.pool.NumZero == 0 || v.pool.NumDirty == guest.PoolDirty || atomic.LoadUint64(&v.space.guest.Active) != me {
		atomic.StoreUint64(p, e)
		return false
	}
	v.pool.NumZero--
	f := v.pool.Zero[v.pool.NumZero]
	atomic.StoreUint32(testRef(ram, f), 1)
	copy(ram[f:f+abi.PageSize], ram[old:])
	atomic.StoreUint64(p, busy&^abi.PTEAddr|f)
	drop := func() {
		if atomic.AddUint32(ref, ^uint32(0)) == 0 {
			v.pool.Dirty[v.pool.NumDirty] = old
			v.pool.NumDirty++
		}
	}
	if v.abandon || atomic.LoadUint64(&v.space.guest.Active) != me {
		drop()
		return false
	}
	delete(v.tlb, addr>>abi.PageShift)
	atomic.StoreUint64(p, busy&^(abi.PTEAddr|abi.PTEBusy|abi.PTECOW)|abi.PTEWrite|f)
	drop()
	v.cows++
	return true
}

func (v *vcpu) read(addr uint64) (b byte, err error) {
	err = v.access(addr, 0, func(p *byte) { b = *p })
	return b, err
}

func (v *vcpu) write(addr uint64, b byte) error {
	return v.access(addr, abi.PFWrite, func(p *byte) { *p = b })
}

func (v *vcpu) exec(addr uint64) error { return v.access(addr, abi.PFFetch, func(*byte) {}) }

func mustRead(t testing.TB, v *vcpu, addr uint64, want byte) {
	t.Helper()
	if got, err := v.read(addr); err != nil || got != want {
		t.Fatalf("read of %#x: %#x, %v; want %#x", addr, got, err, want)
	}
}

func mustWrite(t testing.TB, v *vcpu, addr uint64, b byte) {
	t.Helper()
	if err := v.write(addr, b); err != nil {
		t.Fatalf("write of %#x: %v", addr, err)
	}
}

// wantSignal fails unless err is the signal with the code and address.
func wantSignal(t testing.TB, err error, signo unix.Signal, code int32, addr uint64) {
	t.Helper()
	var sig *SignalError
	if !errors.As(err, &sig) || sig.Signo != signo || sig.Code != code || sig.Addr != addr {
		t.Fatalf("got %v, want %s code %d at %#x", err, unix.SignalName(signo), code, addr)
	}
}

func mustMmap(t testing.TB, s *Space, a MmapArgs) uint64 {
	t.Helper()
	addr, err := s.Mmap(a)
	if err != nil {
		t.Fatalf("mmap %+v: %v", a, err)
	}
	return addr
}

// Usual arguments.
const (
	rw       = unix.PROT_READ | unix.PROT_WRITE
	anonPriv = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	pg       = uint64(abi.PageSize)
)

// The structs are as large as the package comment of guest says, or pools and slabs would overlap.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(guest.Pool{}); n != abi.PageSize {
		t.Errorf("guest.Pool has %d bytes, want a page", n)
	}
	if spaceSize != 64 {
		t.Errorf("guest.Space has %d bytes, want 64", spaceSize)
	}
}

// testRef is the reference count of the frame at gpa.
func testRef(ram []byte, gpa uint64) *uint32 {
	f := frame(gpa >> abi.PageShift)
	return &refsAt(ram, testRefs, f+1)[f]
}
