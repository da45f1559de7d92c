package bench

import (
	"fmt"
	"math"
	"slices"
	"time"

	"culvert/cmd/culvert/internal/bench/workload"
)

// plan says how much to measure.
type plan struct {
	samples  int
	duration time.Duration // of each measurement, on each side
}

// batchTime is what a batch should take.
func (p plan) batchTime() time.Duration { return p.duration / time.Duration(p.samples) }

// runner measures one kind on one side.
type runner struct {
	*instance
	unit    uint64 // operations that go together
	ops     uint64 // of a batch
	total   counts
	samples []Sample
	err     error

	// What an empty batch takes, at least.
	empty     counts
	emptyHost time.Duration
}

// emptyBatches is how many tell what an empty batch takes.
const emptyBatches = 5

// measure measures a kind on all sides.
func measure(sides []side, kind workload.Kind, p plan, tell func(done int)) Measurement {
	var runners []*runner
	for _, s := range sides {
		r := &runner{unit: uint64(kind.Unit)}
		if r.instance, r.err = s.start(workloadArgs(kind.Name)); r.err == nil {
			r.do(func() error { return r.prepare(p.batchTime()) })
		}
		runners = append(runners, r)
	}
	for i := range p.samples {
		tell(i)
		order := slices.Clone(runners)
		if i%2 == 1 { // whoever comes second must not always be the same
			slices.Reverse(order)
		}
		for _, r := range order {
			r.do(r.sample)
		}
	}
	var names []string
	var results []Result
	for i, r := range runners {
		names = append(names, sides[i].name())
		results = append(results, r.finish(kind.Block))
	}
	return measurement(kind.Name, kind.Op, kind.Block, names, results)
}

// do carries out a step, unless one has failed. A failure ends the workload.
func (r *runner) do(step func() error) {
	if r.err != nil {
		return
	}
	if r.err = step(); r.err != nil {
		_ = r.abort() // the reason is known
	}
}

// maxOps bounds a batch, whatever a clock says.
const maxOps = 1 << 32

// prepare finds the size of batches, which warms everything up, and what an empty batch costs.
func (r *runner) prepare(want time.Duration) error {
	for ops := r.unit; ; ops = r.ops {
		took, err := r.shortest(ops, want/2)
		if err != nil {
			return err
		}
		if r.ops = scale(ops, r.unit, took, want); took >= want/2 || r.ops <= ops {
			break
		}
	}
	for i := range emptyBatches {
		host, d, _, err := r.timed(0)
		if err != nil {
			return err
		}
		if r.empty.least(d); i == 0 || host < r.emptyHost {
			r.emptyHost = host
		}
	}
	return nil
}

// tries is how often a batch must seem long enough: something else may have happened meanwhile.
const tries = 3

// shortest times batches of ops operations until one takes less than enough, or tries did not.
func (r *runner) shortest(ops uint64, enough time.Duration) (time.Duration, error) {
	least := time.Duration(math.MaxInt64)
	for range tries {
		a, err := r.batch(ops)
		if err != nil {
			return 0, err
		}
		if least = min(least, time.Duration(a.NS)); least < enough {
			break
		}
	}
	return least, nil
}

// timed has a batch carried out and says what it took by the host's clock and counters.
func (r *runner) timed(ops uint64) (host time.Duration, d counts, a answer, err error) {
	var before counts
	if r.counts != nil {
		before = atRest(r.counts)
	}
	start := time.Now()
	a, err = r.batch(ops)
	host = time.Since(start)
	if r.counts != nil && err == nil {
		d = r.counts().since(before)
	}
	return host, d, a, err
}

// scale returns how many operations take want if ops took took; never more than 10 times as many, since a few cold
// operations say little of many warm ones. It is a multiple of unit.
func scale(ops, unit uint64, took, want time.Duration) uint64 {
	n := min(ops*10, maxOps)
	if took > 0 {
		n = uint64(min(float64(n), float64(ops)*float64(want)/float64(took)))
	}
	return max(1, n/unit) * unit
}

// sample takes one.
func (r *runner) sample() error {
	host, d, a, err := r.timed(r.ops)
	if err != nil {
		return err
	}
	s := Sample{Ops: a.Ops, NS: a.NS, NSPerOp: float64(a.NS) / float64(a.Ops), hostNS: float64(host - r.emptyHost)}
	if r.counts != nil {
		r.total.add(d)
		n := d.less(r.empty, 1).exits()
		s.Exits = &n
	}
	r.samples = append(r.samples, s)
	return nil
}

// finish ends the workload and sums up.
func (r *runner) finish(block int) Result {
	if r.err == nil {
		if err := r.end(); err != nil {
			r.err = fmt.Errorf("the workload's end: %w", err)
		}
	}
	if r.err != nil {
		return Result{Error: r.err.Error()}
	}
	res := result(r.samples, block)
	if r.counts == nil {
		return res
	}
	var ops uint64
	var guest, host float64
	for _, s := range r.samples {
		ops += s.Ops
		guest += float64(s.NS)
		host += s.hostNS
	}
	res.Exits = r.total.less(r.empty, uint64(len(r.samples))).perOp(ops)
	if host > 0 {
		ratio := guest / host
		res.ClockRatio = &ratio
	}
	return res
}
