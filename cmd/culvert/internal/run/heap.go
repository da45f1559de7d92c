package run

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// smallPagesSize is more than Go's heap takes in a VM's life, as long as the guest asks for little.
const smallPagesSize = 4 << 20

// smallPages has the heap grow into small pages. Go's heap begins anywhere in its first 4 MiB, so that what a VM needs, some
// 3 MiB, lies in two or three huge pages of the host by chance, and the runtime cannot give back a part of one which it has
// never used. Nothing else may allocate meanwhile: it would do so beyond those pages.
func smallPages() {
	fresh := make([]byte, smallPagesSize)         // not touched: memory fresh from the host is zero
	_ = unix.Madvise(fresh, unix.MADV_NOHUGEPAGE) // EINVAL: the host's kernel has no huge pages
	runtime.GC()
}
