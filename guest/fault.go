package guest

import (
	"sync/atomic"
	"unsafe"

	"culvert/shim/abi"
)

// onTrap is called by the gates for exceptions in ring 3 and for the kick vector.
//
//go:nosplit
func onTrap(p *PerCPU, t *Thread) {
	if p.Vector == abi.VecKick {
		p.Stats.Ticks++
		if anyReady(p) {
			yield(p, t)
			schedule(p)
		}
		leave(p)
		return
	}
	if p.Vector != abi.VecPF || !fixFault(p, p.CR2, p.Err) {
		c := p.Call
		c.Vector, c.Err, c.CR2, c.Copy = p.Vector, p.Err, p.CR2, 0
		forward(p, t, abi.KindFault, 0)
	}
	leave(p)
}

// fixFault serves a page fault of user memory without the host: a zeroed frame where the PTE says PTEDemand, and
// copy-on-write where it says PTECOW. It reports false if the host has to look.
//
// Rights that are added need no flush of other vCPUs. A copy replaces a frame, so it is done here only while no other
// vCPU has the address space loaded.
//
//go:nosplit
func fixFault(p *PerCPU, addr, err uint64) bool {
	pte := walk(p, addr)
	if pte == nil {
		return false
	}
	for {
		e := load(pte)
		if e&abi.PTEUser == 0 || err&abi.PFFetch != 0 && e&abi.PTENX != 0 {
			return false
		}
		write := err&abi.PFWrite != 0
		if e&abi.PTEPresent == 0 {
			if e&abi.PTEDemand == 0 || write && e&abi.PTEWrite == 0 {
				return false
			}
			done, again := demandZero(p, pte, e)
			if !again {
				return done
			}
			continue
		}
		if !write || e&abi.PTEWrite != 0 {
			// The PTE allows the access: another vCPU was faster, or this one had an old translation.
			p.Invlpg(addr)
			p.Stats.Spurious++
			return true
		}
		if e&abi.PTECOW == 0 {
			return false
		}
		if e&abi.PTEBusy != 0 {
			// Another vCPU is copying; the access faults again until it is done.
			p.Pause()
			return true
		}
		done, again := copyOnWrite(p, pte, e, addr)
		if !again {
			return done
		}
	}
}

// walk returns the PTE of a user address in the current address space, or nil if a table is missing.
//
//go:nosplit
func walk(p *PerCPU, addr uint64) *uint64 {
	if addr >= uint64(abi.UserEnd) || p.Space == nil {
		return nil
	}
	table := p.CR3 & abi.PTEAddr
	for shift := uint64(39); shift > abi.PageShift; shift -= 9 {
		e := load((*uint64)(direct(table + (addr>>(shift&63)&511)*8)))
		if e&abi.PTEPresent == 0 || e&abi.PTEHuge != 0 {
			return nil
		}
		table = e & abi.PTEAddr
	}
	return (*uint64)(direct(table + (addr>>abi.PageShift&511)*8))
}

// demandZero puts a zeroed frame of this vCPU's pool into an empty PTE. again: the PTE changed, look once more.
//
//go:nosplit
func demandZero(p *PerCPU, pte *uint64, e uint64) (done, again bool) {
	f, ok := popFrame(p)
	if !ok {
		return false, false
	}
	rights := e & (abi.PTEUser | abi.PTEWrite | abi.PTENX)
	if !cas(pte, e, f|rights|abi.PTEPresent|abi.PTEAccessed|abi.PTEDirty) {
		pushFrame(p, f)
		return false, true
	}
	p.Stats.DemandZero++
	cur(p).Faults++
	return true, false
}

// copyOnWrite makes the page of a PTECOW entry writable. PTEBusy claims the entry before the reference count is read:
// fork raises the count first and then changes the PTE by compare-and-swap, so either fork sees the claim and waits,
// or the count read here includes fork's.
//
//go:nosplit
func copyOnWrite(p *PerCPU, pte *uint64, e, addr uint64) (done, again bool) {
	busy := e | abi.PTEBusy
	if !cas(pte, e, busy) {
		return false, true
	}
	writable := e&^abi.PTECOW | abi.PTEWrite | abi.PTEAccessed | abi.PTEDirty
	old := e & abi.PTEAddr
	refs := frameRefs(p, old)
	if atomic.LoadUint32(refs) == 1 {
		store(pte, writable)
		p.Invlpg(addr)
		p.Stats.COWReuse++
		cur(p).Faults++
		return true, false
	}
	me := uint64(1) << (p.ID & 63)
	f, ok := uint64(0), false
	if load(&p.Space.Active) == me && p.Pool.NumDirty < PoolDirty {
		f, ok = popFrame(p)
	}
	if !ok {
		store(pte, e)
		return false, false
	}
	p.Copy(direct(f), direct(old), abi.PageSize)
	// The new frame first, still read-only and busy; then a look for vCPUs that came meanwhile; the right to write
	// last, or such a vCPU could read old data after new data was written. The host finishes what this cannot: for
	// a busy entry it does the shootdown and sets the right.
	moved := busy&^abi.PTEAddr | f
	store(pte, moved)
	if load(&p.Space.Active) != me {
		// The vCPU that came may read the old frame until the host's shootdown: keep its count until then.
		p.Deferred = old
		return false, false
	}
	p.Invlpg(addr)
	store(pte, writable&^abi.PTEAddr|f)
	dropFrame(p, old)
	p.Stats.COWCopy++
	cur(p).Faults++
	return true, false
}

// popFrame takes a zeroed frame from this vCPU's pool, with one reference.
//
//go:nosplit
func popFrame(p *PerCPU) (gpa uint64, ok bool) {
	pool := p.Pool
	n := pool.NumZero
	if n == 0 || n > PoolFrames {
		return 0, false
	}
	slot := (*uint64)(unsafe.Add(unsafe.Pointer(&pool.Zero), (n-1)*8))
	gpa = *slot & abi.PTEAddr
	pool.NumZero = n - 1
	atomic.StoreUint32(frameRefs(p, gpa), 1)
	return gpa, true
}

// pushFrame undoes popFrame.
//
//go:nosplit
func pushFrame(p *PerCPU, gpa uint64) {
	pool := p.Pool
	atomic.StoreUint32(frameRefs(p, gpa), 0)
	n := pool.NumZero
	*(*uint64)(unsafe.Add(unsafe.Pointer(&pool.Zero), n*8)) = gpa
	pool.NumZero = n + 1
}

// dropFrame drops a reference; the last one puts the frame among the dirty ones, for the host to take back.
//
//go:nosplit
func dropFrame(p *PerCPU, gpa uint64) {
	if atomic.AddUint32(frameRefs(p, gpa), ^uint32(0)) != 0 {
		return
	}
	pool := p.Pool
	n := pool.NumDirty
	*(*uint64)(unsafe.Add(unsafe.Pointer(&pool.Dirty), n*8)) = gpa
	pool.NumDirty = n + 1
}

// frameRefs is the reference count of a frame.
//
//go:nosplit
func frameRefs(p *PerCPU, gpa uint64) *uint32 {
	return (*uint32)(at(p.VM.Refs + gpa>>abi.PageShift*4))
}
