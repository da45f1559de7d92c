// Package guest is the kernel in the VM's ring 0, written in Go and compiled into the ordinary binary: entry stubs,
// scheduler, page faults that need no host, and the system calls that two guest processes can settle between them. All
// else it forwards to the host through the hypercall page.
//
// # What runs in ring 0
//
// Everything in this package but the files host_*.go, and the same of packages pipes and epoll. At the VM's start the
// pages of those functions are copied into a sealed memfd, with INT3 in place of everything else, and mapped read-only
// at abi.TextBase with the distances they have in the binary, cut into pages where the busiest functions take the fewest
// (hotRuns; the files are named so that these functions follow each other in the binary). Neither .rodata nor .data is mapped, and no runtime: a panic,
// a stack check or a global faults, and the host names the function.
//
// So the code obeys rules, which package ringcheck proves of the built binary:
//
//   - Every function is nosplit, and refers to code of these packages only: no package variables, no allocation, no
//     write barriers, no jump tables, no interface or map, no panic that could be reached.
//   - Calls between compiled code and assembly go through code addresses in the vCPU's page (PerCPU): a direct call
//     would reload the g register from FS, which is the user's. R14 holds a fake g, X15 is zero.
//   - Compiled code uses no vector register but X14 and X15, which the entries save.
//
// # The hypercall page
//
// One per vCPU, type Call. Ring 0 fills in the request, executes OUT to abi.PortCall, and reads the reply after it:
//
//	ring 0: thread runs in ring 3
//	   |  SYSCALL, exception, kick
//	   v
//	ring 0: registers are in the slot; fast path? --yes--> back to ring 3
//	   |  no: save FPU area and bases in the slot, write the request
//	   v  OUT
//	host: copies the request once, checks it, serves it; results go into the slot
//	   |  KVM_RUN
//	   v
//	ring 0: answer shootdowns, then by Action:
//	   RETURN  back to ring 3 with the slot's registers
//	   BLOCK   the thread waits; run another
//	   EXIT    the thread is gone; leave its address space, free the slot, run another
//
// The page carries abi.Version and the host refuses another one. Requests: SYSCALL, FAULT (an exception, or a fault in
// ring 0's copies from and to user memory), IDLE, DIE, NOTE. Nothing else crosses: no KVM_GET_REGS, no KVM_SET_REGS. The
// host treats the page, the slots and all other shared words as hostile.
//
// # Threads
//
// A thread is a slot of a table that the host shares (type Thread). The state word is the truth, ready bits are hints:
//
//	FREE ---host---> RUN <---------.            taken: ready bit won by a locked AND, OnCPU set by CAS
//	                 |  ^          |
//	    block: CAS   |  | wake: CAS, then ready bit
//	                 v  |          |
//	               BLOCKED         |
//	                               |
//	                 RUN --wake--> WOKEN (came while the thread was leaving: its CAS to BLOCKED fails, it stays)
//	                 RUN --exit--> DEAD --host--> FREE (or by a call of the shim, to FREE at once: see sysExit)
//
// A vCPU that blocks a thread stores all registers in the slot, then OnCPU=0, then tries RUN to BLOCKED; so whoever wins
// the ready bit finds the slot whole. Every blocked operation is a record (type Wait) and a retry, so a spurious wake is
// harmless, and no frame sleeps on a kernel stack: one stack per vCPU is enough.
//
// To sleep on a condition: join the wait set (a locked OR), look at the condition again, block. To wake: publish the
// condition, a full barrier, take a bit out of the wait set, Wake. Of "join, look" and "publish, take" at least one sees
// the other. An idle vCPU does the same with its bit in VM.Idle; a waker that finds no bit there owes no kick
// (explore_test.go).
//
// The code of a system call does not block by itself: it leaves in PerCPU.Due what is to be done when it has returned. So
// the thread that is taken next runs its retry on an almost empty stack, and few returns lie between a switch and ring 3.
//
// # What a switch costs
//
// Loading CR3 empties the TLB, all of it where global pages are not kept (QEMU), and each page that is touched after that is
// a walk of two dimensions. So pages are what counts: the slots of two threads, in one page if they are parent and child (type
// Thread); that of the VM's second half, with the first address spaces' blocks, and of the first open files; the vCPU's page
// with the stack's top; the text (cut as said above), the descriptor table, the pipe and its ring; and the page tables through
// which they are found. abi.VCPUBase says how their addresses keep out of each other's way. STAC opens another set of
// translations in QEMU: only the two buffers of a copy are touched from it to CLAC, not the stack.
//
// # Locks
//
// A pipe's two, and one per queue of futexes. None is held across an exit: a copy or load that faults publishes what
// may be published, unlocks, resolves the fault and goes on.
package guest
