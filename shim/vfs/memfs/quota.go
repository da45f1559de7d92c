package memfs

import (
	"sync"

	"golang.org/x/sys/unix"
)

// inodeBytes is what a name with its inode is charged: about what it costs the
// host, so that a million empty files are bounded by the byte limit too.
const inodeBytes = 1024

// Quota bounds what file systems hold in memory. Several may share one: a VM's
// root, /tmp, /dev/shm and its memfds. Methods may be called concurrently.
type Quota struct {
	mu                sync.Mutex
	maxBytes, bytes   int64
	maxInodes, inodes int64
	peak              int64
}

// NewQuota returns a limit on bytes (contents, names and inodes together) and on
// the number of names.
func NewQuota(bytes, inodes int64) *Quota {
	return &Quota{maxBytes: bytes, maxInodes: inodes}
}

// charge takes bytes and inodes, or answers ENOSPC and takes neither.
func (q *Quota) charge(bytes, inodes int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if bytes > q.maxBytes-q.bytes || inodes > q.maxInodes-q.inodes {
		return unix.ENOSPC
	}
	q.bytes += bytes
	q.inodes += inodes
	q.peak = max(q.peak, q.bytes)
	return nil
}

// release gives back what was charged.
func (q *Quota) release(bytes, inodes int64) {
	q.mu.Lock()
	q.bytes -= bytes
	q.inodes -= inodes
	q.mu.Unlock()
}

// Usage is a Quota's state at one time.
type Usage struct {
	Bytes, MaxBytes   int64
	Inodes, MaxInodes int64
	PeakBytes         int64
}

// Usage reports what is in use.
func (q *Quota) Usage() Usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Usage{q.bytes, q.maxBytes, q.inodes, q.maxInodes, q.peak}
}
