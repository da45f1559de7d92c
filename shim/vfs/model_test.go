package vfs_test

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"culvert/shim/vfs"
	"culvert/shim/vfs/hostfs"
	"culvert/shim/vfs/memfs"
)

// backend makes the vfs under test, with the tree of seed in it.
type backend struct {
	name string
	make func(t *rapid.T, dir string, p *hostfs.Pool) vfs.Inode
	// What the backend refuses on purpose, and so is not compared.
	noSetID, noFifo bool
}

var backends = [...]backend{
	{name: "tmpfs", make: func(t *rapid.T, dir string, p *hostfs.Pool) vfs.Inode {
		fs, err := memfs.New(memfs.Options{Quota: memfs.NewQuota(1<<30, 1<<20), Mode: 0o755})
		if err != nil {
			t.Fatal(err)
		}
		seed(t, newGuest(vfs.Mount{Root: fs.Root()}))
		return fs.Root()
	}},
	{name: "overlay", make: func(t *rapid.T, dir string, p *hostfs.Pool) vfs.Inode {
		lower, err := hostfs.New(p, dir, hostfs.Options{ReadOnly: true, Static: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(lower.Close)
		fs, err := memfs.New(memfs.Options{Quota: memfs.NewQuota(1<<30, 1<<20), Lower: lower.Root()})
		if err != nil {
			t.Fatal(err)
		}
		return fs.Root()
	}},
	{name: "hostfs", noSetID: true, noFifo: true, make: func(t *rapid.T, dir string, p *hostfs.Pool) vfs.Inode {
		fs, err := hostfs.New(p, dir, hostfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(fs.Close)
		return fs.Root()
	}},
}

// seed makes the tree that all sequences start from.
func seed(t *rapid.T, w world) {
	must := func(err error) {
		if err != nil {
			t.Fatalf("seed: %v", err)
		}
	}
	file := func(name, text string, mode uint32) {
		must(w.open(0, name, unix.O_CREAT|unix.O_WRONLY, mode))
		if _, err := w.pwrite(0, 0, []byte(text)); err != nil {
			must(err)
		}
		w.close(0)
	}
	must(w.mkdir("/a", 0o755))
	must(w.mkdir("/a/b", 0o755))
	must(w.mkdir("/c", 0o755))
	must(w.mkdir("/t", 0o755))
	must(w.chmod("/t", 0o1777))
	must(w.mkdir("/g", 0o755))
	must(w.chown("/g", 1000, 2000, true))
	must(w.chmod("/g", 0o2775))
	file("/f", "root's", 0o644)
	file("/a/f", strings.Repeat("lower file ", 1000), 0o644)
	must(w.chown("/a/f", 1000, 1000, true))
	file("/a/b/x", "x", 0o700)
	must(w.link("/a/b/x", "/c/x", 0))
	must(w.symlink("a/b", "/l"))
	must(w.symlink("/a/f", "/c/l"))
	must(w.symlink("../nowhere", "/a/d"))
	must(w.symlink("loop", "/c/loop"))
}

// comps are what paths are made of: few, so that they meet.
var comps = []string{"a", "b", "c", "f", "l", "x", "t", "g", "d", "loop", ".", "..", "a", "b", "t", ""}

func genPath(t *rapid.T, label string) string {
	n := rapid.IntRange(1, 4).Draw(t, label+" length")
	var b strings.Builder
	if rapid.Bool().Draw(t, label+" absolute") {
		b.WriteByte('/')
	}
	for i := range n {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(rapid.SampledFrom(comps).Draw(t, label))
	}
	switch rapid.IntRange(0, 19).Draw(t, label+" tail") {
	case 0:
		b.WriteByte('/')
	case 1:
		b.WriteString(strings.Repeat("n", rapid.SampledFrom([]int{254, 255, 256, 4096}).Draw(t, label+" long")))
	}
	return b.String()
}

// pair runs everything in both worlds and fails on a difference.
type pair struct {
	t     *rapid.T
	lx, g world
	log   []string
}

func (p *pair) same(what string, lx, g any) {
	p.t.Helper()
	p.log = append(p.log, fmt.Sprintf("%s = %v", what, lx))
	if !reflect.DeepEqual(lx, g) {
		p.t.Fatalf("%s: Linux says %v, the vfs says %v\nafter:\n%s", what, lx, g, strings.Join(p.log, "\n"))
	}
}

// do compares the error of an operation.
func (p *pair) do(what string, op func(w world) error) {
	p.t.Helper()
	p.same(what, errName(op(p.lx)), errName(op(p.g)))
}

func errName(err error) string {
	if err == nil {
		return "ok"
	}
	e, ok := err.(unix.Errno)
	if !ok {
		return fmt.Sprintf("not an errno: %T %v", err, err)
	}
	return unix.ErrnoName(e)
}

// value compares an operation's result.
func value[T any](p *pair, what string, op func(w world) (T, error)) {
	p.t.Helper()
	type result struct {
		v   T
		err string
	}
	run := func(w world) result {
		v, err := op(w)
		return result{v, errName(err)}
	}
	p.same(what, run(p.lx), run(p.g))
}

// step does one random operation.
func (p *pair) step(b *backend) {
	t := p.t
	slot := rapid.IntRange(0, slots-1).Draw(t, "slot")
	off := func() int64 {
		return rapid.SampledFrom([]int64{0, 1, 5, 4090, 4096, 5000, 8192, 10000, 11000, 70000}).Draw(t, "offset")
	}
	mode := func() uint32 {
		m := rapid.SampledFrom([]uint32{0o644, 0o755, 0o777, 0o000, 0o070, 0o007, 0o600, 0o1777, 0o2755, 0o4711, 0o2745, 0o111}).Draw(t, "mode")
		if b.noSetID {
			m &^= 0o6000
		}
		return m
	}
	ops := []func(){
		func() { p.opens(slot, genPath(t, "name"), mode()) },
		func() { p.opens(slot, genPath(t, "name"), mode()) },
		func() {
			n, m := genPath(t, "dir"), mode()
			p.do(fmt.Sprintf("mkdir %q %o", n, m), func(w world) error { return w.mkdir(n, m) })
		},
		func() {
			n, f := genPath(t, "name"), rapid.SampledFrom([]int{0, unix.AT_REMOVEDIR}).Draw(t, "flags")
			p.do(fmt.Sprintf("unlink %q %#x", n, f), func(w world) error { return w.unlink(n, f) })
		},
		func() {
			o, n := genPath(t, "old"), genPath(t, "new")
			f := rapid.SampledFrom([]uint32{0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, 3}).Draw(t, "flags")
			p.do(fmt.Sprintf("rename %q %q %d", o, n, f), func(w world) error { return w.rename(o, n, f) })
		},
		func() {
			o, n := genPath(t, "old"), genPath(t, "new")
			f := rapid.SampledFrom([]int{0, 0, unix.AT_SYMLINK_FOLLOW}).Draw(t, "flags")
			p.do(fmt.Sprintf("link %q %q %#x", o, n, f), func(w world) error { return w.link(o, n, f) })
		},
		func() {
			to, n := genPath(t, "target"), genPath(t, "name")
			p.do(fmt.Sprintf("symlink %q %q", to, n), func(w world) error { return w.symlink(to, n) })
		},
		func() { p.attrs(genPath(t, "name"), mode(), off()) },
		func() { p.looks(genPath(t, "name")) },
		func() {
			n := genPath(t, "name")
			m := mode() | rapid.SampledFrom([]uint32{unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFDIR, 0, 0o170000}).Draw(t, "type")
			if b.noFifo && m&unix.S_IFMT == unix.S_IFIFO {
				return
			}
			p.do(fmt.Sprintf("mknod %q %o", n, m), func(w world) error { return w.mknod(n, m) })
		},
		func() {
			n := genPath(t, "name")
			p.do(fmt.Sprintf("chdir %q", n), func(w world) error { return w.chdir(n) })
			value(p, "getcwd", func(w world) (string, error) { return w.getcwd() })
		},
		func() {
			u := rapid.IntRange(0, len(users)-1).Draw(t, "user")
			p.log = append(p.log, fmt.Sprintf("become %d", users[u].uid))
			p.lx.become(u)
			p.g.become(u)
		},
		func() { p.io(slot, off(), off()) },
		func() { p.io(slot, off(), off()) },
		func() { p.io(slot, off(), off()) },
	}
	ops[rapid.IntRange(0, len(ops)-1).Draw(t, "operation")]()
}

func (p *pair) opens(slot int, n string, m uint32) {
	f := rapid.SampledFrom([]int{
		unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR, 3, unix.O_RDONLY | unix.O_DIRECTORY,
		unix.O_PATH, unix.O_PATH | unix.O_NOFOLLOW, unix.O_RDWR | unix.O_DIRECTORY,
	}).Draw(p.t, "open")
	f |= rapid.SampledFrom([]int{
		0, 0, 0, unix.O_CREAT, unix.O_CREAT, unix.O_CREAT | unix.O_EXCL, unix.O_TRUNC,
		unix.O_CREAT | unix.O_TRUNC, unix.O_NOFOLLOW, unix.O_CREAT | unix.O_NOFOLLOW, unix.O_NOATIME,
	}).Draw(p.t, "how")
	p.do(fmt.Sprintf("%d = open %q %#o %o", slot, n, f, m), func(w world) error { return w.open(slot, n, f, m) })
}

func (p *pair) attrs(n string, m uint32, size int64) {
	t := p.t
	switch rapid.IntRange(0, 3).Draw(t, "attribute") {
	case 0:
		p.do(fmt.Sprintf("chmod %q %o", n, m), func(w world) error { return w.chmod(n, m) })
	case 1:
		ids := []int{-1, 0, 1000, 1001, 2000}
		u, g := rapid.SampledFrom(ids).Draw(t, "uid"), rapid.SampledFrom(ids).Draw(t, "gid")
		follow := rapid.Bool().Draw(t, "follow")
		p.do(fmt.Sprintf("chown %q %d:%d %v", n, u, g, follow), func(w world) error { return w.chown(n, u, g, follow) })
	case 2:
		ts := []unix.Timespec{{Sec: 1, Nsec: 2}, {Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}, {Nsec: -1}}
		a, m := rapid.SampledFrom(ts).Draw(t, "atime"), rapid.SampledFrom(ts).Draw(t, "mtime")
		if a.Nsec == unix.UTIME_OMIT && m.Nsec == unix.UTIME_OMIT {
			return // the system-call layer does not even look at the path
		}
		if a.Nsec == -1 || m.Nsec == -1 { // nor here
			n = "/"
		}
		p.do(fmt.Sprintf("utimens %q %v %v", n, a, m), func(w world) error { return w.utimens(n, a, m) })
	case 3:
		p.do(fmt.Sprintf("truncate %q %d", n, size), func(w world) error { return w.truncate(n, size) })
	}
}

func (p *pair) looks(n string) {
	for _, follow := range []bool{false, true} {
		value(p, fmt.Sprintf("stat %q %v", n, follow), func(w world) (string, error) { return w.stat(n, follow) })
	}
	value(p, fmt.Sprintf("readlink %q", n), func(w world) (string, error) { return w.readlink(n) })
	for m := range uint32(8) {
		p.do(fmt.Sprintf("access %q %d", n, m), func(w world) error { return w.access(n, m) })
	}
}

// io uses a descriptor.
func (p *pair) io(slot int, off, n int64) {
	switch rapid.IntRange(0, 6).Draw(p.t, "io") {
	case 0:
		value(p, fmt.Sprintf("pread %d %d+%d", slot, off, n), func(w world) (string, error) {
			b, err := w.pread(slot, off, int(n))
			return digest(b), err
		})
	case 1:
		data := bytes.Repeat([]byte{byte('A' + off%26 + n%7)}, int(n))
		value(p, fmt.Sprintf("pwrite %d %d+%d", slot, off, n), func(w world) (int, error) { return w.pwrite(slot, off, data) })
	case 2:
		value(p, fmt.Sprintf("append %d", slot), func(w world) (int, error) { return w.append(slot, []byte("appended")) })
	case 3:
		p.do(fmt.Sprintf("ftruncate %d %d", slot, n), func(w world) error { return w.ftruncate(slot, n) })
	case 4:
		m := rapid.SampledFrom([]uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE}).Draw(p.t, "fallocate")
		p.do(fmt.Sprintf("fallocate %d %d %d+%d", slot, m, off, n), func(w world) error { return w.fallocate(slot, m, off, n) })
	case 5:
		value(p, fmt.Sprintf("fstat %d", slot), func(w world) (string, error) { return w.fstat(slot) })
	case 6:
		value(p, fmt.Sprintf("readdir %d", slot), func(w world) ([]string, error) { return w.readdir(slot) })
	}
}

// digest prints bytes as runs.
func digest(b []byte) string {
	var out []string
	for len(b) > 0 {
		n := 1
		for n < len(b) && b[n] == b[0] {
			n++
		}
		out = append(out, fmt.Sprintf("%dx%q", n, b[0]))
		if len(out) > 8 {
			return fmt.Sprintf("%v... %d bytes, sum %x", out, len(b), sum(b))
		}
		b = b[n:]
	}
	return strings.Join(out, " ")
}

func sum(b []byte) (s uint32) {
	for _, c := range b {
		s = s*31 + uint32(c)
	}
	return s
}

// tree compares everything that is there, as root.
func (p *pair) tree() {
	p.lx.become(0)
	p.g.become(0)
	inodes := map[uint64]uint64{}
	var walk func(dir string)
	walk = func(dir string) {
		var names []string
		value(p, "list "+dir, func(w world) ([]string, error) {
			if err := w.open(0, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
				return nil, err
			}
			var err error
			names, err = w.readdir(0)
			return names, err
		})
		for _, e := range names {
			name, typ, _ := strings.Cut(e, " ")
			if name == "." || name == ".." {
				continue
			}
			full := path.Join(dir, name)
			value(p, "lstat "+full, func(w world) (string, error) { return w.stat(full, false) })
			li, gi := p.lx.ino(full), p.g.ino(full)
			if was, ok := inodes[li]; ok && was != gi || gi == 0 {
				p.t.Fatalf("%s: hard links differ\nafter:\n%s", full, strings.Join(p.log, "\n"))
			}
			inodes[li] = gi
			switch typ {
			case fmt.Sprintf("%o", unix.S_IFDIR):
				walk(full)
			case fmt.Sprintf("%o", unix.S_IFREG):
				value(p, "contents of "+full, func(w world) (string, error) {
					if err := w.open(0, full, unix.O_RDONLY, 0); err != nil {
						return "", err
					}
					b, err := w.pread(0, 0, 1<<20)
					return digest(b), err
				})
			case fmt.Sprintf("%o", unix.S_IFLNK):
				value(p, "readlink "+full, func(w world) (string, error) { return w.readlink(full) })
			}
		}
	}
	walk("/")
	rev := map[uint64]uint64{}
	for l, g := range inodes {
		if was, ok := rev[g]; ok && was != l {
			p.t.Fatalf("two files of Linux's are one inode %d here\nafter:\n%s", g, strings.Join(p.log, "\n"))
		}
		rev[g] = l
	}
}

// TestModel runs the same random operations on Linux and on each kind of file
// system, and compares every answer and in the end every file.
func TestModel(t *testing.T) {
	needRoot(t)
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { modelRun(t, &b) })
		})
	}
}

func modelRun(t *rapid.T, b *backend) {
	var dirs [2]string
	for i := range dirs {
		dir, err := os.MkdirTemp("", "vfsmodel")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		dirs[i] = dir
		if i == 1 && b.name == "tmpfs" {
			break
		}
		lx := newLinux(t, dir)
		seed(t, lx)
		lx.end()
	}
	pool, err := hostfs.NewPool(16)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	lx := newLinux(t, dirs[0])
	defer lx.end()
	g := newGuest(vfs.Mount{Root: b.make(t, dirs[1], pool)})
	defer g.end()
	p := &pair{t: t, lx: lx, g: g}
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		p.step(b)
	}
	p.tree()
}
