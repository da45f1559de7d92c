package vfs_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
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
	tmpfile         int // O_TMPFILE, or 0
}

var backends = [...]backend{
	{name: "tmpfs", tmpfile: unix.O_TMPFILE, make: func(t *rapid.T, dir string, p *hostfs.Pool) vfs.Inode {
		fs, err := memfs.New(memfs.Options{Quota: memfs.NewQuota(1<<30, 1<<20), Mode: 0o755})
		if err != nil {
			t.Fatal(err)
		}
		seed(t, newGuest(vfs.Mount{Root: fs.Root()}))
		return fs.Root()
	}},
	{name: "overlay", tmpfile: unix.O_TMPFILE, make: func(t *rapid.T, dir string, p *hostfs.Pool) vfs.Inode {
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
		must(w.open(0, name, vfs.How{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: mode}))
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

// comps are what paths are made of: few, so that they meet. places are paths
// that exist at first, or could.
var (
	comps  = []string{"a", "b", "c", "f", "l", "x", "t", "g", "d", "loop", ".", "..", ""}
	places = []string{"/a", "/a/b", "/a/b/x", "/a/f", "/a/d", "/c", "/c/x", "/c/l", "/l", "/l/x", "/f",
		"/t", "/t/a", "/t/b", "/t/a/b", "/g", "/g/a", "/g/b", "/g/a/b", "/a/x", "/c/a", "/c/b", "/x", "f", "x", "a", "..", "/"}
)

// dice decide a step. A step is drawn as one number, so that rapid can leave
// steps out of a failing sequence without changing the others.
type dice struct{ *rand.Rand }

// of returns one of xs.
func of[T any](d dice, xs ...T) T { return xs[d.IntN(len(xs))] }

func (d dice) path() string {
	shape := d.IntN(40)
	if shape < 28 {
		return of(d, places...)
	}
	var b strings.Builder
	if shape%2 == 0 {
		b.WriteByte('/')
	}
	for i := range 1 + d.IntN(4) {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(of(d, comps...))
	}
	switch shape {
	case 36, 37, 38:
		b.WriteByte('/')
	case 39:
		b.WriteString(strings.Repeat("n", of(d, 254, 255, 256, 4096)))
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
func (p *pair) step(d dice, b *backend) {
	slot := d.IntN(slots)
	off := func() int64 {
		return of[int64](d, 0, 1, 5, 4090, 4096, 5000, 8192, 10000, 11000, 70000)
	}
	mode := func() uint32 {
		m := of[uint32](d, 0o644, 0o755, 0o777, 0o000, 0o070, 0o007, 0o600, 0o1777, 0o2755, 0o4711, 0o2745, 0o111)
		if b.noSetID {
			m &^= 0o6000
		}
		return m
	}
	ops := []func(){
		func() { p.opens(d, b, slot, d.path(), mode()) },
		func() { p.opens(d, b, slot, d.path(), mode()) },
		func() {
			n, m := d.path(), mode()
			p.do(fmt.Sprintf("mkdir %q %o", n, m), func(w world) error { return w.mkdir(n, m) })
		},
		func() {
			n, f := d.path(), of[int](d, 0, unix.AT_REMOVEDIR)
			p.do(fmt.Sprintf("unlink %q %#x", n, f), func(w world) error { return w.unlink(n, f) })
		},
		func() {
			o, n := d.path(), d.path()
			f := of[uint32](d, 0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, 3)
			p.do(fmt.Sprintf("rename %q %q %d", o, n, f), func(w world) error { return w.rename(o, n, f) })
		},
		func() {
			o, n := d.path(), d.path()
			f := of[int](d, 0, 0, unix.AT_SYMLINK_FOLLOW)
			p.do(fmt.Sprintf("link %q %q %#x", o, n, f), func(w world) error { return w.link(o, n, f) })
		},
		func() {
			to, n := d.path(), d.path()
			p.do(fmt.Sprintf("symlink %q %q", to, n), func(w world) error { return w.symlink(to, n) })
		},
		func() { p.attrs(d, d.path(), mode(), off()) },
		func() { p.looks(d.path()) },
		func() {
			n := d.path()
			m := mode() | of[uint32](d, unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFDIR, 0, 0o170000)
			if b.noFifo && m&unix.S_IFMT == unix.S_IFIFO {
				return
			}
			p.do(fmt.Sprintf("mknod %q %o", n, m), func(w world) error { return w.mknod(n, m) })
		},
		func() {
			n := d.path()
			p.do(fmt.Sprintf("chdir %q", n), func(w world) error { return w.chdir(n) })
			value(p, "getcwd", func(w world) (string, error) { return w.getcwd() })
		},
		func() {
			u := of[int](d, 0, 0, 0, 1, 1, 2)
			p.log = append(p.log, fmt.Sprintf("close all, become %d", users[u].uid))
			// A descriptor that outlives its opener's privileges keeps set-ID bits
			// when written to, which Linux's does not: see memfs's file.
			for i := range slots {
				p.lx.close(i)
				p.g.close(i)
			}
			p.lx.become(u)
			p.g.become(u)
		},
		func() { p.io(d, slot, off(), off()) },
		func() { p.io(d, slot, off(), off()) },
		func() { p.io(d, slot, off(), off()) },
		func() { p.io(d, slot, off(), off()) },
		func() { p.io(d, slot, off(), off()) },
		func() { p.io(d, slot, off(), off()) },
	}
	ops[d.IntN(len(ops))]()
}

func (p *pair) opens(d dice, b *backend, slot int, n string, m uint32) {
	f := of[int](d, unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR, unix.O_RDWR, unix.O_RDWR, unix.O_RDWR, 3, unix.O_RDONLY|unix.O_DIRECTORY,
		unix.O_PATH, unix.O_PATH|unix.O_NOFOLLOW, unix.O_RDWR|unix.O_DIRECTORY)
	f |= of[int](d, 0, 0, 0, unix.O_CREAT, unix.O_CREAT, unix.O_CREAT|unix.O_EXCL, unix.O_TRUNC,
		unix.O_CREAT|unix.O_TRUNC, unix.O_NOFOLLOW, unix.O_CREAT|unix.O_NOFOLLOW, unix.O_NOATIME, b.tmpfile)
	r := of[uint64](d, 0, 0, 0, 0, unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT, unix.RESOLVE_NO_SYMLINKS,
		unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS)
	if r != 0 { // openat2 refuses what openat ignores
		f &^= unix.O_PATH
		if f&unix.O_CREAT == 0 {
			m = 0
		}
	}
	p.do(fmt.Sprintf("%d = open %q %#o %o %#x", slot, n, f, m, r), func(w world) error {
		return w.open(slot, n, vfs.How{Flags: f, Mode: m, Resolve: r})
	})
}

func (p *pair) attrs(d dice, n string, m uint32, size int64) {
	switch d.IntN(4) {
	case 0:
		p.do(fmt.Sprintf("chmod %q %o", n, m), func(w world) error { return w.chmod(n, m) })
	case 1:
		ids := []int{-1, 0, 1000, 1001, 2000}
		u, g := of(d, ids...), of(d, ids...)
		follow := d.IntN(2) == 0
		p.do(fmt.Sprintf("chown %q %d:%d %v", n, u, g, follow), func(w world) error { return w.chown(n, u, g, follow) })
	case 2:
		ts := []unix.Timespec{{Sec: 1, Nsec: 2}, {Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}, {Nsec: -1}}
		a, m := of(d, ts...), of(d, ts...)
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
func (p *pair) io(d dice, slot int, off, n int64) {
	switch d.IntN(7) {
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
		m := of[uint32](d, 0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE)
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
			if err := w.open(0, dir, vfs.How{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW}); err != nil {
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
					if err := w.open(0, full, vfs.How{}); err != nil {
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
//
// The sequences are the same in every run, so that a change is what makes it fail; CULVERT_RANDOM=1 draws new ones, and
// -rapid.seed=N names others.
func TestModel(t *testing.T) {
	needRoot(t)
	if f := flag.Lookup("rapid.seed"); f != nil && f.Value.String() == "0" && os.Getenv("CULVERT_RANDOM") == "" {
		if err := flag.Set("rapid.seed", "20261126"); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { modelRun(t, &b) })
		})
	}
}

// modelDir prefers a file system in memory: the sequences make and remove many
// small trees. "" is the usual place.
func modelDir() string {
	if unix.Access("/dev/shm", unix.W_OK) == nil {
		return "/dev/shm"
	}
	return ""
}

func modelRun(t *rapid.T, b *backend) {
	var dirs [2]string
	for i := range dirs {
		dir, err := os.MkdirTemp(modelDir(), "vfsmodel")
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
	run := rapid.Uint64().Draw(t, "run")
	for _, seed := range rapid.SliceOfN(rapid.Uint64(), 40, 120).Draw(t, "steps") {
		p.step(dice{rand.New(rand.NewPCG(seed, run))}, b)
	}
	p.tree()
}
