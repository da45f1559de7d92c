package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Formats are the values of --format.
func Formats() map[string]func(io.Writer, *Report) error {
	return map[string]func(io.Writer, *Report) error{"table": WriteTable, "json": WriteJSON, "csv": WriteCSV, "gobench": WriteGobench}
}

// WriteJSON writes everything.
func WriteJSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// maxJSON bounds a report that is read; all measurements with the most samples are a tenth of it.
const maxJSON = 256 << 20

// ReadJSON reads what WriteJSON wrote.
func ReadJSON(in io.Reader) (*Report, error) {
	var r Report
	d := json.NewDecoder(io.LimitReader(in, maxJSON))
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("not a report of culvert bench --format json: %w", err)
	}
	if len(r.Measurements) == 0 {
		return nil, fmt.Errorf("a report without measurements")
	}
	for i := range r.Measurements {
		m := &r.Measurements[i]
		m.drop()
		for j := range m.Against {
			m.Against[j].drop()
		}
	}
	return &r, nil
}

// drop removes what no report has: a median without samples.
func (r *Result) drop() {
	if r.Summary == nil || len(r.Samples) == 0 {
		r.Summary, r.Samples, r.NSPerOp, r.Bytes = nil, nil, 0, 0
	}
}

// WriteCSV writes a line for each measurement on each side.
func WriteCSV(w io.Writer, r *Report) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"name", "on", "block", "ns_per_op", "p90_ns", "p99_ns", "cv", "mb_per_s", "bytes", "exits_per_op",
		"kvm_exits_per_op", "host_cpu_ns_per_op", "ratio", "error"}}
	for i := range r.Measurements {
		m := &r.Measurements[i]
		rows = append(rows, csvRow(m, "culvert", &m.Result, nil))
		for j := range m.Against {
			s := &m.Against[j]
			rows = append(rows, csvRow(m, s.Name, &s.Result, s.Ratio))
		}
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("csv: %w", err)
	}
	return nil
}

func csvRow(m *Measurement, on string, r *Result, ratio *float64) []string {
	number := func(x *float64) string {
		if x == nil {
			return ""
		}
		return plain(*x)
	}
	row := []string{m.Name, on, strconv.Itoa(m.Block), "", "", "", "", number(r.MBPerS), "", "", "", number(r.HostCPU), number(ratio),
		strings.Join(strings.Fields(r.Error+" "+r.Skipped), " ")}
	if r.Bytes != 0 {
		row[8] = plain(r.Bytes)
	} else if r.Summary != nil {
		row[3], row[4], row[5] = plain(r.NSPerOp), plain(r.Summary.P90), plain(r.Summary.P99)
	}
	if r.Summary != nil {
		row[6] = plain(r.Summary.CV)
	}
	if r.PerOp != nil {
		row[9], row[10] = plain(r.ExitsPerOp), number(r.KVMExitsPerOp)
	}
	return row
}

// WriteGobench writes each sample as a line of Go's benchmark format (golang.org/design/14313-benchmark-format), for
// benchstat: benchstat -col /on FILE.
func WriteGobench(w io.Writer, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: linux\ngoarch: amd64\npkg: culvert/bench\ncpu: %s\nkernel: %s\nhost: %s\nculvert: %s\ndate: %s\n",
		r.Meta.Processor, r.Meta.Kernel, r.Meta.Host, r.Meta.Culvert, r.Meta.Date)
	for i := range r.Measurements {
		m := &r.Measurements[i]
		gobenchLines(&b, r.Meta.CPUs, m, "culvert", &m.Result)
		for j := range m.Against {
			gobenchLines(&b, r.Meta.CPUs, m, m.Against[j].Name, &m.Against[j].Result)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// gobenchName makes a measurement's name one of Go's: an upper-case letter first, parameters after slashes as key=value,
// and no "-N" at the end but the number of processors.
func gobenchName(m *Measurement) string {
	name, param := m.Name, ""
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		name, param = name[:i], name[i+1:]
	}
	_, err := strconv.Atoi(param)
	switch {
	case param == "":
	case m.Block > 0:
		param = "/block=" + param
	case err == nil:
		param = "/n=" + param
	default:
		param = "_" + param
	}
	return strings.ToUpper(name[:1]) + strings.ReplaceAll(name[1:], "-", "_") + param
}

func gobenchLines(b *strings.Builder, cpus int, m *Measurement, on string, r *Result) {
	for i := range r.Samples {
		s := &r.Samples[i]
		fmt.Fprintf(b, "Benchmark%s/on=%s-%d\t%d", gobenchName(m), on, cpus, max(s.Ops, 1))
		if s.Bytes != 0 {
			fmt.Fprintf(b, "\t%s PSS-bytes", plain(s.Bytes))
		} else {
			fmt.Fprintf(b, "\t%s ns/op", plain(s.NSPerOp))
		}
		if m.Block > 0 && s.NSPerOp > 0 {
			fmt.Fprintf(b, "\t%s MB/s", plain(float64(m.Block)*1e3/s.NSPerOp))
		}
		if s.Exits != nil {
			fmt.Fprintf(b, "\t%s exits/op", plain(float64(*s.Exits)/float64(max(s.Ops, 1))))
		}
		b.WriteByte('\n')
	}
}
