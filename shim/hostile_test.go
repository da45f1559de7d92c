package shim

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"culvert/guest"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// TestHostileRequests: requests that no correct guest kernel makes end the VM with a HostileError.
func TestHostileRequests(t *testing.T) {
	for name, c := range map[string]guest.Call{
		"version":         {Version: abi.Version + 1, Kind: abi.KindSyscall},
		"kind 0":          {Version: abi.Version},
		"idle":            {Version: abi.Version, Kind: abi.KindIdle},
		"large kind":      {Version: abi.Version, Kind: ^uint64(0)},
		"slot":            {Version: abi.Version, Kind: abi.KindSyscall, Thread: ^uint64(0)},
		"slot past table": {Version: abi.Version, Kind: abi.KindSyscall, Thread: testThreads},
		"free slot":       {Version: abi.Version, Kind: abi.KindSyscall, Thread: testThreads - 1},
		"note":            {Version: abi.Version, Kind: abi.KindNote, NR: 99},
		"vector":          {Version: abi.Version, Kind: abi.KindFault, Vector: 99},
		"copy":            {Version: abi.Version, Kind: abi.KindFault, Vector: abi.VecPF, Copy: 7},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := newWorld(t)
			w.k.Call(0, &c)
			s := w.status()
			if s.Kind != VMMError {
				t.Fatalf("ended with %+v", s)
			}
			if _, ok := s.Err.(*HostileError); !ok {
				t.Errorf("the error is %v", s.Err)
			}
			// An ended VM answers everything quietly.
			c.Kind, c.Version = abi.KindSyscall, abi.Version
			w.k.Call(0, &c)
			if c.Action != abi.ActBlock {
				t.Errorf("action %d after the end", c.Action)
			}
		})
	}
}

func TestCallOfABlockedThread(t *testing.T) {
	w, x := newWorld(t)
	if x.call(unix.SYS_PAUSE) != blockedResult {
		t.Fatal("pause returned")
	}
	// Attention is answered: the thread goes on waiting.
	c := guest.Call{Version: abi.Version, Kind: abi.KindNote, NR: abi.NoteAttention, Thread: uint64(x.i)}
	w.k.Call(0, &c)
	if c.Action != abi.ActBlock || w.ended() {
		t.Fatalf("action %d", c.Action)
	}
	c = guest.Call{Version: abi.Version, Kind: abi.KindSyscall, NR: unix.SYS_GETPID, Thread: uint64(x.i)}
	w.k.Call(0, &c)
	if s := w.status(); s.Kind != VMMError {
		t.Fatalf("ended with %+v", s)
	}
}

// TestUnknownCalls: they are ENOSYS, and told apart up to a bound.
func TestUnknownCalls(t *testing.T) {
	w, x := newWorld(t)
	x.wantCall(unix.ENOSYS, 9999)
	x.wantCall(unix.ENOSYS, ^uint64(0))
	for nr := range uint64(2 * maxUnknown) {
		x.wantCall(unix.ENOSYS, 10000+nr)
	}
	if n := len(w.k.Unknown()); n > maxUnknown+1 {
		t.Errorf("%d numbers are kept", n)
	}
}

// hostileWords are arguments that break careless code.
func hostileWords() []uint64 {
	return []uint64{
		0, 1, 2, 3, 7, 8, 16, 63, 64, 65, 100, 128, 255, 4095, 4096, 4097, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32,
		1<<47 - 4096, 1<<47 - 1, 1 << 47, 1 << 63, ^uint64(0), ^uint64(0) - 99, uint64(abi.DirectBase), uint64(abi.UserEnd) - 8,
		testBase, testBase + 4096, testBase + 8, testBase + 1, testBase + testScratch - 4, testBase + testScratch, 0x400000, 0x10,
	}
}

// fuzzer plays ring 0 with programs that make random calls.
type fuzzer struct {
	w     *world
	r     *rand.Rand
	tasks []*task
	words []uint64
}

// word is a random argument.
func (f *fuzzer) word() uint64 {
	switch f.r.IntN(4) {
	case 0:
		return f.r.Uint64()
	case 1:
		return f.r.Uint64N(16)
	}
	return f.words[f.r.IntN(len(f.words))]
}

// adopt finds threads that calls have made.
func (f *fuzzer) adopt() {
	f.w.k.mu.Lock()
	defer f.w.k.mu.Unlock()
	known := map[int]bool{}
	for _, x := range f.tasks {
		known[x.i] = true
	}
	for i, t := range f.w.k.slots {
		if t != nil && !known[i] {
			f.tasks = append(f.tasks, &task{w: f.w, slot: t.slot, i: i})
		}
	}
}

// step lets a thread that has a vCPU make a call, or takes one that is ready.
func (f *fuzzer) step(nrs []uint64) bool {
	live := f.tasks[:0]
	for _, x := range f.tasks {
		if !x.gone {
			live = append(live, x)
		}
	}
	f.tasks = live
	f.adopt()
	if f.w.ended() || len(f.tasks) == 0 {
		return false
	}
	x := f.tasks[f.r.IntN(len(f.tasks))]
	if atomic.LoadUint64(&x.slot.OnCPU) == 0 && !x.tryResume(0) || x.gone || atomic.LoadUint64(&x.slot.OnCPU) == 0 {
		return true
	}
	f.scribble(x)
	nr := nrs[f.r.IntN(len(nrs))]
	var a [6]uint64
	for i := range a {
		a[i] = f.word()
	}
	x.call(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return true
}

// scribble fills some of the task's memory and registers with hostile words.
func (f *fuzzer) scribble(x *task) {
	t := x.thread()
	f.w.k.mu.Lock()
	defer f.w.k.mu.Unlock()
	var b [8 * 32]byte
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], f.word())
	}
	for _, at := range []uint64{testBase, testBase + 4096 - 128, testBase + testScratch - 256} {
		_ = t.copyOut(at, b[:]) // the call before may have unmapped it
	}
	if f.r.IntN(4) == 0 {
		x.slot.RSP = f.word()
	}
}

// fuzzWorld runs random calls for a while. The VM may end in any way but by an error of this program.
func fuzzWorld(t *testing.T, seed uint64, steps int, nrs []uint64) {
	w, x := newWorld(t)
	f := &fuzzer{w: w, r: rand.New(rand.NewPCG(seed, 1)), tasks: []*task{x}, words: hostileWords()}
	for i := range steps {
		if !f.step(nrs) {
			break
		}
		if i%512 == 511 {
			time.Sleep(time.Millisecond)
		}
	}
	if w.ended() {
		if s := w.k.Status(); s.Kind == VMMError {
			t.Fatalf("seed %d: %v", seed, s.Err)
		}
	}
}

// ownCalls are the numbers of the calls of this half of the package, without those that would end the run at once.
func ownCalls() []uint64 {
	var nrs []uint64
	for _, rows := range [][]Syscall{
		processCalls(), identityCalls(), signalCalls(), futexCalls(), timeCalls(), timerCalls(), schedCalls(), memoryCalls(),
	} {
		for _, r := range rows {
			switch r.Nr {
			case unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RT_SIGRETURN, unix.SYS_KILL:
			default:
				nrs = append(nrs, uint64(r.Nr))
			}
		}
	}
	return nrs
}

func TestRandomCalls(t *testing.T) {
	for seed := range uint64(20) {
		fuzzWorld(t, seed, 3000, ownCalls())
	}
}

func TestRandomDeaths(t *testing.T) {
	nrs := append(ownCalls(), unix.SYS_EXIT, unix.SYS_EXIT, unix.SYS_KILL, unix.SYS_RT_SIGRETURN, unix.SYS_FORK, unix.SYS_FORK,
		unix.SYS_CLONE, unix.SYS_WAIT4)
	for seed := range uint64(40) {
		fuzzWorld(t, 1000+seed, 1000, nrs)
	}
}

// TestHostilePointers: every call of this half of the package meets bad pointers in every argument and neither
// panics nor succeeds in writing to what is not user memory.
func TestHostilePointers(t *testing.T) {
	for _, nr := range ownCalls() {
		w, x := newWorld(t)
		for i := range 6 {
			for _, bad := range []uint64{1, 0x10, uint64(abi.UserEnd) - 4, uint64(abi.UserEnd), uint64(abi.DirectBase), ^uint64(0) - 7} {
				if x.gone || w.ended() || atomic.LoadUint64(&x.slot.OnCPU) == 0 {
					break
				}
				a := [6]uint64{1, 8, 8, 8, 8, 8}
				a[i] = bad
				x.call(nr, a[0], a[1], a[2], a[3], a[4], a[5])
			}
		}
		if w.ended() {
			if s := w.k.Status(); s.Kind == VMMError {
				t.Fatalf("call %d: %v", nr, s.Err)
			}
		}
	}
}

// Bits of a fuzzed call's last word: before it, the thread's slot says that it has ended in ring 0, or is on no vCPU.
const (
	died = 1 << (iota + 1)
	left
)

// FuzzCall feeds Kernel.Call raw hypercall pages.
func FuzzCall(f *testing.F) {
	page := func(words ...uint64) []byte {
		var b []byte
		for _, w := range words {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
		return b
	}
	f.Add(page(abi.Version, abi.KindSyscall, unix.SYS_FORK))
	f.Add(page(abi.Version, abi.KindFault, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1000, 14, 4))
	f.Add(page(abi.Version, abi.KindNote, abi.NoteAttention))
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	for _, dead := range []uint64{0, 1} {
		f.Add(append(page(abi.Version, abi.KindSyscall, unix.SYS_CLONE, thread, testBase+0x1000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
			page(abi.Version, abi.KindSyscall, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0, dead, 0, 0, 0, 0, died|left)...))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		w, _ := newWorld(t)
		for len(raw) >= 8 && !w.ended() {
			var words [15]uint64
			for i := range words {
				if len(raw) < 8 {
					break
				}
				words[i], raw = binary.LittleEndian.Uint64(raw), raw[8:]
			}
			c := guest.Call{
				Version: words[0], Kind: words[1], NR: words[2], Args: [6]uint64(words[3:9]), Thread: words[9], RIP: words[10],
				CR2: words[11], Vector: words[12], Err: words[13], Copy: words[14],
			}
			slot := slotAt(w.m.ram, &w.k.cfg.Layout, int(words[9]%testThreads))
			if words[14]&died != 0 {
				atomic.StoreUint64(&slot.State, abi.StateDead)
				atomic.AddUint64(&w.k.vm.Dead, 1)
			}
			if words[14]&left != 0 {
				atomic.StoreUint64(&slot.OnCPU, 0)
			}
			w.k.Call(int(words[14]&1), &c)
			if c.Action > abi.ActExit {
				t.Fatalf("action %d", c.Action)
			}
		}
		if s := w.k.Status(); s.Kind == VMMError {
			if _, ok := s.Err.(*HostileError); !ok {
				t.Fatal(s.Err)
			}
		}
	})
}

// TestHostileSlots: whatever a slot holds, calls and signals to its thread do no harm.
func TestHostileSlots(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 60 {
		w, x := newWorld(t)
		c, pid := x.fork()
		x.action(10, handlerAt, 0, 0)
		words := hostileWords()
		for _, p := range []*uint64{
			&c.slot.State, &c.slot.OnCPU, &c.slot.Attn, &c.slot.Index, &c.slot.RSP, &c.slot.RIP, &c.slot.RFLAGS, &c.slot.OrigRAX,
			&c.slot.Wait.Kind, &c.slot.Wait.File, &c.slot.Wait.Done, &c.slot.TSCRun, &c.slot.Affinity,
		} {
			if r.IntN(2) == 0 {
				atomic.StoreUint64(p, words[r.IntN(len(words))])
			}
		}
		_, _ = rand.NewChaCha8([32]byte{1}).Read(c.slot.XSave[:])
		for range 8 {
			call := guest.Call{
				Version: abi.Version, Kind: uint64(1 + r.IntN(5)), NR: r.Uint64N(330), Thread: uint64(c.i), Vector: r.Uint64N(20),
				CR2: words[r.IntN(len(words))], Copy: r.Uint64N(2),
			}
			if call.Kind == abi.KindIdle || call.Kind == abi.KindDie {
				call.Kind = abi.KindNote
				call.NR = abi.NoteAttention
			}
			w.k.Call(1, &call)
			x.call(unix.SYS_KILL, uint64(pid), 10)
			if w.ended() || x.gone {
				break
			}
		}
		if s := w.k.Status(); s.Kind == VMMError {
			if _, ok := s.Err.(*HostileError); !ok {
				t.Fatal(s.Err)
			}
		}
	}
}
