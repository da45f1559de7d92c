package guest

import (
	"unsafe"

	"culvert/pipes"
	"culvert/shim/abi"
)

// readv(2) and writev(2) on pipes. The array is copied into the slot once and checked as import_iovec does
// (lib/iov_iter.c); after that the call is the record of a read or write whose buffer has several parts. Long arrays,
// and all that is refused, are the shim's.

// sysReadv is readv(2) for pipes.
//
//go:nosplit
func sysReadv(p *PerCPU, t *Thread) bool { return vecCall(p, t, abi.WaitRead, FileRead) }

// sysWritev is writev(2) for pipes.
//
//go:nosplit
func sysWritev(p *PerCPU, t *Thread) bool { return vecCall(p, t, abi.WaitWrite, FileWrite) }

//go:nosplit
func vecCall(p *PerCPU, t *Thread, kind, mode uint64) bool {
	addr, n := t.RSI, t.RDX
	if n-1 >= VecParts || addr >= uint64(abi.UserEnd)-VecParts*16 {
		return false
	}
	f := getFile(p, t, t.RDI)
	if f == nil {
		return false
	}
	total := uint64(0)
	if load(&f.Kind) == abi.FileLink {
		kind += linkKind
	} else if load(&f.Kind) == abi.FileOutput {
		mode &= FileWrite
	} else if load(&f.Kind) != abi.FilePipe {
		mode = 0
	}
	if f.Mode&mode != 0 &&
		p.Copy(unsafe.Pointer(&t.Vec.Part), at(addr), n*16) == 0 {
		total = checkVec(&t.Vec, n)
	}
	if total == 0 {
		putFile(p, t, f)
		return false
	}
	w := &t.Wait
	t.Vec.N = n
	if load(&f.Kind) == abi.FileOutput {
		done := output(p, t, f, total)
		putFile(p, t, f)
		return done
	}
	w.Kind, w.File, w.Addr, w.Len, w.Done = kind, f.Index, addr, total, 0
	w.Aux = uint64(pipes.ModeOf(total, load(&f.Flags)))
	runRecord(p, t)
	return true
}

// checkVec returns the bytes of the first n parts, cut off at MAX_RW_COUNT; 0 also if a part is not in the user half.
//
//go:nosplit
func checkVec(v *Vec, n uint64) (total uint64) {
	for i := uint64(0); i < n && i < VecParts; i++ {
		part := &v.Part[i]
		if part.Len > uint64(abi.UserEnd) || part.Addr > uint64(abi.UserEnd)-part.Len {
			return 0
		}
		part.Len = min(part.Len, abi.MAX_RW_COUNT-total)
		total += part.Len
	}
	return total
}

// copyRing copies between the record's user memory, from byte Done on, and a span of the ring. It returns the bytes
// copied before a fault.
//
//go:nosplit
func copyRing(p *PerCPU, t *Thread, data uint64, s pipes.Span, in bool) (done uint64) {
	skip := t.Wait.Done
	if t.Vec.N == 0 {
		return copyPart(p, t.Wait.Addr+skip, data, s, in)
	}
	for i := uint64(0); i < t.Vec.N && i < VecParts; i++ {
		part := &t.Vec.Part[i]
		if skip >= part.Len {
			skip -= part.Len
			continue
		}
		var piece pipes.Span
		piece, s = cut(s, part.Len-skip)
		n := piece.N1 + piece.N2
		if n == 0 {
			break
		}
		got := copyPart(p, part.Addr+skip, data, piece, in)
		done += got
		if got != n {
			break
		}
		skip = 0
	}
	return done
}

// cut takes at most n bytes from the front of a span.
//
//go:nosplit
func cut(s pipes.Span, n uint64) (front, rest pipes.Span) {
	n1 := min(n, s.N1)
	n2 := min(n-n1, s.N2)
	front = pipes.Span{Off: s.Off, N1: n1, N2: n2}
	if n1 < s.N1 {
		return front, pipes.Span{Off: s.Off + n1, N1: s.N1 - n1, N2: s.N2}
	}
	return front, pipes.Span{Off: n2, N1: s.N2 - n2}
}

// copyPart copies between user memory that is in one piece and a span of the ring at data.
//
//go:nosplit
func copyPart(p *PerCPU, addr, data uint64, s pipes.Span, in bool) uint64 {
	left := copyUser(p, addr, data+s.Off, s.N1, in)
	if left != 0 || s.N2 == 0 {
		return s.N1 - left
	}
	return s.N1 + s.N2 - copyUser(p, addr+s.N1, data, s.N2, in)
}
