package stats

import (
	"math"
	"testing"
)

// The exact values count arrangements; with ties the normal approximation was worked out by hand.
func TestMannWhitney(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		want float64
	}{
		{nil, []float64{1}, 1},
		{[]float64{1}, []float64{2}, 1},
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0.1},                            // 2 of the 20 arrangements
		{[]float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 2.0 / 70},                 // of 70
		{[]float64{1, 3, 5}, []float64{2, 4, 6}, 0.7},                            // U = 3: 14 of 20
		{[]float64{5, 5, 5}, []float64{5, 5, 5}, 1},                              // all equal
		{[]float64{1, 2, 2, 3}, []float64{2, 4, 4, 5}, 0.1016},                   // U = 2, variance 11.29: z = 1.637
		{[]float64{1, 2, 3, 4, 5}, []float64{11, 12, 13, 14, 15}, 0.00793650794}, // 2 of 252
	} {
		for _, got := range []float64{MannWhitney(c.a, c.b), MannWhitney(c.b, c.a)} {
			if math.Abs(got-c.want) > 1e-4 {
				t.Errorf("%v, %v: p = %v, want %v", c.a, c.b, got, c.want)
			}
		}
	}
}

// For as many samples as the exact distribution is used for, the approximation says nearly the same.
func TestApproximation(t *testing.T) {
	const n = exactLimit / 2
	for _, u := range []float64{0, 200, 300, 350, 400, 450} {
		exact, approximate := exactP(u, n, n), approximateP(u, 0, n, n)
		if math.Abs(exact-approximate) > 0.005 {
			t.Errorf("U = %v: exact %v, approximate %v", u, exact, approximate)
		}
	}
}
