// Package pipes is a Linux pipe in memory that several processors share: ring arithmetic, ends, readiness, sizes and
// sets of waiting threads. It knows no descriptor, no system call and no VM. The guest kernel runs this code in
// ring 0 on every vCPU, and the host runs the same code on the same memory for the ends that it holds. The reference
// is fs/pipe.c; the pages are pipe(7) and fcntl(2).
//
// Everything outside host_*.go obeys the ring-0 rules: no allocation, no package variable, no pointer in a struct, no
// panic. ring0_test.go checks the compiled object.
//
// # The ring
//
// Head and Tail count bytes read and written since the pipe was made; they never wrap and Head <= Tail. The byte of
// position x lies at ring offset x mod Size. Only the holder of ReadLock stores Head and only the holder of WriteLock
// stores Tail, so readers and writers of one pipe run at the same time:
//
//	reader                               writer
//	------                               ------
//	BeginRead: take ReadLock             BeginWrite: take WriteLock
//	load Tail                            load Head
//	copy bytes out (caller)              copy bytes in (caller)
//	EndRead: Head += n   (1)             EndWrite: Tail += n   (1)
//	release ReadLock     (2)             release WriteLock     (2)
//	look for waiters     (3)             look for waiters      (3)
//
// The caller copies, since a copy from or to user memory may fault. It then commits what it copied, 0 included, and
// so never leaves for the host with a lock held. Bytes are ordinary memory: Tail publishes them, Head gives their
// place back. Data and Size may be read between Begin and End only: a resize holds both locks.
//
// Locks are tried a bounded number of times (LockBusy after that). Lock order: by the pipes' addresses, and within a
// pipe ReadLock before WriteLock.
//
// # Sleeping and waking
//
// A thread that got WouldBlock joins RWait or WWait, then tests Readable or Writable again, then sleeps. A waker
// publishes Head or Tail, then looks at the wait set. With full barriers between the two halves on each side (Join is
// a locked OR; (1) and (2) are XCHG) one of the two sees the other: no wake-up is lost.
//
//	sleeper                      waker
//	-------                      -----
//	Join: OR the wait set        store Tail (XCHG)
//	load Tail (Readable)         load the wait set (Take)
//
// One thread is woken, and it passes the wake on: after a read, if bytes remain and a reader waits, the next reader is
// woken; after a write, if PIPE_BUF bytes are free and a writer waits, the next writer. Therefore
//
//   - who stops waiting removes its own bit first (Leave), so that it does not swallow somebody's wake;
//   - who was woken (Leave says so) and then takes nothing, because of a signal, a fault or its end, hands the wake on
//     with PassRead or PassWrite;
//   - writers are woken only when PIPE_BUF bytes are free: any write that may be atomic fits then. A writer that waits
//     for less sleeps on, as it does in Linux until a page slot is free;
//   - closing the last end changes Ends first and then wakes everybody (WakeAll). A reader that finds no writer looks
//     at Tail once more, since the last write came before the last close.
//
// Pollers (PWait) are all woken. The Events of a Wake are what Linux passes to its poll callbacks, so they are the
// edges of EPOLLET: each write is one (POLLIN), a read only if it made room (POLLOUT), a last close is one (POLLHUP or
// POLLERR). HostWatch is to the shim what PWait is to a thread: it is raised before the shim looks at the pipe and
// sleeps, and each event asks for a note while it is not 0.
//
// Model and explorer: explore_test.go runs this protocol over all interleavings, with x86's store buffers, and shows for
// each of its steps that leaving it out loses a wake-up.
//
// # Packets
//
// A write under O_DIRECT is a packet: one read returns it, the rest of it is lost. As in Linux, where a packet has
// a page slot of its own, it takes PIPE_BUF positions of the ring however short it is, so a pipe of Size bytes holds
// Size/PIPE_BUF packets; and a packet fits exactly if PIPE_BUF bytes are free, the same threshold as everywhere. At
// most one packet starts in a page of positions, so Packet holds one entry a page. The entry of a page is final, and
// may be read, once Tail has reached the page's end. Bytes and packets may follow each other in one pipe.
//
// # Differences from Linux
//
// Capacity is counted in bytes. Linux counts page slots, so that 16 writes of 2049 bytes fill a pipe of 64 KiB. All
// that Linux accepts is accepted here, and where Linux says POLLOUT it is said here.
//
// A packet that is written behind bytes stays a packet. Linux puts it into the last page of the bytes, where it is no
// packet any more, if there is room in that page.
package pipes
