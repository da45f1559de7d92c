package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/cmd/culvert/internal/bench/exits"
)

// sampleReport has a row of each sort.
func sampleReport() *Report {
	n := func(v uint64) *uint64 { return &v }
	f := func(v float64) *float64 { return &v }
	vm := NewResult([]Sample{{Ops: 1000, NS: 4100000, NSPerOp: 4100, Exits: n(3)}, {Ops: 1000, NS: 3900000, NSPerOp: 3900, Exits: n(0)}}, 4096)
	vm.PerOp = &exits.PerOp{ExitsPerOp: 0.0015, HostInterruptsPerOp: 0.002, ExitsByReason: map[string]float64{"syscall": 0.0015, "interrupted": 0.002},
		KVMExitsPerOp: f(0.0025), KVMInterruptsPerOp: f(0.004)}
	vm.ClockRatio = f(1)
	linux := NewResult([]Sample{{Ops: 200, NS: 4000000, NSPerOp: 20000}}, 4096)
	slow := NewResult([]Sample{{Ops: 2, NS: 25000000, NSPerOp: 12500000, Exits: n(8)}}, 0)
	slow.PerOp = &exits.PerOp{ExitsPerOp: 4, ExitsByReason: map[string]float64{"syscall": 4}}
	slow.ClockRatio = f(0.5)
	start := NewResult([]Sample{{Ops: 1, NS: 3000000, NSPerOp: 3e6, Exits: n(5)}}, 0)
	start.PerOp = &exits.PerOp{ExitsPerOp: 5, ExitsByReason: map[string]float64{"syscall": 5}}
	start.PhasesUS = map[string]float64{PhaseProcess: 900, PhaseOpen: 20, PhaseCreate: 700, PhaseProgram: 3000, PhaseEnd: 3500}
	fast := NewResult([]Sample{{Ops: 5e6, NS: 5e8, NSPerOp: 100}}, 0)
	small := NewResult([]Sample{{Ops: 1000, NS: 1000000, NSPerOp: 1000}}, 64)
	small.SetHostCPU(1250, 64)
	single, singleLinux := NewResult([]Sample{{Ops: 5, NS: 50000, NSPerOp: 10000}}, 0), NewResult([]Sample{{Ops: 5, NS: 200000, NSPerOp: 40000}}, 0)
	single.Latency, singleLinux.Latency = NewLatency(ramp(9000, 20000)), NewLatency(ramp(30000, 90000))
	memory := NewResult([]Sample{{Ops: 1, Bytes: 11 << 20}, {Ops: 1, Bytes: 10 << 20}, {Ops: 1, Bytes: 12 << 20}}, 0)
	names := []string{"culvert", "native"}
	return &Report{
		Meta: Meta{Date: "2026-01-02T03:04:05Z", Culvert: "v1.2.3", Go: "go1.26", Processor: "A Processor", Kernel: "Linux 6.1",
			Host: "KVM", KVMEvents: "counted", CPUs: 1, Samples: 2, Duration: "1s",
			Peers: map[string]string{"native": "bare Linux"}, Missing: map[string]string{"runsc": "it is not in PATH"}},
		Measurements: []Measurement{
			Measurement{Name: "pipe-4096", Op: "a write of 4096 bytes", Block: 4096}.Join(names, []Result{vm, linux}),
			Measurement{Name: "pipe-64", Op: "a write of 64 bytes", Block: 64}.Join(names, []Result{small, {Skipped: "it has no pipes"}}),
			Measurement{Name: "pingpong", Op: "there and back"}.Join(names, []Result{single, singleLinux}),
			Measurement{Name: "memory", Op: "bytes of an idle VM"}.Join(names, []Result{memory, {Skipped: "there is no VM"}}),
			Measurement{Name: "fork", Op: "fork, exit, wait", Block: 0}.Join(names, []Result{slow, {Error: "clone failed"}}),
			Measurement{Name: "exec-go", Op: "exec of culvert", Block: 0}.Join(names, []Result{{Error: "the workload ended"}, fast}),
			Measurement{Name: "startup", Op: "to the first byte", Block: 0}.Join(names, []Result{start, fast}),
		},
	}
}

// ramp are a thousand numbers between two.
func ramp(from, to float64) []float64 {
	var list []float64
	for i := range 1000 {
		list = append(list, from+(to-from)*float64(i)/999)
	}
	return list
}

// UPDATE_GOLDEN=1 writes what is printed to testdata instead of comparing it.
func TestFormats(t *testing.T) {
	for name, write := range Formats() {
		var b strings.Builder
		if err := write(&b, sampleReport()); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
		b.Reset()
		if err := write(&b, &Report{}); err != nil {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

func TestNumbers(t *testing.T) {
	for ns, want := range map[float64]string{0: "0.00 ns", 9.876: "9.88 ns", 12.34: "12.3 ns", 999: "999 ns", 1500: "1.50 us", 2.5e6: "2.50 ms", 61e9: "61.0 s"} {
		if got := duration(ns); got != want {
			t.Errorf("%v ns: %q, want %q", ns, got, want)
		}
	}
	for x, want := range map[float64]string{0: "0", 0.00001: "<0.0001", 0.0015: "0.0015", 0.25: "0.25", 4: "4.00", 330: "330"} {
		if got := small(x); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
}

// What is written as JSON is read again, and prints the same.
func TestReadJSON(t *testing.T) {
	var b, again strings.Builder
	if err := WriteJSON(&b, sampleReport()); err != nil {
		t.Fatal(err)
	}
	r, err := ReadJSON(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&again, r); err != nil || again.String() != b.String() {
		t.Errorf("%v, read again:\n%s", err, again.String())
	}
	// A median without samples, and other things that no report has, must not be printed as if they were measured.
	for _, text := range []string{"", "{}", "[]", "x", `{"measurements":[]}`} {
		if _, err := ReadJSON(strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	r, err = ReadJSON(strings.NewReader(`{"measurements":[{"name":"x","ns_per_op":7,"samples":[{}],"against":[{"summary":{}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range Formats() {
		var b strings.Builder
		if err := write(&b, r); err != nil || strings.Contains(b.String(), "7") {
			t.Errorf("%s: %q, %v", name, b.String(), err)
		}
	}
}

func TestLatency(t *testing.T) {
	if l := NewLatency(nil); l != nil {
		t.Errorf("nothing: %+v", l)
	}
	l := NewLatency([]float64{3, 1, 2})
	if l.Ops != 3 || l.at(0) != 1 || l.at(0.25) != 1 || l.at(0.5) != 2 || l.at(0.99) != 3 || l.at(1) != 3 {
		t.Errorf("%+v", l)
	}
	if l := NewLatency(ramp(1, 1000)); l.at(0.5) != 500 || l.at(0.99) != 990 || l.at(0.999) != 999 || l.at(1) != 1000 {
		t.Errorf("1 to 1000: %+v", l)
	}
}

// Benchstat's rules: see golang.org/x/perf/benchfmt.
func TestGobenchNames(t *testing.T) {
	for _, c := range []struct {
		name  string
		block int
		want  string
	}{{"pipe-64", 64, "Pipe/block=64"}, {"ring-8", 0, "Ring/n=8"}, {"exec-go", 0, "Exec_go"}, {"signal_self", 0, "Signal_self"}} {
		if got := gobenchName(&Measurement{Name: c.name, Block: c.block}); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestCharts(t *testing.T) {
	if panels := Charts(sampleReport()); len(panels) != 2 {
		t.Errorf("%d panels, want throughput and latencies", len(panels))
	}
	if panels := Charts(&Report{}); len(panels) != 0 {
		t.Errorf("nothing has %d panels", len(panels))
	}
	for x, want := range map[float64]string{1: "1", 512: "512", 1024: "1K", 1500: "1500", 65536: "64K", 1 << 20: "1M"} {
		if got := blockText(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}
