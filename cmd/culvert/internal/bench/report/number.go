package report

import (
	"fmt"
	"math"
	"strconv"
)

// none stands where there is no number.
const none = "-"

// duration writes nanoseconds with three digits and a unit.
func duration(ns float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}} {
		if ns >= u.size {
			return digits(ns/u.size) + " " + u.name
		}
	}
	return digits(ns) + " ns"
}

// size writes bytes as MiB.
func size(bytes float64) string { return digits(bytes/(1<<20)) + " MiB" }

// digits writes a number below 1000 with three significant digits, but no fewer before the point.
func digits(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// small writes a number that may be far below 1; what is not 0 does not look like it.
func small(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.0001:
		return "<0.0001"
	case x < 0.01:
		return fmt.Sprintf("%.4f", x)
	}
	return digits(x)
}

func percent(x float64) string { return fmt.Sprintf("%.0f%%", x*100) }

// optional writes a number if there is one.
func optional(x *float64, write func(float64) string) string {
	if x == nil {
		return none
	}
	return write(*x)
}

func times(x float64) string { return small(x) + "x" }

// plain writes a number without an exponent, with at most 6 digits after the point.
func plain(x float64) string { return strconv.FormatFloat(math.Round(x*1e6)/1e6, 'f', -1, 64) }
