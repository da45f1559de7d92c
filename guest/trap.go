package guest

import (
	"unsafe"

	"culvert/shim/abi"
)

// Constants for the assembly (go_asm.h).
const (
	version     = abi.Version
	kindDie     = abi.KindDie
	portCall    = abi.PortCall
	flagsUser   = abi.FlagsUser
	flagsForced = abi.FlagsForced
	userCS      = abi.UserCS
	userDS      = abi.UserDS
	numSyscalls = abi.NumSyscalls
	smallSize   = 93 // bytes of smallMovs: a fault anywhere in it is one of its copy
)

// onSyscall is called by sysEntry with the thread's registers in its slot.
//
//go:nosplit
func onSyscall(p *PerCPU, t *Thread) {
	nr := t.RAX
	if nr < abi.NumSyscalls {
		how := uint64(p.Serve[nr])
		done := false
		if how >= ServeCode {
			// A func value is a pointer to a word that holds a code address.
			code := &p.Calls[how&(maxCalls-1)]
			done = (*(*func(*PerCPU, *Thread) bool)(unsafe.Pointer(&code)))(p, t)
		} else if how != 0 {
			t.RAX = load((*uint64)(unsafe.Add(unsafe.Pointer(t), how*8)))
			done = true
		}
		if done {
			p.Stats.Fast[min(how, uint64(len(p.Stats.Fast)-1))]++
			if p.Due != 0 {
				due(p, t)
			}
			if !free(p) {
				leave(p)
			}
			return
		}
	}
	forward(p, t, abi.KindSyscall, nr)
	leave(p)
}

// What the code of a system call leaves to be done when it has returned, in PerCPU.Due: the stack is flat then.
const (
	dueSleep    = iota + 1 // t is in the wait sets of its record
	dueSchedule            // t is ready, and saved
	dueSIGPIPE             // t wrote to a pipe that nobody reads
	dueSignals             // t changed what concerns a signal that waits: the shim has to look
)

// due does what PerCPU.Due says. After it the running thread may be another one.
//
//go:nosplit
func due(p *PerCPU, t *Thread) {
	what := p.Due
	p.Due = 0
	if what == dueSIGPIPE {
		t.Wait.Aux = 0
		note(p, t, abi.NoteSIGPIPE, 0)
		return
	}
	if what == dueSignals {
		note(p, t, abi.NoteSignals, 0)
		return
	}
	if what == dueSleep {
		p.Save(t)
		if block(p, t) {
			p.Load = 1 // the shim may change them meanwhile
			if resumeRecord(p, t) {
				return
			}
		}
	}
	schedule(p)
}

// free reports that nothing keeps the running thread from ring 3: what leave looks at.
//
//go:nosplit
func free(p *PerCPU) bool {
	t := cur(p)
	return load(&p.FlushReq) == p.FlushAck && load(&t.Attn)|t.Iret|p.LateKick == 0
}
