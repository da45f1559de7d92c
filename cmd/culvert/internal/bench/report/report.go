// Package report is what a run of `culvert bench` found, the formats that it is printed in, and the comparison of two.
package report

import (
	"slices"

	"culvert/cmd/culvert/internal/bench/exits"
	"culvert/cmd/culvert/internal/bench/stats"
)

// Report is what a run of the command found; --format json prints it.
type Report struct {
	Meta         Meta          `json:"meta"`
	Measurements []Measurement `json:"measurements"`
}

// Meta says where and how a report was made.
type Meta struct {
	Date      string `json:"date"` // RFC 3339
	Culvert   string `json:"culvert"`
	Revision  string `json:"revision,omitempty"`
	Go        string `json:"go"`
	Command   string `json:"command,omitempty"` // the arguments
	Processor string `json:"processor"`
	Kernel    string `json:"kernel"`
	// Host is what runs the VM: "KVM" on hardware, "KVM, nested in ..." within another hypervisor, or "KVM, emulated by
	// QEMU", whose numbers are good for ratios only.
	Host      string `json:"host"`
	KVMEvents string `json:"kvm_exit_events"` // "counted", or why not
	CPUs      int    `json:"cpus"`
	Samples   int    `json:"samples"`
	Duration  string `json:"duration"` // of each measurement, on each side
	// Load is the machine's load average over the last minute, before and after: what else ran there.
	Load [2]float64 `json:"load_before_and_after"`
	// Peers says of each other side what it is: a version, or how it is run.
	Peers map[string]string `json:"peers,omitempty"`
	// Missing says why a side that was asked for could not be measured.
	Missing map[string]string `json:"missing,omitempty"`
}

// Measurement is a row: culvert's numbers, and the other sides' if there are any.
type Measurement struct {
	Name  string `json:"name"`
	Group string `json:"group,omitempty"` // what the command line calls it and its kin
	Op    string `json:"op"`
	Block int    `json:"block,omitempty"` // bytes that an operation moves

	Result
	// Ratio is ns_per_op divided by that of the first side in Against that was measured.
	Ratio   *float64 `json:"ratio,omitempty"`
	Against []Side   `json:"against,omitempty"`
}

// Side is another system's result.
type Side struct {
	Name string `json:"name"`
	Result
	Ratio *float64 `json:"ratio,omitempty"` // culvert's ns_per_op, or bytes of memory, divided by this one's
}

// Result is what one side took. With an Error, or Skipped, it has no numbers.
type Result struct {
	NSPerOp float64        `json:"ns_per_op,omitempty"` // the median sample
	MBPerS  *float64       `json:"mb_per_s,omitempty"`  // millions of bytes, where an operation moves any
	Bytes   float64        `json:"bytes,omitempty"`     // where memory is measured: the median sample
	Summary *stats.Summary `json:"summary,omitempty"`   // of the samples' nanoseconds per operation, or bytes
	*exits.PerOp
	// HostCPU is the time that the host's processors spent on an operation, in nanoseconds, in user mode, in the kernel and
	// in guests.
	HostCPU        *float64           `json:"host_cpu_ns_per_op,omitempty"`
	HostCPUPerByte *float64           `json:"host_cpu_ns_per_byte,omitempty"`
	ClockRatio     *float64           `json:"clock_ratio,omitempty"`
	PhasesUS       map[string]float64 `json:"phases_us,omitempty"` // of starting: medians
	Latency        *Latency           `json:"latency,omitempty"`
	Samples        []Sample           `json:"samples,omitempty"`
	Skipped        string             `json:"skipped,omitempty"` // why this side cannot do it
	Error          string             `json:"error,omitempty"`
}

// Latency is how long single operations took, where samples are batches of many.
type Latency struct {
	Ops       int        `json:"ops"`
	Quantiles []Quantile `json:"quantiles"`
}

// Quantile says that the fraction Q of all operations took at most NS nanoseconds.
type Quantile struct {
	Q  float64 `json:"q"`
	NS float64 `json:"ns"`
}

// NewLatency describes single operations by their nanoseconds, which it sorts; nil if there are none.
func NewLatency(ns []float64) *Latency {
	if len(ns) == 0 {
		return nil
	}
	slices.Sort(ns)
	l := &Latency{Ops: len(ns)}
	for _, permille := range []int{0, 10, 50, 100, 200, 250, 300, 400, 500, 600, 700, 750, 800, 900, 950, 990, 995, 999, 1000} {
		// The nearest rank: the least that is not below that part of all.
		rank := (permille*len(ns) + 999) / 1000
		l.Quantiles = append(l.Quantiles, Quantile{Q: float64(permille) / 1000, NS: ns[max(rank, 1)-1]})
	}
	return l
}

// Sample is one batch.
type Sample struct {
	Ops     uint64  `json:"ops"`
	NS      uint64  `json:"ns,omitempty"`
	NSPerOp float64 `json:"ns_per_op,omitempty"`
	Bytes   float64 `json:"bytes,omitempty"`
	Exits   *uint64 `json:"exits,omitempty"` // an empty batch's subtracted
}

// value is what was measured, in the unit of the measurement.
func (s *Sample) value() float64 {
	if s.Bytes != 0 {
		return s.Bytes
	}
	return s.NSPerOp
}

// value is the median, in the unit of the measurement; 0 if there is none.
func (r *Result) value() float64 {
	if r.Bytes != 0 {
		return r.Bytes
	}
	return r.NSPerOp
}

func (r *Result) values() []float64 {
	var list []float64
	for i := range r.Samples {
		list = append(list, r.Samples[i].value())
	}
	return list
}

// NewResult makes a Result of samples. Block is the number of bytes that an operation moves.
func NewResult(samples []Sample, block int) Result {
	if len(samples) == 0 {
		return Result{Error: "no samples"}
	}
	r := Result{Samples: samples}
	sum := stats.Summarise(r.values())
	r.Summary = &sum
	if samples[0].Bytes != 0 {
		r.Bytes = sum.P50
		return r
	}
	r.NSPerOp = sum.P50
	if block > 0 && sum.P50 > 0 {
		mb := float64(block) * 1e3 / sum.P50
		r.MBPerS = &mb
	}
	return r
}

// SetHostCPU notes what an operation took of the host's processors.
func (r *Result) SetHostCPU(ns float64, block int) {
	r.HostCPU = &ns
	if block > 0 {
		perByte := ns / float64(block)
		r.HostCPUPerByte = &perByte
	}
}

// Join joins the sides' results, culvert's first, into m.
func (m Measurement) Join(names []string, results []Result) Measurement {
	m.Result = results[0]
	for i, r := range results[1:] {
		s := Side{Name: names[i+1], Result: r}
		if m.value() > 0 && r.value() > 0 {
			ratio := m.value() / r.value()
			s.Ratio = &ratio
			if m.Ratio == nil {
				m.Ratio = &ratio
			}
		}
		m.Against = append(m.Against, s)
	}
	return m
}

// Failures lists what went wrong.
func (r *Report) Failures() []string {
	var list []string
	for _, m := range r.Measurements {
		if m.Error != "" {
			list = append(list, m.Name+" on culvert: "+m.Error)
		}
		for _, s := range m.Against {
			if s.Error != "" {
				list = append(list, m.Name+" on "+s.Name+": "+s.Error)
			}
		}
	}
	return list
}

// sides are the names of the sides beside culvert, in the order of the first measurement that has them.
func (r *Report) sides() []string {
	var names []string
	seen := map[string]bool{}
	for _, m := range r.Measurements {
		for _, s := range m.Against {
			if !seen[s.Name] {
				seen[s.Name] = true
				names = append(names, s.Name)
			}
		}
	}
	return names
}

// side is the result of a side, nil if the measurement has none.
func (m *Measurement) side(name string) *Side {
	for i := range m.Against {
		if m.Against[i].Name == name {
			return &m.Against[i]
		}
	}
	return nil
}
