package vdso

import (
	"fmt"
	"unsafe"

	"culvert/guest"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// Constants for the assembly (go_asm.h): offsets in guest.Clock, and numbers.
const (
	seq     = unsafe.Offsetof(guest.Clock{}.Seq)
	stable  = unsafe.Offsetof(guest.Clock{}.Stable)
	tscBase = unsafe.Offsetof(guest.Clock{}.TSCBase)
	mult    = unsafe.Offsetof(guest.Clock{}.Mult)
	base    = unsafe.Offsetof(guest.Clock{}.Base)
	shift   = guest.ClockShift
	clocks  = guest.NumClocks
	served  = guest.ServedClocks
	// fine are the clocks whose resolution is 1 ns; the coarse ones have a tick's, which the shim knows.
	fine = served &^ (1<<unix.CLOCK_REALTIME_COARSE | 1<<unix.CLOCK_MONOTONIC_COARSE)

	pageSize     = abi.PageSize
	pageMask     = abi.PageMask
	cpuNumberSel = abi.CPUNumberSel

	sysClockGettime = unix.SYS_CLOCK_GETTIME
	sysGettimeofday = unix.SYS_GETTIMEOFDAY
	sysTime         = unix.SYS_TIME
	sysClockGetres  = unix.SYS_CLOCK_GETRES
	sysGetcpu       = unix.SYS_GETCPU
)

// Indices of what codeAddrs stores.
const (
	atBegin = iota
	atClockGettime
	atGettimeofday
	atTime
	atClockGetres
	atGetcpu
	atEnd
	numAddrs
)

func codeAddrs(p *[numAddrs]uintptr)

// The assembly's symbols, declared so that vet knows them. They are never called from Go.
func begin()
func clockGettime()
func gettimeofday()
func time()
func clockGetres()
func getcpu()
func end()

// maxCode bounds the code, so that a linker that scatters the functions is noticed and not copied.
const maxCode = 2048

// functions copies the code out of this process and returns it with the offset of each function in it. The linker keeps
// the functions of a file together and in order, and with them the distances that the code relies on; it is checked.
func functions() (code []byte, at [numAddrs]uintptr, err error) {
	codeAddrs(&at)
	first, last := at[atBegin], at[atEnd]
	for i := range at {
		if at[i] < first || at[i] > last || i > 0 && at[i] <= at[i-1] || last-first > maxCode {
			return nil, at, fmt.Errorf("vdso: the linker put function %d of %d to %#x, the first to %#x: this build of culvert cannot run VMs",
				i, numAddrs, at[i], first)
		}
		if i > 0 {
			at[i] -= first
		}
	}
	at[atBegin] = 0
	// Sound: the text of this process, between two functions of it. The address is read from a word that holds it, as
	// no Go pointer leads there.
	p := *(*unsafe.Pointer)(unsafe.Pointer(&first))
	return append([]byte(nil), unsafe.Slice((*byte)(p), last-first)...), at, nil
}
