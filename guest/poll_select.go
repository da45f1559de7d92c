package guest

import (
	"math/bits"
	"unsafe"

	"culvert/pipes"
	"culvert/shim/abi"
)

// select(2), and poll(2) on many files: what pipes and eventfds have now, without a wait. A call that finds nothing and
// may wait is selectWait's, or the shim's, and so is one that meets another kind of file or a descriptor that is not open.

const (
	// manyFiles bounds the array of a poll that is served here, and selectWords the sets of a select, in words: a vCPU
	// takes no interrupt meanwhile.
	manyFiles   = 256
	selectWords = manyFiles / 64
)

// The bits of poll that make a descriptor ready in the first and the second set of select. None makes it in the third:
// there is no POLLPRI on these files (fs/select.c).
const (
	selectIn  = pipes.POLLIN | pipes.POLLRDNORM | pipes.POLLHUP | pipes.POLLERR
	selectOut = pipes.POLLOUT | pipes.POLLWRNORM | pipes.POLLERR
)

// readinessNow asks the file open at fd; not known: the shim has to.
//
//go:nosplit
func readinessNow(p *PerCPU, t *Thread, fd uint64) (ready uint64, known bool) {
	f := getFile(p, t, fd)
	if f == nil {
		return 0, false
	}
	if pollable(f) {
		ready, known = fileReadiness(f), true
	}
	putFile(p, t, f)
	return ready, known
}

// pollMany asks the files of poll's array. dontWait: the answer may be that there is nothing. The array's answers are
// written on the way, also if the shim serves the call then: it writes them all again.
//
//go:nosplit
func pollMany(p *PerCPU, t *Thread, dontWait bool) bool {
	addr, left := t.RDI, t.RSI
	if left-1 >= manyFiles || left > load(&t.MaxPoll) || addr >= uint64(abi.UserEnd)-8*manyFiles {
		return false
	}
	found := uint64(0)
	for left != 0 {
		n := min(left, PollFiles)
		if p.Copy(unsafe.Pointer(&p.PollFDs), at(addr), n*8) != 0 {
			return false
		}
		for i := uint64(0); i < n && i < PollFiles; i++ {
			e := p.PollFDs[i]
			got := uint64(0)
			if int32(e) >= 0 {
				ready, known := readinessNow(p, t, e&NoFile)
				if !known {
					return false
				}
				got = ready & (e>>32 | pipes.POLLERR | pipes.POLLHUP) & 0xffff
			}
			if got != 0 {
				found++
			}
			if got != e>>48 {
				p.Event[0] = got
				if p.Copy(at(addr+i*8+6), unsafe.Pointer(&p.Event), 2) != 0 {
					return false
				}
			}
		}
		addr, left = addr+n*8, left-n
	}
	if found == 0 && !dontWait {
		return false
	}
	t.RAX = found
	return true
}

// sysSelect is select(2).
//
//go:nosplit
func sysSelect(p *PerCPU, t *Thread) bool {
	const micros = 1_000_000
	done, wait := selectNow(p, t, micros, false)
	return done || wait != 0 && selectWait(p, t, wait, micros)
}

// sysPselect6 is pselect6(2): its last argument points to the mask's address and size.
//
//go:nosplit
func sysPselect6(p *PerCPU, t *Thread) bool {
	masked := false
	if t.R9 != 0 {
		if t.R9 >= uint64(abi.UserEnd)-16 || p.Copy(unsafe.Pointer(&p.TimeSpec), at(t.R9), 16) != 0 {
			return false
		}
		masked = p.TimeSpec[0] != 0
		if masked && (p.TimeSpec[1] != 8 || !maskReadable(p, p.TimeSpec[0])) {
			return false
		}
	}
	done, wait := selectNow(p, t, nsPerSec, masked)
	return done || wait != 0 && !masked && selectWait(p, t, wait, nsPerSec)
}

// selectNow asks the files of select's sets. Their answers are collected in the slot before any is stored, since they
// take the place of the questions. What is left of the time, all of it, is in its place already. Of a signal mask see
// sysPpoll. If nothing was found and all were asked, wait is how long to wait for them, in ns, or Forever.
//
//go:nosplit
func selectNow(p *PerCPU, t *Thread, unit uint64, masked bool) (done bool, wait uint64) {
	n := uint64(int64(int32(t.RDI)))
	if n-1 >= manyFiles {
		return false, 0
	}
	ns := uint64(Forever)
	if a := t.R8; a != 0 {
		if a >= uint64(abi.UserEnd)-16 || p.Copy(unsafe.Pointer(&p.TimeSpec), at(a), 16) != 0 ||
			p.TimeSpec[0] >= maxSec || p.TimeSpec[1] >= unit {
			return false, 0
		}
		ns = p.TimeSpec[0]*nsPerSec + p.TimeSpec[1]
		if unit != nsPerSec {
			ns += p.TimeSpec[1] * (nsPerMicro - 1)
		}
	}
	t.Vec.N = 0
	found := uint64(0)
	for w := uint64(0); w*64 < n; w++ {
		count, ok := selectWord(p, t, w, validBits(w, n))
		if !ok {
			return false, 0
		}
		found += count
	}
	if found == 0 && (ns != 0 || masked) {
		return false, ns
	}
	t.RAX = found
	if !selectStore(p, t, n) {
		t.RAX = negative(abi.EFAULT)
	}
	return true, 0
}

// selectStore stores the answers in the sets.
//
//go:nosplit
func selectStore(p *PerCPU, t *Thread, n uint64) bool {
	for w := uint64(0); w*64 < n; w++ {
		for set := uint64(0); set < 3; set++ {
			a := selectSet(t, set)
			for a != 0 && p.Copy(at(a+w*8), unsafe.Pointer(selectAnswer(t, w, set)), 8) != 0 {
				if !resolveCopy(p, t) {
					return false
				}
			}
		}
	}
	return true
}

// selectSet is the address of a set: of those to read, to write, and of exceptions.
//
//go:nosplit
func selectSet(t *Thread, set uint64) uint64 {
	if set == 0 {
		return t.RSI
	}
	if set == 1 {
		return t.RDX
	}
	return t.R10
}

// selectAnswer is where the answer of a word of a set is kept until all are known: the slot's iovecs are not in use.
//
//go:nosplit
func selectAnswer(t *Thread, w, set uint64) *uint64 {
	part := &t.Vec.Part[(w*2+set>>1)&(VecParts-1)]
	if set&1 == 0 {
		return &part.Addr
	}
	return &part.Len
}

// selectWord asks the files of word w of the sets, and counts the bits of its answers.
//
//go:nosplit
func selectWord(p *PerCPU, t *Thread, w, valid uint64) (count uint64, ok bool) {
	all := uint64(0)
	for set := uint64(0); set < 3; set++ {
		a := selectSet(t, set)
		asked := uint64(0)
		if a != 0 {
			if a >= uint64(abi.UserEnd)-manyFiles || a&7 != 0 {
				return 0, false
			}
			v, fault := p.LoadUser(at(a + w*8))
			if fault != 0 {
				return 0, false
			}
			asked = v & valid
		}
		*selectAnswer(t, w, set) = asked
		all |= asked
	}
	for ; all != 0; all &= all - 1 {
		fd := uint64(bits.TrailingZeros64(all))
		ready, known := readinessNow(p, t, w*64+fd)
		if !known {
			return 0, false
		}
		count += keepBit(selectAnswer(t, w, 0), fd, ready&selectIn)
		count += keepBit(selectAnswer(t, w, 1), fd, ready&selectOut)
	}
	*selectAnswer(t, w, 2) = 0
	return count, true
}

// keepBit clears a bit of what was asked if nothing is ready, and answers what is left of it.
//
//go:nosplit
func keepBit(asked *uint64, i, ready uint64) uint64 {
	if ready == 0 {
		*asked &^= 1 << (i & 63)
	}
	return *asked >> (i & 63) & 1
}
