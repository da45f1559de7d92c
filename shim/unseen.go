package shim

import (
	"fmt"
	"sync"
	"sync/atomic"

	"culvert/guest"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// Threads whose end ring 0 serves: see sysExit of package guest. The shim does its part when it next runs, before it looks at
// anything, and again before it lets others run: whom it told meanwhile may have died without noticing.

// bigLock is Kernel.mu: who holds it has seen every thread that has ended.
type bigLock struct {
	sync.Mutex
	k *Kernel
}

func (l *bigLock) Lock() {
	l.Mutex.Lock()
	l.k.endUnseen()
}

func (l *bigLock) TryLock() bool {
	if !l.Mutex.TryLock() {
		return false
	}
	l.k.endUnseen()
	return true
}

func (l *bigLock) Unlock() {
	l.k.endUnseen()
	l.Mutex.Unlock()
}

// endUnseen does the exit work of threads that have ended in ring 0, and frees their slots once that has left them.
func (k *Kernel) endUnseen() {
	if k.ended {
		return // the VM's memory may be gone
	}
	dead := atomic.LoadUint64(&k.vm.Dead)
	if dead == k.dead && len(k.unburied) == 0 {
		return
	}
	defer k.guard()
	if dead != k.dead {
		k.dead = dead
		for _, t := range k.slots[:min(64*k.readyWords, len(k.slots))] {
			if t == nil || t.exited || atomic.LoadUint64(&t.slot.State) != abi.StateDead {
				continue
			}
			if t.waiter != nil || t.vcpu >= 0 || t == t.p.leader {
				k.fail(&HostileError{fmt.Sprintf("thread slot %d is dead, which has to call first", t.index)})
				return
			}
			if !t.killed {
				t.killed, t.code = true, int(t.slot.RDI&0xff)<<8
			}
			t.exit()
			k.unburied = append(k.unburied, t)
		}
	}
	keep := k.unburied[:0]
	for _, t := range k.unburied {
		switch {
		case k.slots[t.index] != t: // it called after all: see bury
		case atomic.LoadUint64(&t.slot.State) == abi.StateDead && atomic.LoadUint64(&t.slot.OnCPU) == 0:
			k.bury(t)
			atomic.StoreUint64(&t.slot.State, abi.StateFree)
		default:
			keep = append(keep, t)
		}
	}
	clear(k.unburied[len(keep):])
	k.unburied = keep
}

// endsUnseen says of a thread that is about to run whether its end may be served in ring 0: then another thread has all that it
// would give up, and nobody waits for it but at the word that it clears.
func (t *Thread) endsUnseen(flags uint64) {
	if flags&unix.CLONE_THREAD != 0 && flags&unix.CLONE_VFORK == 0 && t.files == t.p.leader.files {
		atomic.StoreUint64(&t.slot.Unseen, 1)
	}
}

// isSeen makes the thread call the shim when it ends.
func isSeen(s *guest.Thread) { atomic.StoreUint64(&s.Unseen, 0) }

// areSeen makes all threads of the process do so: what they had in common with its first one is not so any more.
func (p *Process) areSeen() {
	for _, t := range p.threads {
		isSeen(t.slot)
	}
}
