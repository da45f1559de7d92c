package stats

import (
	"math"
	"slices"
)

// exactLimit bounds the number of samples, both sets together, up to which the distribution of U is counted out: its
// table has a row of n1*n2+1 numbers for each pair of sizes.
const exactLimit = 60

// MannWhitney returns the two-sided p-value of the Mann-Whitney U test: how likely two sets of samples from one
// distribution, whatever it is, differ in rank as much as a and b do. It is 1 if either set is empty.
//
// Small sets without ties get the exact distribution of U, others the normal approximation with corrections for ties
// and continuity, as in R's wilcox.test and in benchstat.
func MannWhitney(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	u, ties := uStatistic(a, b)
	n1, n2 := len(a), len(b)
	if ties == 0 && n1+n2 <= exactLimit {
		return exactP(u, n1, n2)
	}
	return approximateP(u, ties, n1, n2)
}

// approximateP takes U for normally distributed.
func approximateP(u, ties float64, n1, n2 int) float64 {
	n := float64(n1 + n2)
	product := float64(n1) * float64(n2)
	variance := product / 12 * (n + 1 - ties/(n*(n-1)))
	if variance <= 0 {
		return 1 // all samples are equal
	}
	const continuity = 0.5
	z := (math.Abs(u-product/2) - continuity) / math.Sqrt(variance)
	return min(1, math.Erfc(z/math.Sqrt2))
}

// uStatistic is the number of pairs in which a's sample is above b's, a tie counting a half, and the ties' correction:
// the sum of t^3-t over all groups of t equal samples.
func uStatistic(a, b []float64) (u, ties float64) {
	type sample struct {
		value float64
		ofA   bool
	}
	all := make([]sample, 0, len(a)+len(b))
	for _, x := range a {
		all = append(all, sample{x, true})
	}
	for _, x := range b {
		all = append(all, sample{x, false})
	}
	slices.SortFunc(all, func(x, y sample) int {
		switch {
		case x.value < y.value:
			return -1
		case x.value > y.value:
			return 1
		}
		return 0
	})
	below := 0.0 // samples of b that are below the group
	for i := 0; i < len(all); {
		j, inA, inB := i, 0.0, 0.0
		for ; j < len(all) && all[j].value == all[i].value; j++ {
			if all[j].ofA {
				inA++
			} else {
				inB++
			}
		}
		u += inA * (below + inB/2)
		t := inA + inB
		ties += t*t*t - t
		below += inB
		i = j
	}
	return u, ties
}

// exactP sums the probabilities of all U that are at least as far from the middle as u. The number of arrangements of n1
// and n2 samples that have a given U follows Mann and Whitney's recurrence, count(n1, n2, u) = count(n1-1, n2, u-n2) +
// count(n1, n2-1, u): the greatest sample is either a's, above all of b's, or b's.
func exactP(u float64, n1, n2 int) float64 {
	rows := make([][]float64, n2+1) // for the current n1, by n2
	for j := range rows {
		rows[j] = []float64{1} // no samples of a: U is 0
	}
	for i := 1; i <= n1; i++ {
		next := make([][]float64, n2+1)
		next[0] = []float64{1}
		for j := 1; j <= n2; j++ {
			row := make([]float64, i*j+1)
			for k, c := range rows[j] {
				row[k+j] += c
			}
			for k, c := range next[j-1] {
				row[k] += c
			}
			next[j] = row
		}
		rows = next
	}
	middle := float64(n1*n2) / 2
	total, extreme := 0.0, 0.0
	for k, c := range rows[n2] {
		total += c
		if math.Abs(float64(k)-middle) >= math.Abs(u-middle) {
			extreme += c
		}
	}
	return extreme / total
}
