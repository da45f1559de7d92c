package pipes

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain fails if descriptors or goroutines are left behind.
func TestMain(m *testing.M) {
	flag.Parse()
	settings := map[string]string{"rapid.nofailfile": "true", "rapid.checks": "300"}
	// The same sequences each time, unless new ones are asked for.
	if flag.Lookup("rapid.seed").Value.String() == "0" && os.Getenv("CULVERT_RANDOM") == "" {
		settings["rapid.seed"] = "20261126"
	}
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	files, goroutines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzing engine has goroutines of its own
	}
	for i := 0; i < 100 && runtime.NumGoroutine() > goroutines; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if n := descriptors(); n > files {
		fmt.Fprintf(os.Stderr, "%d descriptors were left open\n", n-files)
		code = 1
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		fmt.Fprintf(os.Stderr, "%d goroutines were left running\n", n-goroutines)
		code = 1
	}
	os.Exit(code)
}

// descriptors counts this process's open files, epoll's of the Go runtime aside.
func descriptors() int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	n := 0
	for _, e := range names {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to != "anon_inode:[eventpoll]" &&
			to != "anon_inode:[eventfd]" && to != "anon_inode:[pidfd]" {
			n++
		}
	}
	return n
}
