package shim

import (
	"culvert/shim/mm"

	"golang.org/x/sys/unix"
)

// maxProcessVM bounds the bytes of one process_vm_readv(2) or process_vm_writev(2). The rest is for the next call, as the
// manual page allows.
const maxProcessVM = 64 << 20

func sysProcessVMReadv(t *Thread, a Args) (uint64, error) {
	return t.processVM(a, func(local uint64, other *mm.Space, remote uint64, b []byte) (int, error) {
		n, err := other.CopyIn(remote, b)
		m, lerr := t.mm.Space.CopyOut(local, b[:n])
		if lerr != nil {
			return m, lerr
		}
		return n, err
	})
}

func sysProcessVMWritev(t *Thread, a Args) (uint64, error) {
	return t.processVM(a, func(local uint64, other *mm.Space, remote uint64, b []byte) (int, error) {
		n, err := t.mm.Space.CopyIn(local, b)
		m, rerr := other.CopyOut(remote, b[:n])
		if rerr != nil {
			return m, rerr
		}
		return n, err
	})
}

// processVM is process_vm_rw of mm/process_vm_access.c: move moves as much of a buffer as it can between the two memories,
// and says why not all.
func (t *Thread) processVM(a Args, move func(local uint64, other *mm.Space, remote uint64, b []byte) (int, error)) (uint64, error) {
	if a[5] != 0 {
		return 0, unix.EINVAL
	}
	local, left, err := t.readIovecs(a[1], a[2])
	if err != nil {
		return 0, err
	}
	remote, _, err := t.readIovecs(a[3], a[4])
	if err != nil || left == 0 || len(remote) == 0 {
		return 0, err
	}
	p := t.k.processOfTID(a.int32(0))
	if p == nil || p.mm == nil {
		return 0, unix.ESRCH
	}
	if !t.mayTrace(p) {
		return 0, unix.EPERM
	}
	left = min(left, maxProcessVM)
	buf := make([]byte, 64<<10)
	for done := uint64(0); ; {
		if left == 0 || len(local) == 0 || len(remote) == 0 {
			return done, nil
		}
		l, r := &local[0], &remote[0]
		n := min(l.len, r.len, uint64(left), uint64(len(buf)))
		moved, err := move(l.addr, p.mm.Space, r.addr, buf[:n])
		done += uint64(moved)
		switch {
		case err != nil && done > 0:
			return done, nil
		case err != nil:
			return 0, t.k.memError(err)
		}
		left -= moved
		local, remote = advance(local, n), advance(remote, n)
	}
}

// advance takes n bytes, at most the first range, off a list of ranges.
func advance(iov []iovec, n uint64) []iovec {
	if iov[0].addr, iov[0].len = iov[0].addr+n, iov[0].len-n; iov[0].len == 0 {
		return iov[1:]
	}
	return iov
}
