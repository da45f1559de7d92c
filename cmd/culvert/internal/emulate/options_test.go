package emulate

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"1K": 1 << 10, "512M": 512 << 20, "4G": 4 << 30, "4GB": 4 << 30, "4GiB": 4 << 30, "2g": 2 << 30, "1T": 1 << 40,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "512", "G", "0G", "-1G", "1.5G", "4X", "4GG", "4Gi4", "99999999999T", "4 G", "iB", "5B"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q: accepted as %d", in, got)
		}
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]Options{
		"-- true":          {Args: []string{"true"}, CPUs: 2, Idle: defaultIdle},
		"sh -c --cpus":     {Args: []string{"sh", "-c", "--cpus"}, CPUs: 2, Idle: defaultIdle},
		"--cpus 1 -- a --": {Args: []string{"a", "--"}, CPUs: 1, Idle: defaultIdle},
		"--mem 2G --cpu avx2 --share a --share b,c --keep --idle 5s x": {
			Args: []string{"x"}, CPUs: 2, Mem: 2 << 30, CPU: "avx2", Shares: []string{"a", "b,c"}, Keep: true, Idle: 5 * time.Second},
	} {
		var got Options
		stop, err := parse(&got, strings.Fields(line), nil)
		if err != nil || stop || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, %v; want %+v", line, got, stop, err, want)
		}
	}
	for _, line := range []string{
		"", "--", "--cpus 0 x", "--cpus two x", "--mem 512 x", "--nosuch x", "--keep --fresh x", "--stop x", "--idle 0s x", "--idle -1s x",
	} {
		var o Options
		if _, err := parse(&o, strings.Fields(line), nil); err == nil {
			t.Errorf("%q: accepted as %+v", line, o)
		}
	}
	var help bytes.Buffer
	if _, err := parse(&Options{}, []string{"--help"}, &help); !errors.Is(err, pflag.ErrHelp) || !strings.Contains(help.String(), "--keep") {
		t.Errorf("help: %v, %q", err, help.String())
	}
}

func TestCommandSaysWhatIsWrong(t *testing.T) {
	for _, args := range [][]string{{"--cpus", "0", "x"}, {}, {"--cpus", "1000", "x"}, {"--mem", "1M", "x"}, {"--share", "/", "x"}} {
		var out, msg bytes.Buffer
		if code := Command(args, nil, &out, &msg); code != 125 || out.Len() > 0 || strings.Count(msg.String(), "\n") != 1 {
			t.Errorf("%v: code %d, stdout %q, stderr %q; want 125 and one line", args, code, out.String(), msg.String())
		}
	}
}

func TestSetup(t *testing.T) {
	t.Setenv("CULVERT_EMULATE_CPU", "fxsave")
	o := Options{Args: []string{"x"}}
	if err := o.setup(); err != nil {
		t.Fatal(err)
	}
	if o.CPUs != 2 || o.Mem < minMem || o.Mem > defaultMem || o.CPU != baseModel || !filepath.IsAbs(o.Dir) || o.Init == "" {
		t.Errorf("defaults: %+v", o)
	}
	o = Options{Args: []string{"x"}, CPU: "max,-avx"}
	if err := o.setup(); err != nil || o.CPU != "max,-avx" {
		t.Errorf("a model of QEMU's own: %q, %v", o.CPU, err)
	}
}

func TestShares(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("d", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: dir, Shares: []string{"link", "link/new", dir + "/d/../old", "/dev/null", "/proc/self/fd/1"}}
	got, err := o.resolveShares()
	want := []resolved{{dir + "/d", false}, {dir + "/d/new", true}, {dir + "/old", true}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
	exports, shares := exportEach(got)
	if len(exports) != 2 || exports[0].Path != dir+"/d" || exports[1].Path != dir {
		t.Errorf("exports %v", exports)
	}
	if shares[1].Tag != shares[0].Tag || shares[1].Sub != "new" || !shares[1].File || shares[0].Sub != "." {
		t.Errorf("shares %v", shares)
	}
	if _, err := os.Stat(dir + "/old"); err != nil {
		t.Errorf("a missing file is made: %v", err)
	}
	for _, bad := range []string{"/", "no/such/dir", dir + "/old/below"} {
		o := Options{Dir: dir, Shares: []string{bad}}
		if got, err := o.resolveShares(); err == nil {
			t.Errorf("%s: accepted as %v", bad, got)
		}
	}
}

func TestKeepDirIsPrivate(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", base)
	dir, err := keepDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := keepDir(); err == nil {
		t.Error("a directory that others can read was accepted")
	}
}
