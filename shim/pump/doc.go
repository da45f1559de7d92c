// Package pump moves bytes between a ring in guest RAM and a descriptor of the host, which together are one of a VM's
// standard files. To the guest the ring is a pipe like any other, which ring 0 reads, writes and polls without an exit.
//
// The pump is an ordinary reader or writer of package pipes: it alone stores Head (of output) or Tail (of input), under
// that side's lock, and obeys the Wake that it gets. What the guest scribbles over these words hurts the guest: spans are
// checked against a ring that is never moved nor resized, and a span outside of it ends the VM.
//
// # Who does the work
//
// A vCPU's thread that has nothing to run does it, before it sleeps (Idle): a guest that waits for room or for bytes is
// served by the thread that it will run on, and no other has to be woken. That is what a write of Linux does, which copies
// on the writer's own thread, but for a ring at a time. While it sleeps it watches the host's descriptor.
//
// Where no vCPU comes to idle, the pump's own goroutine (Run) does the work: it begins with it, Tick gives it back to it
// when the ring was left alone for a whole time slice (four where it would have to share a processor with the guest, and so
// only interrupt it), and it alone ends the pump.
//
//	inline   vCPUs do it; the goroutine sleeps, with its eye on the bell and the end of the host's reader
//	busy     somebody moves bytes, without the owner's lock: nobody else may
//	missed   meanwhile a vCPU came to idle. It sleeps without watching the host, since the one that is busy will: that
//	         goes on for it, until the host has no more
//
// # The doorbell
//
// HostWatch is the switch of the goroutine's doorbell: while it is not 0, each write (or read that makes room) of ring 0
// makes an exit.
//
//	goroutine                               ring 0
//	---------                               ------
//	nothing to do: spin a while
//	under the owner's lock:
//	  asleep = true; HostWatch = 1 (XCHG)   Tail += n (XCHG)
//	  look again; sleep in poll(2)          HostWatch? exit: NotePipe
//	                                        Rouse, locked: asleep = false, HostWatch = 0, ring the bell
//	asleep = false, HostWatch = 0
//
// Of "HostWatch = 1, look again" and "Tail += n, HostWatch?" at least one sees the other, so no doorbell is lost; and the
// first exit turns the others off before the goroutine has even woken, so a burst costs one. While it waits for the host's
// reader, or is at work, and while vCPUs do the work, HostWatch is 0: there is no exit however much is written. The bell
// is an eventfd, which remembers. The goroutine sleeps with its eye on the host's descriptor too, so it learns at once that
// the host's reader has gone; the guest then finds a pipe without readers (POLLERR, SIGPIPE and EPIPE at the next write).
//
// # How much at a time
//
// What the host took is given back to the guest only once it is half a ring, or all: a guest that waits for room is so woken
// seldom, and has much to do when it is. One that Linux would let write more does not wait for it, since what is under way is
// more than a pipe of Linux holds. A pipe of the host through which much goes is made as large as the ring, where
// that is allowed.
package pump
