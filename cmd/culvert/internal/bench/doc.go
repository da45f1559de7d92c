// Package bench is `culvert bench`: it measures what a VM costs, beside bare Linux if asked, and says with each time how
// many VM exits an operation took.
//
// # What is compared
//
// One binary, culvert itself, is the workload on both sides (package workload). Each measurement has a fresh VM, or a
// fresh process on bare Linux; both stand ready at the same time, and batches alternate between them, so that what else
// happens on the machine hits both. The whole command and all that it starts is bound to as many of the machine's
// processors as the VM has virtual CPUs: a VM gets no more of the machine than the Linux side, its helper threads on the
// host included.
//
// # What the numbers are
//
// A sample is the time of a batch, taken inside the workload, divided by its operations. Batches are sized, for each side
// by itself, to take the same time; finding the size is the warm-up. ns_per_op is the median of the samples; percentiles
// and the coefficient of variation are those of samples too, so they say how steady the batches were and not how single
// operations are spread. ratio is culvert's median divided by the other side's.
//
// Since a VM's clock is what culvert makes of it, the host times each batch as well: clock_ratio is the guest's time
// divided by the host's, over all samples, with the least that empty batches took of the host's time subtracted. It
// belongs near 1, the nearer the quieter the machine; the table says so where it is not.
//
// # Exits
//
// Between batches the guest is blocked in a read, and the counters are read when they have come to rest: just before a
// batch begins and just after its answer came. An empty batch costs exits as well (reading the command, writing the
// answer); the least that empty batches took is subtracted. exits_per_op counts returns of KVM_RUN; those that the host's
// own interrupts and culvert's time slices caused are host_interrupts_per_op, apart. Where the kernel lets us count its
// kvm_exit events, kvm_exits_per_op has these, without the host's interrupts but with what KVM handles and does not
// return for: nested page faults, for one.
package bench
