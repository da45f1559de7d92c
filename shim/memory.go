package shim

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/mm"
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// flusher is the machine's shootdown as mm calls it.
type flusher struct{ k *Kernel }

func (f flusher) Shootdown(sp *guest.Space) { f.k.machine.Shootdown(sp, int(f.k.serving.Load())) }

// initMemory sets up the memory management and fills the vCPUs' pools.
func (k *Kernel) initMemory() error {
	l := &k.cfg.Layout
	k.serving.Store(-1)
	m, err := mm.New(mm.Config{
		RAM: k.ram, Start: l.FirstFree, End: abi.GPA(len(k.ram)) &^ abi.PageMask, Refs: l.Refs, Template: l.KernelCR3,
		Spaces: l.VMPage + vmSpaces, NumSpaces: guest.VMSpaces,
		Flusher: flusher{k},
	})
	if err != nil {
		return err
	}
	k.memory = m
	k.stock = make([]int, len(l.Pools))
	for i := range k.stock {
		k.stock[i] = firstStock
		m.Refill(k.pool(i), firstStock)
	}
	return nil
}

// Memory returns the VM's memory, for its counters.
func (k *Kernel) Memory() *mm.Memory { return k.memory }

// pool is the vCPU's stock of frames.
func (k *Kernel) pool(vcpu int) *guest.Pool {
	return structAt[guest.Pool](k.ram, k.cfg.Layout.Pools[vcpu])
}

// refill fills the pool of the vCPU whose hypercall this is, if it is low.
func (k *Kernel) refill(vcpu int) {
	if vcpu >= len(k.cfg.Layout.Pools) {
		return
	}
	p := k.pool(vcpu)
	low := atomic.LoadUint64(&p.NumZero) < uint64(k.stock[vcpu]/4)
	if low {
		k.stock[vcpu] = min(2*k.stock[vcpu], guest.PoolFrames)
	}
	if low || atomic.LoadUint64(&p.NumDirty) > guest.PoolDirty/2 {
		k.memory.Refill(p, k.stock[vcpu])
	}
}

// firstStock is how many frames a vCPU's pool gets at first. Each costs a fault of the host's, which is work at the
// VM's start that many programs have no use for: so the stock grows as it is used up.
const firstStock = 64

// useSpace makes a thread run in an address space, whose reference it takes over.
func (t *Thread) useSpace(s *addressSpace) {
	t.mm = s
	s.users++
	setSlotSpace(t.slot, s.GVA())
}

// leaveSpace ends the use of the memory by a program; the space itself is kept for ring 0 (exit_mm).
func (t *Thread) leaveSpace() {
	if t.mm != nil {
		t.mm.users--
	}
}

// dropSpace gives the address space back: ring 0 will not load it for this thread again.
func (t *Thread) dropSpace() {
	if t.mm != nil {
		t.mm.Release()
		t.mm = nil
	}
}

// newSpace makes an empty address space for a program that t executes.
func (t *Thread) newSpace() (*addressSpace, error) {
	layout := mm.Layout{Limits: t.p.memoryLimits()}
	if t.p.persona&addrNoRandomize == 0 {
		layout.Random = rand.Uint64
	}
	s, err := t.k.memory.NewSpace(layout)
	if err != nil {
		return nil, unix.ENOMEM
	}
	return &addressSpace{Space: s, k: t.k}, nil
}

// memoryLimits are the rlimits that mm enforces.
func (p *Process) memoryLimits() mm.Limits {
	return mm.Limits{
		AS: p.limits[unix.RLIMIT_AS].cur, Data: p.limits[unix.RLIMIT_DATA].cur,
		Stack: p.limits[unix.RLIMIT_STACK].cur, Memlock: p.limits[unix.RLIMIT_MEMLOCK].cur,
		CapIPCLock: p.leader == nil || p.leader.cred.Has(unix.CAP_IPC_LOCK),
	}
}

// badness is oom_badness, in bytes: the process's memory, and what its oom_score_adj adds, in thousandths of all memory. One
// with OOM_SCORE_ADJ_MIN is not to be killed.
func (k *Kernel) badness(p *Process) (bad int64, kills bool) {
	const adjMin = -1000
	if p.mm == nil || p.oomScoreAdj == adjMin {
		return 0, false
	}
	u := k.memory.Usage()
	return int64(p.mm.Usage().RSS()) + int64(p.oomScoreAdj)*int64(min(u.Total, u.Limit)/1000), true
}

// oomKill ends the process with the greatest badness, or, if none is to be killed, with the most memory, where Linux would panic. A
// victim that is still dying is waited for, not joined.
func (k *Kernel) oomKill() {
	var victim *Process
	var most int64
	anyKills := false
	for _, p := range k.processes {
		if p.zombie || p.mm == nil {
			continue
		}
		if p.oomKilled {
			return
		}
		bad, kills := k.badness(p)
		switch {
		case kills && !anyKills:
			anyKills, victim = true, nil
		case !kills && anyKills:
			continue
		case !kills:
			bad = int64(p.mm.Usage().RSS())
		}
		if victim == nil || bad > most {
			victim, most = p, bad
		}
	}
	if victim == nil {
		return
	}
	for _, p := range k.processes {
		if p.mm == victim.mm && !p.zombie {
			p.oomKilled = true
			k.send(p, nil, sig.Kernel(sig.SIGKILL))
		}
	}
}

// memError is an error of mm as a call returns it; running out of memory kills somebody.
func (k *Kernel) memError(err error) error {
	var se *mm.SignalError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mm.ErrOOM):
		k.oomKill()
		return unix.EFAULT
	case errors.As(err, &se):
		return unix.EFAULT
	case errors.Is(err, mm.ErrNoMem):
		return unix.ENOMEM
	}
	return err
}
