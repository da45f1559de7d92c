package shim

import (
	"culvert/shim/abi"
	"culvert/shim/mm"

	"golang.org/x/sys/unix"
)

// memoryCalls are the rows of the calls on memory.
func memoryCalls() []Syscall {
	return []Syscall{
		{unix.SYS_MMAP, "mmap", sysMmap, Partial, "no huge pages; nothing is reserved", "65530 areas; MAP_POPULATE: the range"},
		{unix.SYS_MUNMAP, "munmap", sysMunmap, Full, "", "mapped pages of the range"},
		{unix.SYS_MPROTECT, "mprotect", sysMprotect, Full, "", "mapped pages of the range"},
		{unix.SYS_MREMAP, "mremap", sysMremap, Full, "", "mapped pages of the range"},
		{unix.SYS_BRK, "brk", sysBrk, Full, "", "mapped pages of the range"},
		{unix.SYS_MADVISE, "madvise", sysMadvise, Partial, "MADV_FREE frees at once; hints are taken and ignored", "mapped pages of the range"},
		{unix.SYS_MINCORE, "mincore", sysMincore, Full, "", "256 MiB of memory at a time"},
		{unix.SYS_MSYNC, "msync", sysMsync, Full, "MS_ASYNC writes too", "dirty pages of the range"},
		{unix.SYS_MLOCK, "mlock", sysMlock, Full, "", "pages of the range"},
		{unix.SYS_MLOCK2, "mlock2", sysMlock2, Full, "", "pages of the range"},
		{unix.SYS_MUNLOCK, "munlock", sysMunlock, Full, "", "areas of the range"},
		{unix.SYS_MLOCKALL, "mlockall", sysMlockall, Full, "", "mapped pages"},
		{unix.SYS_MUNLOCKALL, "munlockall", sysMunlockall, Full, "", "areas"},
		{unix.SYS_PKEY_MPROTECT, "pkey_mprotect", sysPkeyMprotect, Partial, "without protection keys", "as mprotect"},
		{unix.SYS_PKEY_ALLOC, "pkey_alloc", sysPkeyAlloc, Stub, "ENOSPC: the processor's keys are hidden", "constant"},
		{unix.SYS_PKEY_FREE, "pkey_free", sysPkeyFree, Stub, "EINVAL: there are no keys", "constant"},
		{unix.SYS_PROCESS_VM_READV, "process_vm_readv", sysProcessVMReadv, Full, "", "64 MiB"},
		{unix.SYS_PROCESS_VM_WRITEV, "process_vm_writev", sysProcessVMWritev, Full, "", "64 MiB"},
		{unix.SYS_MBIND, "mbind", sysMbind, Stub, "one NUMA node", "constant"},
		{unix.SYS_SET_MEMPOLICY, "set_mempolicy", sysSetMempolicy, Stub, "one NUMA node", "constant"},
		{unix.SYS_GET_MEMPOLICY, "get_mempolicy", sysGetMempolicy, Partial, "one NUMA node, default policy", "constant"},
	}
}

func sysMmap(t *Thread, a Args) (uint64, error) {
	m := mm.MmapArgs{Addr: a[0], Len: a[1], Prot: uint32(a[2]), Flags: uint32(a[3]), Off: a[5]}
	if a[5]&abi.PageMask != 0 {
		return 0, unix.EINVAL
	}
	if m.Flags&unix.MAP_ANONYMOUS == 0 {
		f, err := t.files.file(a.int32(4))
		if err != nil {
			return 0, err
		}
		shared := m.Flags&unix.MAP_TYPE != unix.MAP_PRIVATE
		obj, name, err := f.mapping(shared, m.Prot&unix.PROT_WRITE != 0)
		if err != nil {
			return 0, t.unmappable(f, &m, err)
		}
		if obj == nil {
			m.Flags |= unix.MAP_ANONYMOUS // /dev/zero
		} else {
			defer obj.Put()
			m.Object, m.Name = obj, name
		}
		m.Readable, m.Writable, m.NoExec = f.read, f.write, f.noExec()
		m.NoWrite = shared && f.seals()&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0
	}
	addr, err := t.mm.Mmap(m)
	return addr, t.k.mapError(err)
}

// unmappable is why a file cannot be mapped, err unless the mode of f forbids it anyway (do_mmap). Linux asks a socket only
// when the room for the mapping has been made (mmap_region, sock_no_mmap).
func (t *Thread) unmappable(f *OpenFile, m *mm.MmapArgs, err error) error {
	if err != unix.ENODEV {
		return err
	}
	shared := m.Flags&unix.MAP_TYPE != unix.MAP_PRIVATE
	if !f.read || shared && m.Prot&unix.PROT_WRITE != 0 && !f.write {
		return unix.EACCES
	}
	if f.path.Inode().Type() == unix.S_IFSOCK && m.Flags&unix.MAP_FIXED != 0 {
		if err := t.mm.Munmap(m.Addr, m.Len); err != nil {
			return t.k.mapError(err)
		}
	}
	return err
}

// mapError is memError for calls that answer ENOMEM where memory is short.
func (k *Kernel) mapError(err error) error {
	if err == nil {
		return nil
	}
	if err := k.memError(err); err != unix.EFAULT {
		return err
	}
	return unix.ENOMEM
}

func sysMunmap(t *Thread, a Args) (uint64, error) {
	return 0, t.k.mapError(t.mm.Munmap(a[0], a[1]))
}

func sysMprotect(t *Thread, a Args) (uint64, error) {
	prot := uint32(a[2])
	if t.p.persona&readImpliesExec != 0 && prot&unix.PROT_READ != 0 {
		prot |= unix.PROT_EXEC
	}
	return 0, t.k.mapError(t.mm.Mprotect(a[0], a[1], prot))
}

func sysPkeyMprotect(t *Thread, a Args) (uint64, error) {
	if a.int32(3) != -1 {
		return 0, unix.EINVAL
	}
	return sysMprotect(t, a)
}

func sysPkeyAlloc(_ *Thread, a Args) (uint64, error) {
	if a[0] != 0 || a[1]&^3 != 0 {
		return 0, unix.EINVAL
	}
	return 0, unix.ENOSPC
}

func sysPkeyFree(*Thread, Args) (uint64, error) { return 0, unix.EINVAL }

func sysMremap(t *Thread, a Args) (uint64, error) {
	addr, err := t.mm.Mremap(a[0], a[1], a[2], uint32(a[3]), a[4])
	return addr, t.k.memError(err)
}

func sysBrk(t *Thread, a Args) (uint64, error) { return t.mm.Brk(a[0]), nil }

func sysMadvise(t *Thread, a Args) (uint64, error) {
	return 0, t.k.memError(t.mm.Madvise(a[0], a[1], int(a.int32(2))))
}

// mincorePages is how many pages mincore looks at in one piece.
const mincorePages = 1 << 16

func sysMincore(t *Thread, a Args) (uint64, error) {
	addr, size, vecAt := a[0], a[1], a[2]
	if addr&abi.PageMask != 0 {
		return 0, unix.EINVAL
	}
	if size > uint64(abi.UserEnd) || addr > uint64(abi.UserEnd)-size {
		return 0, unix.ENOMEM
	}
	n := (size + abi.PageMask) >> abi.PageShift
	if !accessOK(vecAt, n) {
		return 0, unix.EFAULT
	}
	buf := make([]byte, min(n, mincorePages))
	for n > 0 {
		vec := buf[:min(n, mincorePages)]
		if err := t.mm.Mincore(addr, vec); err != nil {
			return 0, t.k.memError(err)
		}
		if err := t.copyOut(vecAt, vec); err != nil {
			return 0, err
		}
		k := uint64(len(vec))
		n, vecAt, addr = n-k, vecAt+k, addr+k<<abi.PageShift
	}
	return 0, nil
}

func sysMsync(t *Thread, a Args) (uint64, error) {
	return 0, t.k.memError(t.mm.Msync(a[0], a[1], uint32(a[2])))
}

func sysMlock(t *Thread, a Args) (uint64, error) {
	return 0, t.k.mapError(t.mm.Mlock(a[0], a[1], 0))
}

func sysMlock2(t *Thread, a Args) (uint64, error) {
	return 0, t.k.mapError(t.mm.Mlock(a[0], a[1], uint32(a[2])))
}

func sysMunlock(t *Thread, a Args) (uint64, error) {
	return 0, t.k.memError(t.mm.Munlock(a[0], a[1]))
}

func sysMlockall(t *Thread, a Args) (uint64, error) {
	return 0, t.k.mapError(t.mm.Mlockall(uint32(a[0])))
}

func sysMunlockall(t *Thread, _ Args) (uint64, error) {
	t.mm.Munlockall()
	return 0, nil
}

func sysMbind(*Thread, Args) (uint64, error) { return 0, nil }

func sysSetMempolicy(_ *Thread, a Args) (uint64, error) {
	if mode := a.int32(0) & 0xff; mode > 6 {
		return 0, unix.EINVAL
	}
	return 0, nil
}

func sysGetMempolicy(t *Thread, a Args) (uint64, error) {
	modeAt, maskAt, maxNode, flags := a[0], a[1], a[2], uint32(a[4])
	if flags&^7 != 0 {
		return 0, unix.EINVAL
	}
	if modeAt != 0 {
		if err := t.writeU32(modeAt, 0); err != nil {
			return 0, err
		}
	}
	if maskAt == 0 || maxNode == 0 {
		return 0, nil
	}
	if maxNode > 1<<15 {
		return 0, unix.EINVAL
	}
	mask := make([]byte, (maxNode+63)/64*8)
	if flags&4 != 0 { // MPOL_F_MEMS_ALLOWED
		mask[0] = 1
	}
	return 0, t.copyOut(maskAt, mask)
}
