package epoll

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestLinux makes random calls on this package and on Linux's epoll, and compares all answers. Without nesting the order
// of events is compared too; with it Linux's order depends on which stale items a nested wait has met, which Peek leaves
// alone.
func TestLinux(t *testing.T) {
	t.Run("flat", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) { againstLinux(t, r, false) })
	})
	t.Run("nested", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) { againstLinux(t, r, true) })
	})
}

func TestMain(m *testing.M) {
	flag.Parse()
	settings := map[string]string{"rapid.nofailfile": "true", "rapid.checks": "200"}
	// The same sequences each time, unless new ones are asked for.
	if flag.Lookup("rapid.seed").Value.String() == "0" && os.Getenv("CULVERT_RANDOM") == "" {
		settings["rapid.seed"] = "20261126"
	}
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// pair is a thing here and in Linux.
type pair struct {
	fd     int
	object *object   // a counter, or
	inst   *instance // an instance
	refs   map[*pair]*Ref
	level  int // instances watch only what is below them
}

func (p *pair) String() string { return fmt.Sprint("fd ", p.fd) }

func againstLinux(t *testing.T, r *rapid.T, nested bool) {
	v := newVM(t, 1)
	var things, instances []*pair
	defer func() {
		for _, p := range things {
			unix.Close(p.fd)
		}
	}()
	opened := func(fd int, err error) int {
		if err != nil {
			r.Fatal(err)
		}
		return fd
	}
	for range 4 {
		things = append(things, &pair{fd: opened(unix.Eventfd(0, unix.EFD_NONBLOCK)), object: v.newObject()})
	}
	for i := range 3 {
		p := &pair{fd: opened(unix.EpollCreate1(0)), inst: v.newInstance(), refs: map[*pair]*Ref{}, level: i + 1}
		things, instances = append(things, p), append(instances, p)
	}
	pick := func(from []*pair) *pair { return from[rapid.IntRange(0, len(from)-1).Draw(r, "thing")] }
	for range rapid.IntRange(1, 120).Draw(r, "steps") {
		p := pick(instances)
		o := pick(things)
		switch rapid.SampledFrom([]string{"ctl", "ctl", "write", "write", "read", "wait", "wait", "wait"}).Draw(r, "call") {
		case "ctl":
			if o.level >= p.level || o.inst != nil && !nested {
				continue
			}
			op := rapid.SampledFrom([]int{unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_MOD, unix.EPOLL_CTL_DEL}).Draw(r, "op")
			events := rapid.SampledFrom([]uint32{in, out, in | out, 0}).Draw(r, "events") |
				rapid.SampledFrom([]uint32{0, 0, EPOLLET, EPOLLONESHOT, EPOLLET | EPOLLONESHOT}).Draw(r, "mode")
			data := rapid.Uint64().Draw(r, "data")
			want := unix.EpollCtl(p.fd, op, o.fd, linuxEvent(events, data))
			if got := ctl(v, p, o, op, events, data); got != (want == nil) {
				r.Fatalf("epoll_ctl(%v, %d, %v, %#x): %v, Linux %v", p, op, o, events, got, want)
			}
		case "write":
			if o.object != nil {
				v.write(o.object, 1)
				if _, err := unix.Write(o.fd, binary.LittleEndian.AppendUint64(nil, 1)); err != nil {
					r.Fatal(err)
				}
			}
		case "read":
			if o.object != nil && o.object.ev.Readable() {
				v.read(o.object)
				if _, err := unix.Read(o.fd, make([]byte, 8)); err != nil {
					r.Fatal(err)
				}
			}
		case "wait":
			room := 16
			if !nested {
				room = rapid.IntRange(1, 5).Draw(r, "room")
			}
			got, want := v.procs[0].collect(p.inst.Instance(), room), linuxWait(r, p.fd, room)
			if nested {
				slices.SortFunc(got, compareEvents)
				slices.SortFunc(want, compareEvents)
			}
			if !slices.Equal(got, want) {
				r.Fatalf("epoll_wait(%v, %d): %v, Linux %v", p, room, got, want)
			}
		}
	}
}

// ctl is epoll_ctl; it reports whether it succeeded.
func ctl(v *vm, p, o *pair, op int, events uint32, data uint64) bool {
	ref := p.refs[o]
	switch {
	case op == unix.EPOLL_CTL_ADD && ref == nil && o.object != nil:
		p.refs[o] = v.add(p.inst, o.object, events, data)
	case op == unix.EPOLL_CTL_ADD && ref == nil:
		p.refs[o] = v.nest(p.inst, o.inst, events, data)
	case op == unix.EPOLL_CTL_MOD && ref != nil:
		v.set(ref, events, data)
	case op == unix.EPOLL_CTL_DEL && ref != nil:
		ref.Remove()
		delete(p.refs, o)
	default:
		return false
	}
	return true
}

func linuxEvent(events uint32, data uint64) *unix.EpollEvent {
	return &unix.EpollEvent{Events: events, Fd: int32(data), Pad: int32(data >> 32)}
}

func linuxWait(r *rapid.T, fd, room int) []event {
	raw := make([]unix.EpollEvent, room)
	n, err := unix.EpollWait(fd, raw, 0)
	if err != nil {
		r.Fatal(err)
	}
	var got []event
	for _, e := range raw[:n] {
		got = append(got, event{e.Events, uint64(uint32(e.Fd)) | uint64(e.Pad)<<32})
	}
	return got
}

func compareEvents(a, b event) int {
	switch {
	case a.data < b.data:
		return -1
	case a.data > b.data:
		return 1
	}
	return int(a.events) - int(b.events)
}
