package epoll

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"culvert/pipes"
	"culvert/pipes/eventfd"
	"culvert/shim/abi"
)

// arena is memory that does not move: its addresses are what addresses of guest memory are in ring 0.
type arena struct {
	mem  []byte
	next int
	free []uint64
	used int
}

// arenaSize is enough for a full instance. The memory is Go's, so that the race detector looks at it.
const arenaSize = 4 << 20

func newArena() *arena {
	mem := make([]byte, arenaSize+abi.PageSize)
	skip := -int(uintptr(unsafe.Pointer(&mem[0]))) & abi.PageMask
	return &arena{mem: mem[skip : skip+arenaSize]}
}

func (a *arena) NewPage() (uint64, error) {
	a.used++
	if n := len(a.free); n > 0 {
		addr := a.free[0]
		a.free = a.free[1:]
		for i, w := range (*[abi.PageSize / 8]uint64)(ptr(addr)) {
			if w != 0 {
				panic(fmt.Sprintf("word %d of a free page was written", i))
			}
		}
		return addr, nil
	}
	if a.next == len(a.mem) {
		return 0, errors.New("no more pages")
	}
	a.next += abi.PageSize
	return uint64(uintptr(unsafe.Pointer(&a.mem[a.next-abi.PageSize]))), nil
}

// FreePage fills the page with what nobody who still used it would survive.
func (a *arena) FreePage(addr uint64) {
	a.used--
	p := (*[abi.PageSize / 8]uint64)(ptr(addr))
	for i := range p {
		atomic.StoreUint64(&p[i], 0)
	}
	a.free = append(a.free, addr)
}

func ptr(addr uint64) unsafe.Pointer            { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }
func (a *arena) Instance(addr uint64) *Instance { return (*Instance)(ptr(addr)) }
func (a *arena) Chunk(addr uint64) *Chunk       { return (*Chunk)(ptr(addr)) }
func counterAt(addr uint64) *eventfd.EventFD    { return (*eventfd.EventFD)(ptr(addr)) }

// vm is what a VM has of processors and threads: each goroutine is a thread with a vCPU of its own. A token in a
// thread's channel stands for WOKEN or a ready bit.
type vm struct {
	t     testing.TB
	mem   *arena
	mu    sync.Mutex // the host's lock
	limbo Limbo
	procs []*proc
	live  atomic.Int64
	moves atomic.Int64 // progress
}

type proc struct {
	vm   *vm
	id   uint64
	walk *uint64
	run  chan struct{}
}

func newVM(t testing.TB, n int) *vm {
	v := &vm{t: t, mem: newArena()}
	for i := range n {
		w := new(uint64)
		v.limbo.Walks = append(v.limbo.Walks, w)
		v.procs = append(v.procs, &proc{vm: v, id: uint64(i), walk: w, run: make(chan struct{}, 1)})
	}
	return v
}

func (v *vm) wake(thread int64) {
	if thread < 0 {
		return
	}
	select {
	case v.procs[thread].run <- struct{}{}:
	default:
	}
}

func (p *proc) enter() { atomic.AddUint64(p.walk, 1) }
func (p *proc) exit()  { atomic.AddUint64(p.walk, 1) }

// object is a counter and the list of those who watch it.
type object struct {
	addr     uint64
	ev       *eventfd.EventFD
	watchers Watchers
}

func (v *vm) newObject() *object {
	addr, err := v.mem.NewPage()
	if err != nil {
		v.t.Fatal(err)
	}
	o := &object{addr: addr, ev: counterAt(addr)}
	eventfd.Init(o.ev, 0, false)
	o.watchers.Head = &o.ev.Watch
	return o
}

// instance is an epoll instance, and the list of those who watch it.
type instance struct {
	*Owner
	watchers Watchers
}

func (v *vm) newInstance() *instance {
	o, err := NewOwner(v.mem, &v.limbo)
	if err != nil {
		v.t.Fatal(err)
	}
	n := &instance{Owner: o}
	n.watchers.Head = &o.Instance().Watch
	return n
}

// add is epoll_ctl(EPOLL_CTL_ADD) for a counter.
func (v *vm) add(in *instance, o *object, events uint32, data uint64) *Ref {
	return v.insert(in, Watched{Kind: abi.FileEventFD, Obj: o.addr}, &o.watchers, events, data)
}

// nest is the same for an instance.
func (v *vm) nest(in, sub *instance, events uint32, data uint64) *Ref {
	return v.insert(in, Watched{Kind: abi.FileEpoll, Obj: sub.Addr()}, &sub.watchers, events, data)
}

func (v *vm) insert(in *instance, what Watched, list *Watchers, events uint32, data uint64) *Ref {
	r, err := in.Insert(what, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	list.Add(r, events&EPOLLEXCLUSIVE != 0)
	v.set(r, events, data)
	return r
}

// set is EPOLL_CTL_MOD, and the second half of ADD.
func (v *vm) set(r *Ref, events uint32, data uint64) {
	r.Set(events|pipes.POLLERR|pipes.POLLHUP, data)
	p := &proc{vm: v, walk: new(uint64)}
	it := r.item()
	if p.readiness(it)&uint64(events) != 0 && !r.Marked() {
		th, heard, _ := r.Tell(0)
		v.wake(th)
		if heard {
			p.tell(atomic.LoadUint64(&r.o.inst.Watch), readable)
		}
	}
}

// tell walks the watchers.
func (p *proc) tell(head, events uint64) {
	var w Walk
	w.Start(head, events)
	for w.Next() {
		p.vm.wake(w.Thread)
	}
}

func (p *proc) obey(o *object, w pipes.Wake) {
	p.vm.wake(w.Reader)
	if w.Flags&pipes.WakeWatch != 0 {
		p.enter()
		p.tell(atomic.LoadUint64(&o.ev.Watch), w.Events)
		p.exit()
	}
}

// readiness asks the object of an item.
func (p *proc) readiness(it *Item) uint64 {
	if it.Kind == abi.FileEventFD {
		return counterAt(it.Obj).Readiness()
	}
	if p.peek(it.Obj) {
		return readable
	}
	return 0
}

func (p *proc) peek(inst uint64) bool {
	var k Peek
	k.Start(inst)
	for it := k.Next(); it != nil; it = k.Next() {
		if it.Kind == abi.FileEpoll {
			k.Enter(it.Obj)
		} else if counterAt(it.Obj).Readiness()&Events(k.Want) != 0 && atomic.LoadUint64(&it.Want) == k.Want {
			return true
		}
	}
	return false
}

type event struct {
	events uint32
	data   uint64
}

// collect is epoll_wait with a time-out of 0.
func (p *proc) collect(e *Instance, room int) []event {
	var got []event
	var c Pass
	p.enter()
	for !c.Begin(e, runtime.Gosched) {
		p.exit()
		runtime.Gosched()
		p.enter()
	}
	for len(got) < room {
		n, what := c.Next(e)
		if what == End {
			break
		}
		ch := p.vm.mem.Chunk(atomic.LoadUint64(&e.Chunk[n]))
		if what == Scan {
			c.Scan(e, ch)
			continue
		}
		if !c.Look(e, ch) {
			continue
		}
	ask:
		bits := p.readiness(c.Item(ch)) & Events(c.Want)
		if bits == 0 {
			if c.Miss(e, ch) {
				goto ask
			}
			continue
		}
		if c.Same(e, ch) && c.Done(e, ch) {
			got = append(got, event{uint32(bits), c.Data})
		}
	}
	p.vm.wake(c.End(e))
	if c.Told {
		p.tell(atomic.LoadUint64(&e.Watch), readable)
	}
	p.exit()
	return got
}

// wait is epoll_wait. give is a signal: it ends the wait with nothing.
func (p *proc) wait(e *Instance, room int, give <-chan struct{}) []event {
	for {
		if got := p.collect(e, room); len(got) > 0 {
			return got
		}
		e.Sleepers.Join(p.id)
		if !e.Any() {
			select {
			case <-p.run:
			case <-give:
				if e.Sleepers.Leave(p.id) {
					p.vm.wake(e.PassOn())
				}
				return nil
			}
		}
		e.Sleepers.Leave(p.id)
	}
}

// watchdog ends the process if nothing moves for long.
func (v *vm) watchdog(done <-chan struct{}) {
	last, since := int64(-1), time.Now()
	for {
		select {
		case <-done:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if m := v.moves.Load(); m != last {
			last, since = m, time.Now()
		} else if time.Since(since) > 5*time.Second {
			fmt.Fprintf(os.Stderr, "lost wake-up: nothing moved for 5 s, %d threads live\n", v.live.Load())
			os.Exit(3)
		}
	}
}
