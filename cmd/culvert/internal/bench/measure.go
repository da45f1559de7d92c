package bench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"culvert/cmd/culvert/internal/bench/exits"
	"culvert/cmd/culvert/internal/bench/report"
	"culvert/cmd/culvert/internal/bench/side"
	"culvert/cmd/culvert/internal/bench/workload"
)

// plan says how much to measure.
type plan struct {
	samples  int
	duration time.Duration // of each measurement, on each side
	count    uint64        // operations of a batch; 0: as many as take their part of the duration
	warmup   time.Duration // at least
}

// batchTime is what a batch should take.
func (p plan) batchTime() time.Duration { return p.duration / time.Duration(p.samples) }

// runner measures one kind on one side.
type runner struct {
	kind    workload.Kind
	process *side.Process // on the side
	host    *side.Process // the measuring process, where that is on the host; else nil
	ops     uint64        // of a batch
	total   exits.Counts
	cpu     time.Duration
	hasCPU  bool
	guestNS float64 // by the workload's clock, and by the host's, an empty batch's subtracted
	hostNS  float64
	samples []report.Sample
	singles []float64 // nanoseconds
	err     error

	// What an empty batch takes, at least.
	empty     exits.Counts
	emptyHost time.Duration
	emptyCPU  time.Duration
}

// emptyBatches is how many tell what an empty batch takes.
const emptyBatches = 5

// Operations may be so long that no batch is short enough. Then there are fewer samples, so that the whole does not take
// many times as long as it was to.
const (
	fewSamples = 3
	patience   = 3
)

// measure measures a kind on all sides.
func measure(sides []side.Side, native side.Native, kind workload.Kind, p plan, tell func(done int)) report.Measurement {
	var runners []*runner
	for _, s := range sides {
		r := &runner{kind: kind, hasCPU: true}
		r.err = r.start(s, native)
		r.do(func() error { return r.prepare(p) })
		runners = append(runners, r)
	}
	began := time.Now()
	for i := range p.samples {
		if i >= fewSamples && time.Since(began) > patience*p.duration*time.Duration(len(runners)) {
			break
		}
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
	var results []report.Result
	for i, r := range runners {
		names = append(names, sides[i].Name())
		results = append(results, r.finish())
	}
	return report.Measurement{Name: kind.Name, Group: kind.Group, Op: kind.Op, Block: kind.Block}.Join(names, results)
}

// start starts the workload on a side, and, where it is measured from the host, the process that does.
func (r *runner) start(s side.Side, native side.Native) error {
	var err error
	switch {
	case r.kind.Pipeline:
		r.process, err = side.Pipeline(s, r.kind.Name)
		return err
	case !r.kind.Across:
		r.process, err = s.Start(r.kind.Name)
		return err
	}
	peer, err := s.Start(r.kind.Name, workload.Peer)
	if err != nil {
		return err
	}
	r.process = peer
	r.host, err = native.StartWith(acrossFiles(peer), r.kind.Name, workload.Host)
	if err != nil {
		_ = peer.Abort() // the reason is known
	}
	return err
}

// acrossFiles are the descriptors 3 and 4 of a measuring process on the host: from its peer and to it.
func acrossFiles(peer *side.Process) []*os.File { return []*os.File{peer.Out, peer.In} }

// driver is the process that measures.
func (r *runner) driver() *side.Process {
	if r.host != nil {
		return r.host
	}
	return r.process
}

// do carries out a step, unless one has failed. A failure ends the workload.
func (r *runner) do(step func() error) {
	if r.err != nil {
		return
	}
	if r.err = step(); r.err == nil {
		return
	}
	var ends error // how a process ended says why it did not answer
	for _, p := range []*side.Process{r.host, r.process} {
		if p != nil {
			ends = errors.Join(ends, p.Abort())
		}
	}
	if errors.Is(r.err, side.ErrEnded) && ends != nil {
		r.err = fmt.Errorf("%w: %w", r.err, ends)
	}
}

// maxOps bounds a batch, whatever a clock says.
const maxOps = 1 << 32

// prepare finds the size of batches, which warms everything up, and what an empty batch costs.
func (r *runner) prepare(p plan) error {
	want, unit := p.batchTime(), uint64(r.kind.Unit)
	began := time.Now()
	if p.count > 0 {
		r.ops = max(1, p.count/unit) * unit
		if _, err := r.driver().Batch(r.ops); err != nil {
			return err
		}
	}
	for ops := unit; p.count == 0; ops = r.ops {
		took, err := r.shortest(ops, want/2)
		if err != nil {
			return err
		}
		if r.ops = scale(ops, unit, took, want); took >= want/2 || r.ops <= ops {
			break
		}
	}
	for time.Since(began) < p.warmup {
		if _, err := r.driver().Batch(r.ops); err != nil {
			return err
		}
	}
	for i := range emptyBatches {
		b, err := r.timed(0)
		if err != nil {
			return err
		}
		r.empty.Least(b.counts)
		if i == 0 || b.host < r.emptyHost {
			r.emptyHost = b.host
		}
		if i == 0 || b.cpu < r.emptyCPU {
			r.emptyCPU = b.cpu
		}
	}
	return nil
}

// tries is how often a batch must seem long enough: something else may have happened meanwhile.
const tries = 3

// shortest times batches of ops operations until one takes less than enough, or tries did not. The very first operation may
// have to wait for a processor too: taken at its word it would leave batches of one.
func (r *runner) shortest(ops uint64, enough time.Duration) (time.Duration, error) {
	least := time.Duration(math.MaxInt64)
	for range tries {
		a, err := r.driver().Batch(ops)
		if err != nil {
			return 0, err
		}
		if least = min(least, time.Duration(a.NS)); least < enough {
			break
		}
	}
	return least, nil
}

// batch is one, as the workload and the host saw it.
type batch struct {
	side.Answer
	host   time.Duration
	cpu    time.Duration
	counts exits.Counts
}

// timed has a batch carried out and says what it took by the host's clock and counters.
func (r *runner) timed(ops uint64) (b batch, err error) {
	var before exits.Counts
	if r.process.Counts != nil {
		before = exits.AtRest(r.process.Counts)
	}
	cpu := r.cpuTime()
	start := time.Now()
	b.Answer, err = r.driver().Batch(ops)
	b.host = time.Since(start)
	if err != nil {
		return b, err
	}
	if r.process.Counts != nil {
		b.counts = r.process.Counts().Since(before)
	}
	b.cpu = r.cpuTime() - cpu
	return b, nil
}

// cpuTime is what the workload has taken of the host's processors, or 0 if that is not known.
func (r *runner) cpuTime() (sum time.Duration) {
	for _, p := range []*side.Process{r.process, r.host} {
		if p == nil {
			continue
		}
		t, err := p.CPU()
		if err != nil {
			r.hasCPU = false
			return 0
		}
		sum += t
	}
	return sum
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

// singlesPart is the part of a batch's operations that is carried out once more after it, each timed by itself.
const singlesPart = 4

// sample takes one.
func (r *runner) sample() error {
	b, err := r.timed(r.ops)
	if err != nil {
		return err
	}
	s := report.Sample{Ops: b.Ops, NS: b.NS, NSPerOp: float64(b.NS) / float64(b.Ops)}
	r.cpu += max(0, b.cpu-r.emptyCPU)
	r.guestNS += float64(b.NS)
	r.hostNS += float64(b.host - r.emptyHost)
	if r.process.Counts != nil {
		r.total.Add(b.counts)
		n := b.counts.Less(r.empty, 1).Exits()
		s.Exits = &n
	}
	r.samples = append(r.samples, s)
	if n := min(r.ops/singlesPart, workload.MaxSingles); r.kind.Single && n > 0 {
		return r.single(n)
	}
	return nil
}

// single times n operations one by one. The processor's counter is used, which costs no system call, and the batch's time
// tells its rate.
func (r *runner) single(n uint64) error {
	a, err := r.driver().Singles(n)
	if err != nil {
		return err
	}
	if a.Ticks == 0 {
		return errors.New("the processor's time-stamp counter stands still")
	}
	rate := float64(a.NS) / float64(a.Ticks)
	for _, t := range a.Each {
		r.singles = append(r.singles, float64(t)*rate)
	}
	return nil
}

// finish ends the workload and sums up.
func (r *runner) finish() report.Result {
	if r.err == nil && r.host != nil {
		r.err = r.host.End(false)
	}
	if r.err == nil {
		r.err = r.process.End(r.host != nil)
	}
	if side.Missing(r.err) {
		var e *side.EndError
		errors.As(r.err, &e)
		return report.Result{Skipped: e.Said}
	}
	if r.err != nil {
		return report.Result{Error: r.err.Error()}
	}
	res := report.NewResult(r.samples, r.kind.Block)
	res.Latency = report.NewLatency(r.singles)
	var ops uint64
	for _, s := range r.samples {
		ops += s.Ops
	}
	if r.hasCPU {
		res.SetHostCPU(float64(r.cpu)/float64(max(ops, 1)), r.kind.Block)
	}
	if r.process.Counts == nil {
		return res
	}
	res.PerOp = r.total.Less(r.empty, uint64(len(r.samples))).PerOp(ops)
	if r.hostNS > 0 && r.host == nil {
		ratio := r.guestNS / r.hostNS
		res.ClockRatio = &ratio
	}
	return res
}
