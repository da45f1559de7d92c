package run

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"culvert/shim/vfs/rootfs"
)

// TestCommand: the guest is shown the program and an interpreter's script, and no other file that an argument names.
func TestCommand(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, f := range []string{"prog", "x.py", "y.py"} {
		if err := os.WriteFile(f, nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("pkg", 0o700); err != nil {
		t.Fatal(err)
	}
	script := dir + "/x.py"
	for _, tt := range []struct {
		args    []string
		root    string
		workdir string
		mounts  []rootfs.HostMount
		program string
		want    []string
		shown   []string
	}{
		{args: []string{"ls", "x.py"}, shown: nil},
		{args: []string{"./prog", "x.py"}, program: dir + "/prog", shown: []string{dir + "/prog"}},
		{args: []string{"./none"}, program: dir + "/none"},
		{args: []string{"./pkg"}, program: dir + "/pkg"},
		{args: []string{"python3", "x.py", "y.py"}, want: []string{"python3", script, "y.py"}, shown: []string{script}},
		{args: []string{"python3.11", "../" + filepath.Base(dir) + "/x.py"}, want: []string{"python3.11", script}, shown: []string{script}},
		{args: []string{"/bin/sh", script}, program: "/bin/sh", shown: []string{"/bin/sh", script}},
		{args: []string{"python3", "-u", "x.py"}},
		{args: []string{"python3", "pkg"}},
		{args: []string{"python3", "none.py"}},
		{args: []string{"python3", "/proc/self/status"}},
		{args: []string{"python3", ""}},
		{args: []string{"python3"}},
		{args: []string{"python3", "x.py"}, root: dir},
		{args: []string{"./prog"}, root: dir},
		// The guest's own file of that name, with what lies beside it.
		{args: []string{"python3", "x.py"}, workdir: "/src"},
		{args: []string{"python3", "x.py"}, mounts: []rootfs.HostMount{{Host: dir, Guest: "/"}}},
		{args: []string{"python3", script}, mounts: []rootfs.HostMount{{Host: dir, Guest: dir}}},
		{args: []string{"python3", script}, workdir: "/src", mounts: []rootfs.HostMount{{Host: dir, Guest: "/src"}}, shown: []string{script}},
	} {
		if tt.program == "" {
			tt.program = tt.args[0]
		}
		if tt.want == nil {
			tt.want = tt.args
		}
		if tt.workdir == "" {
			tt.workdir = defaultWorkdir
		}
		c := (&options{args: tt.args, root: tt.root, workdir: tt.workdir, mounts: tt.mounts}).command()
		if c.program != tt.program || !slices.Equal(c.args, tt.want) || !slices.Equal(c.shown, tt.shown) {
			t.Errorf("%q: %q, %q, shown %q; want %q, %q, shown %q", tt.args, c.program, c.args, c.shown, tt.program, tt.want, tt.shown)
		}
	}
}
