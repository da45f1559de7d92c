package bench

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/cmd/culvert/internal/bench/report"
)

func TestArguments(t *testing.T) {
	o, err := parse([]string{"pipe", "syscall", "--cpus", "2", "--against=native,linux-vm", "--format", "json", "--samples", "7",
		"--duration", "3s", "--size", "1M,64K,512,64K", "--processes", "8", "--count", "5", "--warmup", "1s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := plan{samples: 7, duration: 3 * time.Second, count: 5, warmup: time.Second}
	if !slices.Equal(o.groups, []string{"syscall", "pipe"}) || o.cpus != 2 || !slices.Equal(o.against, []string{"native", "linux-vm"}) ||
		o.format != "json" || o.plan != want || !slices.Equal(o.params.Blocks, []int{512, 65536, 1 << 20}) || o.params.Processes != 8 {
		t.Errorf("%+v", o)
	}
	// The emulated machine is told the same.
	o2, err := parse(o.inner(), io.Discard)
	if err != nil || !slices.Equal(o2.groups, o.groups) || o2.plan != o.plan || !slices.Equal(o2.params.Blocks, o.params.Blocks) ||
		o2.cpus != o.cpus || !slices.Equal(o2.against, o.against) || o2.params.Processes != o.params.Processes {
		t.Errorf("inner: %+v, %v", o2, err)
	}
	if o, err = parse([]string{"all"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	all := []string{"syscall", "pingpong", "pipe", "epoll", "thread", "signal", "fork", "program", "fault", "stdio", "vm-to-vm", "startup", "memory"}
	if !slices.Equal(o.groups, all) || !slices.Equal(o.params.Blocks, []int{1, 64, 512, 4096, 65536}) {
		t.Errorf("all is %q with %v, want %q", o.groups, o.params.Blocks, all)
	}
}

func TestBadArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "nothing to measure"},
		{"nonsense", "nonsense: no such measurement"},
		{"pipe --cpus 0", "--cpus 0"},
		{"pipe --cpus 1000", "--cpus 1000"},
		{"pipe --samples 0", "--samples 0"},
		{"pipe --samples 10001", "--samples 10001"},
		{"pipe --duration 0s", "--duration 0s"},
		{"pipe --duration 2h", "--duration 2h"},
		{"pipe --duration 5", "duration"},
		{"pipe --format xml", "--format xml"},
		{"pipe --against qnx", "--against qnx"},
		{"pipe --against native,native", "given twice"},
		{"pipe --nonsense", "nonsense"},
		{"pipe --size 0", "--size 0"},
		{"pipe --size 2M", "--size 2M"},
		{"pipe --size 1,x", "--size x"},
		{"pipe --size 99999999999999999999K", "--size 99"},
		{"pipe --size 4194304K", "--size 4194304K"},
		{"pipe --size=", "--size"},
		{"pingpong --processes 1", "--processes 1"},
		{"pingpong --processes 513", "--processes 513"},
		{"pipe --count -1", "count"},
		{"pipe --count 4294967297", "--count"},
		{"pipe --warmup -1s", "--warmup"},
		{"pipe --threshold NaN", "--threshold"},
		{"pipe --threshold -1", "--threshold"},
		{"pipe --compare /nonexistent", "--compare"},
		{"pipe --compare /proc/self/exe", "--compare"},
		{"--input /nonexistent", "--input"},
		{"pipe --input /dev/null", "nothing is measured"},
		{"--input /dev/null", "not a report"},
	} {
		out, errs, code := command(t, strings.Fields(c.args)...)
		if code != exitFailure || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit code %d, printed %q, said %q; want %d and one line with %q", c.args, code, out, errs, exitFailure, c.want)
		}
	}
	if out, errs, code := command(t, "--help"); code != 0 || errs != "" || !strings.Contains(out, "--against") {
		t.Errorf("--help: exit code %d, %q, %q", code, out, errs)
	}
}

// A report that was made earlier is printed, drawn and compared without measuring.
func TestInput(t *testing.T) {
	golden := filepath.Join("report", "testdata", "json.golden")
	picture := filepath.Join(t.TempDir(), "picture.svg")
	out, errs, code := command(t, "--input", golden, "--format", "csv", "--svg", picture, "--compare", golden)
	// The golden report has failures in it.
	if code != exitFailed || !strings.HasPrefix(out, "name,on,block,") || !strings.Contains(errs, "0 worse") || !strings.Contains(errs, "failed: ") {
		t.Errorf("exit code %d, printed %q, said %q", code, out, errs)
	}
	if text, err := os.ReadFile(picture); err != nil || !strings.Contains(string(text), "<svg") {
		t.Errorf("%q, %v", text, err)
	}
	if _, errs, code := command(t, "--input", golden, "--svg", "/nonexistent/x"); code != exitFailure || strings.Count(errs, "\n") != 1 {
		t.Errorf("a picture that cannot be written: exit code %d, said %q", code, errs)
	}
}

// What is worse than in an older report has an exit code of its own.
func TestCompareWorse(t *testing.T) {
	write := func(name string, ns ...float64) string {
		var samples []report.Sample
		for _, x := range ns {
			samples = append(samples, report.Sample{Ops: 1, NS: uint64(x), NSPerOp: x})
		}
		m := report.Measurement{Name: "x", Op: "x"}.Join([]string{"culvert"}, []report.Result{report.NewResult(samples, 0)})
		file := filepath.Join(t.TempDir(), name)
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(report.WriteJSON(f, &report.Report{Measurements: []report.Measurement{m}}), f.Close()); err != nil {
			t.Fatal(err)
		}
		return file
	}
	old, slower := write("old", 100, 101, 102, 103, 104), write("new", 120, 121, 122, 123, 124)
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"--input", slower, "--compare", old}, exitWorse},
		{[]string{"--input", slower, "--compare", old, "--threshold", "25"}, 0},
		{[]string{"--input", old, "--compare", slower}, 0},
	} {
		if out, errs, code := command(t, c.args...); code != c.code || !strings.Contains(out, "Mann-Whitney") || (code == 0) != (errs == "") {
			t.Errorf("%q: exit code %d, want %d; printed %q, said %q", c.args, code, c.code, out, errs)
		}
	}
}

// A peer that is not installed is a line, and named in the report's outcome.
func TestMissingPeer(t *testing.T) {
	r := &report.Report{Meta: report.Meta{Missing: map[string]string{"runsc": "not there"}}}
	if code, err := outcome(r); code != exitFailed || err == nil {
		t.Errorf("nothing to compare with: %d, %v", code, err)
	}
	r.Meta.Peers = map[string]string{"native": "bare Linux"}
	if code, err := outcome(r); code != 0 || err != nil {
		t.Errorf("one of two: %d, %v", code, err)
	}
}
