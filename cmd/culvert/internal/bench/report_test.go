package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sampleReport has a row of each sort.
func sampleReport() *Report {
	n := func(v uint64) *uint64 { return &v }
	f := func(v float64) *float64 { return &v }
	vm := result([]Sample{{Ops: 1000, NS: 4100000, NSPerOp: 4100, Exits: n(3)}, {Ops: 1000, NS: 3900000, NSPerOp: 3900, Exits: n(0)}}, 4096)
	vm.Exits = &Exits{ExitsPerOp: 0.0015, HostInterruptsPerOp: 0.002, ExitsByReason: map[string]float64{"syscall": 0.0015, "interrupted": 0.002},
		KVMExitsPerOp: f(0.0025), KVMInterruptsPerOp: f(0.004)}
	vm.ClockRatio = f(1)
	linux := result([]Sample{{Ops: 200, NS: 4000000, NSPerOp: 20000}}, 4096)
	slow := result([]Sample{{Ops: 2, NS: 25000000, NSPerOp: 12500000, Exits: n(8)}}, 0)
	slow.Exits = &Exits{ExitsPerOp: 4, ExitsByReason: map[string]float64{"syscall": 4}}
	slow.ClockRatio = f(0.5)
	start := result([]Sample{{Ops: 1, NS: 3000000, NSPerOp: 3e6, Exits: n(5)}}, 0)
	start.Exits = &Exits{ExitsPerOp: 5, ExitsByReason: map[string]float64{"syscall": 5}}
	start.PhasesUS = map[string]float64{phaseProcess: 900, phaseOpen: 20, phaseCreate: 700, phaseProgram: 3000, phaseEnd: 3500}
	fast := result([]Sample{{Ops: 5e6, NS: 5e8, NSPerOp: 100}}, 0)
	names := []string{"culvert", "native"}
	return &Report{
		Meta: Meta{Date: "2026-01-02T03:04:05Z", Culvert: "v1.2.3", Go: "go1.26", Processor: "A Processor", Kernel: "Linux 6.1",
			Host: "KVM", KVMEvents: "counted", CPUs: 1, Samples: 2, Duration: "1s"},
		Measurements: []Measurement{
			measurement("pipe-4096", "a write of 4096 bytes", 4096, names, []Result{vm, linux}),
			measurement("fork", "fork, exit, wait", 0, names, []Result{slow, {Error: "clone failed"}}),
			measurement("exec-go", "exec of culvert", 0, names, []Result{{Error: "the workload ended"}, fast}),
			measurement("startup", "to the first byte", 0, names, []Result{start, fast}),
		},
	}
}

// UPDATE_GOLDEN=1 writes what is printed to testdata instead of comparing it.
func TestFormats(t *testing.T) {
	for name, write := range formats() {
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

// A terminal gets a line; anything else gets silence.
func TestProgress(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := newProgress(w)
	p.begin("x", 2)
	p.tell(0)
	p.clear()
	w.Close()
	var b [64]byte
	if n, _ := r.Read(b[:]); n != 0 {
		t.Errorf("a pipe got %q", b[:n])
	}
	var term strings.Builder
	p = &progress{w: &term}
	p.begin("x", 2)
	p.tell(1)
	p.clear()
	if want := clearLine + "x: warming up" + clearLine + "x: sample 2 of 2" + clearLine; term.String() != want {
		t.Errorf("a terminal got %q, want %q", term.String(), want)
	}
}
