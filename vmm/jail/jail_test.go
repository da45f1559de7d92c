package jail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/vmm/leakcheck"
)

// A jail cannot be left, so each case runs in a process of its own: the test binary again, told by the environment.
const (
	childCase = "JAIL_TEST_CASE"
	childDir  = "JAIL_TEST_DIR"  // the fixture
	childMode = "JAIL_TEST_MODE" // "rw" or "ro": how dir/tree is open
	nobody    = 65534
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childCase); name != "" {
		os.Exit(childMain(name))
	}
	os.Exit(leakcheck.Main(m))
}

// fixture makes dir/tree, which the jail leaves open, with a file, and dir/secret, which it does not.
func fixture(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for p := dir; p != os.TempDir() && len(p) > 1; p = filepath.Dir(p) {
		os.Chmod(p, 0o755) // for children of another user; what is above is not ours
	}
	for _, err := range []error{
		os.Mkdir(dir+"/tree", 0o777),
		os.Mkdir(dir+"/tree/sub", 0o777),
		os.WriteFile(dir+"/tree/file", []byte("contents"), 0o666),
		os.Symlink(dir+"/secret", dir+"/tree/link"),
		os.WriteFile(dir+"/secret", []byte("secret"), 0o666),
		os.Chmod(dir+"/tree", 0o777),
		os.Chmod(dir+"/tree/sub", 0o777),
		os.Chmod(dir+"/tree/file", 0o666),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// child prepares a case in a jail.
func child(t testing.TB, dir, mode, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), childCase+"="+name, childDir+"="+dir, childMode+"="+mode)
	return cmd
}

// outcome runs a case and says how it ended: what it printed, or the signal that ended it.
func outcome(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			return ws.Signal().String()
		}
		return fmt.Sprintf("%v: %s%s", err, out.String(), stderr.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCases(t *testing.T) {
	abi := landlockABI()
	for _, c := range cases() {
		for _, mode := range []string{"ro", "rw"} {
			want := c.ro
			if mode == "rw" {
				want = c.rw
			}
			if want == "" {
				continue
			}
			if c.needs > abi {
				t.Logf("%s: needs Landlock's ABI %d, the kernel has %d", c.name, c.needs, abi)
				continue
			}
			if got := outcome(t, child(t, fixture(t), mode, c.name)); got != want {
				t.Errorf("%s, %s: %q, want %q", c.name, mode, got, want)
			}
		}
	}
}

// An ordinary user can be jailed as well.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("TestCases is it")
	}
	for _, c := range cases() {
		if c.user == "" || c.needs > landlockABI() {
			continue
		}
		cmd := child(t, fixture(t), "rw", c.name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if got := outcome(t, cmd); got != c.user {
			t.Errorf("%s: %q, want %q", c.name, got, c.user)
		}
	}
}

// waiting starts a case that waits for its standard input to end, and returns once it is in the jail.
func waiting(t *testing.T, cmd *exec.Cmd) (end func() error) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, len("in\n"))
	if _, err := io.ReadFull(out, ready); err != nil {
		t.Fatalf("the child did not get ready: %v", err)
	}
	return func() error {
		in.Close()
		rest, err := io.ReadAll(out)
		if len(rest) > 0 {
			err = errors.Join(err, fmt.Errorf("it said %q", rest))
		}
		return errors.Join(err, cmd.Wait())
	}
}

// Every thread is in the jail, also those that were there before it.
func TestAllThreads(t *testing.T) {
	for _, mode := range []string{"ro", "rw"} {
		cmd := child(t, fixture(t), mode, "wait")
		end := waiting(t, cmd)
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", cmd.Process.Pid))
		if err != nil || len(tasks) < 8 {
			t.Errorf("%d threads, %v", len(tasks), err)
		}
		caps := uint64(readCaps)
		if mode == "rw" {
			caps = writeCaps
		}
		for _, task := range tasks {
			status, err := os.ReadFile(task)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapInh:\t0000000000000000\n"} {
				if !strings.Contains(string(status), want) {
					t.Errorf("%s: no %q", task, want)
				}
			}
			var prm, eff uint64
			m := regexp.MustCompile(`(?s)CapPrm:\t(\w+)\nCapEff:\t(\w+)\n`).FindSubmatch(status)
			if m == nil {
				t.Fatalf("%s has no capabilities", task)
			}
			fmt.Sscanf(string(m[1])+" "+string(m[2]), "%x %x", &prm, &eff)
			if (prm|eff)&^caps != 0 {
				t.Errorf("%s: capabilities %s, %s", task, m[1], m[2])
			}
		}
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`Max core file size +1 +1 +bytes`, fmt.Sprintf(`Max open files +%d +%d `, maxFiles+1, maxFiles+1)} {
			if !regexp.MustCompile(want).Match(limits) {
				t.Errorf("no %q in\n%s", want, limits)
			}
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// Stopping and continuing makes the kernel restart calls with a time limit by restart_syscall(2).
func TestStopAndContinue(t *testing.T) {
	cmd := child(t, fixture(t), "ro", "wait")
	end := waiting(t, cmd)
	for range 10 {
		for _, sig := range []os.Signal{unix.SIGSTOP, unix.SIGCONT} {
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// Descriptors of whoever started the process are gone, however high their numbers.
func TestInheritedDescriptors(t *testing.T) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	dir := fixture(t)
	secret, err := os.Open(dir + "/secret")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	high := int(lim.Cur) - 1
	// exec.Cmd would want all numbers up to it.
	if err := unix.Dup3(int(secret.Fd()), high, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	cmd := child(t, dir, "ro", "inherited")
	cmd.Env = append(cmd.Env, fmt.Sprintf("JAIL_TEST_HIGH=%d", high))
	cmd.ExtraFiles = []*os.File{secret, secret}
	if got := outcome(t, cmd); got != "bad file descriptor, bad file descriptor, bad file descriptor" {
		t.Errorf("%q", got)
	}
}

// On a kernel without Landlock or seccomp, here one whose filter says so, the rest is in force, and said to be.
func TestLackingKernel(t *testing.T) {
	for _, c := range []struct {
		name string
		want []string
	}{
		{"lacks landlock", []string{"descriptors", "rlimits", "capabilities", "no_new_privs", "seccomp"}},
		{"lacks seccomp", []string{"descriptors", "rlimits", "capabilities", "no_new_privs"}},
	} {
		got := strings.Fields(outcome(t, child(t, fixture(t), "ro", c.name)))
		got = slices.DeleteFunc(got, func(s string) bool { return c.name == "lacks seccomp" && strings.HasPrefix(s, "landlock/") })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The kernel's refusal is an error and no jail that is not there.
func TestFailures(t *testing.T) {
	if got := outcome(t, child(t, fixture(t), "ro", "missing path")); !strings.Contains(got, "no such file") {
		t.Errorf("a path that is not there: %q", got)
	}
	if got := outcome(t, child(t, fixture(t), "ro", "torn filters")); !strings.Contains(got, "a filter of its own") {
		t.Errorf("a thread with a filter of its own: %q", got)
	}
}

// A bug of our own still shows itself.
func TestCrash(t *testing.T) {
	for _, level := range []string{"all", "crash"} {
		cmd := child(t, fixture(t), "ro", "crash")
		cmd.Env = append(cmd.Env, "GOTRACEBACK="+level)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		want := "exit status 2"
		if level == "crash" {
			want = "signal: aborted"
		}
		if err == nil || err.Error() != want || !strings.Contains(stderr.String(), "panic: on purpose") {
			t.Errorf("%s: %v, want %s: %s", level, err, want, stderr.String())
		}
	}
}

// BenchmarkEnter tells what a start pays.
func BenchmarkEnter(b *testing.B) {
	dir := fixture(b)
	metric := map[string][]float64{}
	for b.Loop() {
		out := outcome(b, child(b, dir, "ro", "time"))
		for _, f := range strings.Fields(out) {
			name, v, ok := strings.Cut(f, "=")
			var us float64
			if _, err := fmt.Sscanf(v, "%f", &us); err != nil || !ok {
				b.Fatalf("%q", out)
			}
			metric[name] = append(metric[name], us)
		}
	}
	for name, all := range metric {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], name) // the median
	}
	b.ReportMetric(0, "ns/op") // of starting the test binary
}
