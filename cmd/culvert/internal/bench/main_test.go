package bench

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"culvert/cmd/culvert/internal/bench/workload"
	"culvert/cmd/culvert/internal/pipe"
	"culvert/cmd/culvert/internal/run"
	"culvert/vmm"
	"culvert/vmm/leakcheck"
)

// The test binary is the workload, `culvert run` and `culvert bench` too, as culvert itself is.
func TestMain(m *testing.M) {
	if workload.Requested(os.Args) {
		os.Exit(workload.Main(os.Args))
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "run":
			os.Exit(run.Command(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		case "pipe":
			os.Exit(pipe.Command(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		case "bench":
			os.Exit(Command(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	os.Exit(leakcheck.Main(m))
}

// command runs culvert bench in a process of its own.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"bench"}, args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// requireKVM skips a test on a machine without a KVM that works, unless REQUIRE_KVM=1 makes that a failure.
func requireKVM(t *testing.T) {
	t.Helper()
	vm, err := vmm.New(vmm.Config{Mem: probeMem, CPUs: 1})
	if err == nil {
		err = vm.Close()
	}
	switch {
	case err == nil:
	case os.Getenv("REQUIRE_KVM") == "1":
		t.Fatalf("KVM does not work here: %v", err)
	default:
		t.Skipf("KVM does not work here: %v", err)
	}
}
