package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A pipeline of VMs does what the same pipeline does in one.
func TestKVMPipe(t *testing.T) {
	needKVM(t)
	big := strings.Repeat("0123456789abcdef", 80000)
	for _, c := range []struct {
		name, stdin string
		args        []string
		want        result
	}{
		{"bytes", big, []string{"--", "cat", "---", "cat", "---", "cat"}, result{0, big, ""}},
		{"lines", "", []string{"--cpus", "2", "--", "seq", "1", "20000", "---", "sort", "-rn", "---", "tail", "-n", "1"}, result{0, "1\n", ""}},
		{"reader ends first", "", []string{"--", "yes", "---", "head", "-n", "1"}, result{0, "y\n", ""}},
		{"SIGPIPE", "", []string{"--pipefail", "--", "yes", "---", "head", "-n", "1"}, result{141, "y\n", ""}},
		{"the last code counts", "", []string{"--", "sh", "-c", "exit 3", "---", "sh", "-c", "exit 4"}, result{4, "", ""}},
		{"pipefail", "", []string{"--pipefail", "--", "sh", "-c", "exit 3", "---", "true"}, result{3, "", ""}},
		{"no program", "", []string{"--pipefail", "--", "/no/such", "---", "wc", "-c"},
			result{127, "0\n", "culvert run: /no/such: no such file or directory\n"}},
		{"time-out", "", []string{"--pipefail", "--timeout=10s", "--", "sleep", "1000", "---", "cat"}, result{124, "", "culvert run: "}},
		{"reopened", "", []string{"--", "sh", "-c", "echo a > /dev/stdout; echo b > /proc/self/fd/1", "---", "sh", "-c", "cat /dev/stdin"},
			result{0, "a\nb\n", ""}},
		{"poll and epoll", "", []string{"--", "sh", "-c", "echo x; sleep 1; echo y; sleep 1; echo z", "---", "python3", "-c", pollers},
			result{0, "True\nb'x\\ny\\nz\\n'\n", ""}},
		{"full", "", []string{"--ring", "4K", "--", "python3", "-c", fill, "---", "sh", "-c", "sleep 5; wc -c"}, result{0, "4097\n", "4096\n"}},
		{"kind", "", []string{"--", "stat", "-L", "-c", "%F", "/proc/self/fd/1", "---", "cat"}, result{0, "fifo\n", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := culvert(t, c.stdin, append([]string{"pipe"}, c.args...)...)
			if got.code != c.want.code || got.stdout != c.want.stdout || !strings.HasPrefix(got.stderr, c.want.stderr) {
				t.Errorf("code %d, %d bytes %.100q, stderr %.500q; want code %d, %d bytes %.100q, stderr %q", got.code,
					len(got.stdout), got.stdout, got.stderr, c.want.code, len(c.want.stdout), c.want.stdout, c.want.stderr)
			}
		})
	}
}

// Who of several readers gets which line is not said.
func TestKVMPipeReaders(t *testing.T) {
	needKVM(t)
	got := culvert(t, "", "pipe", "--cpus", "2", "--", "sh", "-c", "for i in 1 2 3 4; do echo $i; done", "---",
		"sh", "-c", "exec 3<&0; (read a <&3; echo $a) & (read b <&3; echo $b) & wait; cat")
	if got.code != 0 || strings.Count(got.stdout, "\n") != 4 {
		t.Errorf("%+v", got)
	}
}

// A poll, and then an edge-triggered loop, which reads until there is nothing: without an edge for each write and for the
// end it comes to its time-out.
const pollers = `
import os, select
p = select.poll()
p.register(0, select.POLLIN)
print(bool(p.poll(20000)))
os.set_blocking(0, False)
e = select.epoll()
e.register(0, select.EPOLLIN | select.EPOLLET)
got, end = b"", False
while not end:
    if not e.poll(20):
        print("time-out")
        break
    try:
        while not end:
            b = os.read(0, 100)
            got, end = got + b, not b
    except BlockingIOError:
        pass
print(got)
`

const fill = `
import os, select, sys
os.set_blocking(1, False)
n = 0
try:
    while True: n += os.write(1, b"x")
except BlockingIOError:
    print(n, file=sys.stderr)
select.select([], [1], [], 20)
os.write(1, b"y")
`

// If one VM is killed the next sees the end at once, and --stats tells of each stage.
func TestKVMPipeStats(t *testing.T) {
	needKVM(t)
	stats := filepath.Join(t.TempDir(), "stats.json")
	start := time.Now()
	got := culvert(t, "", "pipe", "--stats="+stats, "--", "sh", "-c", "echo before; kill -9 $$", "---", "cat")
	if got.code != 0 || got.stdout != "before\n" {
		t.Errorf("%+v", got)
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("the second stage heard of the first one's end after %v", d)
	}
	for i, cause := range []string{`"signalled"`, `"exited"`} {
		data, err := os.ReadFile(stats + "." + string(rune('1'+i)))
		if err != nil || !strings.Contains(string(data), cause) {
			t.Errorf("stage %d: %v, %s", i+1, err, data)
		}
	}
}

// Bad command lines get one line.
func TestPipeUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--", "true"}, "culvert pipe: one program only: separate the programs of a pipeline by ---\n"},
		{[]string{"--", "true", "---"}, "culvert pipe: no program in stage 2 of the pipeline\n"},
		{[]string{}, "culvert pipe: one program only: separate the programs of a pipeline by ---\n"},
		{[]string{"--cpus", "0", "--", "true", "---", "true"}, "culvert pipe: --cpus 0: must be 1 to 32\n"},
		{[]string{"--no-such", "--", "true", "---", "true"}, "culvert pipe: unknown flag: --no-such\n"},
		{[]string{"--ring", "5000K", "--", "true", "---", "true"}, "culvert pipe: --ring 5000K: must be a power of two from 4K to 1M\n"},
		{[]string{"--ring", "x", "--", "true", "---", "true"}, "culvert pipe: --ring: size \"x\": needs a unit, as in 512M or 4G\n"},
	} {
		got := culvert(t, "", append([]string{"pipe"}, c.args...)...)
		if got.code != exitFailure || got.stderr != c.says || got.stdout != "" {
			t.Errorf("%q: %+v, want %q", c.args, got, c.says)
		}
	}
	if got := culvert(t, "", "pipe", "--help"); got.code != 0 || !strings.Contains(got.stdout, "--ring") {
		t.Errorf("--help: %+v", got)
	}
}
