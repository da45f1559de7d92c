// Package kvm is the edge to /dev/kvm: file descriptors, ioctls and the shared
// kvm_run page, and nothing else. It decides nothing. What a guest's memory looks
// like, which CPUID leaves it sees and what an exit means is the caller's.
//
// The objects mirror the kernel's (Documentation/virt/kvm/api.rst):
//
//	System   /dev/kvm itself: version, capabilities, the supported CPUID
//	VM       one virtual machine: memory slots, vCPUs, ioeventfds
//	VCPU     one virtual processor: registers, KVM_RUN, interrupts
//	Exit     why KVM_RUN came back, decoded once; nobody else reads kvm_run
//
// # Interrupted calls
//
// The Go runtime preempts threads with signals, so any ioctl that sleeps may
// return EINTR: KVM_CREATE_VM does under load, since it registers an MMU notifier.
// Every set-up ioctl is tried again a bounded number of times. KVM_RUN is not:
// there EINTR is how a vCPU is stopped, and it comes back as ExitInterrupted.
//
// # Stopping a vCPU
//
// A signal alone is lost when it comes just before KVM_RUN. A kicker calls
// SetImmediateExit(true) first and signals the thread second; the vCPU's thread
// calls SetImmediateExit(false) and then looks at what it was asked to do, in this
// order, before it runs again:
//
//	kicker                         vCPU's thread
//	------                         -------------
//	request = 1                    loop:
//	SetImmediateExit(true)           SetImmediateExit(false)
//	tgkill(thread)                   take request (exchange with 0)
//	                                 Run
//
// Whichever way the two interleave, either the thread sees the request, or the
// kernel sees immediate_exit, or the signal finds the thread in KVM_RUN.
//
// # Threads
//
// System and VM may be used from any thread. A VCPU belongs to one: the kernel
// serialises a vCPU's ioctls, and the kvm_run page is read without a lock. Only
// SetImmediateExit may be called from elsewhere, and not after Close.
//
// # gokvm
//
// The register types, the request encodings and the ioctls that pass plain values
// are gokvm's, whose layouts are checked against the kernel's in this package's
// tests. Its calls that pass pointers are not used: its Ioctl is an ordinary
// function that takes a uintptr, so a pointer to a stack variable is stale once
// the stack has moved, and the kernel's answer is lost. KVM_RUN is issued here
// too, because gokvm hides EINTR.
package kvm
