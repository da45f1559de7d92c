package bench

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/cmd/culvert/internal/bench/workload"
)

func native(t *testing.T) nativeSide {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return nativeSide{self: self, stderr: os.Stderr}
}

// Every kind is measured natively, in turns with itself.
func TestMeasure(t *testing.T) {
	for _, k := range workload.Kinds() {
		told := 0
		m := measure([]side{native(t), native(t)}, k, plan{samples: 2, duration: 2 * time.Millisecond}, func(int) { told++ })
		if m.Error != "" || len(m.Samples) != 2 || m.NSPerOp <= 0 || m.Exits != nil || told != 2 {
			t.Errorf("%s: %+v", k.Name, m)
			continue
		}
		if len(m.Against) != 1 || m.Against[0].Error != "" || m.Ratio == nil || *m.Ratio != m.NSPerOp/m.Against[0].NSPerOp {
			t.Errorf("%s, the other side: %+v", k.Name, m.Against)
		}
		for _, s := range m.Samples {
			if s.Ops%uint64(k.Unit) != 0 {
				t.Errorf("%s: a batch of %d operations, not a multiple of %d", k.Name, s.Ops, k.Unit)
			}
		}
	}
}

// broken is a side that cannot be started.
type broken struct{}

func (broken) name() string                      { return "broken" }
func (broken) start([]string) (*instance, error) { return nil, errors.New("it is broken") }

// asKind is native Linux with the workload of another kind, or of none.
type asKind struct {
	nativeSide
	kind string
}

func (a asKind) start([]string) (*instance, error) { return a.nativeSide.start(workloadArgs(a.kind)) }

// A side that fails has its error in the report, and the other sides are measured.
func TestMeasureFailure(t *testing.T) {
	k, _ := workload.Find("getppid")
	n := native(t)
	n.stderr = nil
	for _, c := range []struct {
		side side
		want string
	}{{broken{}, "it is broken"}, {asKind{n, "nonsense"}, "workload"}} {
		m := measure([]side{c.side, native(t)}, k, plan{samples: 1, duration: time.Millisecond}, func(int) {})
		if !strings.Contains(m.Error, c.want) || m.Ratio != nil || m.NSPerOp != 0 {
			t.Errorf("%q: %+v", c.want, m.Result)
		}
		if m.Against[0].Error != "" || m.Against[0].NSPerOp <= 0 || m.Against[0].Ratio != nil {
			t.Errorf("%q: the other side: %+v", c.want, m.Against[0])
		}
		if list := failures(&Report{Measurements: []Measurement{m}}); len(list) != 1 || !strings.HasPrefix(list[0], "getppid on culvert: ") {
			t.Errorf("failures: %q", list)
		}
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		ops, unit  uint64
		took, want time.Duration
		ops2       uint64
	}{
		{1, 1, 0, time.Second, 10},                    // a clock that stood still
		{100, 1, time.Millisecond, time.Second, 1000}, // at most tenfold
		{100, 1, 10 * time.Millisecond, 50 * time.Millisecond, 500},
		{1, 1, time.Second, time.Millisecond, 1},       // never none
		{512, 512, time.Second, time.Millisecond, 512}, // nor less than a unit
		{1024, 512, time.Millisecond, 3 * time.Millisecond, 3072},
		{1024, 512, 2 * time.Millisecond, 3 * time.Millisecond, 1536},
		{maxOps, 1, 1, time.Hour, maxOps},
	} {
		if got := scale(c.ops, c.unit, c.took, c.want); got != c.ops2 {
			t.Errorf("%d of unit %d in %v, want %v: %d, want %d", c.ops, c.unit, c.took, c.want, got, c.ops2)
		}
	}
}

func TestCounts(t *testing.T) {
	before := counts{byReason: map[string]uint64{"syscall": 10, "idle": 5, "interrupted": 1, "irq_window": 0}, kvm: 20, kvmHost: 2, hasKVM: true}
	after := counts{byReason: map[string]uint64{"syscall": 25, "idle": 6, "interrupted": 4, "irq_window": 2}, kvm: 60, kvmHost: 7, hasKVM: true}
	d := after.since(before)
	if d.exits() != 16 || d.kvm != 40 || d.kvmHost != 5 {
		t.Errorf("since: %+v", d)
	}
	var empty counts
	empty.least(counts{byReason: map[string]uint64{"syscall": 5, "idle": 1}, kvm: 9, hasKVM: true})
	empty.least(counts{byReason: map[string]uint64{"syscall": 3, "idle": 2}, kvm: 10, kvmHost: 1, hasKVM: true})
	e := d.less(empty, 1).perOp(4)
	if e.ExitsPerOp != 3 || e.HostInterruptsPerOp != 1.25 || e.ExitsByReason["syscall"] != 3 || e.ExitsByReason["interrupted"] != 0.75 {
		t.Errorf("per operation: %+v", e)
	}
	if _, has := e.ExitsByReason["idle"]; has {
		t.Errorf("idle, which was subtracted, is listed: %+v", e)
	}
	if e.KVMExitsPerOp == nil || *e.KVMExitsPerOp != (31-5)/4.0 || *e.KVMInterruptsPerOp != 5/4.0 {
		t.Errorf("kernel's events: %v, %v", e.KVMExitsPerOp, e.KVMInterruptsPerOp)
	}
	if e := d.less(empty, 1000).perOp(1); e.ExitsPerOp != 0 || *e.KVMExitsPerOp != 0 {
		t.Errorf("more subtracted than there was: %+v", e)
	}
	if e := (counts{}).perOp(0); e.KVMExitsPerOp != nil || e.ExitsPerOp != 0 {
		t.Errorf("nothing: %+v", e)
	}
}

// Counters that move at first are waited for.
func TestAtRest(t *testing.T) {
	looks := uint64(0)
	c := atRest(func() counts {
		looks++
		return counts{byReason: map[string]uint64{"syscall": min(looks, 4)}}
	})
	if c.exits() != 4 || looks != 5 {
		t.Errorf("came to rest at %d after %d looks", c.exits(), looks)
	}
}

// Starting is measured by programs of which one says nothing on time, or all is well.
func TestStartOnce(t *testing.T) {
	program, _, remove, err := startupFiles()
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	first, end, err := startOnce([]string{program})
	if err != nil || first <= 0 || end < first {
		t.Errorf("hello: %v, %v, %v", first, end, err)
	}
	if _, _, err := startOnce([]string{"/bin/true"}); err == nil {
		t.Error("a program that writes nothing was taken")
	}
	if _, _, err := startOnce([]string{"/bin/sh", "-c", "echo x; echo why >&2; exit 3"}); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a program that fails: %v", err)
	}
}

func TestBind(t *testing.T) {
	if _, err := bind(1 << 10); err == nil {
		t.Error("bound to more processors than there can be")
	}
	undo, err := bind(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := undo(); err != nil {
		t.Error(err)
	}
}

func TestHost(t *testing.T) {
	for name, want := range map[string]string{"TCGTCGTCGTCG": "KVM, emulated by QEMU", "KVMKVMKVM": "KVM, nested in KVMKVMKVM",
		"": "KVM, nested in a hypervisor without a name"} {
		if got := hostNamed(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
