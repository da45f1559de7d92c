package shim

import (
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Advisory locks, mirroring fs/locks.c. Three families live on an inode and do not see each other except that
// POSIX locks (F_SETLK) and open-file-description locks (F_OFD_SETLK) conflict: a POSIX lock is owned by a
// descriptor table, an OFD lock and a flock(2) by an open file description.

// maxFileLocks bounds the lock records of a VM: the host's memory is the guest's to fill otherwise.
const maxFileLocks = 16384

// lockOwner is *fdTable for POSIX locks and *OpenFile for the others; compared by identity.
type lockOwner any

// fileLock is a locked range; both ends are inclusive.
type fileLock struct {
	owner      lockOwner
	write      bool
	start, end int64
	pid        int32 // as F_GETLK reports it: -1 for OFD locks
}

// overlaps reports whether the ranges share a byte.
func (l *fileLock) overlaps(start, end int64) bool { return l.start <= end && start <= l.end }

// inodeLocks are the locks of an inode. The zero value has none.
type inodeLocks struct {
	ranges []fileLock // POSIX and OFD; those of an owner lie together, sorted by start
	flocks []fileLock // whole-file, at most one an owner
	wait   Queue      // woken when any lock goes or shrinks
}

// inodeLocksKey is the key under which an inode's locks are attached to it.
type inodeLocksKey struct{}

// conflict returns the first lock of another owner that keeps want from being set, nil if there is none.
func (s *inodeLocks) conflict(want *fileLock) *fileLock {
	for i := range s.ranges {
		l := &s.ranges[i]
		if l.owner != want.owner && l.overlaps(want.start, want.end) && (l.write || want.write) {
			return l
		}
	}
	return nil
}

// set gives want's owner that range, replacing what it held there; adjacent ranges of the same kind merge, as
// posix_lock_inode does. Preconditions: conflict(want) is nil.
func (s *inodeLocks) set(want fileLock) {
	out := s.cut(want.owner, want.start, want.end)
	kept := out[:0]
	for _, l := range out {
		adjacent := l.owner == want.owner && l.write == want.write &&
			((l.end != math.MaxInt64 && l.end+1 == want.start) || (want.end != math.MaxInt64 && want.end+1 == l.start))
		if !adjacent {
			kept = append(kept, l)
			continue
		}
		want.start, want.end = min(want.start, l.start), max(want.end, l.end)
	}
	// The order decides which of several conflicting locks F_GETLK reports.
	at := len(kept)
	for i := range kept {
		if kept[i].owner != want.owner {
			continue
		}
		at = i
		if kept[i].start > want.start {
			break
		}
		at = i + 1
	}
	s.ranges = slices.Insert(kept, at, want)
}

// clear takes a range away from an owner and reports whether it held any of it.
func (s *inodeLocks) clear(owner lockOwner, start, end int64) bool {
	held := false
	for i := range s.ranges {
		held = held || (s.ranges[i].owner == owner && s.ranges[i].overlaps(start, end))
	}
	if held {
		s.ranges = s.cut(owner, start, end)
	}
	return held
}

// cut returns the ranges without what owner holds in start..end.
func (s *inodeLocks) cut(owner lockOwner, start, end int64) []fileLock {
	out := make([]fileLock, 0, len(s.ranges)+2)
	for _, l := range s.ranges {
		if l.owner != owner || !l.overlaps(start, end) {
			out = append(out, l)
			continue
		}
		if l.start < start {
			left := l
			left.end = start - 1
			out = append(out, left)
		}
		if l.end > end {
			right := l
			right.start = end + 1
			out = append(out, right)
		}
	}
	return out
}

// flock returns nil if owner may hold the whole-file lock, and the lock in the way else.
func (s *inodeLocks) flockConflict(owner lockOwner, write bool) *fileLock {
	for i := range s.flocks {
		l := &s.flocks[i]
		if l.owner != owner && (l.write || write) {
			return l
		}
	}
	return nil
}

// dropFlock removes owner's whole-file lock and reports whether there was one.
func (s *inodeLocks) dropFlock(owner lockOwner) bool {
	for i := range s.flocks {
		if s.flocks[i].owner == owner {
			s.flocks = append(s.flocks[:i], s.flocks[i+1:]...)
			return true
		}
	}
	return false
}

// empty reports whether nothing is locked.
func (s *inodeLocks) empty() bool { return len(s.ranges) == 0 && len(s.flocks) == 0 }

// lockRange turns a struct flock's whence, start and length into an inclusive range
// (fs/locks.c flock64_to_posix_lock).
func lockRange(base, start, length int64) (int64, int64, error) {
	if start > 0 && base > math.MaxInt64-start {
		return 0, 0, unix.EOVERFLOW
	}
	start += base
	if start < 0 {
		return 0, 0, unix.EINVAL
	}
	switch {
	case length > 0:
		if length-1 > math.MaxInt64-start {
			return 0, 0, unix.EOVERFLOW
		}
		return start, start + length - 1, nil
	case length < 0:
		if start+length < 0 {
			return 0, 0, unix.EINVAL
		}
		return start + length, start - 1, nil
	}
	return start, math.MaxInt64, nil
}
