// Package jail confines the VMM's process, for good, once everything is set up and before the guest's first
// instruction. It is the layer for the day on which a guest has taken the VMM over: what the process can then still
// do is what running the guest needs, and no more.
//
// # What is in force
//
//   - descriptors: those that came through exec from whoever started the process are closed, standard files apart;
//   - rlimits: no core dump, a bounded number of descriptors;
//   - no_new_privs;
//   - capabilities: none, or for root those that reading (or writing) other users' files needs;
//   - landlock/N: only the paths named can be opened, for writing only where that was asked for; nothing can be
//     executed; no TCP, and no signal or abstract socket that leaves the process, where the kernel's ABI N has that;
//   - seccomp: the calls in policy.go, for all threads. Any other call kills the process: a VMM that makes one is not
//     the program that we wrote. See policy for what is answered with an error instead.
//
// A kernel that lacks Landlock or seccomp is no error: Enter says what is in force. A step that fails otherwise is one.
//
// # What is not here
//
// Namespaces: a process of several threads, as each Go program is, cannot enter a user namespace (unshare(2)), so an
// unprivileged culvert would have to execute itself once more. An empty network namespace alone costs several
// milliseconds, more than all the rest of a start, and adds nothing to a process that can make no socket.
//
// A second, smaller filter for vCPU threads: their goroutines are locked to them, and Go starts no other thread from
// a locked one, so it could be done. But they run the hypercalls' handlers, which do file I/O, and the Go runtime's
// memory management. What they could be denied beyond the list (making threads, waiting in epoll) is harmless, and
// each filter costs every call that looks at arguments, KVM_RUN among them.
//
// # Why the filter is assembled here
//
// github.com/elastic/go-seccomp-bpf builds tables of all architectures' call names when the program starts, 0.3 ms and
// 160 KiB in each process, and takes the answer by which the kernel says that it could not reach all threads for
// success. What is needed of it is some fifty lines over golang.org/x/net/bpf, whose own machine tests them.
package jail
