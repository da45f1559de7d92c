package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"culvert/cmd/culvert/internal/bench/plot"
	"culvert/cmd/culvert/internal/bench/report"
	"culvert/cmd/culvert/internal/emulate"
	"culvert/vmm"
)

// Exit codes.
const (
	exitFailed  = 1
	exitWorse   = 3
	exitFailure = 125
)

// Command parses args, which come after "bench", measures, and returns the exit code.
func Command(args []string, stdin, stdout, stderr *os.File) int {
	o, err := parse(args, stdout)
	if errors.Is(err, errHelp) {
		return 0
	}
	code := exitFailure
	if err == nil {
		code, err = o.run([3]*os.File{stdin, stdout, stderr})
	}
	if err != nil {
		fmt.Fprintf(stderr, "culvert bench: %v\n", err)
	}
	return code
}

// run gets a report and prints it in all ways asked for.
func (o *options) run(stdio [3]*os.File) (int, error) {
	// An old report that cannot be read is better known before hours of measuring.
	var old *report.Report
	if o.compare != "" {
		var err error
		if old, err = readReport("--compare", o.compare); err != nil {
			return exitFailure, err
		}
	}
	r, err := o.report(stdio)
	if err != nil {
		return exitFailure, err
	}
	if err := report.Formats()[o.format](stdio[1], r); err != nil {
		return exitFailure, fmt.Errorf("write the report: %w", err)
	}
	if o.svg != "" {
		if err := writeSVG(o.svg, r); err != nil {
			return exitFailure, err
		}
	}
	if old != nil {
		worse, err := o.changes(stdio, old, r)
		if err != nil {
			return exitFailure, err
		}
		if worse > 0 {
			return exitWorse, fmt.Errorf("--compare %s: %d worse by more than %v%%", o.compare, worse, o.threshold)
		}
	}
	return outcome(r)
}

// outcome is the exit code that a report deserves.
func outcome(r *report.Report) (int, error) {
	if list := r.Failures(); len(list) > 0 {
		return exitFailed, fmt.Errorf("failed: %s", strings.Join(list, "; "))
	}
	if n := len(r.Meta.Missing); n > 0 && len(r.Meta.Peers) == 0 {
		return exitFailed, errors.New("nothing that --against names could be measured")
	}
	return 0, nil
}

// changes prints the comparison, beside the table, or, where standard output is for machines, on standard error.
func (o *options) changes(stdio [3]*os.File, old, now *report.Report) (worse int, err error) {
	threshold := o.threshold / 100
	list := report.Compare(old, now, threshold)
	for _, c := range list {
		if c.Worse {
			worse++
		}
	}
	w := stdio[1]
	if o.format != "table" {
		w = stdio[2]
	}
	if err := report.WriteChanges(w, list, &old.Meta, threshold); err != nil {
		return worse, fmt.Errorf("write the comparison: %w", err)
	}
	return worse, nil
}

func readReport(flag, name string) (*report.Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	r, err := report.ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, name, err)
	}
	return r, nil
}

// writeSVG draws into a file, which is complete or not there.
func writeSVG(name string, r *report.Report) error {
	var picture bytes.Buffer
	if err := plot.Write(&picture, report.Charts(r)); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	if err := os.WriteFile(name, picture.Bytes(), 0o644); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return nil
}

// report reads the report, or makes it, here or on an emulated machine.
func (o *options) report(stdio [3]*os.File) (*report.Report, error) {
	if o.input != "" {
		return readReport("--input", o.input)
	}
	why := usable(o.cpus)
	if why == nil {
		return o.bound(stdio[2])
	}
	if o.noEmulate || !vmm.Unusable(why) {
		return nil, why
	}
	return o.emulate(stdio[2], why)
}

// probeMem is enough for the guest kernel's self-test.
const probeMem = 32 << 20

// usable says why no VM can be made here.
func usable(cpus int) error {
	vm, err := vmm.New(vmm.Config{Mem: probeMem, CPUs: cpus})
	if err != nil {
		return err
	}
	return vm.Close()
}

// bound measures here, bound to as many processors as the VM has.
func (o *options) bound(stderr *os.File) (*report.Report, error) {
	undo, err := bind(o.cpus)
	if err != nil {
		return nil, err
	}
	r, err := o.measure(stderr)
	if err := errors.Join(err, undo()); err != nil {
		return nil, err
	}
	return r, nil
}

// minEmulated is the least number of processors that an emulated machine has.
const minEmulated = 2

// emulate measures on an emulated machine, all sides in one boot.
func (o *options) emulate(stderr *os.File, why error) (*report.Report, error) {
	fmt.Fprintf(stderr, "culvert bench: %v; using an emulated machine, where only ratios and exits mean something\n", why)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "bench", "--no-emulate"}
	if isTerminal(stderr) {
		args = append(args, "--progress")
	}
	var out bytes.Buffer
	code, err := emulate.Run(context.Background(), emulate.Options{
		Args:   append(args, o.inner()...),
		CPUs:   max(o.cpus, minEmulated),
		Stdin:  strings.NewReader(""),
		Stdout: &out, Stderr: innerErrors{stderr},
	})
	if err != nil {
		return nil, err
	}
	if code != 0 && code != exitFailed {
		return nil, fmt.Errorf("the measurement on the emulated machine ended with exit code %d", code)
	}
	return report.ReadJSON(&out)
}

// innerErrors passes on what the measuring part says, but for its last word, which comes from here too.
type innerErrors struct{ w io.Writer }

func (e innerErrors) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("culvert bench: failed: ")) || bytes.HasPrefix(p, []byte("culvert bench: nothing that")) {
		return len(p), nil
	}
	return e.w.Write(p)
}
