package rootfs

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
	"culvert/shim/vfs/memfs"
)

func build(t *testing.T, o Options) (*Root, *vfs.Context) {
	t.Helper()
	if o.Quota == nil {
		o.Quota = memfs.NewQuota(64<<20, 100000)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, r.Context()
}

func readAll(f vfs.File) ([]byte, error) {
	var out []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(buf, int64(len(out)))
		if err != nil || n == 0 {
			return out, err
		}
		out = append(out, buf[:n]...)
	}
}

func readFile(t *testing.T, r *Root, c *vfs.Context, name string) string {
	t.Helper()
	o, err := r.NS.Open(c, vfs.Path{}, name, vfs.How{Flags: unix.O_RDONLY})
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	defer o.File.Release()
	b, err := readAll(o.File)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return string(b)
}

func list(t *testing.T, r *Root, c *vfs.Context, name string) map[string]vfs.Dirent {
	t.Helper()
	o, err := r.NS.Open(c, vfs.Path{}, name, vfs.How{Flags: unix.O_RDONLY | unix.O_DIRECTORY})
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	defer o.File.Release()
	out := map[string]vfs.Dirent{}
	err = o.File.Readdir(c, 0, func(e vfs.Dirent) bool {
		if _, dup := out[e.Name]; dup {
			t.Errorf("%s lists %q twice", name, e.Name)
		}
		out[e.Name] = e
		return true
	})
	if err != nil {
		t.Fatalf("list %s: %v", name, err)
	}
	return out
}

// TestDefaultRoot: the host's programs are there, its secrets are not.
func TestDefaultRoot(t *testing.T) {
	r, c := build(t, Options{Hostname: "guest7"})
	sh, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Skip("no /bin/sh on this host")
	}
	if got := readFile(t, r, c, "/bin/sh"); got != string(sh) {
		t.Errorf("/bin/sh has %d bytes, the host's has %d", len(got), len(sh))
	}
	if got := readFile(t, r, c, "/etc/hostname"); got != "guest7\n" {
		t.Errorf("hostname is %q", got)
	}
	for _, name := range []string{"/etc/shadow", "/etc/ssl/private", "/root/.pyenv", "/etc/machine-id", "/proc/self", "/work"} {
		if _, err := r.NS.Walk(c, vfs.Path{}, name, 0); err != unix.ENOENT {
			t.Errorf("walk %s: %v, want ENOENT", name, err)
		}
	}
	for name, mode := range map[string]uint32{
		"/tmp": unix.S_IFDIR | 0o1777, "/var/tmp": unix.S_IFDIR | 0o1777, "/root": unix.S_IFDIR | 0o700,
		"/dev/null": unix.S_IFCHR | 0o666, "/dev/shm": unix.S_IFDIR | 0o1777, "/etc/passwd": unix.S_IFREG | 0o644,
	} {
		p, err := r.NS.Walk(c, vfs.Path{}, name, 0)
		if err != nil {
			t.Errorf("walk %s: %v", name, err)
			continue
		}
		if st, err := r.NS.Stat(p); err != nil || st.Mode != mode {
			t.Errorf("%s has mode %o (%v), want %o", name, st.Mode, err, mode)
		}
	}
	for _, dir := range []string{"/", "/etc", "/dev"} {
		for name, e := range list(t, r, c, dir) {
			p, err := r.NS.Walk(c, vfs.Path{}, dir+"/"+name, vfs.NoFollow)
			if err != nil {
				t.Errorf("%s/%s is listed, but: %v", dir, name, err)
				continue
			}
			st, err := r.NS.Stat(p)
			if err != nil || st.Mode&unix.S_IFMT != e.Type {
				t.Errorf("%s/%s is listed as %o, is %o (%v)", dir, name, e.Type, st.Mode, err)
			}
		}
	}
}

// TestWritesStay: changes are seen in the guest and not on the host.
func TestWritesStay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f", []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, c := build(t, Options{Dir: dir})
	o, err := r.NS.Open(c, vfs.Path{}, "/f", vfs.How{Flags: unix.O_RDWR})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.File.Append([]byte("+guest")); err != nil {
		t.Fatal(err)
	}
	o.File.Release()
	if got := readFile(t, r, c, "/f"); got != "host+guest" {
		t.Errorf("guest sees %q", got)
	}
	if b, _ := os.ReadFile(dir + "/f"); string(b) != "host" {
		t.Errorf("host has %q", b)
	}
}

// TestShownAndMounts: what is asked for is there, and only that.
func TestShownAndMounts(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"a.out", "b.sh", "secret", "data"} {
		if err := os.WriteFile(dir+"/"+f, []byte(f), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	rw := t.TempDir()
	r, c := build(t, Options{
		Shown: []string{dir + "/a.out", dir + "/b.sh"},
		Mounts: []HostMount{
			{Host: rw, Guest: "/mnt/rw", ReadWrite: true},
			{Host: dir, Guest: "/mnt/ro"},
			{Host: dir + "/data", Guest: "/home/u/one"},
		},
	})
	for name, want := range map[string]string{dir + "/a.out": "a.out", dir + "/b.sh": "b.sh", "/mnt/ro/secret": "secret", "/home/u/one": "data"} {
		if got := readFile(t, r, c, name); got != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
	if _, err := r.NS.Walk(c, vfs.Path{}, dir+"/secret", 0); err != unix.ENOENT {
		t.Errorf("what lies beside them is visible: %v", err)
	}
	for _, name := range []string{"/mnt/ro/new", dir + "/a.out", "/home/u/one"} {
		_, err := r.NS.Open(c, vfs.Path{}, name, vfs.How{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0o644})
		if err != unix.EROFS {
			t.Errorf("open %s for writing: %v, want EROFS", name, err)
		}
	}
	o, err := r.NS.Open(c, vfs.Path{}, "/mnt/rw/new", vfs.How{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0o640})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := o.File.WriteAt([]byte("out"), 0); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	o.File.Release()
	b, err := os.ReadFile(rw + "/new")
	if err != nil || string(b) != "out" {
		t.Errorf("the host has %q, %v", b, err)
	}
	if fi, _ := os.Stat(rw + "/new"); fi.Mode() != 0o640 {
		t.Errorf("the host has mode %v", fi.Mode())
	}
}

// TestHostRoot: the whole host can be the root, with places for the guest's own /proc, /sys and /dev, and nothing of the
// host kernel's controls below.
func TestHostRoot(t *testing.T) {
	r, c := build(t, Options{Dir: "/"})
	sh, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Skip("no /bin/sh on this host")
	}
	if got := readFile(t, r, c, "/bin/sh"); got != string(sh) {
		t.Errorf("/bin/sh has %d bytes, the host's has %d", len(got), len(sh))
	}
	for _, dir := range []string{"/proc", "/sys"} {
		if got := list(t, r, c, dir); len(got) != 2 {
			t.Errorf("%s has %v", dir, got)
		}
		if err := r.NS.Mkdir(c, vfs.Path{}, dir+"/own", 0o755); err != nil {
			t.Errorf("nothing can be put over %s: %v", dir, err)
		}
	}
	for _, name := range []string{"/proc/self", "/proc/1/root", "/sys/kernel", "/dev/kvm", "/dev/shm/../kvm"} {
		if _, err := r.NS.Walk(c, vfs.Path{}, name, 0); err != unix.ENOENT {
			t.Errorf("walk %s: %v, want ENOENT", name, err)
		}
	}
}
