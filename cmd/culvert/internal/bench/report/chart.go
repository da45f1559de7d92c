package report

import (
	"strconv"

	"culvert/cmd/culvert/internal/bench/plot"
)

// Charts are the report's pictures: throughput over block size, for each family of measurements that has several sizes,
// and the distributions of single operations.
func Charts(r *Report) []plot.Panel {
	var panels []plot.Panel
	titles := map[string]string{"pipe": "Pipe between two processes", "stdout": "Standard output to a process of the host",
		"stdin": "Standard input from a process of the host", "vm-to-vm": "Pipe between two VMs"}
	for _, family := range []string{"pipe", "stdout", "stdin", "vm-to-vm"} {
		if l := throughput(r, family); l != nil {
			l.Title = titles[family]
			panels = append(panels, l)
		}
	}
	if b := latencies(r); b != nil {
		panels = append(panels, b)
	}
	return panels
}

// everySide are culvert and the others.
func (r *Report) everySide() []string { return append([]string{"culvert"}, r.sides()...) }

// result is the result on a side, nil if there is none.
func (m *Measurement) result(on string) *Result {
	if on == "culvert" {
		return &m.Result
	}
	if s := m.side(on); s != nil {
		return &s.Result
	}
	return nil
}

// throughput is a chart of MB/s over block size, nil if no side has two sizes.
func throughput(r *Report, family string) *plot.Lines {
	l := &plot.Lines{XLabel: "block size, bytes", YLabel: "throughput, MB/s", XText: blockText, YText: powerText}
	useful := false
	for _, on := range r.everySide() {
		s := plot.Series{Name: on}
		for i := range r.Measurements {
			m := &r.Measurements[i]
			if m.Name != family+"-"+strconv.Itoa(m.Block) {
				continue
			}
			if res := m.result(on); res != nil && res.MBPerS != nil && *res.MBPerS > 0 {
				s.Points = append(s.Points, plot.Point{X: float64(m.Block), Y: *res.MBPerS})
			}
		}
		// A side without points keeps its colour, which is the same in all charts.
		l.Series = append(l.Series, s)
		useful = useful || len(s.Points) > 1
	}
	if !useful {
		return nil
	}
	return l
}

// blockText writes a block size.
func blockText(x float64) string {
	n := int(x)
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + "M"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + "K"
	}
	return strconv.Itoa(n)
}

// powerText writes a power of ten.
func powerText(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// latencies is a chart of single operations, nil if there are none.
func latencies(r *Report) *plot.Boxes {
	b := &plot.Boxes{Title: "Single operations", XText: shortDuration, Series: r.everySide(),
		XLabel: "time of an operation: box p25 to p75 with the median, line p1 to p99, dot p99.9"}
	for i := range r.Measurements {
		m := &r.Measurements[i]
		row := plot.BoxRow{Name: m.Name}
		any := false
		for _, on := range b.Series {
			var box *plot.Box
			if res := m.result(on); res != nil && res.Latency != nil {
				l := res.Latency
				box = &plot.Box{P1: l.at(0.01), P25: l.at(0.25), P50: l.at(0.5), P75: l.at(0.75), P99: l.at(0.99), P999: l.at(0.999)}
				any = true
			}
			row.Boxes = append(row.Boxes, box)
		}
		if any {
			b.Rows = append(b.Rows, row)
		}
	}
	if len(b.Rows) == 0 {
		return nil
	}
	return b
}

// shortDuration writes a power of ten of nanoseconds.
func shortDuration(ns float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, " s"}, {1e6, " ms"}, {1e3, " us"}} {
		if ns >= u.size {
			return powerText(ns/u.size) + u.name
		}
	}
	return powerText(ns) + " ns"
}
