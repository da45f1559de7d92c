package inside

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/wire"
)

func TestLookPath(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for path, mode := range map[string]os.FileMode{one + "/plain": 0o600, two + "/prog": 0o700, one + "/both": 0o600, two + "/both": 0o700} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(one+"/prog", 0o700); err != nil { // a directory does not count
		t.Fatal(err)
	}
	env := []string{"PATH=/nowhere", "PATH=" + one + ":" + two} // the last one counts
	for name, want := range map[string]string{
		"prog": two + "/prog", "both": two + "/both", "./x": "./x", "/a/b": "/a/b",
	} {
		got, err := lookPath(&wire.Request{Args: []string{name}, Env: env})
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	for name, want := range map[string]uint32{"plain": 126, "absent": 127} {
		_, err := lookPath(&wire.Request{Args: []string{name}, Env: env})
		var f *failure
		if !errors.As(err, &f) || f.code != want {
			t.Errorf("%s: %v, want code %d", name, err, want)
		}
	}
}

func TestExecFailureCodes(t *testing.T) {
	for errno, want := range map[unix.Errno]uint32{
		unix.ENOENT: 127, unix.ENOTDIR: 127, unix.EACCES: 126, unix.ENOEXEC: 126, unix.E2BIG: 126,
	} {
		f := failFrame(1, execFailure("x", errno))
		if got, err := wire.GetU32(f.Payload); err != nil || got != want {
			t.Errorf("%v: code %d, %v; want %d", errno, got, err, want)
		}
	}
	if got, err := wire.GetU32(failFrame(1, errors.New("other")).Payload); err != nil || got != 125 {
		t.Errorf("other: code %d, %v; want 125", got, err)
	}
}

func TestMountPoint(t *testing.T) {
	dir := t.TempDir()
	for _, s := range []wire.Share{{Path: dir + "/a/b", File: true}, {Path: dir + "/c/d"}, {Path: dir}} {
		if err := mountPoint(s); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(s.Path)
		if err != nil || st.IsDir() == s.File {
			t.Errorf("%+v: %v, %v", s, st, err)
		}
	}
}

func TestRemoveCgroups(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/a/b/c", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d", "busy"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	removeCgroups(dir)
	if _, err := os.Stat(dir + "/a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty group is left: %v", err)
	}
	if _, err := os.Stat(dir + "/d"); err != nil {
		t.Errorf("a group in use: %v", err)
	}
}
