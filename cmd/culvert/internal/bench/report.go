package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// formats are the values of --format.
func formats() map[string]func(io.Writer, *Report) error {
	return map[string]func(io.Writer, *Report) error{"table": writeTable, "json": writeJSON, "gobench": writeGobench}
}

func writeJSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeTable writes the report for people.
func writeTable(w io.Writer, r *Report) error {
	m := r.Meta
	fmt.Fprintf(w, "culvert %s, %s, %d CPU(s), %d samples\n%s, %s, %s\n\n", m.Culvert, m.Date, m.CPUs, m.Samples, m.Processor, m.Kernel, m.Host)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	names := otherSides(r)
	fmt.Fprint(t, "\tculvert\tcv\tp90\tp99\tMB/s\texits/op\t")
	for _, n := range names {
		fmt.Fprintf(t, "%s\tcv\tMB/s\tratio\t", n)
	}
	fmt.Fprintln(t)
	for _, m := range r.Measurements {
		row := []string{m.Name}
		row = append(row, culvertCells(&m.Result)...)
		for _, s := range m.Against {
			row = append(row, sideCells(&s)...)
		}
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	writeNotes(w, r)
	return nil
}

// otherSides are the names of the sides beside culvert; every measurement has the same.
func otherSides(r *Report) []string {
	var names []string
	if len(r.Measurements) > 0 {
		for _, s := range r.Measurements[0].Against {
			names = append(names, s.Name)
		}
	}
	return names
}

const (
	none   = "-"
	failed = "failed"
)

func culvertCells(r *Result) []string {
	if r.Error != "" {
		return []string{failed, none, none, none, none, none}
	}
	exits := none
	if r.Exits != nil {
		exits = small(r.ExitsPerOp)
	}
	return []string{duration(r.NSPerOp), percent(r.Summary.CV), duration(r.Summary.P90), duration(r.Summary.P99), speed(r.MBPerS), exits}
}

func sideCells(s *Side) []string {
	if s.Error != "" {
		return []string{failed, none, none, none}
	}
	ratio := none
	if s.Ratio != nil {
		ratio = small(*s.Ratio) + "x"
	}
	return []string{duration(s.NSPerOp), percent(s.Summary.CV), speed(s.MBPerS), ratio}
}

// writeNotes explains the rows, and says what went wrong.
func writeNotes(w io.Writer, r *Report) {
	fmt.Fprintln(w)
	for _, m := range r.Measurements {
		fmt.Fprintf(w, "%s: %s\n", m.Name, m.Op)
	}
	for _, m := range r.Measurements {
		if len(m.PhasesUS) == 0 {
			continue
		}
		fmt.Fprintf(w, "\nPhases of %s, medians:\n", m.Name)
		for _, p := range phaseRows() {
			if us, ok := m.PhasesUS[p.key]; ok {
				fmt.Fprintf(w, "  %10s  %s\n", duration(us*1e3), p.text)
			}
		}
	}
	for _, f := range failures(r) {
		fmt.Fprintf(w, "\nfailed: %s\n", f)
	}
	for _, m := range r.Measurements {
		if c := m.ClockRatio; c != nil && (*c > 1.25 || *c < 0.8) {
			fmt.Fprintf(w, "\nnote: %s: the guest's clock counted %.3f of the host's time\n", m.Name, *c)
		}
	}
}

// failures lists what went wrong.
func failures(r *Report) []string {
	var list []string
	for _, m := range r.Measurements {
		if m.Error != "" {
			list = append(list, fmt.Sprintf("%s on culvert: %s", m.Name, m.Error))
		}
		for _, s := range m.Against {
			if s.Error != "" {
				list = append(list, fmt.Sprintf("%s on %s: %s", m.Name, s.Name, s.Error))
			}
		}
	}
	return list
}

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

func speed(mb *float64) string {
	if mb == nil {
		return none
	}
	return digits(*mb)
}

// writeGobench writes each sample as a line of Go's benchmark format, for benchstat(1): benchstat -col /on FILE.
func writeGobench(w io.Writer, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: linux\ngoarch: amd64\npkg: culvert/bench\ncpu: %s\nkernel: %s\nhost: %s\nculvert: %s\ndate: %s\n",
		r.Meta.Processor, r.Meta.Kernel, r.Meta.Host, r.Meta.Culvert, r.Meta.Date)
	for _, m := range r.Measurements {
		gobenchLines(&b, r.Meta.CPUs, &m, "culvert", &m.Result)
		for _, s := range m.Against {
			gobenchLines(&b, r.Meta.CPUs, &m, s.Name, &s.Result)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func gobenchLines(b *strings.Builder, cpus int, m *Measurement, on string, r *Result) {
	name, block, hasBlock := strings.Cut(m.Name, "-")
	name = strings.ToUpper(name[:1]) + name[1:]
	if m.Block > 0 && hasBlock {
		name += "/block=" + block
	} else if hasBlock {
		name += "_" + block
	}
	for _, s := range r.Samples {
		fmt.Fprintf(b, "Benchmark%s/on=%s-%d\t%d\t%s ns/op", name, on, cpus, s.Ops, plain(s.NSPerOp))
		if m.Block > 0 && s.NSPerOp > 0 {
			fmt.Fprintf(b, "\t%s MB/s", plain(float64(m.Block)*1e3/s.NSPerOp))
		}
		if s.Exits != nil {
			fmt.Fprintf(b, "\t%s exits/op", plain(float64(*s.Exits)/float64(max(s.Ops, 1))))
		}
		b.WriteByte('\n')
	}
}

// plain writes a number without an exponent, with at most 6 digits after the point.
func plain(x float64) string { return strconv.FormatFloat(math.Round(x*1e6)/1e6, 'f', -1, 64) }
