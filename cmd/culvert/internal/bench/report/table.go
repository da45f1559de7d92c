package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report for people.
func WriteTable(w io.Writer, r *Report) error {
	writeHead(w, &r.Meta)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	names := r.sides()
	fmt.Fprint(t, "\tculvert\tcv\tp90\tp99\tMB/s\texits/op\tCPU/op\t")
	for _, n := range names {
		fmt.Fprintf(t, "%s\tcv\tratio\t", n)
	}
	fmt.Fprintln(t)
	for i := range r.Measurements {
		m := &r.Measurements[i]
		row := append([]string{m.Name}, culvertCells(&m.Result)...)
		for _, n := range names {
			row = append(row, sideCells(m.side(n))...)
		}
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeNotes(w, r)
}

func writeHead(w io.Writer, m *Meta) {
	fmt.Fprintf(w, "culvert %s, %s, %d CPU(s), %d samples\n%s, %s, %s\n", m.Culvert, m.Date, m.CPUs, m.Samples, m.Processor, m.Kernel, m.Host)
	for _, name := range sortedKeys(m.Peers) {
		fmt.Fprintf(w, "%s: %s\n", name, m.Peers[name])
	}
	fmt.Fprintln(w)
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// measured writes the median in its unit, or why there is none.
func measured(r *Result, value float64) string {
	switch {
	case r.Error != "":
		return "failed"
	case r.Skipped != "":
		return none
	case r.Bytes != 0:
		return size(value)
	}
	return duration(value)
}

func culvertCells(r *Result) []string {
	if r.Summary == nil {
		return []string{measured(r, 0), none, none, none, none, none, none}
	}
	perOp := none
	if r.PerOp != nil {
		perOp = small(r.ExitsPerOp)
	}
	return []string{measured(r, r.value()), percent(r.Summary.CV), measured(r, r.Summary.P90), measured(r, r.Summary.P99),
		optional(r.MBPerS, digits), perOp, optional(r.HostCPU, duration)}
}

func sideCells(s *Side) []string {
	if s == nil || s.Summary == nil {
		cell := none
		if s != nil {
			cell = measured(&s.Result, 0)
		}
		return []string{cell, none, none}
	}
	return []string{measured(&s.Result, s.value()), percent(s.Summary.CV), optional(s.Ratio, times)}
}

// writeNotes explains the rows, and says what went wrong.
func writeNotes(w io.Writer, r *Report) error {
	var b strings.Builder
	b.WriteByte('\n')
	for _, m := range r.Measurements {
		fmt.Fprintf(&b, "%s: %s\n", m.Name, m.Op)
	}
	writeLatencies(&b, r)
	for _, m := range r.Measurements {
		if len(m.PhasesUS) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\nPhases of %s, medians:\n", m.Name)
		for _, p := range phaseRows() {
			if us, ok := m.PhasesUS[p.key]; ok {
				fmt.Fprintf(&b, "  %10s  %s\n", duration(us*1e3), p.text)
			}
		}
	}
	for _, name := range sortedKeys(r.Meta.Missing) {
		fmt.Fprintf(&b, "\nnot measured: %s: %s\n", name, r.Meta.Missing[name])
	}
	for _, s := range skipped(r) {
		fmt.Fprintf(&b, "\nleft out: %s\n", s)
	}
	for _, f := range r.Failures() {
		fmt.Fprintf(&b, "\nfailed: %s\n", f)
	}
	for _, m := range r.Measurements {
		if c := m.ClockRatio; c != nil && (*c > 1.25 || *c < 0.8) {
			fmt.Fprintf(&b, "\nnote: %s: the guest's clock counted %.3f of the host's time\n", m.Name, *c)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeLatencies writes the distributions of single operations.
func writeLatencies(b *strings.Builder, r *Report) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	any := false
	row := func(name, on string, l *Latency) {
		if l == nil {
			return
		}
		if !any {
			fmt.Fprint(t, "\nSingle operations:\t\tp50\tp90\tp99\tp99.9\tmax\t\n")
			any = true
		}
		fmt.Fprintf(t, "%s\t%s\t", name, on)
		for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
			fmt.Fprintf(t, "%s\t", duration(l.at(q)))
		}
		fmt.Fprintln(t)
	}
	for i := range r.Measurements {
		m := &r.Measurements[i]
		row(m.Name, "culvert", m.Latency)
		for j := range m.Against {
			row(m.Name, m.Against[j].Name, m.Against[j].Latency)
		}
	}
	_ = t.Flush() // a strings.Builder takes everything
}

// at is the least quantile that is not below q.
func (l *Latency) at(q float64) float64 {
	for _, x := range l.Quantiles {
		if x.Q >= q {
			return x.NS
		}
	}
	return 0
}

// skipped lists what a side cannot do, each reason once.
func skipped(r *Report) []string {
	var list []string
	add := func(on string, name, why string) {
		if why == "" {
			return
		}
		for i, s := range list {
			if rest, ok := strings.CutSuffix(s, " on "+on+": "+why); ok {
				list[i] = rest + ", " + name + " on " + on + ": " + why
				return
			}
		}
		list = append(list, name+" on "+on+": "+why)
	}
	for _, m := range r.Measurements {
		add("culvert", m.Name, m.Skipped)
		for _, s := range m.Against {
			add(s.Name, m.Name, s.Skipped)
		}
	}
	return list
}
