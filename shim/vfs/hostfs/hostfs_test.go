package hostfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"culvert/shim/vfs"
)

var rootUser = vfs.NewCred(0, 0)

// show makes a namespace whose root is a host directory.
func show(t testing.TB, dir string, o Options, maxFDs int) (*vfs.Namespace, *vfs.Context, *Pool) {
	t.Helper()
	pool, err := NewPool(maxFDs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	fs, err := New(pool, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fs.Close)
	ns := vfs.New(vfs.Mount{Root: fs.Root()})
	return ns, &vfs.Context{Cred: rootUser, Root: ns.Root(), Cwd: ns.Root(), Umask: 0o022}, pool
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// read opens and reads a file in the guest; what a guest can get at.
func read(ns *vfs.Namespace, c *vfs.Context, name string) (string, error) {
	o, err := ns.Open(c, vfs.Path{}, name, vfs.How{})
	if err != nil {
		return "", err
	}
	defer o.File.Release()
	buf := make([]byte, 1000)
	n, err := o.File.ReadAt(buf, 0)
	return string(buf[:n]), err
}

// TestEscapes: no link or name of the host leads out of the tree.
func TestEscapes(t *testing.T) {
	top := t.TempDir()
	dir := top + "/tree"
	if err := os.MkdirAll(dir+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, top+"/secret", "secret")
	write(t, dir+"/etc", "the tree's own")
	for name, target := range map[string]string{
		"abs": top + "/secret", "up": "../secret", "sub/up": "../../secret", "root": "/", "etc2": "/etc",
		"self": "/proc/self/root" + top + "/secret", "dots": "../../../../../../.." + top + "/secret",
	} {
		if err := os.Symlink(target, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []Options{{}, {ReadOnly: true}, {ReadOnly: true, Static: true}} {
		ns, c, _ := show(t, dir, o, 64)
		for _, name := range []string{
			"abs", "up", "sub/up", "self", "dots", "../secret", "/../secret", "root/../secret", "sub/../../secret",
			"root/" + top + "/secret",
		} {
			if text, err := read(ns, c, name); err != unix.ENOENT {
				t.Errorf("%+v: reading %s gives %q, %v", o, name, text, err)
			}
		}
		if text, err := read(ns, c, "etc2"); text != "the tree's own" || err != nil {
			t.Errorf("an absolute link is to be followed in the tree: %q, %v", text, err)
		}
	}
}

// TestEscapeByRename: while the host, or another guest thread, swaps directories
// and links, nothing outside is ever read.
func TestEscapeByRename(t *testing.T) {
	top := t.TempDir()
	dir := top + "/tree"
	for _, d := range []string{dir + "/a/b", dir + "/c", top + "/out/b"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, top+"/out/b/f", "outside")
	write(t, top+"/f", "outside")
	write(t, dir+"/a/b/f", "inside")
	if err := os.Symlink(top+"/out", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	ns, c, _ := show(t, dir, Options{}, 8)
	var stop atomic.Bool
	var wg sync.WaitGroup
	swap := func(a, b string) {
		for !stop.Load() {
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("exchange %s and %s: %v", a, b, err)
				return
			}
		}
	}
	wg.Go(func() { swap(dir+"/a", dir+"/link") })
	wg.Go(func() { // moves a directory out of the tree and back
		for !stop.Load() {
			os.Rename(dir+"/c", top+"/c")
			os.Rename(top+"/c", dir+"/c")
		}
	})
	counts := map[string]int{}
	var mu sync.Mutex
	for _, name := range []string{"a/b/f", "link/b/f", "c/../f", "a/b/../../../out/b/f", "c/../../f"} {
		wg.Go(func() {
			for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
				text, err := read(ns, c, name)
				if text == "outside" {
					t.Errorf("%s was read from outside", name)
					break
				}
				mu.Lock()
				counts[fmt.Sprint(text, " ", err)]++
				mu.Unlock()
			}
			stop.Store(true)
		})
	}
	wg.Wait()
	if counts["inside <nil>"] == 0 {
		t.Errorf("the file inside was never read: %v", counts)
	}
}

// TestSpecialFiles: devices, FIFOs and sockets show in stat and are not opened.
func TestSpecialFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a device node needs root")
	}
	dir := t.TempDir()
	for name, mode := range map[string]uint32{"chr": unix.S_IFCHR, "fifo": unix.S_IFIFO, "sock": unix.S_IFSOCK} {
		if err := unix.Mknod(dir+"/"+name, mode|0o666, int(unix.Mkdev(1, 3))); err != nil {
			t.Skipf("make %s: %v", name, err)
		}
	}
	ns, c, _ := show(t, dir, Options{}, 64)
	for name, want := range map[string]error{"chr": unix.EACCES, "fifo": unix.ENXIO, "sock": unix.ENXIO} {
		for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR} {
			if _, err := ns.Open(c, vfs.Path{}, name, vfs.How{Flags: flags}); err != want {
				t.Errorf("open %s: %v, want %v", name, err, want)
			}
		}
		if _, err := ns.Walk(c, vfs.Path{}, name, 0); err != nil {
			t.Errorf("walk to %s: %v", name, err)
		}
	}
	for _, mode := range []uint32{unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO} {
		if _, err := ns.Mknod(c, vfs.Path{}, "new", mode|0o666, unix.Mkdev(1, 3)); err != unix.EPERM {
			t.Errorf("mknod %o: %v", mode, err)
		}
	}
}

// TestKernelControls: the VMM's own /proc is not for guests.
func TestKernelControls(t *testing.T) {
	pool, err := NewPool(8)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, p := range []string{"/proc", "/proc/self/mem", "/proc/self/fd", "/sys"} {
		if _, err := New(pool, p, Options{}); err == nil {
			t.Errorf("%s can be shown to a guest", p)
		}
	}
	for _, o := range []Options{{}, {ReadOnly: true}, {ReadOnly: true, Static: true}} {
		ns, c, _ := show(t, "/", o, 64)
		for _, p := range []string{"/proc/self", "/proc/1", "/proc/self/root/etc", "/sys/kernel", "/proc/../proc/self/maps"} {
			if _, err := ns.Walk(c, vfs.Path{}, p, 0); err != unix.ENOENT {
				t.Errorf("walk to %s below a mount of /: %v", p, err)
			}
		}
		for _, p := range []string{"/proc", "/sys"} {
			sealed(t, ns, c, p)
		}
	}
}

// sealed checks that a directory is there, empty, and cannot be changed.
func sealed(t *testing.T, ns *vfs.Namespace, c *vfs.Context, p string) {
	t.Helper()
	o, err := ns.Open(c, vfs.Path{}, p, vfs.How{Flags: unix.O_RDONLY | unix.O_DIRECTORY})
	if err != nil {
		t.Errorf("open %s below a mount of /: %v", p, err)
		return
	}
	defer o.File.Release()
	var names []string
	for range 2 { // in two parts, as a small buffer reads it
		err = o.File.Readdir(c, int64(len(names)), func(e vfs.Dirent) bool {
			names = append(names, e.Name)
			return false
		})
		if err != nil {
			t.Errorf("list %s: %v", p, err)
		}
	}
	err = o.File.Readdir(c, 2, func(e vfs.Dirent) bool { t.Errorf("%s has %q", p, e.Name); return true })
	if len(names) != 2 || names[0] != "." || names[1] != ".." || err != nil {
		t.Errorf("%s has %q, %v", p, names, err)
	}
	if st, err := ns.Stat(o.Path); err != nil || st.Mode != unix.S_IFDIR|0o555 || st.Nlink != 2 {
		t.Errorf("%s: %+v, %v", p, st, err)
	}
	if err := ns.Chmod(c, o.Path, 0o777); err == nil {
		t.Errorf("the mode of %s was changed", p)
	}
	file := t.TempDir() + "/f"
	write(t, file, "")
	for what, err := range map[string]error{
		"mkdir":   ns.Mkdir(c, vfs.Path{}, p+"/new", 0o755),
		"symlink": ns.Symlink(c, "/", vfs.Path{}, p+"/new"),
		"rename":  ns.Rename(c, vfs.Path{}, file, vfs.Path{}, p+"/new", 0),
	} {
		if err == nil {
			t.Errorf("%s in %s", what, p)
		}
	}
}

// TestSetID: a guest cannot leave a set-ID program on the host.
func TestSetID(t *testing.T) {
	dir := t.TempDir()
	ns, c, _ := show(t, dir, Options{}, 64)
	o, err := ns.Open(c, vfs.Path{}, "f", vfs.How{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o6755})
	if err != nil {
		t.Fatal(err)
	}
	o.File.Release()
	if err := ns.Chmod(c, o.Path, 0o4755); err != unix.EPERM {
		t.Errorf("chmod 4755: %v", err)
	}
	if fi, err := os.Stat(dir + "/f"); err != nil || fi.Mode() != 0o755 {
		t.Errorf("the host has %v, %v", fi.Mode(), err)
	}
}

// fds counts the descriptors of this process below a directory.
func fds(t *testing.T, below string) (n int) {
	t.Helper()
	ents, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range ents {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && len(to) >= len(below) && to[:len(below)] == below {
			n++
		}
	}
	return n
}

// TestDescriptors: the bound holds for any number of directories and files, deep
// trees work below it, and closing leaves nothing.
func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	deep := ""
	for i := range 40 {
		deep += fmt.Sprintf("/d%d", i)
	}
	if err := os.MkdirAll(dir+deep, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		write(t, fmt.Sprintf("%s/f%d", dir, i), fmt.Sprint(i))
	}
	write(t, dir+deep+"/f", "deep")
	for _, o := range []Options{{}, {ReadOnly: true, Static: true}} {
		pool, err := NewPool(10)
		if err != nil {
			t.Fatal(err)
		}
		fs, err := New(pool, dir, o)
		if err != nil {
			t.Fatal(err)
		}
		ns := vfs.New(vfs.Mount{Root: fs.Root()})
		c := &vfs.Context{Cred: rootUser, Root: ns.Root(), Cwd: ns.Root()}
		var open []vfs.File
		refused := 0
		for i := range 40 {
			o, err := ns.Open(c, vfs.Path{}, fmt.Sprintf("f%d", i), vfs.How{})
			if err == unix.ENFILE {
				refused++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, o.File)
		}
		if o.Static != (refused == 0) {
			t.Errorf("%+v: %d of 40 opens refused", o, refused)
		}
		if n := fds(t, dir); n > 11 {
			t.Errorf("%+v: %d descriptors in use", o, n)
		}
		for i, f := range open {
			buf := make([]byte, 10)
			if n, err := f.ReadAt(buf, 0); err != nil || string(buf[:n]) != fmt.Sprint(i) {
				t.Errorf("file %d reads %q, %v", i, buf[:n], err)
			}
			f.Release()
		}
		if text, err := read(ns, c, deep+"/f"); text != "deep" || err != nil {
			t.Errorf("deep file: %q, %v", text, err)
		}
		p, err := ns.Walk(c, vfs.Path{}, deep, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 { // push the directories out of the list
			if _, err := read(ns, c, fmt.Sprintf("f%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		c.Cwd = p
		if text, err := read(ns, c, "f"); text != "deep" || err != nil {
			t.Errorf("deep file from its directory: %q, %v", text, err)
		}
		fs.Close()
		pool.Close()
		if n := fds(t, dir); n != 0 {
			t.Errorf("%+v: %d descriptors left open", o, n)
		}
	}
}

// TestReplaced: a file that the host replaced is not taken for the one that was
// looked up.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", "old")
	ns, c, _ := show(t, dir, Options{ReadOnly: true, Static: true}, 8)
	p, err := ns.Walk(c, vfs.Path{}, "f", 0)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/new", "new")
	if err := os.Rename(dir+"/new", dir+"/f"); err != nil {
		t.Fatal(err)
	}
	if _, err := ns.OpenPath(c, p, unix.O_RDONLY); err != unix.ESTALE {
		t.Errorf("open of a replaced file: %v", err)
	}
	ns, c, _ = show(t, dir, Options{ReadOnly: true}, 8)
	if _, err := read(ns, c, "f"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/new", "newer")
	if err := os.Rename(dir+"/new", dir+"/f"); err != nil {
		t.Fatal(err)
	}
	if text, err := read(ns, c, "f"); text != "newer" || err != nil {
		t.Errorf("a live tree shows %q, %v", text, err)
	}
}

// TestUnlinkedOpen: a file written through lives on without a name, and the host
// sees no descriptor once it is closed.
func TestUnlinkedOpen(t *testing.T) {
	dir := t.TempDir()
	ns, c, _ := show(t, dir, Options{}, 8)
	o, err := ns.Open(c, vfs.Path{}, "f", vfs.How{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Unlink(c, vfs.Path{}, "f", 0); err != nil {
		t.Fatal(err)
	}
	if n, err := o.File.WriteAt([]byte("text"), 0); n != 4 || err != nil {
		t.Error(n, err)
	}
	if err := ns.Chmod(c, o.Path, 0o640); err != nil {
		t.Errorf("fchmod: %v", err)
	}
	if st, err := ns.Stat(o.Path); err != nil || st.Size != 4 || st.Mode != unix.S_IFREG|0o640 || st.Nlink != 0 {
		t.Errorf("fstat: %+v, %v", st, err)
	}
	if got := ns.Name(c.Root, o.Path); got != "/f (deleted)" {
		t.Errorf("its name is %q", got)
	}
	o.File.Release()
	if n := fds(t, filepath.Join(dir, "f")); n != 0 {
		t.Errorf("%d descriptors left open", n)
	}
}

// TestCircle: directories that the host moves so that each was last seen below
// the other are an error and not an endless climb.
func TestCircle(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := os.MkdirAll(fmt.Sprintf("%s/x%d/y", dir, i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ns, c, _ := show(t, dir, Options{}, 4)
	in := *c
	var err error
	if in.Cwd, err = ns.Walk(c, vfs.Path{}, "a/b", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := ns.Walk(&in, vfs.Path{}, ".", 0); err != nil {
		t.Fatal(err)
	}
	for _, mv := range [][2]string{{"/a/b", "/b"}, {"/a", "/b/a"}} {
		if err := os.Rename(dir+mv[0], dir+mv[1]); err != nil {
			t.Fatal(err)
		}
	}
	a, err := ns.Walk(&in, vfs.Path{}, "a", 0)
	if err != nil {
		t.Fatalf("walk from the directory that moved: %v", err)
	}
	for i := range 20 { // push both out of the list of descriptors
		if _, err := ns.Walk(c, vfs.Path{}, fmt.Sprintf("x%d/y/z", i), 0); err != unix.ENOENT {
			t.Fatal(err)
		}
	}
	in.Cwd = a
	if _, err := ns.Walk(&in, vfs.Path{}, "x", 0); err != unix.ESTALE && err != unix.ENOENT {
		t.Errorf("walk from a circle: %v", err)
	}
}

// TestOneName: not even a caller that breaks the rules gets out.
func TestOneName(t *testing.T) {
	ns, c, _ := show(t, t.TempDir(), Options{}, 8)
	root := ns.Root().Inode()
	for _, name := range []string{"", ".", "..", "../x", "/etc", "a/b", "a\x00b"} {
		if _, err := root.Lookup(c, name); err != unix.EINVAL {
			t.Errorf("lookup %q: %v", name, err)
		}
		if _, err := root.Mkdir(c, name, vfs.CreateAttr{Mode: unix.S_IFDIR}); err != unix.EINVAL {
			t.Errorf("mkdir %q: %v", name, err)
		}
		if err := root.Rename(c, name, root, "x", 0); err != unix.EINVAL {
			t.Errorf("rename %q: %v", name, err)
		}
		if err := root.Rename(c, "x", root, name, 0); err != unix.EINVAL {
			t.Errorf("rename to %q: %v", name, err)
		}
	}
}

// pager is a page cache of one file, with a dirty bit per frame.
type pager struct {
	src    vfs.PageSource
	frames map[int64]*[vfs.PageSize]byte
	dirty  map[int64]bool
}

func (p *pager) Drop(key any, first, last int64) {
	for idx := range p.frames {
		if idx >= first && idx <= last {
			delete(p.frames, idx)
			delete(p.dirty, idx)
		}
	}
}
func (p *pager) Flush(key any, first, last int64) {
	for idx := range p.dirty {
		if idx >= first && idx <= last {
			if err := p.src.WritePage(idx, p.frames[idx]); err != nil {
				panic(err)
			}
			delete(p.dirty, idx)
		}
	}
}
func (p *pager) Update(key any, off int64, b []byte) {
	for i, ch := range b {
		at := off + int64(i)
		if f := p.frames[at/vfs.PageSize]; f != nil {
			f[at%vfs.PageSize] = ch
		}
	}
}

// TestPageSource: mappings, reads, writes, truncation and holes of a file of the
// host agree with a plain slice of bytes, and so does the host in the end.
func TestPageSource(t *testing.T) {
	dir := t.TempDir()
	ns, c, _ := show(t, dir, Options{}, 8)
	rapid.Check(t, func(rt *rapid.T) {
		o, err := ns.Open(c, vfs.Path{}, "f", vfs.How{Flags: unix.O_CREAT | unix.O_RDWR | unix.O_TRUNC, Mode: 0o600})
		if err != nil {
			rt.Fatal(err)
		}
		f := o.File
		p := &pager{o.Path.Inode().(vfs.PageSource), map[int64]*[vfs.PageSize]byte{}, map[int64]bool{}}
		p.src.SetPager(p)
		var model []byte
		resize := func(n int) { model = append(model, make([]byte, max(0, n-len(model)))...)[:n] }
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			off := rapid.IntRange(0, 5*vfs.PageSize).Draw(rt, "off")
			n := rapid.IntRange(1, 5000).Draw(rt, "n")
			idx := int64(off / vfs.PageSize)
			switch rapid.IntRange(0, 5).Draw(rt, "op") {
			case 0:
				b := bytes.Repeat([]byte{byte(n%255 + 1)}, n)
				if m, err := f.WriteAt(b, int64(off)); m != n || err != nil {
					rt.Fatal(m, err)
				}
				resize(max(len(model), off+n))
				copy(model[off:], b)
			case 1:
				if err := f.Truncate(int64(off)); err != nil {
					rt.Fatal(err)
				}
				resize(off)
			case 2:
				if err := f.Allocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(n)); err != nil {
					rt.Fatal(err)
				}
				if off < len(model) {
					clear(model[off:min(len(model), off+n)])
				}
			case 3:
				b := []byte("appended")
				if _, end, err := f.Append(b); err != nil || end != int64(len(model)+len(b)) {
					rt.Fatal(end, err)
				}
				model = append(model, b...)
			case 4:
				fr := new([vfs.PageSize]byte)
				err := p.src.MapPage(idx, fr, true)
				if past := int(idx)*vfs.PageSize >= len(model); past != (err == unix.EFAULT) {
					rt.Fatalf("page %d of %d bytes: %v", idx, len(model), err)
				}
				if err == nil && p.frames[idx] == nil {
					p.frames[idx] = fr
				}
			case 5:
				if fr := p.frames[idx]; fr != nil && off < len(model) {
					fr[off%vfs.PageSize] = 99
					p.dirty[idx] = true
					model[off] = 99
				}
			}
			got := make([]byte, 8*vfs.PageSize)
			m, err := f.ReadAt(got, 0)
			if err != nil || !bytes.Equal(got[:m], model) {
				rt.Fatalf("read %d bytes of %d, %v", m, len(model), err)
			}
			for idx, fr := range p.frames {
				from := min(len(model), int(idx)*vfs.PageSize)
				to := min(len(model), from+vfs.PageSize)
				if !bytes.Equal(fr[:to-from], model[from:to]) {
					rt.Fatalf("frame %d differs", idx)
				}
			}
		}
		if err := f.Sync(false); err != nil {
			rt.Fatal(err)
		}
		f.Release()
		if b, err := os.ReadFile(dir + "/f"); err != nil || !bytes.Equal(b, model) {
			rt.Fatalf("the host has %d bytes of %d, %v", len(b), len(model), err)
		}
	})
}
