// Package vdso makes the vDSO: the small shared object that every program finds through AT_SYSINFO_EHDR and calls to learn
// the time without entering ring 0 (vdso(7), arch/x86/entry/vdso, lib/vdso).
//
// It is one page of bytes. The page before it, in every address space, is the clock (guest.Clock), which the host writes
// and programs read:
//
//	[vvar]  guest.Clock: a line from TSC to time, under a sequence lock
//	[vdso]  ELF headers, symbols with the version LINUX_2.6, unwind information, code
//
// The code is Go assembly of this package, copied out of the running binary. It refers to nothing but itself and that
// page, which it finds from its own address, so it runs wherever the two pages are mapped. Functions have the C calling
// convention, use no stack and clobber only what it lets them: one rule of unwind information serves all.
//
// Where the clock is not stable (guest.Clock.Stable is 0), and for clocks that are not a line of the TSC, the functions
// make the system call.
package vdso
