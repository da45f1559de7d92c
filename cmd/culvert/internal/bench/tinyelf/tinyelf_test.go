package tinyelf

import (
	"os"
	"os/exec"
	"path/filepath"
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
