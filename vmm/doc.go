// Package vmm is a VM's life: its memory, its vCPU threads and their exit loop, kicks, shootdowns, time slices and end.
// It knows KVM and the guest kernel's protocols, and nothing of Linux: hypercalls go to a Handler.
//
// # Threads
//
// Each vCPU has one host thread, locked, which alone calls KVM_RUN on it. One more goroutine, the monitor, gives time
// slices; it sleeps while every vCPU idles, and looks seldom while the threads on one vCPU take turns by themselves (rest).
//
// Go's scheduler is told that KVM_RUN lasts where it is likely to (enter, kvm.VCPU.RunLong), and a vCPU's sleep (package
// shim/longcall), and that the monitor's looks at the guest are one long system call (watch). So its own monitor thread sleeps
// while the guest runs: else it would wake up every 20 us at first, and for each slice of ours, and each time is an exit. A VM that
// sleeps and wakes up all the time, as one does that exchanges bytes with the host, would wake it each time: while it does so, watch
// is a call that the scheduler does not know of, and its monitor thread runs on, every 10 ms.
//
// # Kick
//
// A kick brings a vCPU out of the guest and into ring 0's interrupt gate:
//
//	kicker   kick=1; immediate_exit=1; tgkill(thread, SIGURG)
//	vCPU     immediate_exit=0; if swap(kick,0) { owed=true }; if owed and KVM says that ring 3 runs with IF=1:
//	         KVM_INTERRUPT, owed=false; else request_interrupt_window; KVM_RUN
//
// immediate_exit is stored before the signal, since a signal alone is lost if it arrives just before KVM_RUN. It is
// cleared before kick is read, so a kick that comes between is seen by the next round at the latest. Without an irqchip
// KVM injects regardless of IF: hence the two flags, and the window exit that KVM makes as soon as they are set.
//
// # Shootdown
//
// See Shootdown: a generation per vCPU in the guest's own page (FlushReq, FlushAck), answered by ring 0 before it
// returns to ring 3 or touches user memory.
//
// # Idle
//
// A vCPU without a ready thread sets its bit in guest.VM.Idle, looks once more, spins in ring 0 as long as waits have
// been short and another vCPU runs, and exits. The host thread sets the bit in Sleep, looks again, and sleeps on an
// eventfd, whose count keeps an early wake. Who takes the bit out of Idle wakes the thread, but only if the Sleep bit is set. All four steps are locked
// operations, so of "set Sleep, read Idle" and "clear Idle, read Sleep" at least one sees the other.
//
// A handler may have work for that thread (Idler): it is asked before each sleep, and answers what else is to end it.
//
// # Links
//
// A VM may share pipes with VMs of other processes (package pipes/link). Their memory is a slot of its own, at
// abi.LinkGPA. The handler watches their bells: a vCPU that idles sleeps on them, so that no other thread of this process has
// to wake up first, and while every vCPU is busy it looks once in a time slice, which is as long as a thread that was woken
// would wait for a processor anyway.
package vmm
