package bench

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestArguments(t *testing.T) {
	o, err := parse([]string{"pipe", "syscall", "--cpus", "2", "--against=native", "--format", "json", "--samples", "7", "--duration", "3s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.groups, []string{"syscall", "pipe"}) || o.cpus != 2 || !slices.Equal(o.against, []string{"native"}) ||
		o.format != "json" || o.samples != 7 || o.duration != 3*time.Second {
		t.Errorf("%+v", o)
	}
	if o, err = parse([]string{"all"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	want := []string{"syscall", "pingpong", "pipe", "epoll", "fork", "fault", "startup"}
	if !slices.Equal(o.groups, want) {
		t.Errorf("all is %q, want %q", o.groups, want)
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
