package leakcheck

import (
	"bytes"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestRun runs test functions that leave things behind, or seem to.
func TestRun(t *testing.T) {
	var cleanup []func()
	defer func() {
		for _, f := range cleanup {
			f()
		}
	}()
	release := make(chan struct{})
	cleanup = append(cleanup, func() { close(release) })
	open := func(path string) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		name  string
		tests func() int
		code  int
		want  string // part of the message; empty: none
	}{
		{"nothing", func() int { return 0 }, 0, ""},
		{"a file that was closed", func() int { open("/dev/null").Close(); return 0 }, 0, ""},
		{"a file", func() int {
			f := open("/proc/self/status")
			cleanup = append(cleanup, func() { f.Close() })
			return 0
		}, 1, "/status"},
		{"an eventfd", func() int {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			cleanup = append(cleanup, func() { unix.Close(fd) })
			return 0
		}, 1, "anon_inode:[eventfd]"},
		{"a goroutine", func() int { go func() { <-release }(); return 0 }, 1, "1 goroutines started by culvert/vmm/leakcheck.TestRun"},
		{"a goroutine that is about to end", func() int { go time.Sleep(50 * time.Millisecond); return 0 }, 0, ""},
		{"a signal handler", func() int {
			ch := make(chan os.Signal, 1)
			signal.Notify(ch, unix.SIGUSR2)
			signal.Stop(ch)
			return 0
		}, 0, ""},
		{"a file left by a failed test", func() int {
			f := open("/dev/null")
			cleanup = append(cleanup, func() { f.Close() })
			return 3
		}, 3, ""},
	} {
		var out bytes.Buffer
		if code := run(c.tests, &out, 300*time.Millisecond); code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.name, code, c.code)
		}
		if c.want == "" && out.Len() > 0 || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: message %q, want %q in it", c.name, out.String(), c.want)
		}
	}
}

// TestSince finds a descriptor whose number was used before for another file.
func TestSince(t *testing.T) {
	before := &snapshot{files: map[string]string{"3": "/a", "4": "/b"}, goroutines: map[string]int{"f": 2}}
	after := &snapshot{files: map[string]string{"3": "/c"}, goroutines: map[string]int{"f": 1, "g": 2}}
	got := after.since(before)
	if len(got) != 2 || !strings.HasPrefix(got[0], "2 goroutines started by g") || got[1] != "descriptor 3: /c" {
		t.Errorf("got %q", got)
	}
}
