package mm

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"culvert/guest"
	"culvert/shim/abi"
)

// Bounds of user memory (arch/x86/include/asm/page_64_types.h, sysctl vm.*).
const (
	userEnd    = uint64(abi.UserEnd)
	minAddr    = 65536          // vm.mmap_min_addr
	maxMaps    = 65530          // vm.max_map_count
	unmapBase  = userEnd / 3    // TASK_UNMAPPED_BASE, where the search goes up if it found nothing going down
	stackRand  = 0x3fffff << 12 // stack_maxrandom_size without its guard gap
	mmapRand   = 1<<28 - 1      // pages by which mmap_base is randomised (mmap_rnd_bits)
	minStackGp = 128 << 20      // bounds of the gap that mmap_base leaves for the stack
	maxStackGp = userEnd / 6 * 5
)

// Limits are the resource limits that bear on memory, in bytes; unix.RLIM_INFINITY lifts one.
type Limits struct {
	AS, Data, Stack, Memlock uint64
	// CapIPCLock lets mlock pass Memlock.
	CapIPCLock bool
}

// Unlimited are limits without effect but for the stack's usual 8 MiB.
func Unlimited() Limits {
	return Limits{AS: unix.RLIM_INFINITY, Data: unix.RLIM_INFINITY, Stack: 8 << 20, Memlock: unix.RLIM_INFINITY}
}

// Layout says where things go in a new address space.
type Layout struct {
	Limits Limits
	// Random is a source of random numbers for address-space layout randomisation; nil for none.
	Random func() uint64
}

// Space is an address space. It has reference counts as Linux's mm_struct has: Fork and NewSpace return it with one,
// CLONE_VM takes another.
type Space struct {
	m     *Memory
	gpa   abi.GPA // of guest
	guest *guest.Space
	id    uint64 // of guest, as the host wrote it: what is in guest RAM is not believed
	root  *node
	refs  int
	dead  bool

	vmas     []*vma // sorted, disjoint
	limits   Limits
	mmapBase uint64
	stackTop uint64
	// startBrk and brk bound the heap; startStack is where the program's stack began.
	startBrk, brk, startStack uint64
	dataSize                  uint64 // of the program's initialised data: RLIMIT_DATA counts it
	lockFuture                vmaFlags

	total, data, stack, exec, locked uint64 // bytes mapped, by kind
	peakTotal, peakRSS               uint64
	tables                           int
}

// NewSpace returns an empty address space with one reference.
func (m *Memory) NewSpace(l Layout) (*Space, error) {
	m.mu.Lock()
	defer m.unlock()
	s, err := m.newSpace()
	if err != nil {
		return nil, err
	}
	s.setLayout(l)
	return s, nil
}

func (m *Memory) newSpace() (*Space, error) {
	m.reapLocked()
	root, err := m.kernelFrames(0, stKernel)
	if err != nil {
		return nil, fmt.Errorf("mm: new address space: %w", err)
	}
	gpa, err := m.takeSlot()
	if err != nil {
		m.frames.put(root, stKernel)
		return nil, fmt.Errorf("mm: new address space: %w", err)
	}
	s := &Space{
		m: m, gpa: gpa, guest: spaceAt(m.ram, gpa), id: m.nextID, refs: 1, tables: 1,
		root: m.newNode(root.gpa(), false),
	}
	m.nextID++
	m.live++
	top, tmpl := tableAt(m.ram, root.gpa()), tableAt(m.ram, m.cfg.Template)
	atomic.StoreUint64(&top[abi.KernelSlot], atomic.LoadUint64(&tmpl[abi.KernelSlot]))
	atomic.StoreUint64(&s.guest.CR3, uint64(root.gpa()))
	atomic.StoreUint64(&s.guest.Active, 0)
	atomic.StoreUint64(&s.guest.ID, s.id)
	return s, nil
}

// takeSlot returns a free guest.Space block.
func (m *Memory) takeSlot() (abi.GPA, error) {
	if len(m.slab) == 0 {
		f, err := m.kernelFrames(0, stKernel)
		if err != nil {
			return 0, err
		}
		m.slabs = append(m.slabs, f)
		for g := f.gpa() + abi.PageSize; g > f.gpa(); {
			g -= spaceSize
			m.slab = append(m.slab, g)
		}
	}
	g := m.slab[len(m.slab)-1]
	m.slab = m.slab[:len(m.slab)-1]
	return g, nil
}

// setLayout places the stack and mmap_base (arch/x86/mm/mmap.c: mmap_base, fs/binfmt_elf.c: randomize_stack_top).
func (s *Space) setLayout(l Layout) {
	s.limits = l.Limits
	s.stackTop = userEnd
	gap, pad, rnd := l.Limits.Stack, uint64(stackGap), uint64(0)
	if l.Random != nil {
		s.stackTop -= l.Random() & 0x3fffff << abi.PageShift
		pad += stackRand
		rnd = l.Random() & mmapRand << abi.PageShift
	}
	if gap+pad > gap {
		gap += pad
	}
	gap = min(max(gap, minStackGp), maxStackGp)
	s.mmapBase = (userEnd - gap - rnd) &^ abi.PageMask
}

// Guest returns the block that ring 0 reads, GVA its address there.
func (s *Space) Guest() *guest.Space { return s.guest }

// GVA returns the address of the space's guest.Space in the direct map.
func (s *Space) GVA() abi.GVA { return abi.DirectBase + abi.GVA(s.gpa) }

// CR3 returns the address of the space's PML4.
func (s *Space) CR3() abi.GPA { return s.root.gpa }

// ID returns the number that is unique among all spaces of the VM.
func (s *Space) ID() uint64 { return s.id }

// StackTop returns the address below which the program loader puts the stack.
func (s *Space) StackTop() uint64 { return s.stackTop }

// MmapBase returns the address below which mmap places new mappings.
func (s *Space) MmapBase() uint64 { return s.mmapBase }

// SetLimits replaces the resource limits. Mappings that exist stay.
func (s *Space) SetLimits(l Limits) {
	s.m.mu.Lock()
	defer s.m.unlock()
	s.limits = l
}

// SetBrk places the heap, empty, at start; dataSize is the size of the program's data segment, which RLIMIT_DATA
// counts too. The program loader calls it.
func (s *Space) SetBrk(start, dataSize uint64) {
	s.m.mu.Lock()
	defer s.m.unlock()
	s.startBrk, s.brk, s.dataSize = start, start, dataSize
}

// SetStack tells where the program's stack pointer began: the area that holds it is listed as [stack].
func (s *Space) SetStack(sp uint64) {
	s.m.mu.Lock()
	defer s.m.unlock()
	s.startStack = sp
}

// Acquire takes another reference: CLONE_VM, or somebody who reads the space from outside.
func (s *Space) Acquire() {
	s.m.mu.Lock()
	defer s.m.unlock()
	s.refs++
}

// Release gives a reference back. With the last one the space dies: its memory is freed once no vCPU has it loaded,
// by this call or by a later Reap.
func (s *Space) Release() {
	s.m.mu.Lock()
	defer s.m.unlock()
	if s.refs--; s.refs > 0 {
		return
	}
	s.dead = true
	s.m.dead = append(s.m.dead, s)
	s.m.reapLocked()
}

// Reap frees the released address spaces that no vCPU has loaded any more. It is cheap when there are none.
func (m *Memory) Reap() {
	m.mu.Lock()
	defer m.unlock()
	m.reapLocked()
}

func (m *Memory) reapLocked() {
	keep := m.dead[:0]
	for _, s := range m.dead {
		if atomic.LoadUint64(&s.guest.Active) == 0 {
			s.destroy()
		} else {
			keep = append(keep, s)
		}
	}
	clear(m.dead[len(keep):])
	m.dead = keep
}

// destroy frees everything at once. No vCPU has the space loaded, so nothing needs to be shot down; a vCPU loads a
// space only for a thread, and there is none any more.
func (s *Space) destroy() {
	m := s.m
	for _, v := range s.vmas {
		v.unlink()
	}
	s.vmas = nil
	top := tableAt(m.ram, s.root.gpa)
	atomic.StoreUint64(&top[abi.KernelSlot], 0)
	s.root.free(m)
	s.root = nil
	m.slab = append(m.slab, s.gpa)
	m.live--
}

// clampRange checks and page-aligns the range of a call that works on existing areas: start must be aligned, and the
// range must not wrap. The end of an empty range is start.
func clampRange(start, n uint64) (end uint64, err error) {
	if start&abi.PageMask != 0 {
		return 0, unix.EINVAL
	}
	size := (n + abi.PageMask) &^ abi.PageMask
	if n != 0 && size == 0 || start+size < start {
		return 0, unix.ENOMEM
	}
	return start + size, nil
}
