package report

import (
	"math"
	"strings"
	"testing"

	"culvert/cmd/culvert/internal/bench/exits"
)

// times100 are five samples around a hundred times x.
func times100(x float64) Result {
	var samples []Sample
	for i := range 5 {
		ns := 100*x + float64(i)
		samples = append(samples, Sample{Ops: 1, NS: uint64(ns), NSPerOp: ns})
	}
	return NewResult(samples, 0)
}

func reportOf(list ...Measurement) *Report {
	return &Report{Meta: Meta{Culvert: "v1", Date: "2026-01-02T03:04:05Z", Host: "KVM"}, Measurements: list}
}

func with(name string, results ...Result) Measurement {
	return Measurement{Name: name, Op: name}.Join([]string{"culvert", "native"}[:len(results)], results)
}

func withExits(perOp float64) Measurement {
	m := with("exits", times100(1))
	m.PerOp = &exits.PerOp{ExitsPerOp: perOp}
	return m
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, now Measurement
		delta    float64
		relative bool
		worse    bool
	}{
		{"the same", with("x", times100(1)), with("x", times100(1)), 0, false, false},
		{"slower", with("x", times100(1)), with("x", times100(1.5)), 0.49, false, true},
		{"faster", with("x", times100(1)), with("x", times100(0.5)), -0.49, false, false},
		{"slower, not by much", with("x", times100(1)), with("x", times100(1.09)), 0.088, false, false},
		{"a slower machine", with("x", times100(1), times100(2)), with("x", times100(3), times100(6)), 0, true, false},
		{"slower on a faster machine", with("x", times100(2), times100(4)), with("x", times100(1), times100(1)), 0.98, true, true},
		{"no baseline in one", with("x", times100(1), times100(1)), with("x", times100(1)), 0, false, false},
		{"more exits", withExits(2), withExits(3), 0, false, true},
		{"hardly more exits", withExits(0), withExits(0.05), 0, false, false},
	} {
		list := Compare(reportOf(c.old), reportOf(c.now), 0.1)
		if len(list) != 1 {
			t.Errorf("%s: %+v", c.name, list)
			continue
		}
		got := list[0]
		if math.Abs(got.Delta-c.delta) > 0.02 || got.Relative != c.relative || got.Worse != c.worse {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	// What is not in both, or failed in one, is not compared; and chance is none.
	if list := Compare(reportOf(with("x", times100(1)), with("z", times100(1))), reportOf(with("y", times100(1)), with("z", Result{Error: "no"})), 0.1); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	one := NewResult([]Sample{{Ops: 1, NS: 1, NSPerOp: 1}}, 0)
	two := NewResult([]Sample{{Ops: 1, NS: 2, NSPerOp: 2}}, 0)
	if list := Compare(reportOf(with("x", one)), reportOf(with("x", two)), 0.1); len(list) != 1 || list[0].Worse || list[0].P != 1 {
		t.Errorf("one sample: %+v", list)
	}
}

func TestWriteChanges(t *testing.T) {
	old := reportOf(with("a", times100(1)), with("b", times100(1), times100(2)), withExits(2))
	now := reportOf(with("a", times100(1)), with("b", times100(4), times100(2)), withExits(0))
	var b strings.Builder
	if err := WriteChanges(&b, Compare(old, now, 0.1), &old.Meta, 0.1); err != nil {
		t.Fatal(err)
	}
	golden(t, "changes", b.String())
	b.Reset()
	if err := WriteChanges(&b, nil, &old.Meta, 0.1); err != nil || !strings.Contains(b.String(), "nothing that both") {
		t.Errorf("%q, %v", b.String(), err)
	}
}
