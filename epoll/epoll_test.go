package epoll

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"culvert/pipes"
	"culvert/shim/abi"
)

const in, out = pipes.POLLIN, pipes.POLLOUT

func (v *vm) write(o *object, n uint64) {
	w, st := o.ev.Write(n)
	if st != pipes.OK {
		v.t.Fatalf("write: status %d", st)
	}
	v.procs[0].obey(o, w)
}

func (v *vm) read(o *object) {
	_, w, st := o.ev.Read()
	if st != pipes.OK {
		v.t.Fatalf("read: status %d", st)
	}
	v.procs[0].obey(o, w)
}

func (v *vm) expect(e *instance, room int, want ...event) {
	v.t.Helper()
	got := v.procs[0].collect(e.Instance(), room)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		v.t.Errorf("collected %v, want %v", got, want)
	}
}

func TestLevel(t *testing.T) {
	v := newVM(t, 1)
	e, o := v.newInstance(), v.newObject()
	v.add(e, o, in, 7)
	v.expect(e, 8)
	v.write(o, 1)
	v.expect(e, 8, event{in, 7})
	v.expect(e, 8, event{in, 7})
	v.read(o)
	v.expect(e, 8)
	if e.Instance().Any() {
		t.Error("a bit stayed")
	}
}

func TestEdge(t *testing.T) {
	v := newVM(t, 1)
	e, o := v.newInstance(), v.newObject()
	v.write(o, 1)
	r := v.add(e, o, in|EPOLLET, 7)
	v.expect(e, 8, event{in, 7}) // ready when it was added
	v.expect(e, 8)
	v.write(o, 1)
	v.expect(e, 8, event{in, 7}) // each write is an edge
	v.set(r, in|EPOLLET, 8)
	v.expect(e, 8, event{in, 8}) // and so is MOD
	v.expect(e, 8)
	v.write(o, 1)
	v.read(o)
	v.expect(e, 8) // the edge is gone
}

func TestOneShot(t *testing.T) {
	v := newVM(t, 1)
	e, o := v.newInstance(), v.newObject()
	r := v.add(e, o, in|EPOLLONESHOT, 7)
	v.write(o, 1)
	v.expect(e, 8, event{in, 7})
	v.write(o, 1)
	v.expect(e, 8)
	if got := r.Events(); got != EPOLLONESHOT {
		t.Errorf("disarmed, it wants %#x", got)
	}
	v.set(r, in|EPOLLONESHOT, 9)
	v.expect(e, 8, event{in, 9})
	v.expect(e, 8)
}

func TestRotation(t *testing.T) {
	v := newVM(t, 1)
	e := v.newInstance()
	const n = 3*Items + 5
	for i := range uint64(n) {
		o := v.newObject()
		v.add(e, o, in, i)
		v.write(o, 1)
	}
	seen := map[uint64]int{}
	for round := 0; round < n; round++ {
		got := v.procs[0].collect(e.Instance(), 2)
		if len(got) != 2 {
			t.Fatalf("round %d: %d events", round, len(got))
		}
		for _, ev := range got {
			seen[ev.data]++
		}
	}
	for i := range uint64(n) {
		if seen[i] != 2 {
			t.Errorf("item %d was reported %d times", i, seen[i])
		}
	}
	if got := v.procs[0].collect(e.Instance(), n+10); len(got) != n {
		t.Errorf("%d events at once, of %d: none twice", len(got), n)
	}
}

func TestRemove(t *testing.T) {
	v := newVM(t, 2)
	e, o, o2 := v.newInstance(), v.newObject(), v.newObject()
	a, b, c := v.add(e, o, in, 1), v.add(e, o, in, 2), v.add(e, o, in|EPOLLEXCLUSIVE, 3)
	v.write(o, 1)
	b.Remove()
	v.expect(e, 8, event{in, 1}, event{in, 3})
	a.Remove()
	c.Remove()
	if o.ev.Watch != 0 || !o.watchers.Empty() || e.Len() != 0 {
		t.Error("not all are gone")
	}
	v.expect(e, 8)
	// The places are used again, with nothing left of their past.
	v.add(e, o2, in|EPOLLET, 4)
	v.expect(e, 8)
	v.write(o2, 1)
	v.expect(e, 8, event{in, 4})
}

func TestFull(t *testing.T) {
	v := newVM(t, 1)
	e, o := v.newInstance(), v.newObject()
	var last *Ref
	for i := range uint64(MaxItems) {
		r, err := e.Insert(Watched{Kind: abi.FileEventFD, Obj: o.addr}, nil)
		if err != nil {
			t.Fatalf("item %d: %v", i, err)
		}
		last = r
	}
	if _, err := e.Insert(Watched{}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	o.watchers.Add(last, false)
	last.Set(in, 42)
	v.write(o, 1)
	v.expect(e, 8, event{in, 42})
	v.expect(e, 8, event{in, 42})
}

// TestGrace: what was removed while a vCPU walks is used again only after the walk.
func TestGrace(t *testing.T) {
	v := newVM(t, 3)
	e, o := v.newInstance(), v.newObject()
	pages := v.mem.used
	r := v.add(e, o, in, 1)
	v.procs[2].enter()
	r.Remove()
	n, i := r.Place()
	r2 := v.add(e, o, in, 2)
	if n2, i2 := r2.Place(); n2 == n && i2 == i {
		t.Fatal("the place was used again during a walk")
	}
	r2.Remove()
	e.Close()
	v.limbo.Reclaim()
	if v.mem.used == pages-1 {
		t.Fatal("the instance was freed during a walk")
	}
	v.procs[2].exit()
	v.procs[1].enter() // a walk that began after the removal does not matter
	v.limbo.Reclaim()
	if v.limbo.Len() != 0 || v.mem.used != pages-1 {
		t.Errorf("%d things wait, %d pages in use", v.limbo.Len(), v.mem.used)
	}
	v.procs[1].exit()
}

func TestNested(t *testing.T) {
	v := newVM(t, 1)
	o := v.newObject()
	bottom := v.newInstance()
	v.add(bottom, o, in, 1)
	chain := []*instance{bottom}
	for i := 1; i < Depth; i++ {
		e := v.newInstance()
		v.nest(e, chain[i-1], in, uint64(i+1))
		chain = append(chain, e)
	}
	top := chain[Depth-1]
	edge := v.newInstance()
	v.nest(edge, bottom, in|EPOLLET, 99)
	v.expect(top, 8)
	v.write(o, 1)
	v.expect(top, 8, event{in, Depth})
	v.expect(edge, 8, event{in, 99})
	v.expect(edge, 8)
	v.expect(top, 8, event{in, Depth})
	v.expect(bottom, 8, event{in, 1})
	v.read(o)
	v.expect(top, 8)
	v.expect(edge, 8)
	v.write(o, 1)
	v.expect(edge, 8, event{in, 99})
	v.expect(top, 8, event{in, Depth})
}

// TestWakes: one sleeper for an event, all instances, and of exclusive items one.
func TestWakes(t *testing.T) {
	v := newVM(t, 8)
	o := v.newObject()
	var es []*instance
	for i := range 4 {
		e := v.newInstance()
		events := uint32(in | EPOLLEXCLUSIVE)
		if i == 0 {
			events = in
		}
		v.add(e, o, events, uint64(i))
		es = append(es, e)
		e.Instance().Sleepers.Join(uint64(2 * i))
		e.Instance().Sleepers.Join(uint64(2*i + 1))
	}
	v.write(o, 1)
	var woken []int
	for i, p := range v.procs {
		if len(p.run) > 0 {
			woken = append(woken, i)
		}
	}
	if fmt.Sprint(woken) != "[0 2]" {
		t.Errorf("woke %v, want one sleeper of the first instance and one of the first exclusive one", woken)
	}
	// The exclusive one that was not told has no bit; an event for everybody reaches it.
	if es[3].Instance().Any() {
		t.Error("the last exclusive item was told")
	}
	v.procs[0].tell(atomic.LoadUint64(&o.ev.Watch), pipes.POLLHUP)
	if !es[3].Instance().Any() {
		t.Error("the last exclusive item was not told of a hang-up")
	}
}

// TestChain: what one collector leaves is for the next sleeper.
func TestChain(t *testing.T) {
	v := newVM(t, 2)
	e := v.newInstance()
	for i := range uint64(2) {
		o := v.newObject()
		v.add(e, o, in|EPOLLET, i)
		v.write(o, 1)
	}
	e.Instance().Sleepers.Join(1)
	v.expect(e, 1, event{in, 0})
	if len(v.procs[1].run) != 1 {
		t.Error("nobody was woken for the second event")
	}
}

// next goes on to the next item of a collection.
func next(t *testing.T, c *Pass, e *instance) *Chunk {
	t.Helper()
	for {
		n, what := c.Next(e.Instance())
		ch, ok := e.Chunk(n)
		switch {
		case what == End || !ok:
			t.Fatal("no item")
		case what == Scan:
			c.Scan(e.Instance(), ch)
		case c.Look(e.Instance(), ch):
			return ch
		}
	}
}

// TestOrder: events are reported in the order in which they came.
func TestOrder(t *testing.T) {
	v := newVM(t, 1)
	e := v.newInstance()
	const n = 5*scanned + 3
	var objects []*object
	for i := range uint64(n) {
		o := v.newObject()
		v.add(e, o, in|EPOLLET*uint32(i&1), i)
		objects = append(objects, o)
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	var want []event
	for _, i := range order {
		v.write(objects[i], 1)
		want = append(want, event{in, uint64(i)})
	}
	v.expect(e, 3, want[:3]...)
	got := v.procs[0].collect(e.Instance(), n+5)
	// What was level-triggered of the first three comes last.
	rest := want[3:]
	for _, ev := range want[:3] {
		if ev.data&1 == 0 {
			rest = append(rest, ev)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(rest) {
		t.Errorf("collected %v, want %v", got, rest)
	}
}

// TestRestore: an event that cannot be stored stays.
func TestRestore(t *testing.T) {
	for _, events := range []uint32{in, in | EPOLLET, in | EPOLLONESHOT} {
		v := newVM(t, 1)
		e, o := v.newInstance(), v.newObject()
		v.add(e, o, events, 5)
		v.write(o, 1)
		var c Pass
		c.Begin(e.Instance(), func() {})
		ch := next(t, &c, e)
		c.Restore(e.Instance(), ch)
		c.End(e.Instance())
		v.expect(e, 8, event{in, 5})
	}
}

// TestModify: what changes between the look at an item and its report is reported as it is then.
func TestModify(t *testing.T) {
	for _, events := range []uint32{in, in | EPOLLET, in | EPOLLONESHOT} {
		v := newVM(t, 1)
		e, o := v.newInstance(), v.newObject()
		r := v.add(e, o, events, 5)
		v.write(o, 1)
		i := e.Instance()
		var c Pass
		c.Begin(i, func() {})
		ch := next(t, &c, e)
		r.Set(events, 6)
		if c.Same(i, ch) {
			t.Fatal("the change was not seen")
		}
		if next(t, &c, e); c.Data != 6 {
			t.Fatalf("visited again with data %d", c.Data)
		}
		if events&EPOLLONESHOT != 0 {
			r.Set(events, 7)
			if c.Done(i, ch) {
				t.Fatal("the report won over the modification")
			}
			next(t, &c, e)
		}
		if !c.Done(i, ch) {
			t.Fatal("not done")
		}
		c.End(i)
	}
}
