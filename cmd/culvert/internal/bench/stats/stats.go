// Package stats describes samples, and says whether two sets of them differ.
package stats

import (
	"math"
	"slices"
)

// Summary describes samples.
type Summary struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
	CV   float64 `json:"cv"` // standard deviation divided by the mean
}

// Summarise describes samples, of which there must be one.
func Summarise(samples []float64) Summary {
	s := slices.Clone(samples)
	slices.Sort(s)
	n := float64(len(s))
	sum := 0.0
	for _, x := range s {
		sum += x
	}
	mean := sum / n
	squares := 0.0
	for _, x := range s {
		squares += (x - mean) * (x - mean)
	}
	cv := 0.0
	if len(s) > 1 && mean != 0 {
		cv = math.Sqrt(squares/(n-1)) / mean
	}
	return Summary{P50: Median(s), P90: percentile(s, 90), P99: percentile(s, 99), Min: s[0], Max: s[len(s)-1], Mean: mean, CV: cv}
}

// Median is that of sorted samples; of an even number, the mean of the two in the middle.
func Median(sorted []float64) float64 {
	m := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[m]
	}
	return (sorted[m-1] + sorted[m]) / 2
}

// percentile is the nearest rank's: the least sample that is not below p percent of all. It is always a sample.
func percentile(sorted []float64, p int) float64 {
	rank := (p*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}
