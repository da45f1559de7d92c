// Package leakcheck makes a test binary fail if its tests leave descriptors or
// goroutines behind:
//
//	func TestMain(m *testing.M) { os.Exit(leakcheck.Main(m)) }
//
// What was there before the first test is no leak: descriptors are compared by number
// and by what they refer to, goroutines by where they were started. Both get some time
// to go away by themselves after the last test, since a goroutine ends a moment after
// the test that told it to.
package leakcheck

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long leftovers may take to go away.
const patience = 2 * time.Second

// Main runs the tests and returns the exit code for os.Exit: that of the tests, or 1 if
// they passed and left something behind.
func Main(m *testing.M) int { return run(m.Run, os.Stderr, patience) }

// run is Main with the tests, the place for messages and the patience given.
func run(tests func() int, out io.Writer, patience time.Duration) int {
	if err := startPoller(); err != nil {
		fmt.Fprintf(out, "leakcheck: %v\n", err)
		return 1
	}
	before, err := take()
	if err != nil {
		fmt.Fprintf(out, "leakcheck: %v\n", err)
		return 1
	}
	code := tests()
	if code != 0 {
		return code // a test that failed may well have left things
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		after, err := take()
		if err != nil {
			fmt.Fprintf(out, "leakcheck: %v\n", err)
			return 1
		}
		leaks := after.since(before)
		if len(leaks) == 0 {
			return 0
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(out, "leakcheck: left behind by the tests:\n%s\n", strings.Join(leaks, "\n"))
			return 1
		}
	}
}

// startPoller makes the Go runtime open the descriptors of its network poller, which it
// does when it first needs them, and then keeps.
func startPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("open a pipe: %w", err)
	}
	return errors.Join(r.Close(), w.Close())
}

// snapshot is what the process holds at one moment.
type snapshot struct {
	files      map[string]string // descriptor to what it refers to
	goroutines map[string]int    // where it was started, and how many such there are
	stacks     map[string]string // the stack of one of them
}

func take() (*snapshot, error) {
	s := &snapshot{goroutines: map[string]int{}, stacks: map[string]string{}}
	if err := s.takeFiles(); err != nil {
		return nil, err
	}
	s.takeGoroutines()
	return s, nil
}

// takeFiles reads /proc/self/fd. The descriptor that reads the directory is gone when
// its link is looked up, and so is any other that was closed in between.
func (s *snapshot) takeFiles() error {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	s.files = map[string]string{}
	for _, e := range entries {
		target, err := os.Readlink(dir + "/" + e.Name())
		if err == nil {
			s.files[e.Name()] = target
		}
	}
	return nil
}

// takeGoroutines counts goroutines by where they were started.
func (s *snapshot) takeGoroutines() {
	buf := make([]byte, 1<<16)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	for _, stack := range strings.Split(string(buf[:n]), "\n\n") {
		_, origin, ok := strings.Cut(stack, "\ncreated by ")
		if !ok || strings.HasPrefix(origin, "os/signal.") {
			continue // the main goroutine, and the one that Notify starts for good
		}
		origin, _, _ = strings.Cut(origin, " in goroutine ")
		s.goroutines[origin]++
		s.stacks[origin] = stack
	}
}

// since lists what is in s and was not in before.
func (s *snapshot) since(before *snapshot) []string {
	var leaks []string
	for fd, target := range s.files {
		if before.files[fd] != target {
			leaks = append(leaks, fmt.Sprintf("descriptor %s: %s", fd, target))
		}
	}
	for origin, n := range s.goroutines {
		if more := n - before.goroutines[origin]; more > 0 {
			leaks = append(leaks, fmt.Sprintf("%d goroutines started by %s, one of them:\n%s", more, origin, s.stacks[origin]))
		}
	}
	slices.Sort(leaks)
	return leaks
}
