// Package workload is the program that `culvert bench` measures with: culvert itself, executed again with a reserved
// first argument, so that one static binary, the same bytes, runs in the VM and on bare Linux.
//
//	culvert culvert-bench-workload NAME
//
// reads one line per batch from standard input, a number of operations, carries them out, and answers each with a line
// of JSON on standard output:
//
//	{"ops":1000,"ns":83112}                  nanoseconds on CLOCK_MONOTONIC, all operations together
//	{"ops":1000,"call":56,"errno":11}        the system call that failed, and how
//
// It ends at the end of its input. Whoever drives it sees to warm-up, the size of batches and what to do in between:
// between two batches every process of the workload is blocked in a read.
//
// # Go's runtime does not take part
//
// A Go program has threads of its own (the monitor wakes up to every 20 us, the collector's workers), a handler for
// every signal, and stacks that move; all would be measured too, and a fork would leave a broken runtime behind. So the
// Go program only prepares: it maps memory, makes pipes, and forks the measuring process with a bare clone(2). That
// process and those it forks have one thread each and run the functions of the files raw*.go alone, which
// neither allocate nor grow their stack nor call the runtime: they are nosplit, make raw system calls, and write to
// memory that no collector knows. Signals are back at their default there. The Go program meanwhile waits in wait4(2),
// a call during which the runtime's monitor sleeps too.
//
// What a fork copies is then the address space of a small Go program: some dozens of mappings and a few hundred touched
// pages, more than a C program's least and less than a shell's. It is the same on both sides.
package workload
