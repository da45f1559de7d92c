package vfs_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
	"culvert/shim/vfs/memfs"
	"culvert/shim/vfs/synthfs"
)

func tmpfs(t testing.TB) *memfs.FS {
	t.Helper()
	fs, err := memfs.New(memfs.Options{Quota: memfs.NewQuota(1<<24, 10000), Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// tree makes a guest with directories (trailing slash), links (->) and files.
func tree(t testing.TB, spec ...string) *guest {
	t.Helper()
	g := newGuest(vfs.Mount{Root: tmpfs(t).Root(), FSType: "tmpfs", Source: "root"})
	for _, s := range spec {
		var err error
		if name, target, ok := strings.Cut(s, "->"); ok {
			err = g.symlink(target, name)
		} else if strings.HasSuffix(s, "/") {
			err = g.mkdir(s, 0o755)
		} else {
			err = g.mknod(s, unix.S_IFREG|0o644)
		}
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return g
}

func mustWalk(t testing.TB, g *guest, name string) vfs.Path {
	t.Helper()
	p, err := g.walk(name, false)
	if err != nil {
		t.Fatalf("walk %s: %v", name, err)
	}
	return p
}

// TestLinkLimit: forty links are followed and not one more.
func TestLinkLimit(t *testing.T) {
	g := tree(t, "/f", "/0->f")
	for i := range 41 {
		if err := g.symlink(fmt.Sprint(i), fmt.Sprintf("/%d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range map[int]error{39: nil, 40: unix.ELOOP} {
		if _, err := g.walk(fmt.Sprintf("/%d", i), true); err != want {
			t.Errorf("%d links: %v, want %v", i+1, err, want)
		}
	}
}

// TestMounts: walks go in and out, names are printed across them, names under
// them are hidden and cannot go away, and links and renames do not cross.
func TestMounts(t *testing.T) {
	g := tree(t, "/m/", "/m/hidden", "/f", "/d/", "/d/ro")
	sub := tmpfs(t)
	if err := g.ns.Mount(g.c, vfs.Path{}, "/m", vfs.Mount{Root: sub.Root(), FSType: "tmpfs", Source: "sub"}); err != nil {
		t.Fatal(err)
	}
	if err := g.ns.Mount(g.c, vfs.Path{}, "/d/ro", vfs.Mount{Root: mustWalk(t, g, "/f").Inode(), Flags: vfs.MountReadOnly}); err != nil {
		t.Fatal(err)
	}
	if err := g.ns.Mount(g.c, vfs.Path{}, "/m", vfs.Mount{Root: mustWalk(t, g, "/f").Inode()}); err != unix.ENOTDIR {
		t.Errorf("mounting a file on a directory: %v", err)
	}
	for _, name := range []string{"/m/x/", "/m/f"} {
		var err error
		if strings.HasSuffix(name, "/") {
			err = g.mkdir(name, 0o755)
		} else {
			err = g.mknod(name, unix.S_IFREG|0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what      string
		got, want error
	}{
		{"stat of what is hidden", second(g.walk("/m/hidden", true)), unix.ENOENT},
		{"up from a mount", second(g.walk("/m/../f", true)), nil},
		{"rmdir of a mount point", g.unlink("/m", unix.AT_REMOVEDIR), unix.EBUSY},
		{"unlink of a mount point", g.unlink("/d/ro", 0), unix.EBUSY},
		{"rename of a mount point", g.rename("/m", "/n", 0), unix.EBUSY},
		{"rename onto a mount point", g.rename("/f", "/d/ro", 0), unix.EBUSY},
		{"rename out of a mount", g.rename("/m/f", "/g", 0), unix.EXDEV},
		{"link out of a mount", g.link("/m/f", "/g", 0), unix.EXDEV},
		{"write on a read-only mount", g.open(0, "/d/ro", vfs.How{Flags: unix.O_WRONLY}), unix.EROFS},
		{"chmod there", g.chmod("/d/ro", 0o600), unix.EROFS},
		{"chmod beside it", g.chmod("/f", 0o600), nil},
		{"openat2 into a mount with NO_XDEV", g.open(0, "m/f", vfs.How{Resolve: unix.RESOLVE_NO_XDEV}), unix.EXDEV},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if err := g.chdir("/m/x"); err != nil {
		t.Fatal(err)
	}
	if s, err := g.getcwd(); s != "/m/x" || err != nil {
		t.Errorf("getcwd: %q, %v", s, err)
	}
	var points []string
	for _, m := range g.ns.Mounts(g.c) {
		points = append(points, m.Point)
	}
	if fmt.Sprint(points) != "[/ /m /d/ro]" {
		t.Errorf("mounts: %v", points)
	}
	g.c.Root = mustWalk(t, g, "/m")
	points = nil
	for _, m := range g.ns.Mounts(g.c) {
		points = append(points, m.Point)
	}
	if fmt.Sprint(points) != "[/]" {
		t.Errorf("mounts below the new root: %v", points)
	}
}

func second[T any](_ T, err error) error { return err }

// TestChroot: absolute names, links and ".." end at the caller's root; a
// directory outside prints as such.
func TestChroot(t *testing.T) {
	g := tree(t, "/f", "/jail/", "/jail/d/", "/jail/abs->/f", "/jail/up->../../../f", "/out/")
	g.c.Root = mustWalk(t, g, "/jail")
	for _, name := range []string{"/f", "/../f", "/abs", "/up", "/d/../../f"} {
		if _, err := g.walk(name, true); err != unix.ENOENT {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := g.chdir("/d"); err != nil {
		t.Fatal(err)
	}
	if s, err := g.getcwd(); s != "/d" || err != nil {
		t.Errorf("getcwd: %q, %v", s, err)
	}
	c := *g.c
	c.Root = g.ns.Root()
	out, err := g.ns.Walk(&c, vfs.Path{}, "/out", 0)
	if err != nil {
		t.Fatal(err)
	}
	g.c.Cwd = out
	if s, err := g.getcwd(); s != "(unreachable)/out" || err != nil {
		t.Errorf("getcwd outside the root: %q, %v", s, err)
	}
}

// TestDeleted: a working directory outlives its name, follows renames, and says so.
func TestDeleted(t *testing.T) {
	g := tree(t, "/a/", "/a/b/", "/z/")
	if err := g.chdir("/a/b"); err != nil {
		t.Fatal(err)
	}
	if err := g.rename("/a", "/z/a", 0); err != nil {
		t.Fatal(err)
	}
	if s, err := g.getcwd(); s != "/z/a/b" || err != nil {
		t.Errorf("getcwd after a rename above: %q, %v", s, err)
	}
	if err := g.unlink("/z/a/b", unix.AT_REMOVEDIR); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"getcwd": second(g.getcwd()),
		"mkdir":  g.mkdir("x", 0o755),
		"create": g.open(0, "x", vfs.How{Flags: unix.O_CREAT}),
		"lookup": second(g.walk("x", true)),
	} {
		if err != unix.ENOENT {
			t.Errorf("%s in a directory that is gone: %v", what, err)
		}
	}
	if s := g.ns.Name(g.c.Root, g.c.Cwd); s != "/z/a/b (deleted)" {
		t.Errorf("its name is %q", s)
	}
	if _, err := g.walk("..", true); err != nil {
		t.Errorf("its parent: %v", err)
	}
	// A new directory of that name is another place.
	if err := g.mkdir("/z/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	if mustWalk(t, g, "/z/a/b") == g.c.Cwd {
		t.Error("the new directory is the old one")
	}
}

// TestDeep: a path longer than PathMax is no trouble but for whoever asks for it.
func TestDeep(t *testing.T) {
	g := tree(t)
	name := strings.Repeat("n", 100)
	for range 60 {
		if err := errors.Join(g.mkdir(name, 0o755), g.chdir(name)); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := g.getcwd(); err != unix.ENAMETOOLONG {
		t.Errorf("getcwd: %d bytes, %v", len(s), err)
	}
	if n := len(g.ns.Name(g.c.Root, g.c.Cwd)); n < vfs.PathMax || n > vfs.PathMax+vfs.NameMax+1 {
		t.Errorf("its name has %d bytes", n)
	}
	if _, err := g.walk(strings.Repeat("../", 60)+name, true); err != nil {
		t.Errorf("walk up: %v", err)
	}
}

// proc mounts a small /proc: self, and 1 with fd/0 (a pipe), fd/3 (a file that
// may be deleted), cwd, gone and a file that counts its readings.
func proc(t testing.TB, g *guest, file vfs.Path) *synthfs.FS {
	t.Helper()
	fs := synthfs.New(unix.Mkdev(0, 9), unix.PROC_SUPER_MAGIC, 1<<20)
	pipe := tmpfs(t).NewFile(vfs.CreateAttr{Mode: unix.S_IFIFO | 0o600})
	anon := g.ns.Anonymous("pipe:[7]", pipe)
	magic := func(to vfs.Path) *synthfs.Magic {
		return fs.NewMagic(synthfs.Perm(0o700), func(*vfs.Context) (vfs.Path, error) { return to, nil })
	}
	readings := 0
	task := fs.NewDir(synthfs.Perm(0o555), nil).
		Add("fd", fs.NewDir(synthfs.Perm(0o500), nil).Add("0", magic(anon)).Add("3", magic(file))).
		Add("cwd", fs.NewMagic(synthfs.Perm(0o777), func(c *vfs.Context) (vfs.Path, error) { return c.Cwd, nil })).
		Add("root", fs.NewMagic(synthfs.Perm(0o777), func(c *vfs.Context) (vfs.Path, error) { return c.Root, nil })).
		Add("gone", magic(vfs.Path{})).
		Add("count", fs.NewFile(synthfs.Perm(0o644), func(*vfs.Context) ([]byte, error) {
			readings++
			return []byte(strings.Repeat(fmt.Sprint(readings), 10)), nil
		}, func(_ *vfs.Context, p []byte) error { readings = len(p); return nil }))
	root := fs.NewDir(synthfs.Perm(0o555), &pids{task}).
		Add("self", fs.NewLink(synthfs.Attr{}, func(*vfs.Context) (string, error) { return "1", nil }))
	if err := g.ns.Mount(g.c, vfs.Path{}, "/proc", vfs.Mount{Root: root, FSType: "proc", Source: "proc"}); err != nil {
		t.Fatal(err)
	}
	return fs
}

// pids is a source with one process, and many in its list.
type pids struct{ task vfs.Inode }

func (p *pids) Lookup(c *vfs.Context, name string) (vfs.Inode, error) {
	if name == "1" {
		return p.task, nil
	}
	return nil, unix.ENOENT
}
func (p *pids) List(c *vfs.Context, from int64) (out []synthfs.Entry, err error) {
	for k := max(from, 1); k < 1000 && len(out) < 64; k++ {
		out = append(out, synthfs.Entry{Name: fmt.Sprint(k), Type: unix.S_IFDIR, Key: k})
	}
	return out, nil
}

// TestMagicLinks: they lead to the object, not to a name.
func TestMagicLinks(t *testing.T) {
	g := tree(t, "/proc/", "/f", "/d/", "/d/g")
	if err := g.open(0, "/f", vfs.How{Flags: unix.O_RDWR}); err != nil {
		t.Fatal(err)
	}
	g.pwrite(0, 0, []byte("text"))
	file := g.fds[0].p
	proc(t, g, file)
	readlink := func(name, want string) {
		t.Helper()
		if s, err := g.readlink(name); s != want || err != nil {
			t.Errorf("readlink %s: %q, %v, want %q", name, s, err, want)
		}
	}
	readlink("/proc/self", "1")
	readlink("/proc/self/fd/0", "pipe:[7]")
	readlink("/proc/self/fd/3", "/f")
	readlink("/proc/self/cwd", "/")
	if p, err := g.walk("/proc/self/cwd/d/g", true); err != nil || p != mustWalk(t, g, "/d/g") {
		t.Errorf("through cwd: %v", err)
	}
	if err := g.unlink("/f", 0); err != nil {
		t.Fatal(err)
	}
	readlink("/proc/1/fd/3", "/f (deleted)")
	if err := g.open(1, "/proc/1/fd/3", vfs.How{Flags: unix.O_RDONLY}); err != nil {
		t.Fatalf("reopen of a deleted file: %v", err)
	}
	if b, err := g.pread(1, 0, 10); string(b) != "text" || err != nil {
		t.Errorf("it reads %q, %v", b, err)
	}
	if o, err := g.ns.Open(g.c, vfs.Path{}, "/proc/1/fd/0", vfs.How{Flags: unix.O_RDWR}); err != nil || o.File != nil || o.Path.Inode().Type() != unix.S_IFIFO {
		t.Errorf("reopen of a pipe: %+v, %v", o, err)
	}
	for _, c := range []struct {
		what      string
		got, want error
	}{
		{"open with NO_MAGICLINKS", g.open(1, "/proc/1/fd/3", vfs.How{Resolve: unix.RESOLVE_NO_MAGICLINKS}), unix.ELOOP},
		{"open with BENEATH", g.open(1, "proc/1/fd/3", vfs.How{Resolve: unix.RESOLVE_BENEATH}), unix.EXDEV},
		{"open with NOFOLLOW", g.open(1, "/proc/1/fd/3", vfs.How{Flags: unix.O_NOFOLLOW}), unix.ELOOP},
		{"open with O_CREAT", g.open(1, "/proc/1/fd/3", vfs.How{Flags: unix.O_CREAT | unix.O_RDWR}), nil},
		{"open with O_EXCL", g.open(1, "/proc/1/fd/3", vfs.How{Flags: unix.O_CREAT | unix.O_EXCL}), unix.EEXIST},
		{"a file as a directory", second(g.walk("/proc/1/fd/3/x", true)), unix.ENOTDIR},
		{"an object that is gone", second(g.walk("/proc/1/gone", true)), unix.ENOENT},
		{"creating where it was", g.open(1, "/proc/1/gone", vfs.How{Flags: unix.O_CREAT}), unix.ENOENT},
		{"giving the deleted file a name", g.link("/proc/1/fd/3", "/again", unix.AT_SYMLINK_FOLLOW), unix.ENOENT},
		{"the same through its descriptor", g.ns.Link(g.c, file, "", vfs.Path{}, "/again", unix.AT_EMPTY_PATH), unix.ENOENT},
		{"making a file in /proc", g.open(1, "/proc/1/new", vfs.How{Flags: unix.O_CREAT}), unix.ENOENT},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if err := g.open(1, "/d", vfs.How{Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if err := g.ns.Link(g.c, g.fds[1].p, "", vfs.Path{}, "/d/named", unix.AT_EMPTY_PATH); err != nil {
		t.Errorf("naming an O_TMPFILE file: %v", err)
	}
	if s, err := g.stat("/d/named", true); err != nil || !strings.Contains(s, "nlink=1") {
		t.Errorf("it is %s, %v", s, err)
	}
}

// TestGenerated: contents stay as they were until offset 0 is read again, and
// what is held is bounded.
func TestGenerated(t *testing.T) {
	g := tree(t, "/proc/")
	proc(t, g, vfs.Path{})
	if err := g.open(0, "/proc/1/count", vfs.How{Flags: unix.O_RDWR}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"11111", "11111", "22222"} {
		b, err := g.pread(0, int64(5*(i%2)), 5)
		if string(b) != want || err != nil {
			t.Errorf("reading %d gives %q, %v, want %q", i, b, err, want)
		}
	}
	if n, err := g.pwrite(0, 0, []byte("1234567")); n != 7 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if b, _ := g.pread(0, 0, 1); string(b) != "8" {
		t.Errorf("after the write: %q", b)
	}
	fs := synthfs.New(1, unix.PROC_SUPER_MAGIC, 1000)
	big := fs.NewFile(synthfs.Perm(0o444), func(*vfs.Context) ([]byte, error) { return make([]byte, 600), nil }, nil)
	open := func() vfs.File {
		f, err := big.Open(g.c, unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := open(), open()
	buf := make([]byte, 10)
	if _, err := a.ReadAt(buf, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadAt(buf, 0); err != unix.ENOMEM {
		t.Errorf("beyond the budget: %v", err)
	}
	a.Release()
	if _, err := b.ReadAt(buf, 0); err != nil {
		t.Errorf("after a release: %v", err)
	}
	b.Release()
}

// TestGeneratedListing: fixed and computed entries once each, in pieces too.
func TestGeneratedListing(t *testing.T) {
	g := tree(t, "/proc/")
	proc(t, g, vfs.Path{})
	if err := g.open(0, "/proc", vfs.How{Flags: unix.O_DIRECTORY}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for pos := int64(0); ; {
		n := 0
		err := g.fds[0].f.Readdir(g.c, pos, func(e vfs.Dirent) bool {
			got = append(got, e.Name)
			pos = e.Next
			n++
			return n < 7
		})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	want := []string{".", "..", "self"}
	for i := 1; i < 1000; i++ {
		want = append(want, fmt.Sprint(i))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %v", got)
	}
}

// TestNameCache: far more names than the ring holds, in a directory that is held:
// identity stays while someone holds a name, and nothing is lost.
func TestNameCache(t *testing.T) {
	g := tree(t, "/d/")
	const n = 9000
	fs, err := memfs.New(memfs.Options{Quota: memfs.NewQuota(1<<30, 1<<20), Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.ns.Mount(g.c, vfs.Path{}, "/d", vfs.Mount{Root: fs.Root()}); err != nil {
		t.Fatal(err)
	}
	var held []vfs.Path
	for i := range n {
		name := fmt.Sprintf("/d/%d", i)
		if err := g.mknod(name, unix.S_IFREG|0o644); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			held = append(held, mustWalk(t, g, name))
		}
	}
	for i := range n {
		mustWalk(t, g, fmt.Sprintf("/d/%d", i))
	}
	for k, p := range held {
		if mustWalk(t, g, fmt.Sprintf("/d/%d", k*1000)) != p {
			t.Errorf("name %d became another place", k*1000)
		}
	}
}

// TestConcurrentNames: many walkers and namers in one namespace, for the race
// detector.
func TestConcurrentNames(t *testing.T) {
	g := tree(t, "/a/", "/a/b/", "/l->a/b")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			c := *g.c
			for i := range 200 {
				name := fmt.Sprintf("/l/%d", i%3)
				o, err := g.ns.Open(&c, vfs.Path{}, name, vfs.How{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o644})
				if err != nil && err != unix.ENOENT {
					t.Errorf("open: %v", err)
				}
				if err == nil {
					o.File.WriteAt([]byte{1}, 0)
					g.ns.Name(c.Root, o.Path)
					o.File.Release()
				}
				g.ns.Rename(&c, vfs.Path{}, name, vfs.Path{}, fmt.Sprintf("/a/%d", w), 0)
				g.ns.Unlink(&c, vfs.Path{}, fmt.Sprintf("/a/%d", (w+1)%4), 0)
			}
		})
	}
	wg.Wait()
}

// TestGroups: supplementary groups count as the group does, and only that.
func TestGroups(t *testing.T) {
	g := tree(t, "/f")
	if err := errors.Join(g.chown("/f", 5, 100, true), g.chmod("/f", 0o060)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cred *vfs.Cred
		want error
	}{
		{vfs.NewCred(6, 100), nil},
		{vfs.NewCred(6, 6, 99, 100), nil},
		{vfs.NewCred(6, 6, 99), unix.EACCES},
		{vfs.NewCred(5, 100), unix.EACCES}, // the owner's own bits count, not the group's
		{vfs.NewCred(0, 0), nil},
	} {
		g.c.Cred = c.cred
		if err := g.access("/f", unix.R_OK); err != c.want {
			t.Errorf("%+v: %v, want %v", *c.cred, err, c.want)
		}
	}
	if err := g.on("/f", true, func(p vfs.Path) error { return g.ns.CheckExec(g.c, p) }); err != unix.EACCES {
		t.Errorf("root executes a file without an x bit: %v", err)
	}
}

// FuzzWalk: whatever the path, a walk ends, fails with an errno or finds a place
// whose printed name leads to it.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{"/", "a/b/../l/x", "/loop", "//m/./../m/y/", "/proc/self/fd/3", "/proc/self/root/a", "l/l/l", "/a/b/c/", "\x00", "..", ""} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(0xff))
	}
	g := tree(f, "/a/", "/a/b/", "/a/b/c", "/l->a/b", "/a/b/l->/l", "/loop->loop/x", "/m/", "/proc/", "/up->../../m", "/a/b/x->/proc/self/cwd")
	if err := g.ns.Mount(g.c, vfs.Path{}, "/m", vfs.Mount{Root: tmpfs(f).Root()}); err != nil {
		f.Fatal(err)
	}
	if err := g.mkdir("/m/y", 0o755); err != nil {
		f.Fatal(err)
	}
	proc(f, g, mustWalk(f, g, "/a/b/c"))
	g.c.Cwd = mustWalk(f, g, "/a")
	f.Fuzz(func(t *testing.T, name string, bits uint8) {
		p, err := g.ns.Walk(g.c, vfs.Path{}, name, vfs.WalkFlags(bits&7))
		if err != nil {
			if _, ok := err.(syscall.Errno); !ok || !p.IsZero() {
				t.Fatalf("walk %q: %T %v", name, err, err)
			}
			return
		}
		printed := g.ns.Name(g.c.Root, p)
		if strings.HasPrefix(printed, "pipe:") {
			return
		}
		if again, err := g.ns.Walk(g.c, vfs.Path{}, printed, vfs.NoFollow); err != nil || again != p {
			t.Fatalf("walk %q leads to %q, which leads elsewhere: %v", name, printed, err)
		}
		how := vfs.How{Flags: unix.O_PATH | int(bits>>3)<<16&unix.O_NOFOLLOW, Resolve: uint64(bits) & 0x1f}
		o, err := g.ns.Open(g.c, vfs.Path{}, name, how)
		if err == nil {
			o.File.Release()
		} else if _, ok := err.(syscall.Errno); !ok {
			t.Fatalf("open %q: %T %v", name, err, err)
		}
	})
}
