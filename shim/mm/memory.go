package mm

import (
	"container/list"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"culvert/guest"
	"culvert/shim/abi"
)

// ErrOOM is returned by a fault, and by access to user memory, when the VM's memory limit is reached and nothing can
// be reclaimed: the caller kills a process, as Linux's OOM killer does.
var ErrOOM = errors.New("the VM is out of memory: raise --mem")

// Flusher takes translations out of the vCPUs' TLBs.
type Flusher interface {
	// Shootdown returns when no vCPU can use a translation of sp that was replaced before the call. It is called
	// with this package's lock held: it may wait for vCPUs that run in the guest, never for host threads.
	Shootdown(sp *guest.Space)
}

// Config is what New needs.
type Config struct {
	RAM []byte // all guest RAM, page-aligned
	// Start and End bound the frames that the allocator owns; whatever lies outside belongs to the creator.
	Start, End abi.GPA
	// Refs is the table of reference counts, a uint32 per frame of RAM (guest.VM.Refs, as a GPA). It lies outside
	// [Start, End).
	Refs abi.GPA
	// Spaces has room for the first address spaces' guest.Space blocks, cache-line-aligned; any more lie in [Start, End).
	Spaces    abi.GPA
	NumSpaces int
	// Template is a PML4 whose upper half every address space gets (slot abi.KernelSlot).
	Template abi.GPA
	Flusher  Flusher
	// Discard gives memory back to the host, after which it reads as zero. Nil: madvise(MADV_DONTNEED).
	Discard func([]byte) error
	// FreeHigh is how many freed frames are kept for reuse before half of them are given back. 0: a sixteenth of
	// the memory, at most 16 MiB.
	FreeHigh int
}

// Memory is a VM's memory: its frames, address spaces and page cache.
type Memory struct {
	mu  sync.Mutex // see the package comment for the order
	ram []byte
	cfg Config

	frames *frames
	refs   []uint32 // reference counts by frame, in guest RAM
	// reserve is how many frames only the host's own structures may take, so that an out-of-memory kill and what
	// follows it still work.
	reserve int
	slab    []abi.GPA // free guest.Space blocks
	slabs   []frame   // the frames they were cut from
	nextID  uint64    // of the next guest.Space
	dead    []*Space  // released, waiting for Active to become 0
	live    int       // spaces not yet reaped
	// Nodes without children, for new tables: of tables, and of leaf tables.
	spareInner, spareLeafy []*node
	objects                map[any]*Object
	idle                   list.List // of *Object that nobody maps or holds, oldest first: the page cache proper
	pins                   map[frame]*pinCount
	later                  []func() // run by unlock, after the lock is released
	spareWindows           []*window

	stats Counters
}

// New returns the memory management of a VM.
func New(cfg Config) (*Memory, error) {
	size := abi.GPA(len(cfg.RAM))
	refsEnd := cfg.Refs + 4*(size>>abi.PageShift)
	switch {
	case !pageAligned(cfg.RAM) || size&abi.PageMask != 0 || size > abi.MaxRAM:
		return nil, fmt.Errorf("mm: guest RAM of %d bytes is not made of whole pages or exceeds %d", size, int64(abi.MaxRAM))
	case cfg.Start == 0 || cfg.Start&abi.PageMask != 0 || cfg.End&abi.PageMask != 0 || cfg.Start >= cfg.End || cfg.End > size:
		return nil, fmt.Errorf("mm: frames from %#x to %#x do not lie in RAM of %#x bytes", cfg.Start, cfg.End, size)
	case cfg.Refs&abi.PageMask != 0 || refsEnd > size || (cfg.Refs < cfg.End && refsEnd > cfg.Start):
		return nil, fmt.Errorf("mm: reference counts from %#x to %#x overlap the frames or exceed RAM of %#x bytes", cfg.Refs, refsEnd, size)
	case cfg.Spaces%spaceSize != 0 || cfg.Spaces+abi.GPA(cfg.NumSpaces)*spaceSize > size:
		return nil, fmt.Errorf("mm: %d blocks of address spaces at %#x do not lie in RAM of %#x bytes", cfg.NumSpaces, cfg.Spaces, size)
	case cfg.Template&abi.PageMask != 0 || cfg.Template+abi.PageSize > size:
		return nil, fmt.Errorf("mm: template page table at %#x does not lie in RAM of %#x bytes", cfg.Template, size)
	case cfg.Flusher == nil:
		return nil, errors.New("mm: Config.Flusher is nil: page tables cannot change safely without one")
	}
	first, end := frame(cfg.Start>>abi.PageShift), frame(cfg.End>>abi.PageShift)
	if cfg.Discard == nil {
		cfg.Discard = func(b []byte) error { return unix.Madvise(b, unix.MADV_DONTNEED) }
	}
	if cfg.FreeHigh == 0 {
		cfg.FreeHigh = max(64, min(4096, int(end-first)/16))
	}
	m := &Memory{
		ram: cfg.RAM, cfg: cfg, refs: refsAt(cfg.RAM, cfg.Refs, end),
		frames:  newFrames(cfg.RAM, first, end, cfg.FreeHigh, cfg.Discard),
		reserve: min(64, int(end-first)/32),
		objects: map[any]*Object{},
		pins:    map[frame]*pinCount{},
		nextID:  1,
	}
	for i := cfg.NumSpaces; i > 0; i-- {
		m.slab = append(m.slab, cfg.Spaces+abi.GPA(i-1)*spaceSize)
	}
	return m, nil
}

// unlock releases the lock and then runs what had to wait for that: calls out to backings.
func (m *Memory) unlock() {
	todo := m.later
	m.later = nil
	m.mu.Unlock()
	for _, f := range todo {
		f()
	}
}

// SetLimit caps the bytes of guest memory in use; 0 lifts the cap. Memory in use already is not taken away.
func (m *Memory) SetLimit(bytes uint64) {
	m.mu.Lock()
	defer m.unlock()
	all := int(m.frames.end - m.frames.first)
	m.frames.limit = all
	if bytes != 0 {
		m.frames.limit = int(min(uint64(all), bytes>>abi.PageShift))
	}
}

// AllocBlock returns 2^order contiguous zeroed frames for a structure of the host: a pipe ring, a table.
func (m *Memory) AllocBlock(order int) (abi.GPA, error) {
	if order < 0 || order > MaxOrder {
		return 0, fmt.Errorf("mm: a block of 2^%d frames was asked for; the largest is 2^%d: %w", order, MaxOrder, ErrNoMem)
	}
	m.mu.Lock()
	defer m.unlock()
	f, err := m.kernelFrames(order, stHead)
	if err != nil {
		return 0, fmt.Errorf("mm: block of %d frames: %w", 1<<order, err)
	}
	return f.gpa(), nil
}

// FreeBlock takes back a block. The caller has made sure that no vCPU uses it any more.
func (m *Memory) FreeBlock(gpa abi.GPA) error { return m.freeBlock(gpa, m.frames.put) }

// FreeZeroed is FreeBlock for a block of one frame that the caller has left zeroed.
func (m *Memory) FreeZeroed(gpa abi.GPA) error { return m.freeBlock(gpa, m.frames.putZeroed) }

func (m *Memory) freeBlock(gpa abi.GPA, put func(frame, uint8) bool) error {
	m.mu.Lock()
	defer m.unlock()
	f := frame(gpa >> abi.PageShift)
	if gpa >= m.cfg.End || !put(f, stHead) {
		return fmt.Errorf("mm: %#x is not the address of a block", gpa)
	}
	return nil
}

// OrderFor returns the smallest order whose block holds n bytes.
func OrderFor(n uint64) int {
	o := 0
	for o < MaxOrder && uint64(abi.PageSize)<<o < n {
		o++
	}
	return o
}

// kernelFrames takes zeroed frames for the host's structures, reclaiming if need be.
func (m *Memory) kernelFrames(order int, st uint8) (frame, error) {
	f, err := m.frames.takeZero(order, st)
	if err != nil && m.reclaim(1<<order) {
		f, err = m.frames.takeZero(order, st)
	}
	return f, err
}

// userFrame takes a frame with reference count 1, leaving the reserve alone and reclaiming if need be. It may drop
// clean page-cache pages that have no other user: look pages up after it, not before.
func (m *Memory) userFrame(zero bool) (frame, error) {
	a := m.frames
	take := a.take
	if zero {
		take = a.takeZero
	}
	for range 2 {
		if a.inUse+m.reserve < a.limit {
			if f, err := take(0, stUser); err == nil {
				atomic.StoreUint32(m.ref(f), 1)
				return f, nil
			}
		}
		if !m.reclaim(32) {
			break
		}
	}
	m.stats.OOM.Add(1)
	return 0, ErrOOM
}

// reclaim tries to free n frames: dead address spaces first, then the page cache. It reports whether it freed any.
func (m *Memory) reclaim(n int) bool {
	before := m.frames.inUse
	m.reapLocked()
	if before-m.frames.inUse < n {
		m.shrinkCache(n - (before - m.frames.inUse))
	}
	return m.frames.inUse < before
}

// ref returns the reference count of f, which must be a frame of the allocator.
func (m *Memory) ref(f frame) *uint32 { return &m.refs[f] }

// hold raises the reference count of f.
func (m *Memory) hold(f frame) { atomic.AddUint32(m.ref(f), 1) }

// drop lowers the reference count of f and frees it at 0. A count that is 0 already is a lie of the guest: the frame
// stays in use, lost to the guest.
func (m *Memory) drop(f frame) {
	r := m.ref(f)
	switch atomic.AddUint32(r, ^uint32(0)) {
	case 0:
		m.freeUser(f)
	case ^uint32(0):
		atomic.StoreUint32(r, 0)
		m.stats.BadRefs.Add(1)
	}
}

// freeUser frees a frame whose count has become 0, or leaves that to the last pin.
func (m *Memory) freeUser(f frame) {
	if len(m.pins) != 0 && m.pins[f] != nil {
		m.pins[f].free = true
		return
	}
	if !m.frames.put(f, stUser) {
		m.stats.BadRefs.Add(1)
	}
}

// isUser says whether f is a frame that was handed out for user memory.
func (m *Memory) isUser(f uint64) bool {
	return f >= uint64(m.frames.first) && f < uint64(m.frames.end) && m.frames.state[f] == stUser
}

// Refill takes back the frames that ring 0 dropped and fills the pool up to want zeroed, populated frames. The caller owns
// the pool: its vCPU is in the host. Everything in it is hostile.
func (m *Memory) Refill(p *guest.Pool, want int) {
	m.mu.Lock()
	defer m.unlock()
	m.takeDirty(p)
	n := atomic.LoadUint64(&p.NumZero)
	n = min(n, guest.PoolFrames)
	// A small VM must not lose its memory to the pools: each gets at most a sixteenth of what is free.
	room := (m.frames.limit - m.frames.inUse - m.reserve) / 16
	for end := uint64(min(guest.PoolFrames, want, max(room, 16))); n < end; n++ {
		f, err := m.userFrame(true)
		if err != nil {
			break
		}
		prefault(m.frames.page(f))
		p.Zero[n] = uint64(f.gpa())
	}
	atomic.StoreUint64(&p.NumZero, n)
}

// Drain takes all frames out of the pool. The caller owns the pool.
func (m *Memory) Drain(p *guest.Pool) {
	m.mu.Lock()
	defer m.unlock()
	m.takeDirty(p)
	n := min(atomic.LoadUint64(&p.NumZero), guest.PoolFrames)
	for _, gpa := range p.Zero[:n] {
		f := gpa >> abi.PageShift
		// A frame that ring 0 took out and put back has count 0.
		if !m.isUser(f) || atomic.LoadUint32(m.ref(frame(f))) > 1 {
			m.stats.BadRefs.Add(1)
			continue
		}
		m.freeUser(frame(f))
	}
	atomic.StoreUint64(&p.NumZero, 0)
}

// takeDirty frees the frames in p.Dirty whose count is 0.
func (m *Memory) takeDirty(p *guest.Pool) {
	n := min(atomic.LoadUint64(&p.NumDirty), guest.PoolDirty)
	for _, gpa := range p.Dirty[:n] {
		f := gpa >> abi.PageShift
		if !m.isUser(f) || atomic.LoadUint32(m.ref(frame(f))) != 0 {
			m.stats.BadRefs.Add(1)
			continue
		}
		m.freeUser(frame(f))
	}
	atomic.StoreUint64(&p.NumDirty, 0)
}
