package stats

import (
	"math"
	"testing"
)

func TestSummarise(t *testing.T) {
	for _, c := range []struct {
		samples []float64
		want    Summary
	}{
		{[]float64{7}, Summary{P50: 7, P90: 7, P99: 7, Min: 7, Max: 7, Mean: 7}},
		{[]float64{3, 1, 2}, Summary{P50: 2, P90: 3, P99: 3, Min: 1, Max: 3, Mean: 2, CV: 0.5}},
		{[]float64{4, 1, 3, 2}, Summary{P50: 2.5, P90: 4, P99: 4, Min: 1, Max: 4, Mean: 2.5, CV: math.Sqrt(5.0/3) / 2.5}},
		{[]float64{0, 0}, Summary{}},
	} {
		if got := Summarise(c.samples); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.samples, got, c.want)
		}
	}
	if c := []float64{3, 1, 2}; Summarise(c).P50 != 2 || c[0] != 3 {
		t.Error("the samples were changed")
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	if s := Summarise(hundred); s.P50 != 50.5 || s.P90 != 90 || s.P99 != 99 {
		t.Errorf("1 to 100: %+v", s)
	}
}
