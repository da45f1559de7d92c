package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/cmd/culvert/internal/run"
)

// stdioScripts are pipelines of the host with a program at $R: on bare Linux that is nothing, else `culvert run --`.
// Output and exit status have to be the same. $D is a directory.
var stdioScripts = []struct{ name, script string }{
	{"counts", `yes | head -c 5M | $R wc -c`},
	{"file to file", `head -c 3000000 /dev/zero | tr '\0' x > $D/big; $R cat < $D/big > $D/out; cmp $D/big $D/out && echo same`},
	{"pipe to pipe", `seq 1 200000 | $R cat | md5sum`},
	{"file appended to", `echo one > $D/log; $R sh -c 'echo two; echo three >&2' >> $D/log 2>&1; cat $D/log`},
	{"stdout and stderr in one file", `$R sh -c 'for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done; ls /nonexistent; echo end' > $D/log 2>&1; sed s/ls:.*/ls/ $D/log`},
	{"two descriptions of one file", `$R sh -c 'for i in 1 2 3; do echo o$i; echo e$i >&2; done' >> $D/log 2>> $D/log; cat $D/log`},
	{"lines of many processes in a file", `$R sh -c 'for i in 1 2 3 4 5 6 7 8 9; do /bin/echo $i; done; seq 1 50000 | tail -1' > $D/log; cat $D/log`},
	{"a file that is seen while it is written", `$R perl -e '$|=1; print "abc"; open F, ">>&1"; print F "def"; close F; print STDERR -s STDOUT, " ", sysseek(STDOUT,0,1), "\n"; truncate STDOUT, 4; seek STDOUT, 0, 2; print "x"' > $D/log; cat $D/log`},
	{"device that is full", `$R sh -c 'echo x; echo y' > /dev/full; echo $?`},
	{"disk that is full for a program that does not look", `mount -t tmpfs -o size=4k t $D; $R sh -c 'head -c 9000 /dev/zero' > $D/log; [ $? -ne 0 ] && echo failed; umount $D`},
	{"stream sockets", `python3 -c '
import socket, subprocess, sys, threading
(a, b), (c, d) = socket.socketpair(), socket.socketpair()
p = subprocess.Popen(sys.argv[1:], stdin=b, stdout=d)
b.close(), d.close()
threading.Thread(target=lambda: (a.sendall(b"x" * 300000), a.shutdown(1))).start()
n = 0
while m := len(c.recv(65536)): n += m
print(n, p.wait())' $R cat`},
	{"reader that leaves", `$R yes | head -1; echo ${PIPESTATUS[@]}`},
	{"reader that never reads", `$R sh -c 'sleep 0.3; exec cat /etc/hostname' | true; echo ${PIPESTATUS[@]}`},
	{"reader of nothing", `$R cat < /dev/null | true; echo ${PIPESTATUS[@]}`},
	{"sorted", `seq 1 100000 | $R sort -n | tail -1`},
	{"lines of a list", `seq 1 3 > $D/list; while read l; do $R true; echo $l; done < $D/list`},
	{"lines left in a file", `seq 1 9 > $D/list; ($R sh -c 'read a; read b; echo $b'; head -1) < $D/list`},
	{"lines left in a pipe", `seq 1 9 | ($R sh -c 'read a; read b; echo $b'; cat)`},
	{"order of stdout and stderr", `$R sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done; sh -c "echo child"; echo end >&2' 2>&1`},
	{"stderr apart", `$R sh -c 'echo out; echo err >&2' 2> $D/err; cat $D/err`},
	{"closed stdout", `($R sh -c 'echo bye; exec >&-; sleep 2'; echo ended >> $D/l) | (cat >> $D/l; echo eof >> $D/l); cat $D/l`},
	{"closed stdout and stderr", `($R sh -c 'exec >&- 2>&-; sleep 2'; echo ended >> $D/l) 2>&1 | (cat; echo eof >> $D/l); cat $D/l`},
	{"closed stdin", `(yes; echo "yes ended" >&2) 2>$D/err | $R sh -c 'exec <&-; sleep 1'; cat $D/err`},
	{"late consumer", `$R sh -c 'head -c 300000 /dev/zero; exit 7' | (sleep 1; wc -c); echo ${PIPESTATUS[@]}`},
	{"kinds", `echo x | $R sh -c 'for i in 0 1 2; do stat -L -c %F /proc/self/fd/$i; done' 2>&1 | cat`},
	{"reopened", `echo in | $R sh -c 'cat /proc/self/fd/0 > /proc/self/fd/1; echo e > /proc/self/fd/2' 2>&1 | cat`},
}

// bash runs a script, with a limit; the answer is its output and status.
func bash(t *testing.T, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		t.Errorf("%s: does not end", script)
	}
	status := "0"
	if err != nil {
		status = err.Error()
	}
	return string(out) + "status " + status
}

func runPrefix(t *testing.T, flags ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(append([]string{"env", asCulvert + "=1", self, "run"}, flags...), " ") + " --"
}

func TestKVMStdioAsLinux(t *testing.T) {
	needKVM(t)
	for _, s := range stdioScripts {
		t.Run(s.name, func(t *testing.T) {
			want := bash(t, s.script, "D="+t.TempDir(), "R=")
			for _, cpus := range []string{"1", "2"} {
				got := bash(t, s.script, "D="+t.TempDir(), "R="+runPrefix(t, "--cpus", cpus))
				if got != want {
					t.Errorf("--cpus %s:\n%s\nbare Linux:\n%s", cpus, got, want)
				}
			}
		})
	}
}

// A consumer that takes nothing does not outlive --timeout: neither while the program runs nor when it has ended with
// output left.
func TestKVMStuckConsumer(t *testing.T) {
	needKVM(t)
	for _, prog := range []string{"yes", "head -c 1500000 /dev/zero"} {
		start := time.Now()
		got := bash(t, "mkfifo $D/f; sleep 100 < $D/f & $R "+prog+" > $D/f 2>/dev/null; echo $?; kill $!",
			"D="+t.TempDir(), "R="+runPrefix(t, "--timeout", "3s"))
		if took := time.Since(start); !strings.HasPrefix(got, "124\n") || took > 30*time.Second {
			t.Errorf("%s: %q after %v, want 124 after 3 s", prog, got, took)
		}
	}
}

// nonblock checks O_NONBLOCK, poll and epoll of standard input and output that are pipes: it answers with its exit code.
const nonblock = `
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>
#define CHECK(c) do { if (!(c)) { fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #c, errno); return 1; } } while (0)
static char buf[1 << 20];
int main() {
	struct pollfd p[2] = {{0, POLLIN}, {1, POLLOUT}};
	struct stat st;
	CHECK(fstat(1, &st) == 0 && S_ISFIFO(st.st_mode));
	CHECK(lseek(1, 0, SEEK_CUR) == -1 && errno == ESPIPE);
	CHECK((fcntl(1, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_WRONLY);
	CHECK(poll(p, 2, 0) == 1 && p[1].revents == POLLOUT);
	CHECK(fcntl(0, F_SETFL, O_NONBLOCK) == 0 && fcntl(1, F_SETFL, O_NONBLOCK) == 0);
	CHECK(read(0, buf, 10) == -1 && errno == EAGAIN);
	// Full, until somebody reads; the script starts to when it finds the file.
	long sent = 0, n;
	while (poll(p + 1, 1, 300) == 1) {
		while ((n = write(1, buf, sizeof buf)) > 0) sent += n;
		CHECK(n == -1 && errno == EAGAIN);
	}
	CHECK(sent >= 65536);
	int ep = epoll_create1(0);
	struct epoll_event ev = {EPOLLOUT, {.u32 = 1}};
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, 1, &ev) == 0);
	ev.events = EPOLLIN, ev.data.u32 = 0;
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, 0, &ev) == 0);
	CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
	fprintf(stderr, "full\n");
	CHECK(epoll_wait(ep, &ev, 1, 20000) == 1 && ev.data.u32 == 1 && ev.events == EPOLLOUT);
	ev.events = 0;
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, 1, &ev) == 0);
	fprintf(stderr, "input\n");
	CHECK(epoll_wait(ep, &ev, 1, 20000) == 1 && ev.data.u32 == 0);
	CHECK(read(0, buf, sizeof buf) == 6 && memcmp(buf, "hello\n", 6) == 0);
	fprintf(stderr, "end\n");
	p[0].revents = 0;
	while (poll(p, 1, 20000) == 1 && p[0].revents == POLLIN) CHECK(read(0, buf, sizeof buf) > 0);
	CHECK(p[0].revents == POLLHUP && read(0, buf, 1) == 0);
	fprintf(stderr, "ok\n");
	return 0;
}`

func TestKVMStdioNonblock(t *testing.T) {
	needKVM(t)
	prog := compile(t, nonblock, "-static")
	script := `
		mkfifo $D/in $D/out $D/err
		$R $P < $D/in > $D/out 2> $D/err & pid=$!
		exec 7> $D/in 8< $D/out 9< $D/err
		while read -u 9 l; do
			echo $l
			case $l in
			full) cat <&8 > /dev/null 7>&- & ;;
			input) echo hello >&7 ;;
			end) exec 7>&- ;;
			esac
		done
		wait $pid; echo $?`
	want := bash(t, script, "D="+t.TempDir(), "P="+prog, "R=")
	if !strings.Contains(want, "ok\n0\n") {
		t.Fatalf("bare Linux: %s", want)
	}
	for _, cpus := range []string{"1", "2"} {
		if got := bash(t, script, "D="+t.TempDir(), "P="+prog, "R="+runPrefix(t, "--cpus", cpus)); got != want {
			t.Errorf("--cpus %s:\n%s\nbare Linux:\n%s", cpus, got, want)
		}
	}
}

// No write makes an exit while the ring has room and the pump is at work or waits for a busy consumer.
func TestKVMStdioExits(t *testing.T) {
	needKVM(t)
	const writes = 50000
	stats := filepath.Join(t.TempDir(), "stats.json")
	prog := compile(t, `#include <unistd.h>
int main() { static char b[64]; for (int i = 0; i < `+strconv.Itoa(writes)+`; i++) if (write(1, b, sizeof b) != sizeof b) return 1; return 0; }`, "-static")
	r := culvert(t, "", "run", "--stats="+stats, "--", prog)
	if r.code != 0 || len(r.stdout) != writes*64 {
		t.Fatalf("code %d, %d bytes, %q", r.code, len(r.stdout), r.stderr)
	}
	data, err := os.ReadFile(stats)
	if err != nil {
		t.Fatal(err)
	}
	var s run.Stats
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if s.SyscallsForwarded["write"] != 0 || s.SyscallsRing0["write"] < writes {
		t.Errorf("%d writes in ring 0, %d forwarded", s.SyscallsRing0["write"], s.SyscallsForwarded["write"])
	}
	if s.ExitsTotal > writes/20 {
		t.Errorf("%d exits for %d writes", s.ExitsTotal, writes)
	}
	t.Logf("%d exits for %d writes of 64 bytes: %v", s.ExitsTotal, writes, s.Exits)
}
