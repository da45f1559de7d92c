package emulate

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests below boot machines. They run the command emulatetest, which is
// culvert emulate alone, as a process of its own, as users do.

var tool = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "emulatetest-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "emulatetest")
	cmd := exec.Command("go", "build", "-o", bin, "./emulatetest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return bin, nil
})

// machineTest skips a test that boots a machine, only if -short asks for that.
func machineTest(t *testing.T) {
	t.Helper()
	if testing.Short() && os.Getenv("REQUIRE_KVM") == "" {
		t.Skip("boots a machine")
	}
}

// TestMain gives the tests a keeper of their own and ends it.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "emulate-run-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		os.Setenv("XDG_RUNTIME_DIR", dir)
		code := m.Run()
		if _, err := Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if bin, err := tool(); err == nil {
			os.RemoveAll(filepath.Dir(bin))
		}
		return code
	}())
}

// slowest is how long any run may take on a busy host.
const slowest = 4 * time.Minute

// command prepares a run. The process is killed when the test takes too long.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	machineTest(t)
	bin, err := tool()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	timer := time.AfterFunc(slowest, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return cmd
}

type result struct {
	code     int
	out, err string
}

func run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	var out, msg bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &msg
	code := exitCode(t, cmd.Run())
	return result{code, out.String(), msg.String()}
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	}
	t.Fatalf("run: %v", err)
	return -1
}

// TestRuns are runs with what they must give, in a machine that stays.
func TestRuns(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		args  []string
		want  result
	}{
		"streams and code": {"", []string{"sh", "-c", "echo out; echo err >&2; exit 7"}, result{7, "out\n", "err\n"}},
		"kvm":              {"", []string{"sh", "-c", "test -c /dev/kvm -a -w /dev/kvm"}, result{0, "", ""}},
		"stdin ends":       {"abc", []string{"cat"}, result{0, "abc", ""}},
		"stdin unread":     {strings.Repeat("x", 1<<20), []string{"true"}, result{0, "", ""}},
		"killed":           {"", []string{"sh", "-c", "kill -9 $$"}, result{137, "", ""}},
		"not found":        {"", []string{"no-such-command"}, result{127, "", "culvert emulate: no-such-command: command not found\n"}},
		"not there":        {"", []string{"/no/such"}, result{127, "", "culvert emulate: /no/such: no such file or directory\n"}},
		"not executable":   {"", []string{"/etc/passwd"}, result{126, "", "culvert emulate: /etc/passwd: permission denied\n"}},
		"any bytes":        {"", []string{"printf", "%s", "\xff\xfe"}, result{0, "\xff\xfe", ""}},
		"user namespace":   {"", []string{"unshare", "-Ur", "id", "-u"}, result{0, "0\n", ""}},
		"left behind":      {"", []string{"sh", "-c", "setsid sleep 1000 & echo $!"}, result{0, "3\n", ""}},
		"loopback":         {"", []string{"sh", "-c", "cat /sys/class/net/lo/flags"}, result{0, "0x9\n", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, c.stdin, append([]string{"--keep", "--"}, c.args...)...)
			if name == "left behind" { // its number depends on the supervisor's threads
				got.out = c.want.out
			}
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// TestFresh: the same without a kept machine, from cold and from a snapshot.
func TestFresh(t *testing.T) {
	want := result{7, "in", "err\n"}
	for _, flags := range [][]string{{"--fresh", "--no-snapshot"}, {"--fresh"}, {"--fresh", "--cpus", "2"}} {
		if got := run(t, "in", append(flags, "--", "sh", "-c", "cat; echo err >&2; test -w /dev/kvm && exit 7")...); got != want {
			t.Errorf("%v: %+v, want %+v", flags, got, want)
		}
	}
}

func TestCopyIsExact(t *testing.T) {
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	if got := run(t, string(data), "--keep", "--", "cat"); got.code != 0 || got.out != string(data) || got.err != "" {
		t.Errorf("code %d, %d bytes of %d, stderr %q", got.code, len(got.out), len(data), got.err)
	}
}

func TestSameUserAndDirectory(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s\n%d\n%s\n", wd, os.Geteuid(), host)
	if got := run(t, "", "--keep", "--", "sh", "-c", "pwd; id -u; hostname"); got.out != want {
		t.Errorf("%+v, want %q", got, want)
	}
}

// TestClosedOutput: the command gets SIGPIPE, as in a shell's pipeline.
func TestClosedOutput(t *testing.T) {
	cmd := command(t, "--keep", "--", "yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 2)
	if _, err := out.Read(line); err != nil || string(line) != "y\n" {
		t.Errorf("%q, %v", line, err)
	}
	out.Close()
	if code := exitCode(t, cmd.Wait()); code != 128+int(unix.SIGPIPE) {
		t.Errorf("code %d, want %d", code, 128+int(unix.SIGPIPE))
	}
}

// start starts a run and waits for its first line of output.
func start(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := command(t, args...)
	var msg bytes.Buffer
	cmd.Stderr = &msg
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 6)
	if n, err := out.Read(line); err != nil || string(line[:n]) != "ready\n" {
		t.Fatalf("first line %q, %v; stderr %s", line[:n], err, msg.String())
	}
	return cmd, &msg
}

func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		cmd, _ := start(t, "--keep", "--", "sh", "-c", fmt.Sprintf("trap 'exit %d' %d; echo ready; while :; do sleep 0.1; done", 40+int(sig), int(sig)))
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if code := exitCode(t, cmd.Wait()); code != 40+int(sig) {
			t.Errorf("%v: code %d, want that of the trap, %d", sig, code, 40+int(sig))
		}
	}
	cmd, _ := start(t, "--keep", "--", "sh", "-c", "echo ready; exec sleep 1000")
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd.Wait()); code != 143 {
		t.Errorf("code %d, want 143", code)
	}
}

// TestRunsAreSeparate: what one run writes the next does not see, but it does
// see what the host has changed in between.
func TestRunsAreSeparate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for i := range 3 {
		want := strconv.Itoa(i)
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "new"+want), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		got := run(t, "", "--keep", "--", "sh", "-c", "cd "+dir+"; cat file; ls new"+want+" >&2; test ! -e left && echo x >left; echo changed >file")
		if got != (result{0, want, "new" + want + "\n"}) {
			t.Errorf("run %d: %+v", i, got)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "2" {
		t.Errorf("the host's file: %q, %v", b, err)
	}
}

func TestShared(t *testing.T) {
	for _, mode := range []string{"--keep", "--fresh"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
			t.Fatal(err)
		}
		got := run(t, "", mode, "--share", dir+"/d", "--share", dir+"/new", "--", "sh", "-c",
			fmt.Sprintf("cd %s; echo 1 >d/a; echo 2 >new; echo 3 >not", dir))
		if got != (result{}) {
			t.Errorf("%s: %+v", mode, got)
		}
		for file, want := range map[string]string{"d/a": "1\n", "new": "2\n"} {
			if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != want {
				t.Errorf("%s: %s: %q, %v", mode, file, b, err)
			}
		}
		if _, err := os.Stat(dir + "/not"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a file that is not shared was written: %v", mode, err)
		}
	}
}

func TestSimultaneousRuns(t *testing.T) {
	run(t, "", "--keep", "--", "true")
	var all sync.WaitGroup
	for i := range keptRoots + 2 { // two have to wait for another's end
		all.Go(func() {
			want := result{0, fmt.Sprintf("%d\n", i), ""}
			if got := run(t, "", "--keep", "--", "sh", "-c", fmt.Sprintf("echo %d >/tmp/mine; sleep 1; cat /tmp/mine", i)); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
	all.Wait()
}

// TestClientKilled: without its client a run in a kept machine ends.
func TestClientKilled(t *testing.T) {
	dir := t.TempDir()
	cmd, _ := start(t, "--keep", "--share", dir, "--", "sh", "-c", "echo x >"+dir+"/f; echo ready; while :; do echo x >>"+dir+"/f; sleep 0.05; done")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	size := func() int64 {
		st, err := os.Stat(dir + "/f")
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	for range 50 {
		a := size()
		time.Sleep(500 * time.Millisecond)
		if size() == a {
			return
		}
	}
	t.Error("the run goes on")
}

// qemuOf waits for the QEMU that a process has started.
func qemuOf(t *testing.T, pid int) int {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tasks {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // the thread is gone
			}
			for _, s := range strings.Fields(string(b)) {
				if exe, err := os.Readlink("/proc/" + s + "/exe"); err == nil && strings.Contains(exe, "qemu") {
					n, err := strconv.Atoi(s)
					if err != nil {
						t.Fatal(err)
					}
					return n
				}
			}
		}
	}
	t.Fatal("no QEMU was started")
	return 0
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || bytes.Contains(b, []byte(") Z ")) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func TestKilledLeavesNoQEMU(t *testing.T) {
	cmd, _ := start(t, "--fresh", "--", "sh", "-c", "echo ready; sleep 1000")
	qemu := qemuOf(t, cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitGone(t, qemu)
}

func TestSignalDuringBoot(t *testing.T) {
	cmd := command(t, "--fresh", "--no-snapshot", "--", "true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	qemu := qemuOf(t, cmd.Process.Pid)
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd.Wait()); code != 143 {
		t.Errorf("code %d, want 143", code)
	}
	waitGone(t, qemu)
}

// TestMachineDies: before the command begins it is tried again; after that the
// run fails and says so.
func TestMachineDies(t *testing.T) {
	cmd := command(t, "--fresh", "--no-snapshot", "--", "echo", "once")
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(qemuOf(t, cmd.Process.Pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	code := exitCode(t, cmd.Wait())
	if code != 0 || out.String() != "once\n" || strings.Count(msg.String(), "\n") != 1 || !strings.Contains(msg.String(), "trying again (2 of 3)") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out.String(), msg.String())
	}

	cmd, late := start(t, "--fresh", "--", "sh", "-c", "echo ready; sleep 1000")
	if err := unix.Kill(qemuOf(t, cmd.Process.Pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	code = exitCode(t, cmd.Wait())
	if code != 125 || strings.Count(late.String(), "\n") != 1 || !strings.Contains(late.String(), "died while the command was running") {
		t.Errorf("code %d, stderr %q", code, late.String())
	}
}

func TestBadProcessorModel(t *testing.T) {
	got := run(t, "", "--fresh", "--cpu", "no-such-model", "--", "true")
	if got.code != 125 || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, "no-such-model") {
		t.Errorf("%+v", got)
	}
}

// TestKeptMachine: it goes when it is asked to, when it is idle, and when the
// binary has changed.
func TestKeptMachine(t *testing.T) {
	machineTest(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	dir, err := keepDir()
	if err != nil {
		t.Fatal(err)
	}
	boot := func(args ...string) string {
		t.Helper()
		got := run(t, "", append(args, "--", "cat", "/proc/sys/kernel/random/boot_id")...)
		if got.code != 0 || got.err != "" {
			t.Fatalf("%+v", got)
		}
		return got.out
	}
	first := boot("--keep")
	if st, err := os.Stat(socketPath(dir)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", st, err)
	}
	if boot("--keep") != first || boot() != first {
		t.Error("the kept machine is not used")
	}
	if boot("--fresh") == first || boot("--cpus", "1") == first {
		t.Error("the kept machine is used for another one")
	}
	bin, err := tool()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", `cat "$0" >"$0".new; echo >>"$0".new; chmod 700 "$0".new; mv "$0".new "$0"`, bin).CombinedOutput(); err != nil {
		t.Fatalf("change the binary: %v: %s", err, out)
	}
	second := boot("--keep", "--idle", "1s")
	if second == first {
		t.Error("the machine of a binary that has changed is used")
	}
	for range 300 {
		if _, err = os.Stat(socketPath(dir)); err != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the idle machine's socket: %v", err)
	}
	boot("--keep")
	if got := run(t, "", "--stop"); got != (result{}) {
		t.Errorf("--stop: %+v", got)
	}
	if _, err := os.Stat(socketPath(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stopped machine's socket: %v", err)
	}
	if got := run(t, "", "--stop"); got != (result{}) {
		t.Errorf("--stop of nothing: %+v", got)
	}
}
