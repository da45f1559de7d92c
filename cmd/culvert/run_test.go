package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/cmd/culvert/internal/run"
)

const hello = `#include <stdio.h>
int main(int c, char **v) { printf("hello %d\n", c); return 7; }`

func TestKVMKindsOfProgram(t *testing.T) {
	needKVM(t)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh -u\necho hello $#\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, prog := range map[string]string{
		"static":  compile(t, hello, "-static"),
		"pie":     compile(t, hello, "-static-pie"),
		"dynamic": compile(t, hello),
	} {
		r := culvert(t, "", "run", "--", prog, "a", "b")
		if r.code != 7 || r.stdout != "hello 3\n" || r.stderr != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := culvert(t, "", "run", "--", script, "a", "b"); r.code != 7 || r.stdout != "hello 2\n" {
		t.Errorf("script: %+v", r)
	}
}

func TestKVMPipeline(t *testing.T) {
	needKVM(t)
	for _, cpus := range []string{"1", "2"} {
		stats := filepath.Join(t.TempDir(), "stats.json")
		r := culvert(t, "", "run", "--cpus", cpus, "--stats="+stats, "--", "sh", "-c", "seq 1 20000 | sort -rn | uniq -c | wc -l")
		if r.code != 0 || strings.TrimSpace(r.stdout) != "20000" {
			t.Fatalf("--cpus %s: %+v", cpus, r)
		}
		data, err := os.ReadFile(stats)
		if err != nil {
			t.Fatal(err)
		}
		var s run.Stats
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		if s.Cause != "exited" || s.ExitsTotal == 0 || s.SyscallsForwarded["execve"] != 4 || s.SyscallsRing0["write"] == 0 ||
			s.PageFaults["demand_zero"] == 0 || s.PageFaults["cow_copy"] == 0 || s.ContextSwitches == 0 ||
			s.StartupUS["first_instruction"] <= 0 || s.PeakMemory == 0 {
			t.Errorf("statistics: %s", data)
		}
	}
}

func TestKVMStdio(t *testing.T) {
	needKVM(t)
	big := strings.Repeat("0123456789abcdef", 40000)
	if r := culvert(t, big, "run", "--", "cat"); r.code != 0 || r.stdout != big {
		t.Errorf("cat returned %d bytes of %d, code %d, %s", len(r.stdout), len(big), r.code, r.stderr)
	}
	if r := culvert(t, "", "run", "--", "sh", "-c", "echo out; echo err >&2"); r.stdout != "out\n" || r.stderr != "err\n" {
		t.Errorf("stdout and stderr: %+v", r)
	}
	if r := culvert(t, "one\ntwo\n", "run", "--", "sh", "-c", "read a; read b; echo $b-$a"); r.stdout != "two-one\n" {
		t.Errorf("stdin: %+v", r)
	}
}

func TestKVMExitCodes(t *testing.T) {
	needKVM(t)
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	elf, err := os.ReadFile(compile(t, hello))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // in standard error
	}{
		{"exit", []string{"--", "sh", "-c", "exit 93"}, 93, ""},
		{"signal", []string{"--", "sh", "-c", "kill -TERM $$"}, 143, ""},
		{"fault", []string{"--", compile(t, "int main(){ *(volatile int*)8 = 1; }", "-static")}, 139, ""},
		{"timeout", []string{"--timeout", "1s", "--", "sleep", "60"}, 124, "--timeout"},
		{"spinning timeout", []string{"--timeout", "1s", "--", "sh", "-c", "while :; do :; done"}, 124, "--timeout"},
		{"missing", []string{"--", "no-such-program"}, 127, "no-such-program"},
		{"missing path", []string{"--", "/no/such/program"}, 127, "/no/such/program"},
		{"directory", []string{"--", "/usr"}, 126, "/usr"},
		{"missing working directory", []string{"--workdir", "/no/such", "--", "true"}, 125, "/no/such"},
		{"working directory that is a file", []string{"--workdir", "/etc/passwd", "--", "true"}, 125, "/etc/passwd"},
		{"not executable", []string{"--", write("plain", "text", 0o644)}, 126, "plain"},
		{"not a program", []string{"--", write("noexec", "\x01\x02\x03", 0o755)}, 126, "noexec"},
		{"truncated", []string{"--", write("short", string(elf[:100]), 0o755)}, 126, "short"},
		{"bad interpreter", []string{"--", write("interp", strings.Replace(string(elf), "/lib64/ld-linux", "/lib64/xx-linux", 1), 0o755)}, 127, "interp"},
		{"script without interpreter", []string{"--", write("badscript", "#!/no/such/sh\n", 0o755)}, 127, "badscript"},
		{"out of memory", []string{"--mem", "64M", "--", compile(t, `#include <string.h>
#include <stdlib.h>
int main(){ for(;;) memset(malloc(1<<20), 1, 1<<20); }`, "-static")}, 137, "memory"},
	} {
		r := culvert(t, "", append([]string{"run"}, c.args...)...)
		if r.code != c.code {
			t.Errorf("%s: code %d, want %d (%q)", c.name, r.code, c.code, r.stderr)
		}
		if c.want == "" && r.stderr != "" || !strings.Contains(r.stderr, c.want) || strings.Count(r.stderr, "\n") > 1 {
			t.Errorf("%s: standard error %q, want one line with %q", c.name, r.stderr, c.want)
		}
	}
}

func TestKVMFiles(t *testing.T) {
	needKVM(t)
	dir, root := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in"), []byte("data\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(compile(t, hello, "-static"), filepath.Join(root, "bin/prog")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"mount", []string{"--mount", dir + ":/m", "--", "cat", "/m/in"}, 0, "data\n"},
		{"read-only mount", []string{"--mount", dir + ":/m", "--", "sh", "-c", "echo x > /m/in 2>/dev/null || echo refused"}, 0, "refused\n"},
		{"file mount", []string{"--mount", dir + "/in:/etc/in", "--", "cat", "/etc/in"}, 0, "data\n"},
		{"writable mount", []string{"--mount", dir + ":/m:rw", "--", "sh", "-c", "echo new > /m/out; cat /m/out"}, 0, "new\n"},
		{"workdir and env", []string{"--workdir", "/usr", "--env", "K=v w", "--", "sh", "-c", "pwd; echo $K"}, 0, "/usr\nv w\n"},
		{"writes are private", []string{"--", "sh", "-c", "echo x > /usr/bin/zz && cat /usr/bin/zz"}, 0, "x\n"},
		{"root directory", []string{"--root", root, "--", "/bin/prog"}, 7, "hello 1\n"},
		{"the host as root", []string{"--root", "/", "--", "sh", "-c", "echo $$; cat /proc/1/comm; ls /dev/null /dev/kvm /sys/module 2>/dev/null"}, 2,
			"1\nsh\n/dev/null\n"},
	} {
		r := culvert(t, "", append([]string{"run"}, c.args...)...)
		if r.code != c.code || r.stdout != c.out {
			t.Errorf("%s: %+v, want code %d and %q", c.name, r, c.code, c.out)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || string(got) != "new\n" {
		t.Errorf("the writable mount has %q, %v", got, err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "in")); string(got) != "data\n" {
		t.Errorf("the read-only mount has %q", got)
	}
	if _, err := os.Stat("/usr/bin/zz"); err == nil {
		t.Error("a guest's file is on the host")
	}
}

func TestKVMUnknownCall(t *testing.T) {
	needKVM(t)
	prog := compile(t, `#include <unistd.h>
#include <errno.h>
int main(){ int n = 0; for (int i = 0; i < 3; i++) if (syscall(499) == -1 && errno == ENOSYS) n++; return n; }`, "-static")
	r := culvert(t, "", "run", "--", prog)
	if r.code != 3 || !strings.Contains(r.stderr, "ENOSYS") || !strings.Contains(r.stderr, "(3)") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("%+v", r)
	}
}

func TestKVMStrace(t *testing.T) {
	needKVM(t)
	r := culvert(t, "", "run", "--strace=openat,getpid,exit_group", "--", "cat", "/etc/hostname")
	if r.code != 0 || !strings.Contains(r.stderr, `openat(AT_FDCWD, "/etc/hostname", O_RDONLY) = 3`) || !strings.Contains(r.stderr, "exit_group(0)") ||
		strings.Contains(r.stderr, "mmap(") {
		t.Errorf("%+v", r)
	}
}

// Two busy threads on two vCPUs, in one address space, and a counter that both raise.
func TestKVMTwoCPUs(t *testing.T) {
	needKVM(t)
	prog := compile(t, `#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
static atomic_long n, running;
static void *f(void *a) { running++; while (running < 2); for (int i = 0; i < 200000; i++) n++; return 0; }
int main(){ pthread_t a, b; pthread_create(&a,0,f,0); pthread_create(&b,0,f,0); pthread_join(a,0); pthread_join(b,0); printf("%ld\n", (long)n); }`,
		"-static", "-pthread")
	if r := culvert(t, "", "run", "--cpus", "2", "--", prog); r.code != 0 || r.stdout != "400000\n" {
		t.Errorf("%+v", r)
	}
}
