package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/run"
)

// confined runs a program with statistics and returns what is said to be in force.
func confined(t *testing.T, args ...string) (result, []string) {
	t.Helper()
	stats := filepath.Join(t.TempDir(), "stats.json")
	r := culvert(t, "", append([]string{"run", "--stats=" + stats}, args...)...)
	data, err := os.ReadFile(stats)
	if err != nil {
		t.Fatalf("%v (%+v)", err, r)
	}
	var s run.Stats
	if err := json.Unmarshal(data, &s); err != nil || s.Jail == nil {
		t.Fatalf("%v in %s", err, data)
	}
	return r, s.Jail
}

// Programs that make the VMM do what it can do are not stopped by its own jail: a call that is missing from the list
// would end culvert with SIGSYS.
func TestKVMJail(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"processors", []string{"--", "sh", "-c", "grep -c ^processor /proc/cpuinfo"}, "1\n"},
		{"python", []string{"--cpus", "2", "--", "python3", "-c", `
import os, subprocess, threading, time
got = []
threads = [threading.Thread(target=lambda: (time.sleep(0.01), got.append(1))) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(len(got), subprocess.run(["echo", "child"], capture_output=True, text=True).stdout.strip(), len(os.listdir("/usr/bin")) > 10)`},
			"8 child True\n"},
		{"writable mount", []string{"--mount", dir + ":/m:rw", "--", "sh", "-ec", `cd /m; mkdir d e; printf 'a\nb\n' > d/f
mv d/f e/g; ln e/g h; ln -s h l; chmod 600 h; truncate -s 3 h; touch -d @5 h; dd if=/dev/zero of=z bs=1k count=9 conv=fsync 2> /dev/null
mv e d; rm z; cat l; stat -c %Y h; rm -r d h l; ls | wc -l`}, "a\nb5\n0\n"},
	} {
		r, jailed := confined(t, c.args...)
		if r.code != 0 || r.stdout != c.want || r.stderr != "" {
			t.Errorf("%s: %+v", c.name, r)
		}
		for _, want := range []string{"descriptors", "rlimits", "capabilities", "no_new_privs", "seccomp"} {
			if !slices.Contains(jailed, want) {
				t.Errorf("%s: %q is not in force, only %q", c.name, want, jailed)
			}
		}
	}
	if r, jailed := confined(t, "--no-jail", "--", "true"); r.code != 0 || len(jailed) != 0 {
		t.Errorf("--no-jail: %+v, %q", r, jailed)
	}
}

// A guest that runs has a VMM that is confined, and SIGKILL to it leaves nothing behind.
func TestKVMJailKilled(t *testing.T) {
	needKVM(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	cmd := exec.Command(self, "run", "--", "sh", "-c", "echo up; exec sleep 600")
	cmd.Env = append(os.Environ(), asCulvert+"=1", "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(3*time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Errorf("the guest did not start: %v", err)
	}
	pid := cmd.Process.Pid
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Errorf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && (!strings.Contains(string(status), "\nSeccomp:\t2\n") || !strings.Contains(string(status), "\nNoNewPrivs:\t1\n")) {
			t.Errorf("%s is not confined", task)
		}
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil && !os.IsNotExist(err) || len(children) != 0 {
		t.Errorf("culvert has the processes %q, %v", children, err)
	}
	if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("it ended with %v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
