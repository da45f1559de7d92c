package guest

import "culvert/shim/abi"

// Small calls that ring 0 serves alone. Each returns false to forward the call.

// sysSchedYield lets another ready thread run.
//
//go:nosplit
func sysSchedYield(p *PerCPU, t *Thread) bool {
	t.RAX = 0
	if anyReady(p) {
		yield(p, t)
		p.Due = dueSchedule
	}
	return true
}

// sysClose answers close(2) of a descriptor that is not open, which programs do by the thousand before they execute
// another; the shim closes the others.
//
//go:nosplit
func sysClose(_ *PerCPU, t *Thread) bool {
	fd := t.RDI & 0xffffffff // the argument is an unsigned int
	if t.Files == nil {
		return false
	}
	if fd < FilesPerLeaf*FilesPerLeaf {
		leaf := load(&t.Files.Leaf[fd/FilesPerLeaf&(FilesPerLeaf-1)])
		if leaf != 0 && load((*uint64)(at(leaf+fd%FilesPerLeaf*8))) != 0 {
			return false
		}
	}
	t.RAX = negative(abi.EBADF)
	return true
}

// negative is an errno as a result.
//
//go:nosplit
func negative(errno uint64) uint64 { return -errno }
