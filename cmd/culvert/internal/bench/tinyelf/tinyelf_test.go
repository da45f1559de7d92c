package tinyelf

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name   string
		make   func() ([]byte, error)
		output int // bytes
	}{{"exit", Exit, 0}, {"hello", Hello, 1}} {
		image, err := c.make()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(file, image, 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(file).Output()
		if err != nil || len(out) != c.output {
			t.Errorf("%s: wrote %q, %v; want %d bytes and exit code 0", c.name, out, err, c.output)
		}
	}
}

// The idle program writes its byte, and lives until it is killed.
func TestIdle(t *testing.T) {
	image, err := Idle()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "idle")
	if err := os.WriteFile(file, image, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if n, err := out.Read(b); n != 1 || b[0] != Mark || err != nil {
		t.Errorf("wrote %q, %v", b[:n], err)
	}
	// SIGSTOP and SIGCONT interrupt pause(2).
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v", err)
	}
}
