package bench

import (
	"fmt"
	"os"
	"slices"

	"culvert/cmd/culvert/internal/bench/exits"
	"culvert/cmd/culvert/internal/bench/report"
	"culvert/cmd/culvert/internal/bench/side"
	"culvert/cmd/culvert/internal/bench/workload"
)

// peer is a side to be compared with.
type peer struct {
	side.Side
	worked bool
	failed int    // measurements, while none worked
	why    string // the last of them failed
}

// hopeless is how many measurements may fail on a peer that has not carried out any: one that cannot run here is not
// asked to again and again.
const hopeless = 2

// bench is a run of the command.
type bench struct {
	*options
	self   string
	native side.Native
	vm     side.Culvert
	peers  []*peer
	report *report.Report
	line   *progress
}

// measure measures all that was asked for.
func (o *options) measure(stderr *os.File) (*report.Report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	events, kvmErr := exits.Find()
	b := &bench{options: o, self: self, native: side.Native{Self: self}, line: newProgress(stderr, o.progress || isTerminal(stderr)),
		vm:     side.Culvert{Self: self, CPUs: o.cpus, Stderr: stderr, Events: events},
		report: &report.Report{Meta: newMeta(o, kvmErr)}}
	b.report.Meta.Load[0] = load()
	defer b.line.clear()
	b.findPeers(stderr)
	b.all()
	b.report.Meta.Load[1] = load()
	for _, p := range b.peers {
		if err := p.Close(); err != nil {
			return nil, err
		}
	}
	return b.report, nil
}

// findPeers makes the sides to be compared with; one that is missing is a line.
func (b *bench) findPeers(stderr *os.File) {
	for _, name := range b.against {
		s, err := b.newPeer(name, stderr)
		if err != nil {
			fmt.Fprintf(stderr, "culvert bench: --against %s: %v\n", name, err)
			b.missing(name, err.Error())
			continue
		}
		b.peers = append(b.peers, &peer{Side: s})
		if b.report.Meta.Peers == nil {
			b.report.Meta.Peers = map[string]string{}
		}
		b.report.Meta.Peers[name] = s.About()
	}
}

func (b *bench) newPeer(name string, stderr *os.File) (side.Side, error) {
	switch name {
	case side.RunscName, side.RunscSystrapName:
		return side.NewRunsc(name, b.runsc, b.self)
	case side.LinuxVMName:
		return side.NewLinuxVM(b.self, b.cpus, stderr)
	}
	return b.native, nil
}

// missing notes why a side is left out.
func (b *bench) missing(name, why string) {
	if b.report.Meta.Missing == nil {
		b.report.Meta.Missing = map[string]string{}
	}
	b.report.Meta.Missing[name] = why
}

// all carries out the measurements.
func (b *bench) all() {
	for _, k := range workload.Kinds(b.params) {
		if slices.Contains(b.groups, k.Group) {
			b.one(k.Name, func() report.Measurement { return measure(b.sides(), b.native, k, b.plan, b.line.tell) })
		}
	}
	if slices.Contains(b.groups, startupName) {
		b.one(startupName, func() report.Measurement { return startup(b.self, b.sides(), b.plan, b.line.tell) })
	}
	if slices.Contains(b.groups, memoryName) {
		b.one(memoryName, func() report.Measurement { return memory(b.self, b.sides(), b.line.tell) })
	}
}

// sides are culvert and the peers.
func (b *bench) sides() []side.Side {
	list := []side.Side{b.vm}
	for _, p := range b.peers {
		list = append(list, p.Side)
	}
	return list
}

// one carries out a measurement and gives up peers without hope.
func (b *bench) one(name string, measure func() report.Measurement) {
	b.line.begin(name, b.plan.samples)
	m := measure()
	b.report.Measurements = append(b.report.Measurements, m)
	var left, useless []*peer
	for i, p := range b.peers {
		s := &m.Against[i]
		p.worked = p.worked || s.Error == "" && s.Skipped == ""
		if s.Error != "" {
			p.failed++
			p.why = s.Error
		}
		if p.worked || p.failed < hopeless {
			left = append(left, p)
		} else {
			useless = append(useless, p)
		}
	}
	b.peers = left
	for _, p := range useless {
		b.giveUp(p)
	}
}

// giveUp takes a peer that has carried out nothing out of the report.
func (b *bench) giveUp(p *peer) {
	b.missing(p.Name(), p.why)
	delete(b.report.Meta.Peers, p.Name())
	for i := range b.report.Measurements {
		m := &b.report.Measurements[i]
		m.Against = slices.DeleteFunc(m.Against, func(s report.Side) bool { return s.Name == p.Name() })
	}
	if err := p.Close(); err != nil {
		b.missing(p.Name(), p.why+"; "+err.Error())
	}
}
