package shim

import (
	"fmt"

	"culvert/guest"
)

// Args are the six arguments of a system call, as the program passed them.
type Args [6]uint64

// int32 returns argument i as the C int that most calls take.
func (a Args) int32(i int) int32 { return int32(uint32(a[i])) }

// Handler serves one system call for thread t, with Kernel.mu held; it must not wait (see Thread.Block). The error
// is a unix.Errno, a restart, or what Thread.Block returned.
type Handler func(t *Thread, a Args) (uint64, error)

// Grade says how much of a call is there.
type Grade uint8

const (
	// None: the call answers ENOSYS.
	None Grade = iota
	// Stub: the call answers plausibly and does nothing.
	Stub
	// Partial: what is missing is in the note.
	Partial
	// Full: what Linux does, as far as a VM of one tenant can tell.
	Full
)

func (g Grade) String() string {
	return [...]string{"none", "stub", "partial", "full"}[g&3]
}

// Syscall is a row of the system call table.
type Syscall struct {
	Nr      int
	Name    string
	Handler Handler
	Grade   Grade
	Note    string // for users: what differs from Linux
	Bound   string // what limits the host's work and memory for one call
}

// numSyscalls bounds the table; larger numbers do not exist.
const numSyscalls = 512

// Table returns the rows of every file, ordered by number.
func Table() []Syscall {
	var byNr [numSyscalls]*Syscall
	n := 0
	for _, rows := range [][]Syscall{
		processCalls(), identityCalls(), signalCalls(), futexCalls(), timeCalls(), timerCalls(), schedCalls(),
		memoryCalls(), fileCalls(),
	} {
		for i := range rows {
			r := &rows[i]
			if r.Nr < 0 || r.Nr >= numSyscalls || byNr[r.Nr] != nil {
				panic(fmt.Sprintf("shim: system call %d (%s) is out of range or twice in the table", r.Nr, r.Name))
			}
			byNr[r.Nr] = r
			n++
		}
	}
	out := make([]Syscall, 0, n)
	for _, r := range byNr {
		if r != nil {
			out = append(out, *r)
		}
	}
	return out
}

// Ring0 returns the numbers of the calls that the guest kernel serves without an exit where it can.
func Ring0() map[int]bool {
	calls := map[int]bool{}
	for nr := range guest.Serve() {
		calls[nr] = true
	}
	return calls
}
