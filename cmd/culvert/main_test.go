package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/cmd/culvert/internal/emulate"
	"culvert/vmm"
	"culvert/vmm/leakcheck"
)

// asCulvert makes the test binary be culvert: so the tests run the real command line without building it again.
const asCulvert = "CULVERT_TEST_MAIN"

func TestMain(m *testing.M) {
	if emulate.IsInit() || os.Getenv(asCulvert) != "" {
		main()
	}
	os.Exit(leakcheck.Main(m))
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// commandLimit is far more than any command of these tests takes, also on an emulated machine that shares its processor.
const commandLimit = 10 * time.Minute

// culvert runs the command line args with stdin.
func culvert(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asCulvert+"=1")
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second
	timer := time.AfterFunc(commandLimit, func() { cmd.Process.Kill() })
	err = cmd.Run()
	if !timer.Stop() {
		t.Errorf("culvert %q did not end in %v", args, commandLimit)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("culvert %q: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// usableKVM says once why KVM cannot be used here.
var usableKVM = sync.OnceValue(func() error {
	vm, err := vmm.New(vmm.Config{Mem: 32 << 20, CPUs: 1})
	if err != nil {
		return err
	}
	return vm.Close()
})

// needKVM skips a test without a KVM that works, unless REQUIRE_KVM=1 makes that a failure.
func needKVM(t *testing.T) {
	t.Helper()
	if err := usableKVM(); err != nil {
		if os.Getenv("REQUIRE_KVM") == "1" {
			t.Fatalf("KVM does not work here: %v", err)
		}
		t.Skipf("KVM does not work here: %v", err)
	}
}

// compile builds C source with gcc flags and returns the program's path.
func compile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "prog.c"), filepath.Join(dir, "prog")
	if err := os.WriteFile(in, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-O1", "-w", "-o", out, in}, flags...)
	if msg, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, msg)
	}
	return out
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string // in standard error, or in standard output where the code is 0
	}{
		{nil, 125, "usage: culvert"},
		{[]string{"help"}, 0, "usage: culvert"},
		{[]string{"run", "--help"}, 0, "--strace"},
		{[]string{"frobnicate"}, 125, "no such command: frobnicate"},
		{[]string{"run"}, 125, "no program given"},
		{[]string{"run", "--bogus", "--", "true"}, 125, "unknown flag: --bogus"},
		{[]string{"run", "--mem", "512", "--", "true"}, 125, "--mem"},
		{[]string{"run", "--mem", "1M", "--", "true"}, 125, "--mem"},
		{[]string{"run", "--mem", "x", "--", "true"}, 125, "--mem"},
		{[]string{"run", "--cpus", "0", "--", "true"}, 125, "--cpus"},
		{[]string{"run", "--timeout", "5", "--", "true"}, 125, "--timeout"},
		{[]string{"run", "--timeout", "-5s", "--", "true"}, 125, "--timeout"},
		{[]string{"run", "--env", "=x", "--", "true"}, 125, "--env"},
		{[]string{"run", "--workdir", "here", "--", "true"}, 125, "--workdir"},
		{[]string{"run", "--root", "/no/such", "--", "true"}, 125, "--root"},
		{[]string{"run", "--mount", "/usr", "--", "true"}, 125, "--mount"},
		{[]string{"run", "--mount", "/no/such:/x", "--", "true"}, 125, "--mount"},
		{[]string{"run", "--mount", "/usr:/x:wo", "--", "true"}, 125, "--mount"},
		{[]string{"run", "--strace=nosuchcall", "--", "true"}, 125, "--strace"},
		{[]string{"syscalls", "--summary"}, 0, "full"},
		{[]string{"syscalls", "read"}, 125, "unexpected argument: read"},
		{[]string{"doctor", "me"}, 125, "unexpected argument: me"},
		{[]string{"version"}, 0, "culvert "},
		{[]string{"--version"}, 0, "culvert "},
		{[]string{"version", "2"}, 125, "unexpected argument: 2"},
	} {
		r := culvert(t, "", c.args...)
		text := r.stderr
		if c.code == 0 {
			text = r.stdout
		} else if len(c.args) > 0 && strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("culvert %q says %q, want one line", c.args, r.stderr)
		}
		if r.code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("culvert %q: code %d, %q; want %d and %q", c.args, r.code, text, c.code, c.want)
		}
	}
}

// A device without room is a failure to print.
func TestUsageWithoutRoom(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"help"}, {"version"}, {"syscalls"}, {"syscalls", "--json"}, {"doctor"}} {
		cmd := exec.Command(self, args...)
		cmd.Env = append(os.Environ(), asCulvert+"=1")
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		err := cmd.Run()
		if cmd.ProcessState.ExitCode() != 125 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("culvert %q > /dev/full: %v, %q", args, err, stderr.String())
		}
	}
}
