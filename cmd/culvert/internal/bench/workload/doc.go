// Package workload is the program that `culvert bench` measures with: culvert itself, executed again with a reserved
// first argument, so that one static binary, the same bytes, runs in the VM and on bare Linux.
//
//	culvert culvert-bench-workload NAME [ROLE]
//
// reads one line per batch from standard input, a number of operations, carries them out, and answers each with a line
// of JSON on standard output:
//
//	{"ops":1000,"ns":83112}                                  nanoseconds on CLOCK_MONOTONIC, all operations together
//	{"ops":2,"ns":152,"ticks":400,"each":[190,180]}          to "2s": the ticks of each operation, and of all
//	{"ops":1000,"call":56,"errno":11}                        the system call that failed, and how
//
// It ends at the end of its input, or at anything that is no number. Whoever drives it sees to warm-up, the size of
// batches and what to do in between: between two batches every process of the workload waits.
//
// A measurement across the boundary of a system has two roles, which are two processes that share a pipe in each
// direction: the peer, on the system, has them as its standard input and output; the host measures. On a system that takes
// long to start, an agent (agent.go) runs one workload after another; it is the first process of a Linux guest (guest.go).
//
// # Go's runtime does not take part
//
// A Go program has threads of its own (the monitor wakes up to every 20 us, the collector's workers), a handler for
// every signal, and stacks that move; all would be measured too, and a fork would leave a broken runtime behind. So the
// Go program only prepares: it maps memory, makes pipes, and forks the measuring process with a bare clone(2). That
// process and those it forks run the functions of the files raw*.go and raw*.s alone, in one thread or two, which
// neither allocate nor grow their stack nor call the runtime: they are nosplit, make raw system calls, and write to
// memory that no collector knows. Signals are back at their default there. The Go program meanwhile waits in wait4(2),
// a call during which the runtime's monitor sleeps too.
//
// What a fork copies is then the address space of a small Go program: some dozens of mappings and a few hundred touched
// pages, more than a C program's least and less than a shell's. It is the same on both sides.
package workload
