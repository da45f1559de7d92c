// Package signals is what guest kernel and shim share of a program's signals: the actions of a process, and which signals
// wait for it, in memory that all processors of a VM and the host see; and the layout of signal frames, with what makes the
// FPU state in one safe to load. It knows no system call and no VM. The reference is kernel/signal.c, whose siglock is what is
// done without here.
//
// Everything here obeys the ring-0 rules: no allocation, no package variable, no pointer in a struct, no panic.
//
// # Actions
//
// An action is four words, which cannot be stored at once. So each lies in a buffer, and a word per signal says in which one:
//
//	Current[n] = version<<8 | number of the buffer       Buffer[0..63+2] = actions; one is ring 0's spare, one the host's
//
// Whoever changes an action fills his spare buffer and then replaces Current[n] by a compare-and-swap with the next version;
// the buffer that was current before is his spare now. Whoever reads loads Current[n], then the buffer's words, and looks again: if
// Current[n] is the same, nobody had that buffer to write to meanwhile. The processors of a VM share one spare and take turns (Lock);
// one that would have to wait leaves the call to the shim. The host takes no lock, so that a vCPU which is stopped
// in the middle of a change keeps nobody waiting. Its own changes are bounded: after many lost races it wins by force, which
// may lose a change by a guest that does nothing but that.
//
// # Blocked signals
//
// The mask of blocked signals is a word of the thread, which both the thread's vCPU and the shim change, the latter only while it
// serves the thread. Pending has a bit for each signal that may wait for any thread that uses the Table: the shim's queues are the
// truth, the word has at least their bits.
//
//	thread, in ring 0                           shim, sending a signal
//	-----------------                           ----------------------
//	store the mask (or replace an action)       queue the signal
//	full barrier                                set its bit in Pending
//	load Pending                                full barrier
//	a bit that the change concerns?             load masks and actions, and choose: a thread that takes
//	  the shim looks, before ring 3 goes on     the signal, or the end of the process
//
// Of "store, load Pending" and "set the bit, load the mask" at least one sees the other. So
//
//   - a thread that unblocks a signal either finds it pending, or the shim finds it unblocked and makes the thread visit it;
//   - a thread that blocks a signal either finds it pending, and then the shim looks for another thread to take it, or the
//     shim finds it blocked and does not choose this thread;
//   - the same of an action: if the shim ends a process by a signal's old action, then no thread that has changed the action
//     executes anything in ring 3 after that.
//
// A signal is delivered by the shim, while it serves the thread, by the mask that is there then; or by a thread that sends it to
// itself, does not block it, and finds nothing in Pending that would have to come first. What a change makes the shim
// discard (an action that ignores a signal) is never done in ring 0.
//
// # Frames
//
// The shim writes the frame of a handler, and ring 0 that of a signal which a thread sends itself; ring 0 takes frames back, if they
// are of the usual form. Both write and accept the same, which is compared in package sig.
//
// # Waiting for a signal
//
// sigsuspend and pause wait in ring 0, and are completed by the shim in the call of whoever sends the signal: the frame is in
// the thread's slot when it wakes. The thread's record says who has the slot meanwhile:
//
//	thread, in ring 0                           shim, as it wants the thread to take a signal
//	-----------------                           ---------------------------------------------
//	all registers to the slot
//	store the mask, full barrier
//	Kind = WaitSignal, full barrier             CAS Kind: WaitSignal to WaitShim?
//	load Pending                                  yes: the wait is the shim's; deliver, Kind = WaitNone, wake
//	a bit that the masks let through?             no: Attn = 1, wake
//	  CAS Kind: WaitSignal to WaitNone?
//	    yes: mask as before; the shim makes
//	    the call
//	block, until Kind is WaitNone or Attn is 1
//
// One of the two compare-and-swaps wins, so the slot has one owner. A thread whose record comes after the shim's look finds the
// signal in Pending, and one that the shim wakes before it has blocked does not block (State). suspend_explore_test.go shows of
// each step that it is needed.
package signals
