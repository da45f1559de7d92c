// Package epoll is an epoll instance in memory that several processors share: interests, ready bits and sleeping
// threads, without descriptors, system calls and a VM. The guest kernel runs this code in ring 0 on every vCPU; the
// host runs the same code on the same memory. The reference is fs/eventpoll.c.
//
// Everything outside host_*.go obeys the ring-0 rules, as in package pipes. ring0_test.go checks the compiled object.
//
// # Words
//
// An Instance has chunks, pages of 63 items. An item is an interest: what is wanted of which object, and the user's
// data. Bit i of a chunk's ready word says that item i may have events; the instance's Sum has a bit for each chunk
// whose ready word may have bits.
//
//	object ── Watch ──> Item ── Next ──> Item ── Next ──> 0      the watchers of a pipe, eventfd or instance
//	                     │ in a Chunk      │ in a Chunk
//	                     v                 v
//	                  Instance          Instance ── Watch ──> ...
//
// The host alone (under its own lock) makes and removes items, and edits the lists of watchers. Everybody sets ready
// bits. Only the holder of Lock clears them.
//
// # An event, and a wait
//
// Whoever changes the readiness of an object tells its watchers after that (Walk): each item that hears of the event
// gets its bit, and a thread that sleeps in its instance is woken. A thread that collects (Pass) clears a bit BEFORE it
// asks the object, so an event that comes after the answer sets the bit again:
//
//	event                          collect                        sleep
//	-----                          -------                        -----
//	change the object (locked)     [ET, ONESHOT: clear the bit]   collect: nothing
//	OR the bit; OR Sum             ask the object                 Join: OR Sleepers
//	load Sleepers, wake one        [LT, not ready: clear the      load Sum: not 0, collect again
//	load Watch, go on there         bit, ask again; ready: OR it] sleep
//
// Each side has a locked operation between its store and its load, so no event is missed.
//
//   - Level-triggered items keep their bit while they are ready: whoever looks meanwhile, in a nested wait too, finds
//     it. The bit of an edge-triggered item is the edge; one collector takes it.
//   - Whoever sets a bit tells the sleepers and the watchers of the instance after it, a collector that puts a bit back
//     too (Pass.Told).
//   - One thread is woken, and it passes the wake on: after a collection, if bits remain and a thread sleeps, the next
//     one is woken (ep_done_scan). A thread that was woken and then collects nothing, because of a signal or its end,
//     calls Pass on.
//   - Lock is ep->mtx: it makes collections follow each other, so a wait of zero time is exact. It is tried a bounded
//     number of times, and never held across an exit. Events and nested waits do not take it.
//
// # Changes
//
// Want is the item's truth: events in the low half, a version in the high half. Removing stores 0 events, modifying
// stores 0 events, then Data, then the new events, each with a new version. A collector loads Want, then Data, asks the
// object, and loads Want again: if it is the same, so were Data and the object. EPOLLONESHOT disarms by a
// compare-and-swap from the Want that was reported, so of a report and a modification at the same time, the modification
// wins and the report is not made.
//
// # Memory
//
// Ring 0 walks lists and collects while the host edits. So nothing that was reachable is used again before every walk
// that began earlier has ended: each vCPU has a word that is odd while it walks or collects, and what the host has
// unlinked rests in a Limbo until each of these words was seen even, or changed. That holds for items (also within
// their chunk), for chunks and for instances. An item keeps its Next while it rests, so a walk that stands on it goes on.
// The object of an item outlives the item, but may be gone while a late collector still asks it: that only reads, frames
// stay mapped, and the answer is thrown away since Want has changed.
//
// A ready bit of a removed item may stay set: a collector finds no events wanted and clears it.
//
// # Nesting
//
// An instance's readiness is an event for the instances that watch it. Walk and Peek follow at most Depth levels with a
// stack of their own; the host refuses deeper ones (ELOOP). Peek only reads: what it finds stale it leaves to the
// instance's own collector.
//
// # The order of events
//
// An item gets a stamp when its bit is set, and a level-triggered one when it is reported: it goes to the end then, as in
// Linux, so with a small array every item's turn comes. A collection visits the items in the order of their stamps.
//
// # Differences from Linux
//
// An instance holds MaxItems interests (ENOSPC).
package epoll
