// Package shim is the Linux personality: processes, threads, signals, open files and time for the programs of one
// VM. It serves the system calls, faults and notes that the guest kernel forwards through the hypercall page.
//
// # Locks
//
// Kernel.mu protects everything here. Handlers run with it held, on the host thread of the vCPU that made the call,
// and never wait. A call that must wait returns Thread.Block(fn): ring 0 then runs another thread, and fn runs in a
// goroutine of its own, holding Kernel.mu except while it sleeps in Waiter.Sleep or runs slow host work in
// Waiter.Unlocked. Order: Kernel.mu, then mm's and vfs's own locks.
// The pump of a standard file that is a pipe (package pump) runs without it but to sleep and to wake.
//
// # Threads and slots
//
// A Thread owns a slot of the thread table in guest RAM (guest.Thread), where its registers lie while it is not
// running. Slots are written by ring 0, so their contents are checked whenever they are used. A slot is reused only
// once ring 0 has stored abi.StateFree in it.
//
// # Hostile input
//
// A request that no correct guest kernel makes ends the VM with a *HostileError. Everything that a program in
// ring 3 can do is answered as Linux answers it.
package shim
