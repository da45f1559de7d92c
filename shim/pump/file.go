package pump

import (
	"sync/atomic"

	"culvert/pipes"

	"golang.org/x/sys/unix"
)

// FileRing is the size in bytes of the ring of a File: what one call of the host writes.
const FileRing = 256 << 10

// File is a regular file of the host with a ring for what the guest writes to it. It has no goroutine and no doorbell: its
// owner empties the ring before it does anything else for the guest, and when a vCPU has nothing to run, so that the guest
// finds in the file what it wrote. A lock of the owner's guards it.
type File struct {
	End pipes.End
	FD  int
	// Err is why bytes were lost, and Lost how many.
	Err  error
	Lost int
}

// Pending says that Flush has work.
//
//go:nosplit
func (f *File) Pending() bool {
	q := f.End.Pipe
	return atomic.LoadUint64(&q.Head) != atomic.LoadUint64(&q.Tail)
}

// Flush writes what is in the ring: at the end of the file if appending. What the host refuses is lost: the guest has been
// told that it is written. The error is not the host's, which is kept, but that the ring's words lie.
func (f *File) Flush(appending bool) error {
	flags := 0
	if appending {
		flags = unix.RWF_APPEND
	}
	for tries := 0; f.Pending() && tries < 2; tries++ { // more is what another vCPU writes meanwhile
		a, b, st, err := f.End.BeginRead(FileRing)
		switch {
		case err != nil:
			return err
		case st != pipes.OK:
			return nil // only a guest that lies holds the lock
		}
		all := len(a) + len(b)
		for done := 0; done < all && err == nil; {
			var n int
			n, err = ignoringEINTR(func() (int, error) { return unix.Pwritev2(f.FD, pieces(skip(a, b, done)), -1, flags) })
			if done += max(n, 0); err == nil && n == 0 {
				err = unix.EIO
			}
			if err != nil {
				f.Err = err
				f.Lost += all - done
			}
		}
		f.End.Pipe.EndRead(uint64(all)) // nobody waits for room
	}
	return nil
}
