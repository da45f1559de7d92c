package mm

import (
	"sync/atomic"

	"culvert/shim/abi"
)

// Software encodings of this package, beyond those that ring 0 knows. See the package comment.
const (
	// pteNone, in a non-present entry: PROT_NONE, and the address bits, inverted, name the frame that is kept
	// (inverted so that a processor that speculates past a non-present entry, L1TF, finds no memory there).
	pteNone = abi.PTEGlobal
	// pteTable are the bits of an entry that names a table.
	pteTable = abi.PTEPresent | abi.PTEWrite | abi.PTEUser
)

// Protection bits, as PROT_*.
const (
	protRead  = 1
	protWrite = 2
	protExec  = 4
	protAll   = protRead | protWrite | protExec
)

// rights returns the PTE bits that protection prot gives a page, without PTEPresent: any access implies reading.
func rights(prot uint8) uint64 {
	r := uint64(abi.PTEUser)
	if prot&protWrite != 0 {
		r |= abi.PTEWrite
	}
	if prot&protExec == 0 {
		r |= abi.PTENX
	}
	return r
}

// demand returns the entry for an untouched page of private anonymous memory: 0 if it may not be touched.
func demand(prot uint8) uint64 {
	if prot == 0 {
		return 0
	}
	return abi.PTEDemand | rights(prot)
}

// entryFrame returns the frame that e names, present or kept by pteNone. It reports false if there is none, or if
// the guest made the entry up.
func (m *Memory) entryFrame(e uint64) (frame, bool) {
	var f uint64
	switch {
	case e&abi.PTEPresent != 0:
		f = e & abi.PTEAddr >> abi.PageShift
	case e&pteNone != 0:
		f = ^e & abi.PTEAddr >> abi.PageShift
	default:
		return 0, false
	}
	if !m.isUser(f) {
		m.stats.BadPTEs.Add(1)
		return 0, false
	}
	return frame(f), true
}

// entry builds the entry of frame f at addr in v, with v's protection. Writable private pages become PTECOW unless
// the frame has no other user. Pages of a shared mapping of a backed object are writable only while marked dirty.
func (v *vma) entry(addr uint64, f frame) uint64 {
	var shared uint64
	if v.flags&fShared != 0 {
		shared = abi.PTEShared
	}
	if v.prot == 0 {
		return pteNone | ^uint64(f.gpa())&abi.PTEAddr | shared
	}
	e := uint64(f.gpa()) | abi.PTEPresent | abi.PTEAccessed | rights(v.prot) | shared
	if e&abi.PTEWrite == 0 {
		return e
	}
	if shared == 0 {
		if atomic.LoadUint32(v.space.m.ref(f)) != 1 {
			e = e&^abi.PTEWrite | abi.PTECOW
		}
	} else if v.obj.back != nil && !v.obj.isDirty(v.index(addr)) {
		e &^= abi.PTEWrite
	}
	return e
}

// lostRights says whether a processor that still uses old could do or see what now does not allow.
func lostRights(old, now uint64) bool {
	if old&abi.PTEPresent == 0 {
		return false
	}
	return now&abi.PTEPresent == 0 || old&abi.PTEBusy != 0 || (old^now)&abi.PTEAddr != 0 ||
		old&^now&(abi.PTEWrite|abi.PTEUser) != 0 || now&^old&abi.PTENX != 0
}
