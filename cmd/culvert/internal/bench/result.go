package bench

// Report is what a run of the command found; --format json prints it.
type Report struct {
	Meta         Meta          `json:"meta"`
	Measurements []Measurement `json:"measurements"`
}

// Measurement is a row: culvert's numbers, and the other sides' if there are any.
type Measurement struct {
	Name  string `json:"name"`
	Op    string `json:"op"`
	Block int    `json:"block,omitempty"` // bytes that an operation moves

	Result
	// Ratio is ns_per_op divided by that of the first side in Against.
	Ratio   *float64 `json:"ratio,omitempty"`
	Against []Side   `json:"against,omitempty"`
}

// Side is another system's result.
type Side struct {
	Name string `json:"name"`
	Result
	Ratio *float64 `json:"ratio,omitempty"` // culvert's ns_per_op divided by this one's
}

// Result is what one side took. With an Error it has no numbers.
type Result struct {
	NSPerOp float64  `json:"ns_per_op,omitempty"` // the median sample
	MBPerS  *float64 `json:"mb_per_s,omitempty"`  // millions of bytes, where an operation moves any
	Summary *Summary `json:"summary,omitempty"`   // of the samples' nanoseconds per operation
	*Exits
	ClockRatio *float64           `json:"clock_ratio,omitempty"`
	PhasesUS   map[string]float64 `json:"phases_us,omitempty"` // of starting: medians
	Samples    []Sample           `json:"samples,omitempty"`
	Error      string             `json:"error,omitempty"`
}

// Exits are a VM's exits per operation.
type Exits struct {
	ExitsPerOp          float64            `json:"exits_per_op"`
	HostInterruptsPerOp float64            `json:"host_interrupts_per_op"`
	ExitsByReason       map[string]float64 `json:"exits_by_reason_per_op"`
	KVMExitsPerOp       *float64           `json:"kvm_exits_per_op,omitempty"`
	KVMInterruptsPerOp  *float64           `json:"kvm_host_interrupts_per_op,omitempty"`
}

// Sample is one batch.
type Sample struct {
	Ops     uint64  `json:"ops"`
	NS      uint64  `json:"ns"`
	NSPerOp float64 `json:"ns_per_op"`
	Exits   *uint64 `json:"exits,omitempty"` // an empty batch's subtracted

	hostNS float64 // by the host's clock, from the command to the answer, an empty batch's subtracted
}

// result makes a Result of samples.
func result(samples []Sample, block int) Result {
	if len(samples) == 0 {
		return Result{Error: "no samples"}
	}
	var values []float64
	for _, s := range samples {
		values = append(values, s.NSPerOp)
	}
	sum := summarise(values)
	r := Result{NSPerOp: sum.P50, Summary: &sum, Samples: samples}
	if block > 0 && sum.P50 > 0 {
		mb := float64(block) * 1e3 / sum.P50
		r.MBPerS = &mb
	}
	return r
}

// measurement joins the sides' results, culvert's first.
func measurement(name, op string, block int, names []string, results []Result) Measurement {
	m := Measurement{Name: name, Op: op, Block: block, Result: results[0]}
	for i, r := range results[1:] {
		s := Side{Name: names[i+1], Result: r}
		if m.Error == "" && r.Error == "" && r.NSPerOp > 0 {
			ratio := m.NSPerOp / r.NSPerOp
			s.Ratio = &ratio
		}
		m.Against = append(m.Against, s)
	}
	if len(m.Against) > 0 {
		m.Ratio = m.Against[0].Ratio
	}
	return m
}
