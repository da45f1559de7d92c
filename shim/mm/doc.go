// Package mm is the shim's memory management: frames, address spaces, the page cache and the access to user memory.
// It is pure Go over guest RAM given as bytes (index = guest-physical address) and runs without a VM.
//
// # Who owns what
//
// The host owns the truth about frames (frames.state), virtual memory areas and the upper levels of page tables
// (node: a shadow of each table, so the tables in guest RAM are written but never believed). Ring 0 shares the leaf
// entries and the reference counts. Both lie in guest RAM and are hostile: an entry read back is used only if it
// names a frame that the host has handed out as a user frame; a count may be wrong, which can corrupt the guest but
// not the host, since a frame is freed only if its state says it is in use.
//
// # Page-table entries
//
// A leaf entry is one of
//
//	0                        nothing; a fault comes to the host
//	PTEDemand|rights         private anonymous memory not touched yet: ring 0 puts a zeroed frame here
//	present                  PTEShared in shared mappings; PTECOW, without PTEWrite, in private writable ones
//	present|PTECOW|PTEBusy   claimed: one processor, or the host, makes this page private
//	pteNone|inverted address PROT_NONE: the frame is kept, and neither processor nor ring 0 sees it
//
// The host changes entries by compare-and-swap. Three rules bind ring 0 beyond those of the bits:
//
//  1. It claims a PTECOW entry by a compare-and-swap that sets PTEBusy, and then reads the frame's reference count.
//     Fork raises the count and then exchanges the entry, so one of the two sees the other. A claimed entry belongs to
//     the processor that claimed it, until it stores the entry without PTEBusy. The host waits for that: a shootdown
//     returns only when every processor has left ring 0 (Space.settle).
//  2. A processor may leave a claimed entry to the host by coming here with the fault: the frame in it is then the new
//     one, read-only, and the old frame's count is lowered. An entry that is busy after a shootdown is such a one; the
//     host makes it writable, since everybody has seen the new frame by then.
//  3. A frame of a pool has reference count 0 or 1, and 1 once it is in an entry. Whoever replaced an entry decrements
//     the old frame's count, and puts the frame into Pool.Dirty if the count became 0.
//
// Rights are taken in this order: change the entries, one Flusher.Shootdown, then release the frames. Tables are
// released likewise, or, with the whole space, when no processor has it loaded (Space.Release, Memory.Reap).
//
// # Locks
//
// In the order in which they are taken: locks of the caller (the shim's, the file tree's) > Object.wb > Memory.mu.
// Backing's ReadPages, WritePage and Release are called without Memory.mu (and WritePage with Object.wb); Size,
// Version and Namer.MapName are called with it and must not wait for a lock that is held by a caller of this package.
// Flusher.Shootdown is called with Memory.mu, so it must not wait for a host thread, only for processors in the guest.
//
// # Differences from Linux
//
// Memory is overcommitted as by default (vm.overcommit_memory=0): one mapping may not exceed the machine, and there is
// no other limit until ErrOOM. There is
// no zero page: reading untouched anonymous memory takes a frame. MADV_FREE frees at once. 2 MiB pages are not used.
package mm
