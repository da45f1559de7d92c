package report

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"culvert/cmd/culvert/internal/bench/stats"
)

// baseline is the side that two reports' machines are compared by.
const baseline = "native"

// significant is the p-value below which a difference is no chance.
const significant = 0.05

// moreExits is how many exits an operation must take more before that counts, whatever the percentage is: a time slice
// or a page that the host took away costs a few in a batch.
const moreExits = 0.1

// Change is how a measurement of culvert differs between two reports.
type Change struct {
	Name     string
	Old, New float64 // medians: nanoseconds, bytes, or, if Relative, culvert's divided by bare Linux's
	Relative bool
	InBytes  bool
	Delta    float64 // 0.1: a tenth more
	P        float64 // of the Mann-Whitney U test on the samples
	OldExits *float64
	NewExits *float64
	Worse    bool // by more than the threshold, and not by chance; or with more exits
}

// Compare compares culvert's measurements that both reports have. Where both have measured bare Linux beside, culvert's
// times are divided by its median: what a slower machine, or a busier one, does to both sides cancels out. Threshold is
// the part, 0.1 for a tenth, by which a time may grow.
func Compare(old, now *Report, threshold float64) []Change {
	var list []Change
	for i := range now.Measurements {
		m := &now.Measurements[i]
		for j := range old.Measurements {
			o := &old.Measurements[j]
			if o.Name != m.Name || o.Block != m.Block || o.Summary == nil || m.Summary == nil {
				continue
			}
			list = append(list, compare(o, m, threshold))
			break
		}
	}
	return list
}

func compare(old, now *Measurement, threshold float64) Change {
	c := Change{Name: now.Name, InBytes: now.Bytes != 0}
	a, b := old.values(), now.values()
	oldBase, newBase := old.base(), now.base()
	if c.Relative = oldBase > 0 && newBase > 0 && !c.InBytes; c.Relative {
		divide(a, oldBase)
		divide(b, newBase)
	}
	c.Old, c.New = stats.Summarise(a).P50, stats.Summarise(b).P50
	if c.Old > 0 {
		c.Delta = c.New/c.Old - 1
	}
	c.P = stats.MannWhitney(a, b)
	c.Worse = c.Delta > threshold && c.P < significant
	if old.PerOp != nil && now.PerOp != nil {
		c.OldExits, c.NewExits = &old.ExitsPerOp, &now.ExitsPerOp
		more := now.ExitsPerOp - old.ExitsPerOp
		c.Worse = c.Worse || more > moreExits && more > threshold*old.ExitsPerOp
	}
	return c
}

// base is bare Linux's median, 0 if it was not measured.
func (m *Measurement) base() float64 {
	if s := m.side(baseline); s != nil {
		return s.value()
	}
	return 0
}

func divide(list []float64, by float64) {
	for i := range list {
		list[i] /= by
	}
}

// WriteChanges prints a comparison.
func WriteChanges(w io.Writer, list []Change, old *Meta, threshold float64) error {
	fmt.Fprintf(w, "\nAgainst culvert %s, %s, %s:\n", old.Culvert, old.Date, old.Host)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\told\tnew\tchange\tp\texits/op\t\t\n")
	worse := 0
	for _, c := range list {
		verdict := ""
		switch {
		case c.Worse:
			verdict = "worse"
			worse++
		case c.P >= significant:
			verdict = "not significant"
		}
		exits := none
		if c.OldExits != nil {
			exits = small(*c.OldExits) + " -> " + small(*c.NewExits)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%+.1f%%\t%.3f\t%s\t%s\t\n", c.Name, c.write(c.Old), c.write(c.New), c.Delta*100, c.P, exits, verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "nothing that both reports measured")
	}
	_, err := fmt.Fprintf(w, "p is the Mann-Whitney U test's; with an x: times bare Linux's in the same run. %d worse by more than %s.\n", worse, percent(threshold))
	return err
}

func (c *Change) write(x float64) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return none
	case c.Relative:
		return times(x)
	case c.InBytes:
		return size(x)
	}
	return duration(x)
}
