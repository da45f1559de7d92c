// Package bench is `culvert bench`: it measures what a VM costs, beside bare Linux and other systems if asked, and says
// with each time how many VM exits an operation took.
//
// # What is compared
//
// One binary, culvert itself, is the workload on all sides (package workload; package side has the systems). Each
// measurement has a fresh VM of culvert, and a fresh process on bare Linux; a sandbox of gVisor's and a Linux guest, which
// take long to start, are started once for all measurements, and an agent in them starts fresh processes. All stand ready
// at the same time, and batches alternate between them, so that what else happens on the machine hits all. The whole
// command and all that it starts is bound to as many of the machine's processors as the VM has virtual CPUs: no side gets
// more of the machine than another, helper threads and processes on the host included.
//
// # What the numbers are
//
// A sample is the time of a batch, taken inside the workload, divided by its operations. Batches are sized, for each side
// by itself, to take the same time; finding the size is the warm-up. ns_per_op is the median of the samples; the summary's
// percentiles and coefficient of variation are those of samples too, so they say how steady the batches were. How single
// operations are spread, latency says: after each batch some are carried out one by one, timed by the processor's
// time-stamp counter, which is read without a system call on every side. ratio is culvert's median divided by the other
// side's.
//
// Since a VM's clock is what culvert makes of it, the host times each batch as well: clock_ratio is the guest's time
// divided by the host's, over all samples, with the least that empty batches took of the host's time subtracted. It
// belongs near 1, the nearer the quieter the machine; the table says so where it is not.
//
// host_cpu_ns_per_op is the time that the host's processors spent on a side's processes during batches, in user mode, in
// the kernel and in guests, with an empty batch's subtracted. Of culvert's side it includes this command's own.
//
// # Across the boundary
//
// In the group stdio the measuring process is one of the host's, and its peer runs on the side, with a pipe to its
// standard input and one from its standard output. The host's process has the same code and is a process of its own on all
// sides; the clock is the host's.
//
// # Starts and memory
//
// A start is from the exec of culvert, of runsc or of QEMU to a byte that a program of a few instructions writes. What
// takes longer than ten seconds is started only once or twice. Memory is the proportional set size of all processes of an
// idle system, less the mapping that is the guest's memory.
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
