package bench

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"culvert/cmd/culvert/internal/bench/proc"
	"culvert/cmd/culvert/internal/bench/report"
	"culvert/cmd/culvert/internal/bench/side"
	"culvert/cmd/culvert/internal/bench/workload"
)

func native(t *testing.T) side.Native {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return side.Native{Self: self}
}

// quick are the kinds, with few parameters.
func quick() []workload.Kind {
	return workload.Kinds(workload.Params{Blocks: []int{1, 4096}, Processes: 4})
}

// Every kind is measured natively, in turns with itself.
func TestMeasure(t *testing.T) {
	n := native(t)
	for _, k := range quick() {
		told := 0
		m := measure([]side.Side{n, n}, n, k, plan{samples: 2, duration: 2 * time.Millisecond}, func(int) { told++ })
		if m.Skipped != "" {
			continue // a program that this machine does not have
		}
		if m.Error != "" || len(m.Samples) != 2 || m.NSPerOp <= 0 || m.PerOp != nil || m.HostCPU == nil || told != 2 {
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

// Batches have as many operations as --count says, and single ones are timed.
func TestCount(t *testing.T) {
	n := native(t)
	k, _ := workload.Find("pingpong")
	m := measure([]side.Side{n}, n, k, plan{samples: 3, duration: time.Hour, count: 40, warmup: time.Millisecond}, func(int) {})
	if m.Error != "" || len(m.Samples) != 3 || m.Samples[0].Ops != 40 || m.Latency == nil || m.Latency.Ops != 3*10 {
		t.Errorf("%+v", m)
	}
	k, _ = workload.Find("ring-8")
	m = measure([]side.Side{n}, n, k, plan{samples: 1, duration: time.Hour, count: 20}, func(int) {})
	if m.Error != "" || m.Samples[0].Ops != 16 || m.Latency != nil {
		t.Errorf("%+v", m)
	}
}

// broken is a side that cannot be started.
type broken struct{ side.Native }

func (broken) Name() string                           { return "broken" }
func (broken) Start(...string) (*side.Process, error) { return nil, errors.New("it is broken") }

// asKind is native Linux with the workload of another kind, or of none.
type asKind struct {
	side.Native
	kind string
}

func (a asKind) Start(...string) (*side.Process, error) { return a.Native.Start(a.kind) }

// A side that fails has its error in the report, and the other sides are measured.
func TestMeasureFailure(t *testing.T) {
	k, _ := workload.Find("getppid")
	n := native(t)
	for _, c := range []struct {
		side side.Side
		want string
	}{{broken{}, "it is broken"}, {asKind{n, "nonsense"}, "no such measurement"}} {
		m := measure([]side.Side{c.side, n}, n, k, plan{samples: 1, duration: time.Millisecond}, func(int) {})
		if !strings.Contains(m.Error, c.want) || m.Ratio != nil || m.NSPerOp != 0 {
			t.Errorf("%q: %+v", c.want, m.Result)
		}
		if m.Against[0].Error != "" || m.Against[0].NSPerOp <= 0 || m.Against[0].Ratio != nil {
			t.Errorf("%q: the other side: %+v", c.want, m.Against[0])
		}
		list := (&report.Report{Measurements: []report.Measurement{m}}).Failures()
		if len(list) != 1 || !strings.HasPrefix(list[0], "getppid on culvert: ") {
			t.Errorf("failures: %q", list)
		}
	}
}

// A peer that cannot carry out anything is given up and leaves the report; one that fails once stays.
func TestGiveUp(t *testing.T) {
	b := &bench{options: &options{}, report: &report.Report{}, line: &progress{w: io.Discard},
		peers: []*peer{{Side: native(t)}, {Side: broken{}}}}
	result := func(names ...string) report.Measurement {
		m := report.Measurement{Name: "x"}
		for _, name := range names {
			s := report.Side{Name: name}
			if name == "broken" {
				s.Error = "it is broken"
			}
			m.Against = append(m.Against, s)
		}
		return m
	}
	b.one("x", func() report.Measurement { return result("native", "broken") })
	if len(b.peers) != 2 {
		t.Fatalf("%d peers are left after one failure", len(b.peers))
	}
	b.one("x", func() report.Measurement { return result("native", "broken") })
	b.one("x", func() report.Measurement { return result("native") })
	if len(b.peers) != 1 || b.report.Meta.Missing["broken"] != "it is broken" || len(b.report.Measurements) != 3 {
		t.Errorf("%d peers, missing %v, %d measurements", len(b.peers), b.report.Meta.Missing, len(b.report.Measurements))
	}
	for _, m := range b.report.Measurements {
		if len(m.Against) != 1 || m.Against[0].Name != "native" {
			t.Errorf("%+v", m.Against)
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

// launchNative starts programs of which one writes nothing, or all is well.
type launchNative struct {
	side.Native
	args []string
}

func (l launchNative) Launch(program, _ string) (*side.Launch, error) {
	args := l.args
	if args == nil {
		args = []string{program}
	}
	cmd := exec.Command(args[0], args[1:]...)
	kill := func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	}
	return &side.Launch{Cmd: cmd, Kill: kill, Free: func() {}, IsRAM: func(m proc.Mapping) bool { return m.Name == "[stack]" }}, nil
}

func TestStartup(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // in the error
	}{
		{nil, ""},
		{[]string{"/bin/sh", "-c", `echo a console; printf '\177'`}, ""},
		{[]string{"/bin/true"}, "did not begin"},
		{[]string{"/bin/sh", "-c", "echo x; echo why >&2; exit 3"}, "why"},
		{[]string{"/nonexistent"}, "/nonexistent"},
	} {
		l := launchNative{native(t), c.args}
		m := startup(l.Self, []side.Side{l}, plan{samples: 2}, func(int) {})
		if c.want != "" {
			if !strings.Contains(m.Error, c.want) {
				t.Errorf("%q: %+v", c.args, m.Result)
			}
			continue
		}
		if m.Error != "" || len(m.Samples) != 2 || m.NSPerOp <= 0 || m.PhasesUS[report.PhaseProgram] <= 0 {
			t.Errorf("%q: %+v", c.args, m.Result)
		}
	}
}

// What sleeps takes memory; the part that is a guest's does not count, and what is no VM is left out.
func TestMemory(t *testing.T) {
	m := memory("", []side.Side{launchNative{native(t), nil}, native(t)}, func(int) {})
	if m.Error != "" || len(m.Samples) != memoryRuns || m.Bytes < 1<<10 || m.Bytes > 1<<20 || m.NSPerOp != 0 {
		t.Errorf("%+v", m.Result)
	}
	if s := m.Against[0]; s.Skipped == "" || s.Error != "" || s.Ratio != nil {
		t.Errorf("%+v", s)
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
