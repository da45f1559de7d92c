package plot

import (
	"math"
	"slices"
)

// axis maps values above 0 to pixels, logarithmically.
type axis struct {
	low, high float64 // values at the ends
	from, to  float64 // pixels there
}

// logarithmic reports whether a value has a place on an axis at all.
func logarithmic(v float64) bool { return v > 0 && !math.IsInf(v, 0) }

// decades returns an axis from a power of ten to a power of ten that has all values in it.
func decades(values []float64, from, to float64) axis {
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if logarithmic(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if high == 0 {
		low, high = 1, 10
	}
	a := axis{math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high))), from, to}
	if a.high <= a.low {
		a.high = a.low * 10
	}
	return a
}

// at is the pixel of a value; what the axis does not reach is at its end.
func (a axis) at(v float64) float64 {
	v = min(max(v, a.low), a.high)
	return a.from + (a.to-a.from)*math.Log(v/a.low)/math.Log(a.high/a.low)
}

// maxTicks bounds the labels of an axis.
const maxTicks = 24

// powers are the powers of ten on the axis.
func (a axis) powers() []float64 {
	var list []float64
	for v := a.low; v <= a.high*1.001 && len(list) < maxTicks; v *= 10 {
		list = append(list, v)
	}
	return list
}

// minor are the multiples of the powers of ten, for lines without labels.
func (a axis) minor() []float64 {
	var list []float64
	for _, p := range a.powers() {
		for k := 2.0; k < 10 && p*k < a.high; k++ {
			list = append(list, p*k)
		}
	}
	return list
}

// distinct sorts values and leaves each once.
func distinct(values []float64) []float64 {
	s := slices.Clone(values)
	slices.Sort(s)
	return slices.Compact(s)
}
